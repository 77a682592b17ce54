"""Refunds at Stripe: sent under a key that names our row, read again whenever anything is heard of them."""

from typing import Any

import stripe
import structlog

from billing.card_refunds import (
    FactsContradict,
    book_refund,
    claim_refund,
    is_finished,
    refund_was_refused,
    refunds_under_way,
)
from billing.facts import RefundFacts
from billing.models import Refund, StripeEvent, TopUp
from billing.stripe.client import (
    CardDeclined,
    StripeKeyRefused,
    StripeKeyReused,
    StripeRefused,
    StripeUnknown,
    asking_stripe,
    payments_are_on,
    stripe_client,
)
from billing.stripe.outcomes import Done, Ignored, NotYet, Outcome, Refused
from billing.stripe.paid import paid_top_up
from billing.stripe.reading import balance_facts, id_of, metadata_of
from billing.unmatched_refunds import book_unmatched_refund, is_refund_of_suspense
from common.errors import AppError
from common.locking import RowsBusy
from common.money import nano_to_minor

REFUND_ID = "refund_id"
EXPANDED = ["balance_transaction", "failure_balance_transaction"]
AT_ONCE = 200
LISTED = 100
UNKNOWN = "no top-up here was paid with it"
UNFINISHED = "its money has not moved at Stripe yet"

log = structlog.get_logger(__name__)


def send_refunds(*, at_once: int = AT_ONCE) -> int:
    """Send what is to be sent, look again at what Stripe has not finished; returns how many were touched."""
    if not payments_are_on():
        return 0
    return sum(_unless_away(refund) for refund in refunds_under_way()[:at_once])


def send_refund(refund_id: int) -> Refund | None:
    """Ask Stripe for it, as often as it takes: the same key, and a look first whether an earlier try did it.

    A refusal gives the credit back. None where there is nothing to ask. Not inside a transaction.
    Raises StripeUnknown, StripeKeyRefused, RowsBusy, FactsContradict.
    """
    refund = claim_refund(refund_id)
    if refund is None or refund.top_up is None:
        return None
    try:
        facts = _find(refund) if refund.sent_at is not None else None
        facts = facts or _create(refund, refund.top_up)
    except (StripeKeyRefused, StripeKeyReused):
        raise  # it goes through once our key is right; what the other call made is found by the next try
    except (StripeRefused, CardDeclined) as error:
        return refund_was_refused(refund.pk, error.stripe_code or error.code)
    return book_refund(facts)


def read_refund(stripe_id: str) -> RefundFacts:
    """Raises StripeUnknown, StripeMissing, StripeRefused."""
    with asking_stripe():
        return refund_facts(stripe_client().v1.refunds.retrieve(stripe_id, {"expand": EXPANDED}))


def on_refund(event: StripeEvent) -> Outcome:
    """refund.created, refund.updated, refund.failed"""
    return _look_at(read_refund(event.object_id))


def on_charge_refunded(event: StripeEvent) -> Outcome:
    """It carries a running sum of all refunds; the refunds themselves say what happened."""
    with asking_stripe():
        listed = stripe_client().v1.refunds.list(
            {"charge": event.object_id, "limit": LISTED, "expand": _expanded_in_list()}
        )
        found = [refund_facts(one) for one in listed.auto_paging_iter()]
    outcomes = [_look_at(facts) for facts in reversed(found)]  # the oldest first
    return next((one for one in outcomes if not isinstance(one, Done)), Done())


def refund_facts(refund: stripe.Refund) -> RefundFacts:
    named = metadata_of(refund).get(REFUND_ID, "")
    paid: Any = refund.balance_transaction
    returned: Any = refund.failure_balance_transaction
    return RefundFacts(
        stripe_id=refund.id,
        payment_intent_id=id_of(refund.payment_intent) or "",
        amount=refund.amount,
        currency=refund.currency.upper(),
        status=refund.status or "",
        our_id=int(named) if named.isascii() and named.isdigit() else None,
        failure_reason=refund.failure_reason or "",
        paid=balance_facts(paid) if paid is not None else None,
        returned=balance_facts(returned) if returned is not None else None,
    )


def _look_at(facts: RefundFacts) -> Outcome:
    if not facts.payment_intent_id:
        return Ignored("it is of no payment intent")
    try:
        if is_refund_of_suspense(facts) or paid_top_up(facts.payment_intent_id) is None:
            return _of_nobody(facts)
        refund = book_refund(facts)
    except FactsContradict as error:
        return Refused(error.message)
    if refund is None:
        return NotYet(UNKNOWN)
    return Done() if is_finished(refund, facts) else NotYet(UNFINISHED)


def _of_nobody(facts: RefundFacts) -> Outcome:
    """Sending unmatched money back is the right thing to do with it."""
    return Done() if book_unmatched_refund(facts) else NotYet(UNKNOWN)


def _unless_away(refund: Refund) -> bool:
    try:
        if refund.stripe_id is None:
            send_refund(refund.pk)
        else:
            book_refund(read_refund(refund.stripe_id))
    except (StripeUnknown, StripeRefused, RowsBusy, FactsContradict) as error:
        _say(refund, error)
        return False
    return True


def _say(refund: Refund, error: AppError) -> None:
    log.warning("refund_put_off", refund=refund.pk, why=error.code, stripe=getattr(error, "stripe_code", ""))


def _create(refund: Refund, top_up: TopUp) -> RefundFacts:
    cents = nano_to_minor(refund.amount_nano + refund.tax_nano)
    with asking_stripe():
        made = stripe_client().v1.refunds.create(
            {
                "payment_intent": top_up.payment_intent_id or "",
                "amount": cents,
                "metadata": {REFUND_ID: str(refund.pk)},
                "expand": EXPANDED,
            },
            {"idempotency_key": f"refund-{refund.pk}"},
        )
        return refund_facts(made)


def _find(refund: Refund) -> RefundFacts | None:
    """What an earlier try made whose answer was lost; a key is forgotten after a day, its refund is not."""
    top_up = refund.top_up
    with asking_stripe():
        listed = stripe_client().v1.refunds.list(
            {
                "payment_intent": (top_up.payment_intent_id if top_up else None) or "",
                "limit": LISTED,
                "expand": _expanded_in_list(),
            }
        )
        found = [refund_facts(one) for one in listed.auto_paging_iter()]
    return next((facts for facts in found if facts.our_id == refund.pk), None)


def _expanded_in_list() -> list[str]:
    return [f"data.{name}" for name in EXPANDED]
