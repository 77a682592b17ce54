"""Money in suspense that goes back: an operator refunds it at Stripe, or the payer's bank takes it.

It never was a customer's credit, so only suspense and our account at Stripe know of it.
"""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity
from billing.clearing import book_line
from billing.facts import DisputeFacts, RefundFacts
from billing.ledger import Account, Owner, Posting, post
from billing.ledger.chart import credit, debit
from billing.models import LedgerEntry, LedgerTransaction, PostingKind, UnmatchedPayment
from billing.payment_facts import BalanceFacts
from billing.unmatched import ALERT
from common.money import minor_to_nano

Lines = Sequence[tuple[str, BalanceFacts | None]]


@transaction.atomic
def book_unmatched_refund(facts: RefundFacts) -> bool:
    """Whether it is of a payment in suspense, and booked as far as its money has moved."""
    lines = (("refunded", facts.paid), ("returned", facts.returned))
    return _book(facts.payment_intent_id, facts.stripe_id, lines)


@transaction.atomic
def book_unmatched_dispute(facts: DisputeFacts) -> bool:
    """The same for disputed money: nobody's credit depends on how it ends."""
    lines = [("disputed", line) for line in facts.moves]
    return _book(facts.payment_intent_id, facts.dispute_id, lines)


def _book(payment_intent_id: str, object_id: str, lines: Lines) -> bool:
    row = (
        UnmatchedPayment.objects.select_for_update()
        .filter(payment_intent_id=payment_intent_id, transaction__isnull=False)
        .first()
    )
    if row is None:
        return False
    if row.settled_at is not None and not _was_sent_back(row):
        _ask_operators(row, object_id)
        return False
    for verb, line in lines:
        if line is not None:
            _move(f"unmatched:{row.payment_intent_id}:{verb}:{line.transaction_id}", line)
    _settle(row)
    return True


def _move(key: str, line: BalanceFacts) -> None:
    amount = minor_to_nano(line.amount)
    entries = [
        debit(Account.STRIPE_CLEARING, Owner.OPERATOR, amount),
        credit(Account.SUSPENSE, Owner.OPERATOR, amount),
    ]
    post(Posting(fact_key=key, kind=PostingKind.REFUND, entries=entries, effective_at=line.happened_at))
    book_line(line, key)


def _settle(row: UnmatchedPayment) -> None:
    """Settled while nothing of it is left; money that comes back opens it again."""
    key = f"unmatched:{row.payment_intent_id}:"
    moves = LedgerTransaction.objects.filter(kind=PostingKind.REFUND, fact_key__startswith=key)
    ids = [row.transaction_id, *moves.values_list("pk", flat=True)]
    entries = LedgerEntry.objects.filter(transaction__in=ids, account__code=Account.SUSPENSE)
    is_empty = sum(entries.values_list("amount", flat=True)) == 0
    row.settled_by = moves.order_by("posted_at", "pk").last() if is_empty else None
    row.settled_at = timezone.now() if is_empty else None
    row.save(update_fields=["settled_by", "settled_at"])
    if is_empty:
        resolve_alert(kind=ALERT, subject=row.payment_intent_id)


def _was_sent_back(row: UnmatchedPayment) -> bool:
    settled_by = row.settled_by
    return settled_by is not None and settled_by.fact_key.startswith("unmatched:")


def _ask_operators(row: UnmatchedPayment, object_id: str) -> None:
    raise_alert(
        kind="claimed_payment_went_back",
        subject=object_id,
        message=f"The payment {row.payment_intent_id} was credited by an operator and goes back now: take "
        "the credit back from who got it.",
        severity=AlertSeverity.CRITICAL,
    )
