"""Charging a card that its owner left for it, while nobody is there to be asked."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils.translation import gettext as _

from billing.models import OPERATOR_BOOKS
from billing.payment_facts import SCOPE, TOP_UP_ID
from billing.stripe.checkout import TAX_CODE
from billing.stripe.client import StripeRefused, asking_stripe, stripe_client
from billing.stripe.reading import top_up_of

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams

LISTED = 100
# Stripe's word where it cannot tell the tax: nobody has entered an address on a payment page yet.
NO_TAX_LOCATION = "customer_tax_location_invalid"


@dataclass(frozen=True, kw_only=True)
class CardCharge:
    """`amount` in cents, tax included; `tax_calculation_id`: what Stripe Tax worked it out in, if it did."""

    top_up_id: UUID
    customer_id: str
    payment_method_id: str
    currency: str
    amount: int
    tax_calculation_id: str = ""


@dataclass(frozen=True, kw_only=True)
class TaxCalculation:
    """What Stripe Tax puts on top, in cents."""

    calculation_id: str
    tax: int


def calculate_tax(*, top_up_id: UUID, customer_id: str, currency: str, amount: int) -> TaxCalculation:
    """On `amount` cents of credit, where the customer is by the address that payment pages asked for.

    Nothing is charged or reported by it; a charge that names it reports it to Stripe Tax.
    Raises StripeUnknown; StripeRefused with NO_TAX_LOCATION as its word, among others.
    """
    with asking_stripe():
        made = stripe_client().v1.tax.calculations.create(
            {
                "currency": currency.lower(),
                "customer": customer_id,
                "line_items": [
                    {
                        "amount": amount,
                        "reference": str(top_up_id),
                        "tax_behavior": "exclusive",
                        "tax_code": TAX_CODE,
                    }
                ],
            }
        )
    return TaxCalculation(calculation_id=made.id or "", tax=made.tax_amount_exclusive)


def charge_card(charge: CardCharge) -> str:
    """The payment intent; again, the same one. What became of it is read afterwards.

    Raises CardDeclined, StripeUnknown (it may have been charged), StripeRefused.
    """
    with asking_stripe():
        intent = stripe_client().v1.payment_intents.create(
            _params(charge), {"idempotency_key": f"recharge-{charge.top_up_id}"}
        )
        return intent.id


def _params(charge: CardCharge) -> "PaymentIntentCreateParams":
    params: PaymentIntentCreateParams = {
        "amount": charge.amount,
        "currency": charge.currency.lower(),
        "customer": charge.customer_id,
        "payment_method": charge.payment_method_id,
        "off_session": True,
        "confirm": True,
        "description": _("API credit, auto-recharge"),
        "metadata": {TOP_UP_ID: str(charge.top_up_id), SCOPE: OPERATOR_BOOKS},
    }
    if charge.tax_calculation_id:
        params["hooks"] = {"inputs": {"tax": {"calculation": charge.tax_calculation_id}}}
    return params


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
