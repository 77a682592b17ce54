"""Card payments that came in without asking Stripe, and what Stripe would say of money going out again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from billing.booking import book_payment
from billing.disputes import book_dispute
from billing.facts import DisputeFacts, RefundFacts
from billing.models import RechargeRule, SavedCard, StripeCustomer, TopUp, TopUpOrigin
from billing.payment_facts import BalanceFacts, PaymentFacts
from common.money import NANO_PER_MINOR
from tests.factories.money import Payer

CENT = NANO_PER_MINOR
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def top_up_paid(payer: Payer, cents: int = 100_00, *, tax: int = 0, held: bool = False) -> TopUp:
    """A saved card was charged; `held`: large enough to wait."""
    organization = payer.organization
    customer, _ = StripeCustomer.objects.get_or_create(
        organization=organization, defaults={"customer_id": f"cus_{uuid4().hex}"}
    )
    top_up: TopUp = TopUp.across_all_organizations.create(
        organization=organization,
        origin=TopUpOrigin.RECHARGE,
        attempt_key=uuid4().hex,
        amount_minor=cents,
        tax_minor=tax,
        payment_intent_id=f"pi_{uuid4().hex}",
    )
    facts = PaymentFacts(
        payment_intent_id=top_up.payment_intent_id or "",
        status="succeeded",
        top_up_id=top_up.pk,
        customer_id=customer.customer_id,
        currency="USD",
        amount=cents + tax,
        livemode=False,
        charge_id=f"ch_{uuid4().hex}",
    )
    paid = book_payment(facts)
    assert paid is not None
    assert paid.is_held == held
    return paid


def line(amount: int, *, fee: int = 0, at: datetime = NOW) -> BalanceFacts:
    return BalanceFacts(
        transaction_id=f"txn_{uuid4().hex}",
        type="adjustment",
        source_id="",
        currency="USD",
        amount=amount,
        fee=fee,
        happened_at=at,
    )


def refund_facts(top_up: TopUp, cents: int, **changes: Any) -> RefundFacts:
    """As of one made in the dashboard that has succeeded."""
    values = {
        "stripe_id": f"re_{uuid4().hex}",
        "payment_intent_id": top_up.payment_intent_id,
        "amount": cents,
        "currency": "USD",
        "status": "succeeded",
        "paid": line(-cents),
        **changes,
    }
    return RefundFacts(**values)


def dispute_facts(top_up: TopUp, cents: int, **changes: Any) -> DisputeFacts:
    """As of one whose money was just withdrawn."""
    values = {
        "dispute_id": f"dp_{uuid4().hex}",
        "payment_intent_id": top_up.payment_intent_id,
        "amount": cents,
        "currency": "USD",
        "status": "needs_response",
        "reason": "product_not_received",
        "opened_at": timezone.now(),
        "evidence_due_at": timezone.now() + timedelta(days=7),
        "moves": [line(-cents, fee=15_00)],
        **changes,
    }
    return DisputeFacts(**values)


def open_dispute(payer: Payer, cents: int = 100_00, **changes: Any) -> tuple[TopUp, DisputeFacts]:
    top_up = top_up_paid(payer, cents)
    facts = dispute_facts(top_up, cents, **changes)
    book_dispute(facts)
    return top_up, facts


def won(facts: DisputeFacts, cents: int = 100_00) -> DisputeFacts:
    back = line(cents, at=NOW + timedelta(days=30))
    return replace(facts, status="won", moves=[*facts.moves, back])


def lost(facts: DisputeFacts) -> DisputeFacts:
    return replace(facts, status="lost")


def recharges(payer: Payer) -> None:
    card = SavedCard.across_all_organizations.create(
        organization=payer.organization, payment_method_id=uuid4().hex
    )
    RechargeRule.across_all_organizations.create(
        organization=payer.organization,
        is_on=True,
        card=card,
        threshold_minor=5_00,
        target_minor=20_00,
        most_per_charge_minor=50_00,
        most_per_day_minor=50_00,
        most_per_month_minor=50_00,
    )
