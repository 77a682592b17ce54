"""What Stripe says of money on its way in, as our own services take it. Pure: amounts in cents."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

TOP_UP_ID = "topup_id"
SCOPE = "scope"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceFacts:
    """A line of Stripe's own book of our money; `amount` is signed as there, `fee` is what Stripe keeps."""

    transaction_id: str
    type: str
    source_id: str
    currency: str
    amount: int
    fee: int
    happened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """A payment method. `brand` is the kind where it is no card."""

    payment_method_id: str
    customer_id: str | None
    brand: str
    last4: str
    expires_month: int | None
    expires_year: int | None
    fingerprint: str
    is_card: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """A Checkout session. `subtotal` is the credit that was sold, `tax` came on top of it."""

    session_id: str
    url: str
    status: str
    payment_status: str
    payment_intent_id: str | None
    customer_id: str | None
    top_up_id: UUID | None
    currency: str
    subtotal: int
    tax: int
    total: int
    livemode: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFacts:
    """A payment intent with its newest charge and, where it was paid on a payment page, that session."""

    payment_intent_id: str
    status: str
    top_up_id: UUID | None
    customer_id: str | None
    currency: str
    amount: int
    livemode: bool
    session: SessionFacts | None = None
    charge_id: str | None = None
    paid_at: datetime | None = None
    receipt_url: str = ""
    card: CardFacts | None = None
    balance: BalanceFacts | None = None
    failure_code: str = ""

    @property
    def has_succeeded(self) -> bool:
        return self.status == "succeeded"


def top_up_named(metadata: Mapping[str, str]) -> UUID | None:
    """Our row, by what we wrote on the object; None where somebody else made it."""
    try:
        return UUID(metadata.get(TOP_UP_ID, ""))
    except ValueError:
        return None
