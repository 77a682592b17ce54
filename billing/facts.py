"""What Stripe says of money that goes out again, as our own services take it. Pure: amounts in cents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.payment_facts import BalanceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFacts:
    """`our_id`: the row whose request it answers, as we wrote on it; None where somebody else made it."""

    stripe_id: str
    payment_intent_id: str
    amount: int
    currency: str
    status: str
    our_id: int | None = None
    failure_reason: str = ""
    paid: BalanceFacts | None = None
    returned: BalanceFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeFacts:
    """`moves` in the order in which they happened."""

    dispute_id: str
    payment_intent_id: str
    amount: int
    currency: str
    status: str
    reason: str
    opened_at: datetime
    evidence_due_at: datetime | None = None
    moves: Sequence[BalanceFacts] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningFacts:
    """An early fraud warning."""

    warning_id: str
    payment_intent_id: str
    fraud_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutFacts:
    """Money on its way to the bank (`moved` has it negative), and back where the bank refused it."""

    payout_id: str
    status: str
    moved: BalanceFacts | None = None
    returned: BalanceFacts | None = None
