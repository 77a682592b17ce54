"""Wallets and what changes them: grants, leases, settlement batches; and what operators do to a wallet."""

from collections.abc import Callable, Collection
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from accounts.admin.audited import acting_operator
from billing.adjustments import record_top_up, request_adjustment
from billing.admin.operating import (
    AmountForm,
    OperatingAdmin,
    ReasonForm,
    TakeBackForm,
    TransferForm,
    actor_of,
    adjustment_page,
    bound_form,
    links_to,
)
from billing.freezing import freeze_wallet, freezes_of, unfreeze_wallet
from billing.models import (
    Adjustment,
    AdjustmentKind,
    FreezeCause,
    Grant,
    Lease,
    SettlementBatch,
    Wallet,
    WalletStatus,
)
from common.admin import (
    DayFilter,
    EndlessAdmin,
    ReadOnlyAdmin,
    Text,
    badge,
    carry_out,
    client_ip,
    detail_action,
    usd,
    usd_column,
)

BADGES = {WalletStatus.ACTIVE: "success", WalletStatus.BLOCKED: "danger", WalletStatus.FROZEN: "info"}
LISTS = (
    ("billing_lot", _("lots")),
    ("billing_adjustment", _("adjustments")),
    ("billing_grant", _("grants")),
    ("billing_refund", _("refunds")),
)


class OwesFilter(admin.SimpleListFilter):
    title = _("debt")
    parameter_name = "owes"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("yes", gettext("Owes")), ("no", gettext("Owes nothing"))]

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(receivable__gt=0) if self.value() == "yes" else queryset.filter(receivable=0)


