"""Wallets and what changes them: grants, leases, settlement batches; and the form that grants credit."""

from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.admin.audited import acting_operator
from billing.models import Grant, Lease, SettlementBatch, Wallet
from billing.services import grant_credit
from common.admin import (
    DayFilter,
    EndlessAdmin,
    ReadOnlyAdmin,
    USDField,
    carry_out,
    client_ip,
    detail_action,
    usd,
    usd_column,
)


class GrantForm(forms.Form):
    """`form_id` is made with the form: however often it is sent, credit is granted once."""

    form_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)
    amount = USDField(label=_("Amount, USD"))
    reason = forms.CharField(
        label=_("Reason"),
        max_length=Grant._meta.get_field("reason").max_length,
        help_text=_("Kept with the grant and in the audit trail."),
        widget=UnfoldAdminTextInputWidget(),
    )


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    usd_fields = ("posted", "pending")
    list_display = (
        "organization",
        "posted",
        "pending",
        usd_column("available", _("available")),
        "status",
    )
    list_select_related = ("organization",)
    list_filter = ("status",)
    search_fields = ("organization__name", "organization__members__email", "pk__exact")
    ordering = ("-posted", "pk")
    fields = (
        "organization",
        "status",
        "currency",
        "posted",
        "pending",
        usd_column("available", _("available")),
    )
    actions_detail = ("grant_credit",)

    @detail_action(_("Grant credit"), path="grant-credit", icon="add_card")
    def grant_credit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = GrantForm(request.POST if request.method == "POST" else None)
        grant = carry_out(form, lambda: self._grant(request, wallet, form)) if form.is_bound else None
        if grant is None:
            return self._ask(request, wallet, form)
        self._tell(request, grant, form)
        return redirect("admin:billing_wallet_change", wallet.pk)

    def _grant(self, request: HttpRequest, wallet: Wallet, form: GrantForm) -> Grant:
        return grant_credit(
            organization=wallet.organization,
            amount_nano=form.cleaned_data["amount"],
            reason=form.cleaned_data["reason"],
            fact_key=f"operator:{wallet.pk}:{form.cleaned_data['form_id']}",
            granted_by=acting_operator(request),
            ip=client_ip(request),
        )

    def _ask(self, request: HttpRequest, wallet: Wallet, form: GrantForm) -> HttpResponse:
        return self.form_page(
            request,
            form,
            title=gettext("Grant credit to %(organization)s") % {"organization": wallet.organization},
            submit=_("Grant credit"),
            explanation=format_html(gettext("The wallet holds {amount} now."), amount=usd(wallet.posted)),
            original=wallet,
        )

    def _tell(self, request: HttpRequest, grant: Grant, form: GrantForm) -> None:
        """A form sent again with another amount has changed nothing, and says so."""
        values = {"amount": usd(grant.amount_nano), "organization": grant.organization}
        if grant.amount_nano == form.cleaned_data["amount"]:
            text = gettext("{amount} granted to {organization}.")
            messages.success(request, format_html(text, **values))
        else:
            text = gettext("This form had already granted {amount} to {organization}; nothing was added.")
            messages.warning(request, format_html(text, **values))


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    usd_fields = ("amount_nano",)
    list_display = (
        "created_at",
        "organization",
        "amount_nano",
        "kind",
        "reason",
        "granted_by",
    )
    list_select_related = ("organization", "granted_by")
    list_filter = ("kind", ("created_at", DayFilter), ("organization", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("organization__name", "reason", "fact_key")
    ordering = ("-pk",)
    fields = (
        "organization",
        "amount_nano",
        "kind",
        "reason",
        "granted_by",
        "created_at",
        "fact_key",
    )


@admin.register(Lease)
class LeaseAdmin(EndlessAdmin):
    usd_fields = ("granted", "settled")
    list_display = (
        "opened_at",
        "wallet",
        "state",
        "granted",
        "settled",
        "holder",
        "expires_at",
    )
    list_select_related = ("wallet__organization",)
    list_filter = ("state", ("wallet", AutocompleteSelectFilter))
    list_filter_submit = True
    fields = (
        "wallet",
        "state",
        "granted",
        "settled",
        "holder",
        "opened_at",
        "expires_at",
    )


class WaitingFilter(admin.SimpleListFilter):
    title = _("rollups")
    parameter_name = "aggregated"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("no", gettext("Waiting")), ("yes", gettext("Done"))]

    @override
    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(aggregated_at__isnull=self.value() == "no")


@admin.register(SettlementBatch)
class SettlementBatchAdmin(EndlessAdmin):
    usd_fields = ("charge_nano",)
    list_display = (
        "created_at",
        "records",
        "charge_nano",
        "holder",
        "aggregated_at",
    )
    list_filter = (WaitingFilter,)
    fields = (
        "id",
        "holder",
        "created_at",
        "records",
        "charge_nano",
        "aggregated_at",
    )
