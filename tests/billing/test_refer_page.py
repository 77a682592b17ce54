"""The page with a customer's referral link: what it promises, what it lists, and when it is there."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import Role
from billing.models import Campaign, CampaignKind
from billing.referrals import pay_referral, referral_code
from tests.billing.test_credit_page import sign_in
from tests.billing.test_referrals import bring
from tests.factories.campaigns import make_campaign
from tests.factories.money import Payer, make_payer
from tests.factories.top_ups import paid_top_up

DOLLAR = 10**9

pytestmark = pytest.mark.django_db


@pytest.fixture
def payer() -> Payer:
    return make_payer()


@pytest.fixture
def member(client: Client, payer: Payer) -> Client:
    return sign_in(client, payer, Role.VIEWER)


def bonus(**values: Any) -> Campaign:
    facts = {"amount_nano": 5 * DOLLAR, "referrer_nano": 10 * DOLLAR, **values}
    return make_campaign(CampaignKind.REFERRAL, **facts)


def page(client: Client) -> str:
    return " ".join(strip_tags(client.get(reverse("refer")).content.decode()).split())


def test_without_a_campaign_there_is_no_page_and_no_way_to_it(member: Client) -> None:
    assert member.get(reverse("refer")).status_code == 404
    assert reverse("refer") not in member.get(reverse("credit")).content.decode()


def test_a_campaign_of_another_reseller_or_one_that_is_spent_is_none(member: Client) -> None:
    bonus(budget_nano=14 * DOLLAR)
    assert member.get(reverse("refer")).status_code == 404


def test_the_link_leads_to_sign_up_with_the_code(member: Client, payer: Payer) -> None:
    bonus()
    assert f"/accounts/signup/?ref={referral_code(payer.organization)}" in page(member)
    assert f'href="{reverse("refer")}"' in member.get(reverse("credit")).content.decode()


def test_it_says_what_it_gives_and_when(member: Client) -> None:
    bonus(least_top_up_minor=20_00, credit_days=30, most_per_referrer=3)
    text = page(member)
    assert "gets $5.00 of credit, and you get $10.00" in text
    assert "first top-up of at least $20.00" in text
    assert "up to 3 customers" in text
    assert "lasts 30 days" in text


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ({"amount_nano": 0}, "You get $10.00 of credit for everybody"),
        ({"referrer_nano": 0}, "through your link gets $5.00 of credit."),
    ],
)
def test_a_bonus_for_one_side_only_is_said_so(member: Client, amounts: dict[str, int], words: str) -> None:
    bonus(**amounts)
    assert words in page(member)


def test_an_end_is_said(member: Client) -> None:
    bonus(ends_at=timezone.now() + timedelta(days=3))
    assert "This offer ends on" in page(member)


def test_referrals_are_listed_without_saying_who(member: Client, payer: Payer) -> None:
    bonus()
    paid = bring(payer, "paid@secret.example")
    bring(payer, "waiting@secret.example")
    bring(payer, payer.organization.members.earliest("pk").email.replace("@", "+x@"))
    paid_top_up(paid)
    pay_referral(organization_id=paid.organization.pk)
    text = page(member)
    assert text.count("Credited") == text.count("Waiting for the first top-up") == 1
    assert text.count("Gave no credit") == 1
    assert "$10.00 so far" in text
    assert "secret.example" not in text


def test_other_customers_referrals_are_not_listed(member: Client) -> None:
    bonus()
    bring(make_payer())
    assert "Nobody yet" in page(member)
