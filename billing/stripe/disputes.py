"""Disputes and fraud warnings at Stripe: read again on every event, booked by our own services."""

from typing import Any

import stripe

from billing.clearing import book_payout
from billing.disputes import DisputeContradicts, book_dispute, hold_what_came_back, open_disputes
from billing.facts import DisputeFacts, PayoutFacts, WarningFacts
from billing.fraud import book_warning
from billing.models import StripeEvent
from billing.stripe.client import asking_stripe, stripe_client
from billing.stripe.outcomes import Done, NotYet, Outcome, Refused
from billing.stripe.paid import paid_top_up
from billing.stripe.payments import payment_of_charge
from billing.stripe.reading import balance_facts, id_of, moment_of
from billing.unmatched_refunds import book_unmatched_dispute, is_dispute_of_suspense
from common.locking import RowsBusy

UNKNOWN = "no top-up here was paid with it"


def on_dispute(event: StripeEvent) -> Outcome:
    """charge.dispute.created, .updated, .funds_withdrawn, .funds_reinstated, .closed"""
    facts = read_dispute(event.object_id)
    try:
        if is_dispute_of_suspense(facts) or paid_top_up(facts.payment_intent_id) is None:
            return Done() if book_unmatched_dispute(facts) else NotYet(UNKNOWN)
        return Done() if book_dispute(facts) is not None else NotYet(UNKNOWN)
    except DisputeContradicts as error:
        return Refused(error.message)


def on_fraud_warning(event: StripeEvent) -> Outcome:
    """radar.early_fraud_warning.created"""
    with asking_stripe():
        warning = stripe_client().v1.radar.early_fraud_warnings.retrieve(event.object_id)
        payment = id_of(warning.payment_intent)
        facts = WarningFacts(
            warning_id=warning.id,
            payment_intent_id=payment or payment_of_charge(id_of(warning.charge) or "") or "",
            fraud_type=warning.fraud_type,
        )
    if paid_top_up(facts.payment_intent_id or None) is None or book_warning(facts) is None:
        return NotYet(UNKNOWN)
    return Done()


def on_payout(event: StripeEvent) -> Outcome:
    """payout.created, .paid, .failed, .canceled: Stripe's book moves when a payout is made."""
    with asking_stripe():
        payout = stripe_client().v1.payouts.retrieve(
            event.object_id, {"expand": ["balance_transaction", "failure_balance_transaction"]}
        )
    moved: Any = payout.balance_transaction
    returned: Any = payout.failure_balance_transaction
    book_payout(
        PayoutFacts(
            payout_id=payout.id,
            status=payout.status,
            moved=balance_facts(moved) if moved is not None else None,
            returned=balance_facts(returned) if returned is not None else None,
        )
    )
    return Done() if moved is not None else NotYet("its money has not moved at Stripe yet")


def read_dispute(dispute_id: str) -> DisputeFacts:
    """Raises StripeUnknown, StripeMissing, StripeRefused."""
    with asking_stripe():
        dispute = stripe_client().v1.disputes.retrieve(dispute_id)
        payment = id_of(dispute.payment_intent) or payment_of_charge(id_of(dispute.charge) or "")
    return dispute_facts(dispute, payment or "")


def dispute_facts(dispute: stripe.Dispute, payment_intent_id: str) -> DisputeFacts:
    due = dispute.evidence_details.due_by
    lines = [balance_facts(line) for line in dispute.balance_transactions]
    return DisputeFacts(
        dispute_id=dispute.id,
        payment_intent_id=payment_intent_id,
        amount=dispute.amount,
        currency=dispute.currency.upper(),
        status=dispute.status,
        reason=dispute.reason,
        opened_at=moment_of(dispute.created),
        evidence_due_at=moment_of(due) if due else None,
        moves=sorted(lines, key=lambda line: line.happened_at),
    )


def hold_disputed_credit() -> int:
    """Leases end after the dispute came: what they give back is held too. Returns how many held more."""
    return sum(_hold_unless_busy(dispute) for dispute in open_disputes())


def _hold_unless_busy(dispute: Any) -> bool:
    try:
        return hold_what_came_back(dispute) > 0
    except RowsBusy:
        return False
