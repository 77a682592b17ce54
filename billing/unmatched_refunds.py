"""Money in suspense that goes back: an operator refunds it at Stripe, or the payer's bank takes it.

It never was a customer's credit, so only suspense and our account at Stripe know of it. What began like that
ends like that, also when an operator credited the rest of the payment meanwhile.
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
from billing.models import LedgerTransaction, PostingKind, Refund, TopUp, UnmatchedPayment
from billing.payment_facts import BalanceFacts
from billing.unmatched import ALERT, in_suspense_nano, move_key, moves_of
from common.money import minor_to_nano

Lines = Sequence[tuple[str, BalanceFacts | None]]


def is_refund_of_suspense(facts: RefundFacts) -> bool:
    """It began there, or takes what stands there still: that goes back first."""
    if _began_there(facts.payment_intent_id, _lines_of_refund(facts)):
        return True
    row = UnmatchedPayment.objects.filter(payment_intent_id=facts.payment_intent_id).first()
    if row is None or facts.our_id is not None or not facts.amount:
        return False
    is_known = Refund.across_all_organizations.filter(stripe_id=facts.stripe_id).exists()
    return not is_known and minor_to_nano(facts.amount) <= in_suspense_nano(row)


def is_dispute_of_suspense(facts: DisputeFacts) -> bool:
    """It began there."""
    return _began_there(facts.payment_intent_id, _lines_of_dispute(facts))


@transaction.atomic
def book_unmatched_refund(facts: RefundFacts) -> bool:
    """Whether it is of a payment in suspense, and booked as far as its money has moved."""
    return _book(facts.payment_intent_id, facts.stripe_id, _lines_of_refund(facts))


@transaction.atomic
def book_unmatched_dispute(facts: DisputeFacts) -> bool:
    """The same for disputed money: nobody's credit depends on how it ends."""
    return _book(facts.payment_intent_id, facts.dispute_id, _lines_of_dispute(facts))


def _lines_of_refund(facts: RefundFacts) -> Lines:
    return (("refunded", facts.paid), ("returned", facts.returned))


def _lines_of_dispute(facts: DisputeFacts) -> Lines:
    return [("disputed", line) for line in facts.moves]


def _key(payment_intent_id: str, verb: str, line: BalanceFacts) -> str:
    return move_key(payment_intent_id, f"{verb}:{line.transaction_id}")


def _began_there(payment_intent_id: str, lines: Lines) -> bool:
    keys = [_key(payment_intent_id, verb, line) for verb, line in lines if line is not None]
    return LedgerTransaction.objects.filter(fact_key__in=keys).exists()


def _book(payment_intent_id: str, object_id: str, lines: Lines) -> bool:
    row = (
        UnmatchedPayment.objects.select_for_update()
        .filter(payment_intent_id=payment_intent_id, transaction__isnull=False)
        .first()
    )
    if row is None:
        return False
    if row.settled_at is not None and _was_claimed(row) and not _began_there(payment_intent_id, lines):
        if not TopUp.across_all_organizations.filter(payment_intent_id=payment_intent_id).exists():
            _ask_operators(row, object_id)
        return False
    for verb, line in lines:
        if line is not None:
            _move(_key(payment_intent_id, verb, line), line)
    _settle(row, object_id)
    return True


def _move(key: str, line: BalanceFacts) -> None:
    amount = minor_to_nano(line.amount)
    entries = [
        debit(Account.STRIPE_CLEARING, Owner.OPERATOR, amount),
        credit(Account.SUSPENSE, Owner.OPERATOR, amount),
    ]
    post(Posting(fact_key=key, kind=PostingKind.REFUND, entries=entries, effective_at=line.happened_at))
    book_line(line, key)


def _settle(row: UnmatchedPayment, object_id: str) -> None:
    """Settled while nothing of it is left; money that comes back opens it again. A claim stays what settled
    it, so that the books know whose payment the claim took out of suspense."""
    is_empty = in_suspense_nano(row) == 0
    is_claimed = _was_claimed(row)
    if not is_claimed:
        row.settled_by = moves_of(row).order_by("posted_at", "pk").last() if is_empty else None
    row.settled_at = (row.settled_at or timezone.now()) if is_empty else None
    row.save(update_fields=["settled_by", "settled_at"])
    if is_empty:
        resolve_alert(kind=ALERT, subject=row.payment_intent_id)
    elif is_claimed:
        _tell_of_rest(row, object_id)


def _was_claimed(row: UnmatchedPayment) -> bool:
    settled_by = row.settled_by
    return settled_by is not None and not settled_by.fact_key.startswith(move_key(row.payment_intent_id, ""))


def _ask_operators(row: UnmatchedPayment, object_id: str) -> None:
    """Of one that has no top-up: it was paid in another currency, or credited before claims had any."""
    raise_alert(
        kind="claimed_payment_went_back",
        subject=object_id,
        message=f"The payment {row.payment_intent_id} was credited by an operator and goes back now: take "
        "the credit back from who got it.",
        severity=AlertSeverity.CRITICAL,
    )


def _tell_of_rest(row: UnmatchedPayment, object_id: str) -> None:
    raise_alert(
        kind="claimed_payment_moved",
        subject=object_id,
        message=f"A part of the payment {row.payment_intent_id} moved again at Stripe after an operator had "
        "credited the rest: what came back stands in suspense. Refund it in Stripe's dashboard.",
        severity=AlertSeverity.CRITICAL,
    )
