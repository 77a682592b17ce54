"""The form a price is published through: rates in USD, context bands a line each."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import Reseller
from billing.models import RATE_CLASSES, PriceKind, PriceVersion
from billing.price_shapes import Price
from common.admin import WRITTEN_USD, USDField
from common.money import format_nano, parse_nano

WRITTEN_BAND = re.compile(r"(?P<over>[1-9]\d{0,11})\s*:\s*(?P<rates>.+)", re.ASCII)
TOKEN_RATES = tuple(name for name in RATE_CLASSES if name != "per_request")


def rate_label(name: str) -> str:
    return str(PriceVersion._meta.get_field(name).verbose_name)  # type: ignore[union-attr] # a column


class BandsField(forms.CharField):
    """Context bands, one a line: "200000: input 2.50, output 15", in USD per 1M tokens."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
        super().__init__(**{"widget": widget, "required": False, **options})

    @override
    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        bands = [_read_band(line) for line in lines if line]
        if len({band["over_prompt_tokens"] for band in bands}) < len(bands):
            raise ValidationError(_("Each band begins at another number of tokens."))
        return sorted(bands, key=lambda band: int(band["over_prompt_tokens"]))

    @override
    def prepare_value(self, value: Any) -> Any:
        return value if value is None or isinstance(value, str) else "\n".join(map(_written_band, value))


def _read_band(line: str) -> dict[str, Any]:
    """Raises ValidationError."""
    match = WRITTEN_BAND.fullmatch(line)
    pairs = [part.split() for part in match["rates"].split(",")] if match else []
    rates = {
        pair[0]: parse_nano(pair[1])
        for pair in pairs
        if len(pair) == 2 and pair[0] in RATE_CLASSES and WRITTEN_USD.fullmatch(pair[1])
    }
    if match is None or len(rates) < len(pairs) or not {"input", "output"} <= rates.keys():
        raise ValidationError(
            _("“%(line)s” is not like “200000: input 2.50, output 15”."), params={"line": line}
        )
    return {"over_prompt_tokens": int(match["over"]), "rates": rates}


def _written_band(band: dict[str, Any]) -> str:
    rates = ", ".join(f"{name} {format_nano(nano)}" for name, nano in band["rates"].items())
    return f"{band['over_prompt_tokens']}: {rates}"


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

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in RATE_CLASSES:
            is_required = name in ("input", "output")
            self.fields[name] = USDField(label=capfirst(rate_label(name)), required=is_required)
        zone = {"zone": timezone.get_current_timezone_name()}
        self.fields["effective_from"].help_text = gettext("Empty: at once. Time zone: %(zone)s") % zone

    def clean_effective_from(self) -> Any:
        moment = self.cleaned_data["effective_from"]
        if moment is not None and moment < timezone.now():
            raise ValidationError(_("Requests of the past keep their price: choose a time to come."))
        return moment

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        same = {name: values.get(name) for name in ("reseller", "model", "kind", "effective_from")}
        if None not in same.values() and PriceVersion.objects.filter(**same).exists():
            self.add_error("effective_from", _("There is a price for this moment already."))
        return values

    @property
    def price(self) -> Price:
        rates = {name: self.cleaned_data[name] for name in RATE_CLASSES}
        given = {name: rate for name, rate in rates.items() if rate is not None}
        return Price(rates=given, bands=self.cleaned_data["bands"])


FIELDSETS = (
    (None, {"fields": ("reseller", "model", "kind", "effective_from")}),
    (_("USD per 1,000,000 tokens"), {"fields": TOKEN_RATES}),
    (_("Beside tokens and by context"), {"fields": ("per_request", "bands")}),
)
