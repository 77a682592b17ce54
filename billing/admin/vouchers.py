"""Vouchers: making codes, handing them out once, disabling them, and who redeemed them."""

import csv
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.audited import HistoryInAuditTrail, acting_operator
from accounts.models import Reseller
from accounts.services import ensure_house_reseller
from billing.admin.operating import OperatingAdmin, bound_form
from billing.models import Voucher, VoucherRedemption, VoucherSeries
from billing.vouchers import (
    VoucherTerms,
    create_voucher,
    create_voucher_series,
    grouped,
    hand_out_codes,
    normalize_code,
    switch_vouchers,
)
from common.admin import (
    DayFilter,
    EndlessAdmin,
    ReadOnlyAdmin,
    USDField,
    badge,
    carry_out,
    client_ip,
    detail_action,
    usd_column,
)
from common.errors import AppError

Made = TypeVar("Made", Voucher, VoucherSeries)


class TermsForm(forms.Form):
    form_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)
    reseller = forms.ModelChoiceField(
        Reseller.objects.order_by("-is_house", "name"),
        label=_("Reseller"),
        initial=ensure_house_reseller,
        widget=UnfoldAdminSelectWidget(),
    )
    campaign = forms.CharField(label=_("Campaign"), max_length=100, widget=UnfoldAdminTextInputWidget())
    amount = USDField(label=_("Amount of each use, USD"))
    max_uses = forms.IntegerField(
        label=_("Uses of each code"),
        initial=1,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("Each organization redeems a code once."),
    )
    credit_days = forms.IntegerField(
        label=_("Days the credit lasts"),
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("From redeeming on. Empty: for ever."),
    )
    expires_at = forms.DateTimeField(
        label=_("Can be redeemed until"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )

    def terms(self) -> VoucherTerms:
        values = self.cleaned_data
        return VoucherTerms(
            reseller=values["reseller"],
            campaign=values["campaign"],
            amount_nano=values["amount"],
            max_uses=values["max_uses"],
            credit_days=values["credit_days"],
            expires_at=values["expires_at"],
        )


class WordForm(TermsForm):
    code = forms.CharField(
        label=_("Code"),
        max_length=80,
        help_text=_("Letters and digits. Capitals, spaces and dashes make no difference."),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )

    field_order = ("code", "campaign", "amount", "max_uses", "credit_days", "expires_at", "reseller")


class SeriesForm(TermsForm):
    size = forms.IntegerField(
        label=_("Number of codes"), initial=1, min_value=1, widget=UnfoldAdminIntegerFieldWidget()
    )

    field_order = ("size", "campaign", "amount", "max_uses", "credit_days", "expires_at", "reseller")


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", gettext("Can be redeemed")), ("disabled", gettext("Disabled"))]

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "disabled":
            return queryset.filter(disabled_at__isnull=False)
        if self.value() != "open":
            return queryset
        usable = models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now())
        return queryset.filter(usable, disabled_at=None, used__lt=models.F("max_uses"))


class MakingAdmin(HistoryInAuditTrail, OperatingAdmin, ReadOnlyAdmin):
    """Rows that are made by a form of their own and only switched afterwards."""

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def made_by(
        self, request: HttpRequest, form: Any, make: Callable[[], Made], *, title: str, explanation: str
    ) -> HttpResponse:
        made = carry_out(form, make) if form.is_bound else None
        if made is None:
            return self.form_page(
                request, form, title=title, submit=gettext("Create"), explanation=explanation
            )
        if _waits(made):
            text = gettext("Worth more than one operator may give: another one has to enable it.")
            messages.warning(request, text)
        return redirect(f"admin:billing_{self.opts.model_name}_change", made.pk)

    def switch(
        self, request: HttpRequest, row: models.Model, vouchers: models.QuerySet[Voucher], *, enabled: bool
    ) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        form = bound_form(forms.Form, request)

        def do() -> bool:
            switch_vouchers(
                vouchers=vouchers,
                enabled=enabled,
                actor=acting_operator(request),
                ip=client_ip(request),
            )
            return True

        if form.is_bound and carry_out(form, do):
            return redirect(f"admin:billing_{self.opts.model_name}_change", row.pk)
        title = gettext("Enable %(voucher)s") if enabled else gettext("Disable %(voucher)s")
        return self.form_page(
            request,
            form,
            title=title % {"voucher": row},
            submit=_("Enable") if enabled else _("Disable"),
            explanation=_("What was redeemed stays with those who redeemed it."),
            original=row,
        )


