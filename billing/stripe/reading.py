"""Stripe's objects into plain values: they are no dictionaries, and what is expandable may be an id."""

from datetime import UTC, datetime
from typing import Any

import stripe

from billing.payment_facts import BalanceFacts, CardFacts, top_up_named


def id_of(value: Any) -> str | None:
    """Of what is expandable: an id, an object, or nothing."""
    return value if value is None or isinstance(value, str) else str(value.id)


def moment_of(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def metadata_of(thing: Any) -> dict[str, str]:
    metadata = getattr(thing, "metadata", None)
    return {str(name): str(value) for name, value in (metadata.to_dict() if metadata else {}).items()}


def top_up_of(thing: Any) -> Any:
    return top_up_named(metadata_of(thing))


def balance_facts(line: stripe.BalanceTransaction) -> BalanceFacts:
    return BalanceFacts(
        transaction_id=line.id,
        type=line.type,
        source_id=id_of(line.source) or "",
        currency=line.currency.upper(),
        amount=line.amount,
        fee=line.fee,
        happened_at=moment_of(line.created),
    )


def card_of_charge(charge: stripe.Charge) -> CardFacts | None:
    """How a charge was paid; None where Stripe does not say."""
    details = charge.payment_method_details
    if details is None:
        return None
    return _card(
        details.type,
        getattr(details, "card", None),
        payment_method_id=charge.payment_method or "",
        customer_id=id_of(charge.customer),
    )


def card_of_method(method: stripe.PaymentMethod) -> CardFacts:
    return _card(
        method.type,
        getattr(method, "card", None),
        payment_method_id=method.id,
        customer_id=id_of(method.customer),
    )


def _card(kind: str, card: Any, *, payment_method_id: str, customer_id: str | None) -> CardFacts:
    return CardFacts(
        payment_method_id=payment_method_id,
        customer_id=customer_id,
        brand=getattr(card, "brand", None) or kind,
        last4=getattr(card, "last4", None) or "",
        expires_month=getattr(card, "exp_month", None),
        expires_year=getattr(card, "exp_year", None),
        fingerprint=getattr(card, "fingerprint", None) or "",
        is_card=card is not None,
    )
