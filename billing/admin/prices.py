"""Price versions: looked at, never edited; a new price is published through a form of its own."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import FieldTextFilter

from accounts.admin.audited import acting_operator, audit_difference, row_values
from accounts.models import Reseller
from billing.admin.price_form import FIELDSETS, TOKEN_RATES, PublishPriceForm, rate_label
from billing.contracts import Band, Rates, Tier, Window
from billing.models import RATE_CLASSES, PriceVersion
from billing.publishing import publish_price
from billing.tariffs import FALLS_BACK_TO, tariff_of
from billing.templatetags.prices import hours
from common.admin import (
    NOTHING,
    ReadOnlyAdmin,
    badge,
    carry_out,
    client_ip,
    detail_action,
    usd,
)
from common.errors import AppError
from common.templatetags.formats import count, moment

EXPLANATION = _(
    "A price is never changed: a later one takes its place. "
    "What is left empty costs what input or output costs."
)


class PriceUnchanged(AppError):
    """The price in force says the same; nothing was published."""

    code = "price_unchanged"


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
            _("Beside tokens, by context, hour and tier"),
            {"fields": ("per_request", "shown_bands", "shown_windows", "shown_tiers")},
        ),
        (_("To come"), {"fields": ("upcoming",)}),
        (_("Origin"), {"fields": ("created_by", "created_at", "override_reason")}),
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
        return _shown_lines(_band_lines("", tariff_of(version).bands))

    @admin.display(description=_("time windows"))
    def shown_windows(self, version: PriceVersion) -> SafeString:
        return _shown_lines(_window_lines(tariff_of(version).windows))

    @admin.display(description=_("service tiers"))
    def shown_tiers(self, version: PriceVersion) -> SafeString:
        return _shown_lines(_tier_lines(tariff_of(version).tiers))

    @admin.display(description=_("later versions"))
    def upcoming(self, version: PriceVersion) -> SafeString:
        """What takes the place of this one, or of what is in force, later than now."""
        after = max(version.effective_from, timezone.now())
        later = PriceVersion.objects.filter(
            reseller=version.reseller, model=version.model, kind=version.kind, effective_from__gt=after
        ).order_by("effective_from")
        return _shown_lines((_linked(one), _shown_rates(tariff_of(one).rates)) for one in later)

    @detail_action(_("Publish a new price"), path="publish-next", icon="add")
    def publish_next(self, request: HttpRequest, object_id: str) -> HttpResponse:  # noqa: ARG002 - given
        return redirect(f"{reverse('admin:billing_priceversion_add')}?after={object_id}")

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        replaced = _version_named(request.GET.get("after", ""))
        form = PublishPriceForm(
            request.POST if request.method == "POST" else None, initial=_initial(replaced)
        )
        version = carry_out(form, lambda: _publish(request, form)) if form.is_bound else None
        if version is None:
            return self.form_page(
                request,
                form,
                title=_("Publish a price"),
                submit=_("Publish"),
                explanation=EXPLANATION,
                fieldsets=FIELDSETS,
            )
        messages.success(request, gettext("Published: %(version)s.") % {"version": version})
        return redirect("admin:billing_priceversion_change", version.pk)


def _shown_lines(rows: Iterable[tuple[str, SafeString]]) -> SafeString:
    return format_html_join("", "<div>{}: {}</div>", rows) or SafeString(NOTHING)


def _shown_rates(rates: Rates) -> SafeString:
    """Input and output, and of the other classes what does not cost the same."""
    shown = {name: getattr(rates, name) for name in RATE_CLASSES}
    follows = {name: shown[base] for name, base in FALLS_BACK_TO.items()} | {"per_request": 0}
    return format_html_join(
        ", ",
        "{} {}",
        ((rate_label(name), usd(rate)) for name, rate in shown.items() if rate != follows.get(name)),
    )


def _band_lines(place: str, bands: Iterable[Band]) -> Iterator[tuple[str, SafeString]]:
    text = gettext("over %(count)s tokens")
    for band in bands:
        over = text % {"count": count(band.over_prompt_tokens)}
        yield ", ".join(filter(None, [place, over])), _shown_rates(band.rates)


def _window_lines(windows: Iterable[Window]) -> Iterator[tuple[str, SafeString]]:
    for window in windows:
        yield hours(window), _shown_rates(window.rates)
        yield from _band_lines(hours(window), window.bands)


def _tier_lines(tiers: Iterable[Tier]) -> Iterator[tuple[str, SafeString]]:
    for tier in tiers:
        yield tier.name, _shown_rates(tier.rates)
        yield from _band_lines(tier.name, tier.bands)


def _linked(version: PriceVersion) -> SafeString:
    address = reverse("admin:billing_priceversion_change", args=[version.pk])
    text = format_html(gettext("from {moment}"), moment=moment(version.effective_from))
    return format_html('<a class="underline" href="{}">{}</a>', address, text)


def _version_named(number: str) -> PriceVersion | None:
    return PriceVersion.objects.filter(pk=number).first() if number.isdecimal() else None


def _initial(replaced: PriceVersion | None) -> dict[str, Any]:
    """What the form begins with: the price that a new one is to replace, or the house's reseller."""
    if replaced is None:
        return {"reseller": Reseller.objects.filter(is_house=True).first()}
    names = ("reseller", "model", "kind", "bands", "windows", "tiers", *RATE_CLASSES)
    return {name: getattr(replaced, name) for name in names}


@transaction.atomic
def _publish(request: HttpRequest, form: PublishPriceForm) -> PriceVersion:
    """Raises PriceUnchanged, PriceRefused and PriceMalformed."""
    names = ("reseller", "model", "kind", "effective_from", "override_reason")
    version = publish_price(
        **{name: form.cleaned_data[name] for name in names},
        price=form.price,
        created_by=acting_operator(request),
        ip=client_ip(request),
    )
    if version is None:
        raise PriceUnchanged(gettext("The price in force says the same."))
    audit_difference(request, version, kind=PriceVersion, before=None, after=row_values(version))
    return version
