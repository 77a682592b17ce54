"""The form a price is published through: rates in USD; bands, windows and tiers a line each."""

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import Reseller
from billing.admin.price_lines import BandsField, TiersField, WindowsField
from billing.models import RATE_CLASSES, PriceKind, PriceVersion
from billing.price_shapes import Price
from common.admin import USDField

TOKEN_RATES = tuple(name for name in RATE_CLASSES if name != "per_request")


def rate_label(name: str) -> str:
    return str(PriceVersion._meta.get_field(name).verbose_name)  # type: ignore[union-attr] # a column


class PublishPriceForm(forms.Form):
    reseller = forms.ModelChoiceField(
        Reseller.objects.order_by("-is_house", "name"), label=_("Reseller"), widget=UnfoldAdminSelectWidget()
    )
    model = forms.CharField(
        label=_("Model"), max_length=120, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})
    )
    kind = forms.ChoiceField(label=_("Kind"), choices=PriceKind.choices, widget=UnfoldAdminSelectWidget())
    effective_from = forms.DateTimeField(
        label=_("Effective from"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )
    bands = BandsField(
        label=_("Context bands"),
        help_text=_(
            "One a line, like “200000: input 2.50, output 15”: "
            "prices of the whole request when its prompt is longer than that."
        ),
    )
    windows = WindowsField(
        label=_("Time windows"),
        help_text=_(
            "One a line in UTC, like “mon-fri 16:30-24:00: input 1.25, output 5”: prices of requests that"
            " begin then. 22:00-06:00 ends on the next day. The first that is open decides. A line"
            " “mon-fri 16:30-24:00 over 200000: …” gives the window a band."
        ),
    )
    tiers = TiersField(
        label=_("Service tiers"),
        help_text=_(
            "One a line by the vendor's name, like “flex: input 1.25, output 5”: prices of requests served"
            " so, at all hours. A line “flex over 200000: …” gives the tier a band."
        ),
    )
    override_reason = forms.CharField(
        label=_("Reason for the override"),
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("Needed for a price below the vendor cost; it is written to the audit trail."),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in RATE_CLASSES:
            is_required = name in ("input", "output")
            self.fields[name] = USDField(label=capfirst(rate_label(name)), required=is_required)
        zone = {"zone": timezone.get_current_timezone_name()}
        self.fields["effective_from"].help_text = gettext("Empty: at once. Time zone: %(zone)s") % zone

    @property
    def price(self) -> Price:
        """Raises PriceMalformed."""
        rates = {name: self.cleaned_data[name] for name in RATE_CLASSES}
        given = {name: rate for name, rate in rates.items() if rate is not None}
        parts = {name: self.cleaned_data[name] for name in ("bands", "windows", "tiers")}
        return Price(rates=given, **parts)


FIELDSETS = (
    (None, {"fields": ("reseller", "model", "kind", "effective_from")}),
    (_("USD per 1,000,000 tokens"), {"fields": TOKEN_RATES}),
    (_("Beside tokens, by context, hour and tier"), {"fields": ("per_request", "bands", "windows", "tiers")}),
    (_("Below cost"), {"fields": ("override_reason",)}),
)
