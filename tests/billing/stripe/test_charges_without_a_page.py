"""Payments that somebody here started without a page: booked the same way, ended by who started them."""

from uuid import uuid4

import pytest

from billing.models import TopUp, UnmatchedPayment
from billing.stripe.catch_up import reconcile_top_ups_under_way
from billing.stripe.client import stripe_client
from billing.stripe.customers import customer_of
from billing.top_ups import reconcile_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up
from tests.factories.money import Payer
from tests.factories.stripe import Post, fresh

pytestmark = pytest.mark.django_db

CENT = 10**7


@pytest.fixture
def attempt(stripe: StripeDouble, payer: Payer) -> TopUp:
    row: TopUp = TopUp.across_all_organizations.create(
        organization=payer.organization,
        origin="recharge",
        attempt_key=uuid4().hex,
        amount_minor=20_00,
        tax_minor=3_80,
    )
    return row


def charge(stripe: StripeDouble, attempt: TopUp, cents: int) -> str:
    customer = customer_of(attempt.organization)
    made = stripe.control(
        "stray_payment", amount=cents, customer=customer, metadata={"topup_id": str(attempt.pk)}
    )
    return str(made["id"])


def test_what_was_charged_with_tax_is_credit_without_it(
    stripe: StripeDouble, payer: Payer, attempt: TopUp, post: Post
) -> None:
    intent = charge(stripe, attempt, 23_80)
    post.bring()
    attempt = fresh(attempt)
    assert (attempt.state, attempt.payment_intent_id) == ("paid", intent)
    assert payer.wallet.posted == 2000 * CENT
    assert_money_adds_up()


def test_what_was_charged_and_not_asked_for_is_no_credit(
    stripe: StripeDouble, payer: Payer, attempt: TopUp, post: Post
) -> None:
    charge(stripe, attempt, 20_00)
    post.bring()
    assert (fresh(attempt).state, payer.wallet.posted) == ("created", 0)
    assert UnmatchedPayment.objects.count() == 1


def test_an_attempt_that_was_called_off_says_why_and_is_ended_by_who_made_it(
    stripe: StripeDouble, attempt: TopUp, post: Post
) -> None:
    made = stripe_client().v1.payment_intents.create(
        {
            "amount": 23_80,
            "currency": "usd",
            "customer": customer_of(attempt.organization),
            "metadata": {"topup_id": str(attempt.pk)},
        }
    )
    TopUp.across_all_organizations.filter(pk=attempt.pk).update(payment_intent_id=made.id)
    stripe_client().v1.payment_intents.cancel(made.id)
    post.bring()
    reconcile_top_up(attempt.pk)
    attempt = fresh(attempt)
    assert (attempt.state, attempt.failure_code) == ("created", "canceled")


def test_the_sweep_of_pages_leaves_it_alone(stripe: StripeDouble, attempt: TopUp) -> None:
    TopUp.across_all_organizations.filter(pk=attempt.pk).update(created_at="2026-01-01T00:00:00Z")
    assert reconcile_top_ups_under_way() == 0
