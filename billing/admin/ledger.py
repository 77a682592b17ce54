"""The ledger to look at: accounts, transactions, entries. A transaction can be reversed by another one."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db import models
from django.db.models import F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override

from billing.adjustments import request_reversal
from billing.admin.operating import (
    OperatingAdmin,
    ReadOnlyInline,
    ReasonForm,
    actor_of,
    adjustment_page,
    bound_form,
)
from billing.ledger import Account
from billing.models import (
    Adjustment,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    LedgerUnfolded,
    LotEntry,
)
from billing.reversals import REVERSIBLE
from common.admin import EndlessAdmin, RequestDayFilter, detail_action, usd_column

ACCOUNT_NAMES = {
    Account.STRIPE_CLEARING: _("Stripe clearing"),
    Account.BANK: _("Bank"),
    Account.RECEIVABLE: _("Customers owe"),
    Account.DISPUTE_RECEIVABLE: _("Disputes, undecided"),
    Account.UPSTREAM_DEPOSITS: _("Deposits with vendors"),
    Account.PAID_CREDIT: _("Paid credit"),
    Account.PROMOTIONAL_CREDIT: _("Promotional credit"),
    Account.HELD_CREDIT: _("Credit on hold"),
    Account.TAX_PAYABLE: _("Tax payable"),
    Account.RESELLER_PAYABLE: _("Owed to resellers"),
    Account.REFUNDS_PAYABLE: _("Refunds payable"),
    Account.UPSTREAM_PAYABLE: _("Owed to vendors"),
    Account.SUSPENSE: _("Suspense"),
    Account.PAID_REVENUE: _("Revenue from paid credit"),
    Account.PROMOTIONAL_REVENUE: _("Revenue from promotional credit"),
    Account.BREAKAGE: _("Expired paid credit"),
    Account.SERVICE_FEES: _("Service fees"),
    Account.UPSTREAM_COST: _("Vendor cost"),
    Account.RESELLER_COMMISSION: _("Resellers' margin"),
    Account.PROMOTIONS: _("Promotions"),
    Account.STRIPE_FEES: _("Stripe fees"),
    Account.DISPUTE_FEES: _("Dispute fees"),
    Account.BAD_DEBT: _("Bad debt"),
    Account.ROUNDING: _("Rounding and adjustments"),
    Account.GOODWILL: _("Goodwill"),
}


class AccountFilter(admin.SimpleListFilter):
    title = _("account")
    parameter_name = "code"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(code, f"{code} {name}") for code, name in ACCOUNT_NAMES.items()]

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(code=self.value()) if self.value() in set(Account) else queryset


@admin.register(LedgerAccount)
class LedgerAccountAdmin(EndlessAdmin):
    """The balance has what waits to be folded too. A debit is positive."""

    list_display = ("code", "name", "owner", usd_column("whole_balance", _("balance")), "is_hot")
    list_filter = (AccountFilter, "is_hot")
    list_filter_submit = True
    search_fields = ("code", "owner")
    search_help_text = _("By code or owner, like organization:7")
    ordering = ("scope", "code", "owner", "currency")  # type: ignore[assignment] # as many as it takes
    fields = (
        "scope",
        "code",
        "name",
        "owner",
        "currency",
        usd_column("whole_balance", _("balance")),
        "is_hot",
        "entries",
    )

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        waiting = LedgerUnfolded.objects.filter(account=OuterRef("pk")).order_by().values("account")
        unfolded = Subquery(waiting.annotate(sum=Sum("amount")).values("sum"))
        annotated: models.QuerySet[Any] = (
            super().get_queryset(request).annotate(whole_balance=F("balance") + Coalesce(unfolded, 0))
        )
        return annotated

    @admin.display(description=_("name"))
    def name(self, account: LedgerAccount) -> str:
        return account_name(account.code)

    @admin.display(description=_("entries"))
    def entries(self, account: LedgerAccount) -> SafeString:
        address = f"{reverse('admin:billing_ledgerentry_changelist')}?account__id__exact={account.pk}"
        return format_html('<a class="text-link" href="{}">{}</a>', address, gettext("Look at them"))


class LedgerEntryInline(ReadOnlyInline):
    model = LedgerEntry
    fields = ("of_account", usd_column("amount", _("amount")))
    readonly_fields = fields
    ordering = ("account__code", "pk")

    @override
    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("account")

    @admin.display(description=_("account"))
    def of_account(self, entry: LedgerEntry) -> SafeString:
        return account_link(entry)


class TransactionLotsInline(ReadOnlyInline):
    model = LotEntry
    fields = ("of_lot", usd_column("amount", _("amount")))
    readonly_fields = fields
    ordering = ("lot",)

    @override
    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("lot__organization")

    @admin.display(description=_("lot"))
    def of_lot(self, entry: LotEntry) -> SafeString:
        address = reverse("admin:billing_lot_change", args=[entry.lot_id])
        text = f"{entry.lot.organization} · {entry.lot.get_kind_display()} {entry.lot_id}"
        return format_html('<a class="text-link" href="{}">{}</a>', address, text)


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(OperatingAdmin, EndlessAdmin):
    """Newest first, by the number, which is their time."""

    list_display = ("posted_at", "kind", "fact_key", "reason", "actor")
    list_select_related = ("actor",)
    list_filter = ("kind", ("posted_at", RequestDayFilter))
    list_filter_submit = True
    search_fields = ("fact_key",)
    search_help_text = _("By the whole fact key or the number")
    fields = (
        "id",
        "kind",
        "fact_key",
        "effective_at",
        "posted_at",
        "reason",
        "actor",
        "reverses",
        "reversed_by",
    )
    inlines = (LedgerEntryInline, TransactionLotsInline)
    actions_detail = ("reverse",)

    @override
    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """By what has an index."""
        wanted = search_term.strip()
        if not wanted:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(wanted)), False
        except ValueError:
            return queryset.filter(fact_key=wanted), False

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        found = LedgerTransaction.objects.filter(pk=object_id, kind__in=REVERSIBLE)
        return () if found.filter(ledgertransaction__isnull=True).exists() else self.actions_detail

    @admin.display(description=_("reversed by"))
    def reversed_by(self, posting: LedgerTransaction) -> SafeString | None:
        reversal = LedgerTransaction.objects.filter(reverses=posting).first()
        if reversal is None:
            return None
        address = reverse("admin:billing_ledgertransaction_change", args=[reversal.pk])
        return format_html('<a class="text-link" href="{}">{}</a>', address, reversal.fact_key)

    @detail_action(_("Reverse"), path="reverse", icon="undo")
    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        posting = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = bound_form(ReasonForm, request)

        def ask() -> Adjustment:
            return request_reversal(
                original=posting,
                reason=form.cleaned_data["reason"],
                fact_key=f"reverse:{posting.pk}:{form.cleaned_data['form_id']}",
                **actor_of(request),
            )

        return adjustment_page(
            self,
            request,
            posting,
            form=form,
            use_case=ask,
            title=gettext("Reverse %(fact)s") % {"fact": posting.fact_key},
            submit=_("Reverse"),
            explanation=_("Its mirror is posted. Credit that is spent already becomes a debt."),
        )


@admin.register(LedgerEntry)
class LedgerEntryAdmin(EndlessAdmin):
    usd_fields = ("amount",)
    list_display = ("posted_at", "of_account", "amount", "posting")
    list_select_related = ("account", "transaction")
    fields = ("posting", "of_account", "amount")

    @override
    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """By account from the account's page: there are too many to choose from a list."""
        return lookup == "account__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("account"))
    def of_account(self, entry: LedgerEntry) -> SafeString:
        return account_link(entry)

    @admin.display(description=_("posted"))
    def posted_at(self, entry: LedgerEntry) -> Any:
        return entry.transaction.posted_at

    @admin.display(description=_("ledger transaction"))
    def posting(self, entry: LedgerEntry) -> SafeString:
        address = reverse("admin:billing_ledgertransaction_change", args=[entry.transaction_id])
        return format_html('<a class="text-link" href="{}">{}</a>', address, entry.transaction.fact_key)


def account_name(code: str) -> str:
    return str(ACCOUNT_NAMES.get(Account(code), code))


def account_link(entry: LedgerEntry) -> SafeString:
    account = entry.account
    address = reverse("admin:billing_ledgeraccount_change", args=[account.pk])
    text = f"{account.code} {account_name(account.code)} · {account.owner}"
    return format_html('<a class="text-link" href="{}">{}</a>', address, text)
