"""Payment pages at Stripe: opened for a top-up, read again, closed when nobody should pay there any more."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from billing.models import OPERATOR_BOOKS
from billing.payment_facts import SCOPE, TOP_UP_ID, SessionFacts
from billing.stripe.client import StripeRefused, asking_stripe, stripe_client
from billing.stripe.reading import id_of, moment_of, top_up_of

if TYPE_CHECKING:
    import stripe
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsLineItem

LOCALES = {"en": "en", "zh-hans": "zh"}
# For Stripe Tax: services delivered electronically, as Stripe numbers them.
TAX_CODE = "txcd_10000000"
LISTED = 100


@dataclass(frozen=True, kw_only=True)
class PageOrder:
    """What a payment page sells: `amount` cents of credit, tax on top. It ends at `expires_at`."""

    top_up_id: UUID
    customer_id: str
    currency: str
    amount: int
    expires_at: datetime
    success_url: str
    cancel_url: str
    save_card: bool
    three_d_secure: bool
    taxed_by_stripe: bool = False
    tax_rate_id: str = ""


def open_session(order: PageOrder, *, number: int = 1) -> SessionFacts:
    """Once for each top-up and number: again, Stripe answers with the same page.

    Raises StripeUnknown, StripeRefused; StripeKeyReused where it was opened before in other words.
    """
    with asking_stripe():
        session = stripe_client().v1.checkout.sessions.create(
            _params(order), {"idempotency_key": f"topup-{order.top_up_id}-cs-{number}"}
        )
        return session_facts(session)


def read_session(session_id: str) -> SessionFacts:
    """Raises StripeUnknown, StripeMissing, StripeRefused."""
    with asking_stripe():
        return session_facts(stripe_client().v1.checkout.sessions.retrieve(session_id))


def page_of_payment(payment_intent_id: str) -> SessionFacts | None:
    """Where a payment was made; None where it was on no page."""
    with asking_stripe():
        found = stripe_client().v1.checkout.sessions.list({"payment_intent": payment_intent_id, "limit": 1})
        return session_facts(found.data[0]) if found.data else None


def find_session(*, customer_id: str, top_up_id: UUID, since: datetime) -> SessionFacts | None:
    """The page of a top-up whose making was never answered."""
    with asking_stripe():
        listed = stripe_client().v1.checkout.sessions.list(
            {"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": LISTED}
        )
        for session in listed.auto_paging_iter():
            if top_up_of(session) == top_up_id:
                return session_facts(session)
    return None


def expire_session(session_id: str) -> None:
    """Nobody can pay there any more. One that has ended stays as it ended. Raises StripeUnknown."""
    try:
        with asking_stripe():
            stripe_client().v1.checkout.sessions.expire(session_id)
    except StripeRefused:
        return  # it is paid, or has expired


def session_facts(session: "stripe.checkout.Session") -> SessionFacts:
    totals = session.total_details
    return SessionFacts(
        session_id=session.id,
        url=session.url or "",
        status=session.status or "",
        payment_status=session.payment_status,
        payment_intent_id=id_of(session.payment_intent),
        customer_id=id_of(session.customer),
        top_up_id=top_up_of(session),
        currency=(session.currency or "").upper(),
        subtotal=session.amount_subtotal or 0,
        tax=totals.amount_tax if totals is not None else 0,
        total=session.amount_total or 0,
        livemode=session.livemode,
        expires_at=moment_of(session.expires_at),
    )


def _params(order: PageOrder) -> "SessionCreateParams":
    metadata = {TOP_UP_ID: str(order.top_up_id), SCOPE: OPERATOR_BOOKS}
    asks = "any" if order.three_d_secure else "automatic"
    return {
        "mode": "payment",
        "customer": order.customer_id,
        "client_reference_id": str(order.top_up_id),
        "line_items": [_line(order)],
        "metadata": metadata,
        "payment_intent_data": {
            "metadata": metadata,
            "description": _("API credit"),
            **({"setup_future_usage": "off_session"} if order.save_card else {}),
        },
        "payment_method_options": {"card": {"request_three_d_secure": asks}},
        "automatic_tax": {"enabled": order.taxed_by_stripe},
        "tax_id_collection": {"enabled": order.taxed_by_stripe},
        "customer_update": {"address": "auto", "name": "auto"},
        "adaptive_pricing": {"enabled": False},  # what arrives must be what was sold, in our currency
        "invoice_creation": {"enabled": False},
        "expires_at": int(order.expires_at.timestamp()),
        "submit_type": "pay",
        "custom_text": {
            "submit": {"message": _("The amount before tax becomes credit, as a rule within seconds.")}
        },
        "locale": LOCALES.get(get_language() or "", "auto"),
        "success_url": order.success_url,
        "cancel_url": order.cancel_url,
    }


def _line(order: PageOrder) -> "SessionCreateParamsLineItem":
    return {
        "quantity": 1,
        "price_data": {
            "currency": order.currency.lower(),
            "unit_amount": order.amount,
            "tax_behavior": "exclusive",
            "product_data": {"name": _("API credit"), "tax_code": TAX_CODE},
        },
        **({"tax_rates": [order.tax_rate_id]} if order.tax_rate_id else {}),
    }
