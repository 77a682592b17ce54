"""Price versions: looked at, never edited; a new price is published through a form of its own."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import FieldTextFilter
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.audited import acting_operator, audit_difference, row_values
from accounts.models import Reseller
from billing.models import RATE_CLASSES, PriceKind, PriceVersion
from billing.services import Price, publish_price
from common.admin import (
    NOTHING,
    WRITTEN_USD,
    ReadOnlyAdmin,
    Text,
    USDField,
    badge,
    carry_out,
    detail_action,
    usd,
)
from common.errors import AppError
from common.money import format_nano, parse_nano
from common.templatetags.formats import count

WRITTEN_BAND = re.compile(r"(?P<over>\d{1,12})\s*:\s*(?P<rates>.+)", re.ASCII)
TOKEN_RATES = tuple(name for name in RATE_CLASSES if name != "per_request")


class PriceUnchanged(AppError):
    """The price in force says the same; nothing was published."""

    code = "price_unchanged"


def rate_label(name: str) -> Text:
    label: Text = PriceVersion._meta.get_field(name).verbose_name  # type: ignore[union-attr] # a column
    return label


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
        Reseller.objects.order_by("-is_house", "name"), label=_("reseller"), widget=UnfoldAdminSelectWidget()
    )
    model = forms.CharField(
        label=_("model"), max_length=120, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})
    )
    kind = forms.ChoiceField(label=_("kind"), choices=PriceKind.choices, widget=UnfoldAdminSelectWidget())
    effective_from = forms.DateTimeField(
        label=_("effective from"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text=_("Empty: at once."),
    )
    bands = BandsField(
        label=_("context bands"),
        help_text=_(
            "One a line: the prompt tokens above which it holds, then its prices. "
            "The whole request is charged at them."
        ),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in RATE_CLASSES:
            self.fields[name] = USDField(label=rate_label(name), required=name in ("input", "output"))

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


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("now", gettext("In force")), ("later", gettext("To come")), ("past", gettext("Past"))]

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        now = timezone.now()
        match self.value():
            case "now":
                return queryset.filter(effective_from__lte=now, is_replaced=False)
            case "later":
                return queryset.filter(effective_from__gt=now)
            case "past":
                return queryset.filter(is_replaced=True)
        return queryset


@admin.register(PriceVersion)
class PriceVersionAdmin(ReadOnlyAdmin):
    usd_fields = RATE_CLASSES
    list_display = (
        "model",
        "kind",
        "reseller",
        "input",
        "cache_read",
        "output",
        "effective_from",
        "state",
    )
    list_select_related = ("reseller",)
    list_filter = (
        StateFilter,
        "kind",
        ("reseller", admin.RelatedOnlyFieldListFilter),
        ("model", FieldTextFilter),
    )
    list_filter_submit = True
    search_fields = ("model",)
    ordering = ("model", "kind", "-effective_from")
    fieldsets = (
        (None, {"fields": ("model", "kind", "reseller", "effective_from", "state")}),
        (
            _("USD per 1,000,000 tokens"),
            {"fields": TOKEN_RATES},
        ),
        (
            _("Beside tokens and by context"),
            {"fields": ("per_request", "shown_bands", "shown_windows")},
        ),
        (_("Origin"), {"fields": ("created_by", "created_at")}),
    )
    actions_detail = ("publish_next",)

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Adding is publishing: see `add_view`."""
        return self.has_view_permission(request)

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        later = PriceVersion.objects.filter(
            reseller=models.OuterRef("reseller"),
            model=models.OuterRef("model"),
            kind=models.OuterRef("kind"),
            effective_from__gt=models.OuterRef("effective_from"),
            effective_from__lte=timezone.now(),
        )
        versions = super().get_queryset(request)
        annotated: models.QuerySet[Any] = versions.annotate(is_replaced=models.Exists(later))
        return annotated

    @admin.display(description=_("state"))
    def state(self, version: Any) -> SafeString:
        if version.is_replaced:
            return badge(gettext("Past"))
        if version.effective_from > timezone.now():
            return badge(gettext("To come"), "info")
        return badge(gettext("In force"), "success")

    @admin.display(description=_("context bands"))
    def shown_bands(self, version: PriceVersion) -> SafeString:
        text = gettext("over %(count)s tokens")
        rows = (
            (text % {"count": count(band["over_prompt_tokens"])}, _shown_rates(band["rates"]))
            for band in version.bands
        )
        return _shown_lines(rows)

    @admin.display(description=_("time windows"))
    def shown_windows(self, version: PriceVersion) -> SafeString:
        return _shown_lines((_hours(window), _shown_rates(window["rates"])) for window in version.windows)

    @detail_action(_("Publish a new price"), path="publish-next", icon="add")
    def publish_next(self, request: HttpRequest, object_id: str) -> HttpResponse:  # noqa: ARG002 - given
        return redirect(f"{reverse('admin:billing_priceversion_add')}?after={object_id}")

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        form = PublishPriceForm(
            request.POST if request.method == "POST" else None, initial=_initial(request.GET.get("after", ""))
        )
        version = carry_out(form, lambda: _publish(request, form)) if form.is_bound else None
        if version is None:
            return self.form_page(
                request,
                form,
                title=_("Publish a price"),
                submit=_("Publish"),
                explanation=_(
                    "A price is never changed: a later one takes its place. "
                    "What is left empty costs what input or output costs."
                ),
                fieldsets=FIELDSETS,
            )
        messages.success(request, gettext("Published: %(version)s.") % {"version": version})
        return redirect("admin:billing_priceversion_change", version.pk)


def _shown_lines(rows: Iterable[tuple[str, SafeString]]) -> SafeString:
    return format_html_join("", "<div>{}: {}</div>", rows) or SafeString(NOTHING)


def _shown_rates(rates: Mapping[str, int]) -> SafeString:
    return format_html_join(", ", "{} {}", ((rate_label(name), usd(rate)) for name, rate in rates.items()))


def _hours(window: Mapping[str, Any]) -> str:
    return f"{', '.join(window['days'])} {_clock(window['from_minute'])}-{_clock(window['to_minute'])} UTC"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _initial(after: str) -> dict[str, Any]:
    """What the form begins with: the price that a new one is to replace, or the house's reseller."""
    version = PriceVersion.objects.filter(pk=after).first() if after.isdecimal() else None
    if version is None:
        return {"reseller": Reseller.objects.filter(is_house=True).first()}
    names = ("reseller", "model", "kind", "bands", *RATE_CLASSES)
    return {name: getattr(version, name) for name in names}


@transaction.atomic
def _publish(request: HttpRequest, form: PublishPriceForm) -> PriceVersion:
    """Raises PriceUnchanged."""
    version = publish_price(
        **{name: form.cleaned_data[name] for name in ("reseller", "model", "kind", "effective_from")},
        price=form.price,
        created_by=acting_operator(request),
    )
    if version is None:
        raise PriceUnchanged(gettext("The price in force says the same."))
    audit_difference(request, version, kind=PriceVersion, before=None, after=row_values(version))
    return version