@admin.register(Wallet)
class WalletAdmin(OperatingAdmin, ReadOnlyAdmin):
    """What operators do to a wallet; over the limit, a second one has to approve it."""

    usd_fields = ("posted", "pending", "receivable")
    list_display = (
        "organization",
        "posted",
        "pending",
        usd_column("available", _("available")),
        "receivable",
        "state",
    )
    list_select_related = ("organization",)
    list_filter = ("status", OwesFilter)
    search_fields = ("organization__name", "organization__members__email", "pk__exact")
    ordering = ("-posted", "pk")
    fields = (
        "organization",
        "state",
        "currency",
        "posted",
        "pending",
        usd_column("available", _("available")),
        "receivable",
        "frozen_by",
        "lists",
    )
    actions_detail = ("grant_credit", "record_transfer", "take_back", "write_off", "freeze", "unfreeze")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        wallet = Wallet.objects.filter(pk=object_id).first()
        if wallet is None:
            return self.actions_detail
        debt = () if wallet.receivable else ("write_off",)
        if wallet.status != WalletStatus.FROZEN:
            return (*debt, "unfreeze")
        is_ours = freezes_of(wallet.organization).filter(cause=FreezeCause.OPERATOR).exists()
        return (*debt, "freeze") if is_ours else debt

    @admin.display(description=_("status"), ordering="status")
    def state(self, wallet: Wallet) -> SafeString:
        return badge(wallet.get_status_display(), BADGES[WalletStatus(wallet.status)])

    @admin.display(description=_("frozen by"))
    def frozen_by(self, wallet: Wallet) -> str:
        """Each cause by itself: a dispute that is won lifts its own only."""
        return "; ".join(str(freeze) for freeze in freezes_of(wallet.organization)) or "-"

    @admin.display(description=_("more"))
    def lists(self, wallet: Wallet) -> SafeString:
        return links_to(LISTS, wallet.pk)

    @detail_action(_("Grant credit"), path="grant-credit", icon="add_card")
    def grant_credit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        return self._adjust(
            request,
            wallet,
            AdjustmentKind.GOODWILL,
            title=gettext("Grant credit to %(organization)s") % {"organization": wallet.organization},
            submit=_("Grant credit"),
        )

    @detail_action(_("Record a transfer"), path="record-transfer", icon="account_balance")
    def record_transfer(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        form = bound_form(TransferForm, request)

        def record() -> Adjustment:
            return record_top_up(
                organization=wallet.organization,
                amount_nano=form.cleaned_data["amount"],
                tax_nano=form.cleaned_data["tax"] or 0,
                reference=form.cleaned_data["reference"],
                reason=form.cleaned_data["reason"],
                fact_key=_fact_key(wallet, form),
                recorded_by=acting_operator(request),
                ip=client_ip(request),
            )

        return adjustment_page(
            self,
            request,
            wallet,
            form=form,
            use_case=record,
            title=gettext("A bank transfer of %(organization)s") % {"organization": wallet.organization},
            submit=_("Record the transfer"),
            explanation=_("Money that is on the bank account becomes paid credit."),
        )

    @detail_action(_("Take credit back"), path="take-back", icon="undo")
    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        return self._adjust(
            request,
            wallet,
            AdjustmentKind.TAKE_BACK,
            title=gettext("Take credit back from %(organization)s") % {"organization": wallet.organization},
            submit=_("Take it back"),
        )

    @detail_action(_("Forgive the debt"), path="write-off", icon="money_off")
    def write_off(self, request: HttpRequest, object_id: str) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        return self._adjust(
            request,
            wallet,
            AdjustmentKind.WRITE_OFF,
            title=gettext("Forgive what %(organization)s owes") % {"organization": wallet.organization},
            submit=_("Forgive it"),
        )

    @detail_action(_("Freeze"), path="freeze", icon="ac_unit", variant=ActionVariant.DANGER)
    def freeze(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(
            request,
            object_id,
            freeze_wallet,
            title=gettext("Freeze the wallet"),
            explanation=_(
                "Its calls are refused within a second, until an operator lifts that. "
                "What a dispute froze, winning it lifts; what you freeze here, only operators do."
            ),
        )

    @detail_action(_("Unfreeze"), path="unfreeze", icon="lock_open")
    def unfreeze(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(
            request,
            object_id,
            unfreeze_wallet,
            title=gettext("Unfreeze the wallet"),
            explanation=_(
                "Whatever froze it is lifted, disputes and warnings too. "
                "A wallet that owes stays blocked until that is paid."
            ),
        )

    def _wallet(self, request: HttpRequest, object_id: str) -> Wallet:
        wallet: Wallet = get_object_or_404(self.get_queryset(request), pk=object_id)
        return wallet

    def _adjust(
        self, request: HttpRequest, wallet: Wallet, kind: AdjustmentKind, *, title: Text, submit: Text
    ) -> HttpResponse:
        form = bound_form(TakeBackForm if kind == AdjustmentKind.TAKE_BACK else AmountForm, request)

        def ask() -> Adjustment:
            return request_adjustment(
                organization=wallet.organization,
                kind=kind,
                amount_nano=form.cleaned_data["amount"],
                may_owe=form.cleaned_data.get("may_owe", False),
                reason=form.cleaned_data["reason"],
                fact_key=_fact_key(wallet, form),
                **actor_of(request),
            )

        text = gettext("The wallet holds {amount} now, of which {available} can be taken; it owes {owed}.")
        explanation = format_html(
            text,
            amount=usd(wallet.posted),
            available=usd(wallet.available),
            owed=usd(wallet.receivable),
        )
        return adjustment_page(
            self,
            request,
            wallet,
            form=form,
            use_case=ask,
            title=title,
            submit=submit,
            explanation=explanation,
        )

    def _switch(
        self,
        request: HttpRequest,
        object_id: str,
        switch: Callable[..., Wallet],
        *,
        title: Text,
        explanation: Text,
    ) -> HttpResponse:
        wallet = self._wallet(request, object_id)
        form = bound_form(ReasonForm, request)

        def do() -> Wallet:
            return switch(
                organization=wallet.organization,
                reason=form.cleaned_data["reason"],
                actor=acting_operator(request),
                ip=client_ip(request),
            )

        if form.is_bound and carry_out(form, do):
            return redirect("admin:billing_wallet_change", wallet.pk)
        return self.form_page(
            request, form, title=title, submit=title, explanation=explanation, original=wallet
        )


def _fact_key(wallet: Wallet, form: Any) -> str:
    return f"operator:{wallet.pk}:{form.cleaned_data['form_id']}"


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
