"""Money that nobody had asked for: operators credit it to whom it belongs, once."""

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Organization, User
from billing.models import UnmatchedPayment, Wallet
from billing.payment_facts import PaymentFacts
from billing.unmatched import put_in_suspense
from tests.factories.credit import assert_money_adds_up

CENT = 10**7


@pytest.fixture
def stray(db: None) -> UnmatchedPayment:
    return put_in_suspense(
        PaymentFacts(
            payment_intent_id="pi_stray",
            status="succeeded",
            top_up_id=None,
            customer_id=None,
            currency="USD",
            amount=15_00,
            livemode=False,
        ),
        "It names no top-up of ours.",
    )


def page_of(stray: UnmatchedPayment) -> str:
    return reverse("admin:billing_unmatchedpayment_credit", args=[stray.pk])


def fill_in(admin: Client, stray: UnmatchedPayment, organization: Organization, **values: str) -> Any:
    typed = {"form_id": str(uuid4()), "organization": str(organization.pk), "reason": "Showed the receipt"}
    return admin.post(page_of(stray), {**typed, **values}, follow=True)


def test_it_becomes_the_customers_credit(
    admin: Client, operator: User, stray: UnmatchedPayment, organization: Organization
) -> None:
    fill_in(admin, stray, organization, tax="3.00")
    stray.refresh_from_db()
    assert stray.settled_at is not None
    assert Wallet.objects.get(pk=organization.pk).posted == 12_00 * CENT
    assert AuditEvent.objects.get(action="adjustment.posted").actor == operator
    assert_money_adds_up()


def test_a_second_form_credits_nobody(
    admin: Client, stray: UnmatchedPayment, organization: Organization
) -> None:
    for _ in range(2):
        fill_in(admin, stray, organization)
    assert Wallet.objects.get(pk=organization.pk).posted == 15_00 * CENT


def test_over_the_limit_it_waits_for_a_second_operator(
    admin: Client, stray: UnmatchedPayment, organization: Organization, settings: Any
) -> None:
    settings.SECOND_OPERATOR_OVER_NANO = 10_00 * CENT
    page = fill_in(admin, stray, organization)
    assert "second operator" in page.content.decode()
    assert Wallet.objects.get(pk=organization.pk).posted == 0


def test_it_needs_a_reason(admin: Client, stray: UnmatchedPayment, organization: Organization) -> None:
    fill_in(admin, stray, organization, reason="")
    assert Wallet.objects.get(pk=organization.pk).posted == 0


def test_a_look_at_the_page_changes_nothing(admin: Client, stray: UnmatchedPayment) -> None:
    assert "pi_stray" in admin.get(page_of(stray)).content.decode()
    stray.refresh_from_db()
    assert stray.settled_at is None
