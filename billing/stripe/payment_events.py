"""Events that tell of money coming in, and of cards that customers keep with Stripe."""

from billing.booking import book_payment
from billing.models import StripeEvent, TopUp, UnmatchedPayment
from billing.payment_facts import PaymentFacts
from billing.saved_cards import keep_card
from billing.stripe.checkout import read_session
from billing.stripe.outcomes import Done, Ignored, NotYet, Outcome, Refused
from billing.stripe.payments import payment_of_charge, read_card, read_payment, read_setup_card
from billing.top_ups import reconcile_top_up


def on_session(event: StripeEvent) -> Outcome:
    """`checkout.session.…`: what was paid on the page, or that nobody pays there any more."""
    session = read_session(event.object_id)
    if session.payment_intent_id is not None:
        return _of_payment(read_payment(session.payment_intent_id, page=session))
    top_up = TopUp.across_all_organizations.filter(pk=session.top_up_id or _NOBODY).first()
    if top_up is None:
        return Ignored("a page of nobody here")
    if top_up.session_id not in (None, session.session_id):
        return Refused("another page belongs to this top-up")
    reconcile_top_up(top_up.pk)
    return Done()


def on_payment_intent(event: StripeEvent) -> Outcome:
    return _of_payment(read_payment(event.object_id))


def on_charge(event: StripeEvent) -> Outcome:
    """`charge.…`: how it was paid, and what Stripe kept of it, which may be known later."""
    intent_id = payment_of_charge(event.object_id)
    return _of_payment(read_payment(intent_id)) if intent_id else Ignored("a charge without a payment intent")


def on_payment_method(event: StripeEvent) -> Outcome:
    keep_card(read_card(event.object_id))
    return Done()


def on_setup_intent(event: StripeEvent) -> Outcome:
    card = read_setup_card(event.object_id)
    if card is None or keep_card(card) is None:
        return Ignored("no card of a customer here")
    return Done()


def give_up_payment(event: StripeEvent) -> Outcome:
    """Nobody here has asked for this payment, and nobody will: it goes to suspense."""
    if event.type.startswith("checkout.session."):
        intent_id = read_session(event.object_id).payment_intent_id
    elif event.type.startswith("charge."):
        intent_id = payment_of_charge(event.object_id)
    else:
        intent_id = event.object_id
    if intent_id is not None:
        book_payment(read_payment(intent_id))
    return Refused("nobody's payment")


_NOBODY = "00000000-0000-0000-0000-000000000000"


def _of_payment(facts: PaymentFacts) -> Outcome:
    top_up = TopUp.across_all_organizations.filter(pk=facts.top_up_id or _NOBODY).first()
    if top_up is None:
        return NotYet("no such top-up here") if facts.has_succeeded else Ignored("nobody's attempt to pay")
    if not facts.has_succeeded:
        reconcile_top_up(top_up.pk)
        return Done()
    if book_payment(facts) is not None:
        return Done()
    kept = UnmatchedPayment.objects.get(payment_intent_id=facts.payment_intent_id)
    return Refused(f"in suspense: {kept.reason}")
