"""Webhooks as Stripe sends them, without the network between."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from django.test import Client
from stripe import WebhookSignature

from billing.models import StripeEvent, StripeEventState, TopUp
from billing.stripe.inbox import process_event
from billing.top_ups import payment_page, start_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.money import Payer

WEBHOOK = "/stripe/webhook"


class Post:
    """Brings the double's events to the webhook, and has them looked at as the worker does."""

    def __init__(self, stripe: StripeDouble, client: Client) -> None:
        self.stripe = stripe
        self.client = client
        self.brought: set[str] = set()

    def waiting(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.stripe.state().get("event", [])
        return [event for event in events if event["id"] not in self.brought]

    def bring(self, *, only: Iterable[str] | None = None) -> list[StripeEvent]:
        """Everything that is new, or of the types in `only`; then nothing new is left."""
        new = self.waiting()
        for event in new:
            self.brought.add(event["id"])
            if only is None or event["type"] in only:
                assert self.send(event) == 200
        return self.look()

    def send(self, event: dict[str, Any], *, secret: str | None = None) -> int:
        body = json.dumps(event)
        signature = WebhookSignature.generate_signature_header(body, secret or self.stripe.secret)
        return self.send_bytes(body.encode(), signature)

    def send_bytes(self, body: bytes, signature: str) -> int:
        return self.client.post(
            WEBHOOK, body, content_type="application/json", headers={"Stripe-Signature": signature}
        ).status_code

    def look(self) -> list[StripeEvent]:
        """All that wait, whatever their next try is; returns every event there is."""
        for pk in StripeEvent.objects.filter(state=StripeEventState.WAITING).values_list("pk", flat=True):
            process_event(pk)
        return list(StripeEvent.objects.order_by("pk"))


def open_page(payer: Payer, amount_minor: int = 20_00, **values: Any) -> TopUp:
    """A top-up whose payment page is open."""
    top_up = start_top_up(
        organization=payer.organization, amount_minor=amount_minor, attempt_key=uuid4().hex, **values
    )
    payment_page(top_up)
    return fresh(top_up)


def fresh(top_up: TopUp) -> TopUp:
    found: TopUp = TopUp.across_all_organizations.get(pk=top_up.pk)
    return found


def session_of(top_up: TopUp) -> str:
    assert top_up.session_id is not None
    return top_up.session_id