@admin.register(Voucher)
class VoucherAdmin(MakingAdmin):
    usd_fields = ("amount_nano",)
    list_display = (
        "shown_code",
        "state",
        "campaign",
        "amount_nano",
        "used",
        "max_uses",
        "expires_at",
        "credit_days",
        "reseller",
    )
    list_select_related = ("reseller",)
    list_filter = (
        StateFilter,
        ("created_at", DayFilter),
        ("series", AutocompleteSelectFilter),
        ("reseller", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("campaign",)
    search_help_text = _("By campaign or the whole code")
    ordering = ("-pk",)
    fields = (
        "shown_code",
        "state",
        "series",
        "campaign",
        "amount_nano",
        "used",
        "max_uses",
        "expires_at",
        "credit_days",
        "reseller",
        "created_at",
        "created_by",
        "redemptions",
    )
    actions_detail = ("enable", "disable")
    actions_detail_hide_default = False

    @override
    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        return found | queryset.filter(code=normalize_code(search_term)), may_repeat

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        is_disabled = Voucher.objects.filter(pk=object_id, disabled_at__isnull=False).exists()
        return ("disable",) if is_disabled else ("enable",)

    @admin.display(description=_("code"))
    def shown_code(self, voucher: Voucher) -> str:
        return voucher.shown_code

    @admin.display(description=_("state"))
    def state(self, voucher: Voucher) -> SafeString:
        if voucher.disabled_at is not None:
            return badge(gettext("Disabled"), "danger")
        if voucher.expires_at is not None and voucher.expires_at <= timezone.now():
            return badge(gettext("Expired"))
        return badge(gettext("Used up")) if voucher.is_used_up else badge(gettext("Open"), "success")

    @admin.display(description=_("redeemed by"))
    def redemptions(self, voucher: Voucher) -> SafeString:
        return _list_link("billing_voucherredemption", f"voucher__id__exact={voucher.pk}")

    @detail_action(_("Enable"), path="enable", icon="check_circle")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_one(request, object_id, enabled=True)

    @detail_action(_("Disable"), path="disable", icon="block", variant=ActionVariant.DANGER)
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_one(request, object_id, enabled=False)

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        form = bound_form(WordForm, request)

        def make() -> Voucher:
            return create_voucher(
                terms=form.terms(),
                code=form.cleaned_data["code"],
                created_by=acting_operator(request),
                ip=client_ip(request),
            )

        return self.made_by(
            request,
            form,
            make,
            title=gettext("A voucher with a code of your choice"),
            explanation=gettext("Random codes are made as a series."),
        )

    def _switch_one(self, request: HttpRequest, object_id: str, *, enabled: bool) -> HttpResponse:
        voucher = get_object_or_404(Voucher, pk=object_id)
        return self.switch(request, voucher, Voucher.objects.filter(pk=voucher.pk), enabled=enabled)


@admin.register(VoucherSeries)
class VoucherSeriesAdmin(MakingAdmin):
    list_display = (
        "created_at",
        "campaign",
        "size",
        usd_column("amount_nano", _("amount")),
        "redeemed",
        "reseller",
        "created_by",
        "downloaded_at",
    )
    list_select_related = ("reseller", "created_by")
    list_filter = (("created_at", DayFilter), ("reseller", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("campaign",)
    ordering = ("-pk",)
    fields = (
        "campaign",
        "size",
        usd_column("amount_nano", _("amount")),
        "redeemed",
        "reseller",
        "created_at",
        "created_by",
        "downloaded_at",
        "downloaded_by",
        "codes",
    )
    actions_detail = ("download", "enable", "disable")
    actions_detail_hide_default = False

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        of_series = Voucher.objects.filter(series=models.OuterRef("pk")).order_by()
        sums = of_series.values("series").annotate(sum=models.Sum("used")).values("sum")
        annotated: models.QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                redeemed_sum=models.Subquery(sums),
                amount_nano=models.Subquery(of_series.values("amount_nano")[:1]),
            )
        )
        return annotated

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        was_downloaded = VoucherSeries.objects.filter(pk=object_id, downloaded_at__isnull=False).exists()
        enabled = Voucher.objects.filter(series=object_id, disabled_at=None).exists()
        disabled = Voucher.objects.filter(series=object_id, disabled_at__isnull=False).exists()
        makes_sense = {"download": not was_downloaded, "enable": disabled, "disable": enabled}
        return [name for name, sense in makes_sense.items() if not sense]

    @admin.display(description=_("redeemed"))
    def redeemed(self, series: Any) -> int:
        return int(series.redeemed_sum or 0)

    @admin.display(description=_("codes"))
    def codes(self, series: VoucherSeries) -> SafeString:
        return _list_link("billing_voucher", f"series__id__exact={series.pk}")

    @detail_action(_("Download the codes"), path="download", icon="download")
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A POST hands them out, once."""
        series = get_object_or_404(VoucherSeries, pk=object_id)
        form = bound_form(forms.Form, request)
        if form.is_bound:
            try:
                vouchers = hand_out_codes(
                    series=series, handed_to=acting_operator(request), ip=client_ip(request)
                )
            except AppError as refusal:
                form.add_error(None, refusal.message)
            else:
                return _as_csv(series, vouchers)
        return self.form_page(
            request,
            form,
            title=gettext("Download the codes of %(series)s") % {"series": series},
            submit=_("Download"),
            explanation=_("They are handed out once: keep the file. Who loses it disables the series."),
            original=series,
        )

    @detail_action(_("Enable"), path="enable", icon="check_circle")
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_all(request, object_id, enabled=True)

    @detail_action(_("Disable"), path="disable", icon="block", variant=ActionVariant.DANGER)
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_all(request, object_id, enabled=False)

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        form = bound_form(SeriesForm, request)

        def make() -> VoucherSeries:
            return create_voucher_series(
                terms=form.terms(),
                size=form.cleaned_data["size"],
                fact_key=f"operator:{form.cleaned_data['form_id']}",
                created_by=acting_operator(request),
                ip=client_ip(request),
            )

        return self.made_by(
            request,
            form,
            make,
            title=gettext("Random codes"),
            explanation=gettext("Afterwards they can be downloaded once."),
        )

    def _switch_all(self, request: HttpRequest, object_id: str, *, enabled: bool) -> HttpResponse:
        series = get_object_or_404(VoucherSeries, pk=object_id)
        return self.switch(request, series, series.vouchers.all(), enabled=enabled)


@admin.register(VoucherRedemption)
class VoucherRedemptionAdmin(EndlessAdmin):
    list_display = ("redeemed_at", "organization", "voucher", "redeemed_by", "grant")
    list_select_related = ("organization", "voucher", "redeemed_by", "grant")
    list_filter = (
        ("redeemed_at", DayFilter),
        ("voucher", AutocompleteSelectFilter),
        ("organization", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    fields = ("redeemed_at", "organization", "voucher", "redeemed_by", "grant")


def _list_link(name: str, query: str) -> SafeString:
    address = f"{reverse(f'admin:{name}_changelist')}?{query}"
    return format_html('<a class="text-link" href="{}">{}</a>', address, gettext("Look at them"))


def _waits(made: Voucher | VoucherSeries) -> bool:
    """Only what is over the limit is disabled when it is made."""
    if isinstance(made, VoucherSeries):
        return made.vouchers.exclude(disabled_at=None).exists()
    return made.disabled_at is not None


def _as_csv(series: VoucherSeries, vouchers: list[Voucher]) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="vouchers-{series.pk}.csv"'
    response["Cache-Control"] = "no-store"
    writer = csv.writer(response)
    writer.writerow(["code"])
    writer.writerows([grouped(voucher.code)] for voucher in vouchers)
    return response
