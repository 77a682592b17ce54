"""Payments at the Stripe double by customers of ours, and its events as they reach the inbox."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from django.utils import timezone

from billing.ledger import Account
from billing.models import StripeCustomer, StripeEvent, TopUp, TopUpOrigin
from billing.payment_facts import TOP_UP_ID
from billing.stripe.client import stripe_client
from billing.stripe.inbox import HANDLERS, process_event, store_event
from billing.top_ups import reconcile_top_up
from common.money import NANO_PER_MINOR
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import balance
from tests.factories.money import Payer


@contextmanager
def stripe_at(settings: Any, *, seed: int = 0) -> Iterator[StripeDouble]:
    """The double, and settings that point at it."""
    with StripeDouble(seed=seed) as double:
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = double.api_key, double.url
        yield double


def charged(stripe: StripeDouble, payer: Payer, cents: int = 100_00, *, tax: int = 0) -> TopUp:
    """A top-up that is paid at Stripe; nobody here has heard of it yet."""
    organization = payer.organization
    customer, is_new = StripeCustomer.objects.get_or_create(
        organization=organization, defaults={"customer_id": uuid4().hex}
    )
    if is_new:
        customer.customer_id = stripe_client().v1.customers.create({"name": "Payer"}).id
        customer.save(update_fields=["customer_id"])
    top_up: TopUp = TopUp.across_all_organizations.create(
        organization=organization,
        origin=TopUpOrigin.RECHARGE,
        state="failed",  # one recharge is under way at a time; money that comes after all counts
        attempt_key=uuid4().hex,
        amount_minor=cents,
        tax_minor=tax,
    )
    intent = stripe.control(
        "stray_payment",
        amount=cents + tax,
        customer=customer.customer_id,
        metadata={TOP_UP_ID: str(top_up.pk)},
    )
    TopUp.across_all_organizations.filter(pk=top_up.pk).update(payment_intent_id=intent["id"])
    top_up.refresh_from_db()
    return top_up


def paid_at(stripe: StripeDouble, payer: Payer, cents: int = 100_00, *, tax: int = 0) -> TopUp:
    return reconcile_top_up(charged(stripe, payer, cents, tax=tax).pk)


def hear(stripe: StripeDouble, *, seed: int | None = None, times: int = 2) -> list[StripeEvent]:
    """Every event so far reaches us `times` over, mixed by `seed`; returns those that were not placed."""
    events = [event for event in stripe.state().get("event", []) if event["type"] in HANDLERS]
    if seed is not None:
        random.Random(seed).shuffle(events)
    for event in events * times:
        store_event(event, came_by="test")
        row = StripeEvent.objects.get(event_id=event["id"])
        StripeEvent.objects.filter(pk=row.pk).update(
            state="waiting", next_try_at=timezone.now(), ended_at=None
        )
        process_event(row.pk)
    return list(StripeEvent.objects.exclude(state__in=["done", "ignored"]))


def clearing_differs(stripe: StripeDouble) -> int:
    """Nano-units between our account at Stripe and what Stripe says it holds."""
    held: int = stripe.state()["balance"]
    return balance(Account.STRIPE_CLEARING) - held * NANO_PER_MINOR
