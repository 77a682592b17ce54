"""What became of a payment: a payment intent, its newest charge and the payment page it came from."""

from typing import Any

import stripe

from billing.payment_facts import BalanceFacts, CardFacts, PaymentFacts, SessionFacts
from billing.stripe.checkout import page_of_payment
from billing.stripe.client import asking_stripe, stripe_client
from billing.stripe.reading import (
    balance_facts,
    card_of_charge,
    card_of_method,
    id_of,
    moment_of,
    top_up_of,
)

EXPANDED = ["latest_charge.balance_transaction"]


def read_payment(payment_intent_id: str, *, page: SessionFacts | None = None) -> PaymentFacts:
    """`page`: where it was paid, if that was read already. Raises StripeUnknown, StripeRefused."""
    with asking_stripe():
        intent = stripe_client().v1.payment_intents.retrieve(payment_intent_id, {"expand": EXPANDED})
    charge: Any = intent.latest_charge
    return PaymentFacts(
        payment_intent_id=intent.id,
        status=intent.status,
        top_up_id=top_up_of(intent),
        customer_id=id_of(intent.customer),
        currency=intent.currency.upper(),
        amount=intent.amount_received,
        livemode=intent.livemode,
        session=page or page_of_payment(intent.id),
        failure_code=_failure_of(intent),
        **(_of_charge(charge) if charge is not None else {}),
    )


def read_balance(transaction_id: str) -> BalanceFacts:
    """Raises as `read_payment` does."""
    with asking_stripe():
        return balance_facts(stripe_client().v1.balance_transactions.retrieve(transaction_id))


def payment_of_charge(charge_id: str) -> str | None:
    """The payment intent behind a charge. Raises as `read_payment` does."""
    with asking_stripe():
        return id_of(stripe_client().v1.charges.retrieve(charge_id).payment_intent)


def read_card(payment_method_id: str) -> CardFacts:
    """Raises as `read_payment` does."""
    with asking_stripe():
        return card_of_method(stripe_client().v1.payment_methods.retrieve(payment_method_id))


def read_setup_card(setup_intent_id: str) -> CardFacts | None:
    """The card a customer left without paying. Raises as `read_payment` does."""
    with asking_stripe():
        intent = stripe_client().v1.setup_intents.retrieve(setup_intent_id)
    method_id = id_of(intent.payment_method)
    return read_card(method_id) if method_id else None


def _of_charge(charge: stripe.Charge) -> dict[str, Any]:
    line: Any = charge.balance_transaction
    return {
        "charge_id": charge.id,
        "paid_at": moment_of(charge.created) if charge.paid else None,
        "receipt_url": charge.receipt_url or "",
        "card": card_of_charge(charge),
        "balance": balance_facts(line) if line is not None else None,
    }


def _failure_of(intent: stripe.PaymentIntent) -> str:
    error = intent.last_payment_error
    if error is not None:
        return getattr(error, "decline_code", None) or getattr(error, "code", None) or ""
    return intent.cancellation_reason or ""
