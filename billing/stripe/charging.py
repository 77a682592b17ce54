"""Charging a card that its owner left for it, while nobody is there to be asked."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _

from billing.models import OPERATOR_BOOKS
from billing.payment_facts import SCOPE, TOP_UP_ID
from billing.stripe.client import StripeRefused, asking_stripe, stripe_client
from billing.stripe.reading import top_up_of

LISTED = 100


@dataclass(frozen=True, kw_only=True)
class CardCharge:
    """`amount` in cents, tax included."""

    top_up_id: UUID
    customer_id: str
    payment_method_id: str
    currency: str
    amount: int


def charge_card(charge: CardCharge) -> str:
    """The payment intent; again, the same one. What became of it is read afterwards.

    Raises CardDeclined, StripeUnknown (it may have been charged), StripeRefused.
    """
    with asking_stripe():
        intent = stripe_client().v1.payment_intents.create(
            {
                "amount": charge.amount,
                "currency": charge.currency.lower(),
                "customer": charge.customer_id,
                "payment_method": charge.payment_method_id,
                "off_session": True,
                "confirm": True,
                "description": _("API credit, auto-recharge"),
                "metadata": {TOP_UP_ID: str(charge.top_up_id), SCOPE: OPERATOR_BOOKS},
            },
            {"idempotency_key": f"recharge-{charge.top_up_id}"},
        )
        return intent.id


def find_charge(*, customer_id: str, top_up_id: UUID, since: datetime) -> str | None:
    """The payment intent of an attempt whose answer was lost. Raises StripeUnknown, StripeRefused."""
    with asking_stripe():
        listed = stripe_client().v1.payment_intents.list(
            {"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": LISTED}
        )
        for intent in listed.auto_paging_iter():
            if top_up_of(intent) == top_up_id:
                return intent.id
    return None


def cancel_charge(payment_intent_id: str) -> None:
    """It can never succeed any more; one that has, stays. Raises StripeUnknown."""
    try:
        with asking_stripe():
            stripe_client().v1.payment_intents.cancel(payment_intent_id)
    except StripeRefused:
        return  # it has ended


def forget_card(payment_method_id: str) -> None:
    """Stripe keeps it no longer; one that is gone already stays gone. Raises StripeUnknown."""
    try:
        with asking_stripe():
            stripe_client().v1.payment_methods.detach(payment_method_id)
    except StripeRefused:
        return
