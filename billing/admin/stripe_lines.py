"""Stripe's book of our money, line by line, and what each line is here."""

from typing import Any

from django.contrib import admin, messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.decorators import action

from accounts.admin.audited import acting_operator
from accounts.services import record_audit
from billing.admin.amounts import cents_column
from billing.models import BalanceTransaction
from billing.stripe.client import StripeRefused, StripeUnknown
from billing.stripe.mirror import Comparison, reconcile_with_stripe
from billing.terms import minor_money
from common.admin import DayFilter, EndlessAdmin, badge, client_ip


class ExplainedFilter(admin.SimpleListFilter):
    title = _("explained")
    parameter_name = "explained"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("no", gettext("Belongs to nothing here"))]

    @override
    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(transaction=None) if self.value() == "no" else queryset


@admin.register(BalanceTransaction)
class BalanceTransactionAdmin(EndlessAdmin):
    list_display = (
        "happened_at",
        "type",
        "source_id",
        cents_column("amount_minor", _("amount")),
        cents_column("fee_minor", _("fee")),
        cents_column("net_minor", _("net")),
        "explained",
    )
    list_filter = (ExplainedFilter, "type", ("happened_at", DayFilter))
    list_filter_submit = True
    search_fields = ("balance_transaction_id", "source_id")
    ordering = ("-happened_at",)
    fields = (
        "balance_transaction_id",
        "happened_at",
        "type",
        "source_id",
        "currency",
        "amount_minor",
        "fee_minor",
        "net_minor",
        "transaction",
    )
    actions_list = ("compare_now",)

    @admin.display(description=_("here"))
    def explained(self, line: BalanceTransaction) -> SafeString:
        if line.transaction_id is not None:
            return badge(gettext("Booked"), "success")
        return badge(gettext("Belongs to nothing here"), "danger")

    @action(description=_("Compare now"), url_path="compare-now", icon="compare_arrows")  # type: ignore[untyped-decorator] # unfold ships no types
    def compare_now(self, request: HttpRequest) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        if request.method != "POST":
            return self.form_page(
                request,
                Form(),
                title=_("Compare with Stripe now"),
                submit=_("Compare"),
                explanation=_(
                    "Reads what is new in Stripe's book, books what is missing, compares the sums."
                ),
            )
        actor = acting_operator(request)
        record_audit(action="stripe.compared", subject=actor, actor=actor, ip=client_ip(request))
        try:
            found = reconcile_with_stripe()
        except (StripeUnknown, StripeRefused) as error:
            messages.error(request, error.message or gettext("Stripe did not answer."))
        else:
            _say(request, found)
        return redirect("admin:billing_balancetransaction_changelist")


def _say(request: HttpRequest, found: Comparison | None) -> None:
    if found is None:
        messages.warning(request, gettext("Payment by card is not set up here."))
        return
    sums = {
        "stripe": minor_money(found.at_stripe),
        "lines": minor_money(found.lines),
        "ledger": minor_money(found.in_ledger),
    }
    if found.agrees:
        messages.success(request, gettext("All agree on %(stripe)s.") % sums)
    else:
        text = gettext("Stripe says %(stripe)s, its lines %(lines)s, our ledger %(ledger)s.")
        messages.error(request, text % sums)
