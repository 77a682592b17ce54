"""Stripe's own book of the money it holds for us, kept here line by line and compared with our ledger.

A line that nothing here explains is asked about at Stripe and booked by whoever books such things; what still
is nobody's then is for operators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from django.db.models import Max, Sum
from django.utils import timezone

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity
from billing.contracts import CURRENCY
from billing.ledger import Account
from billing.models import BalanceTransaction, LedgerEntry, StripeEvent
from billing.payment_facts import BalanceFacts
from billing.stripe.client import StripeRefused, StripeUnknown, asking_stripe, payments_are_on, stripe_client
from billing.stripe.disputes import on_dispute, on_payout
from billing.stripe.inbox import Handler
from billing.stripe.payment_events import on_charge
from billing.stripe.reading import balance_facts
from billing.stripe.refunds import on_refund
from common.locking import RowsBusy
from common.money import NANO_PER_MINOR

if TYPE_CHECKING:
    from stripe.params import BalanceTransactionListParams

# A line may be listed late; what was listed before is found again by its id.
OVERLAP = timedelta(days=3)
PAGE = 100
UNEXPLAINED, DIFFERS = "stripe_line_unexplained", "stripe_balance_differs"
SUBJECT = "Stripe"
# What books the source of a line, by how its id begins.
BOOKED_BY: Mapping[str, Handler] = {
    "ch_": on_charge,
    "py_": on_charge,
    "re_": on_refund,
    "pyr_": on_refund,
    "dp_": on_dispute,
    "du_": on_dispute,
    "po_": on_payout,
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Comparison:
    """In cents. `unexplained`: lines that no posting of ours has booked."""

    at_stripe: int
    lines: int
    in_ledger: int
    unexplained: int

    @property
    def agrees(self) -> bool:
        return self.at_stripe == self.lines == self.in_ledger and not self.unexplained


def reconcile_with_stripe() -> Comparison | None:
    """Keep what is new in Stripe's book, have it booked, compare the sums; None without payments.

    Whatever differs is told to operators until it does not any more. Raises StripeUnknown, StripeRefused.
    """
    if not payments_are_on():
        return None
    keep_new_lines()
    explain_lines()
    found = compare(_balance_at_stripe())
    if found.lines != found.at_stripe and keep_new_lines(from_the_beginning=True):
        explain_lines()
        found = compare(_balance_at_stripe())
    _tell(found)
    return found


def keep_new_lines(*, from_the_beginning: bool = False) -> int:
    """Returns how many lines were new. Each is kept once, whoever brings it.

    As a rule only what is newer than what we know is listed; after a longer outage there may be gaps before.
    """
    newest = BalanceTransaction.objects.aggregate(newest=Max("happened_at"))["newest"]
    params: BalanceTransactionListParams = {"limit": PAGE}
    if newest is not None and not from_the_beginning:
        params["created"] = {"gte": int((newest - OVERLAP).timestamp())}
    kept = 0
    with asking_stripe():
        listed = stripe_client().v1.balance_transactions.list(params)
        for line in listed.auto_paging_iter():
            kept += _keep(balance_facts(line))
    return kept


def explain_lines() -> int:
    """Have what came from nowhere booked; returns how many are explained now."""
    lines = BalanceTransaction.objects.filter(transaction=None, currency=CURRENCY).order_by("happened_at")
    return sum(_explain(line) for line in list(lines))


def compare(at_stripe: int) -> Comparison:
    """`at_stripe` is its balance in cents, pending money included."""
    ours = BalanceTransaction.objects.filter(currency=CURRENCY)
    entries = LedgerEntry.objects.filter(account__code=Account.STRIPE_CLEARING)
    return Comparison(
        at_stripe=at_stripe,
        lines=int(ours.aggregate(Sum("net_minor", default=0))["net_minor__sum"]),
        in_ledger=int(entries.aggregate(Sum("amount", default=0))["amount__sum"]) // NANO_PER_MINOR,
        unexplained=ours.filter(transaction=None).count(),
    )


def _keep(line: BalanceFacts) -> bool:
    _row, is_new = BalanceTransaction.objects.get_or_create(
        balance_transaction_id=line.transaction_id,
        defaults={
            "type": line.type,
            "source_id": line.source_id,
            "currency": line.currency,
            "amount_minor": line.amount,
            "fee_minor": line.fee,
            "net_minor": line.amount - line.fee,
            "happened_at": line.happened_at,
        },
    )
    return is_new


def _explain(line: BalanceTransaction) -> bool:
    handler = next((one for prefix, one in BOOKED_BY.items() if line.source_id.startswith(prefix)), None)
    if handler is not None:
        try:
            handler(StripeEvent(type="", object_id=line.source_id, happened_at=timezone.now()))
        except (StripeUnknown, StripeRefused, RowsBusy) as error:
            log.warning("stripe_line_put_off", line=line.balance_transaction_id, error=error.code)
    line.refresh_from_db(fields=["transaction"])
    return line.transaction_id is not None


def _balance_at_stripe() -> int:
    """In cents of our currency: what can be paid out, and what can be later."""
    with asking_stripe():
        balance = stripe_client().v1.balance.retrieve()
        parts: list[Any] = [*balance.available, *balance.pending]
        return sum(part.amount for part in parts if part.currency.upper() == CURRENCY)


def _tell(found: Comparison) -> None:
    if found.unexplained:
        text = f"{found.unexplained} lines of Stripe's book belong to nothing here. See balance transactions."
        raise_alert(kind=UNEXPLAINED, subject=SUBJECT, message=text)
    else:
        resolve_alert(kind=UNEXPLAINED, subject=SUBJECT)
    if found.agrees:
        resolve_alert(kind=DIFFERS, subject=SUBJECT)
    else:
        raise_alert(
            kind=DIFFERS,
            subject=SUBJECT,
            message=f"In cents: Stripe says {found.at_stripe}, its lines say {found.lines}, our ledger says"
            f" {found.in_ledger}.",
            severity=AlertSeverity.CRITICAL,
        )
    log.info("stripe_compared", agrees=found.agrees, at_stripe=found.at_stripe, in_ledger=found.in_ledger)
