"""Who pays accepts the reseller's terms of use; when, from where and in which version is on record."""

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Role, User
from billing.disputes import book_dispute
from billing.evidence import evidence_of
from billing.models import PaymentTerms, TopUp
from billing.top_ups import reconcile_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.at_stripe import stripe_at
from tests.factories.money import Payer, make_payer
from tests.factories.payments import dispute_facts

pytestmark = pytest.mark.django_db
WHERE, VERSION = "https://shop.example.com/terms?a=1&b=2", "2026-11"


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeDouble]:
    with stripe_at(settings) as double:
        yield double


@pytest.fixture
def payer() -> Payer:
    return make_payer()


@pytest.fixture
def terms(payer: Payer) -> PaymentTerms:
    return PaymentTerms.objects.create(
        reseller=payer.organization.reseller, terms_url=WHERE, terms_version=VERSION
    )


@pytest.fixture
def member(client: Client, payer: Payer, stripe: StripeDouble) -> Client:
    user = User.objects.create_user("payer@example.com")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    Membership.across_all_organizations.create(organization=payer.organization, user=user, role=Role.BILLING)
    client.force_login(user)
    return client


def start(member: Client, **answers: Any) -> str:
    response = member.post(reverse("start_top_up"), {"attempt_key": "k", "preset": "2500", **answers})
    return "" if response.status_code == 302 else response.content.decode()


def only_top_up() -> TopUp:
    found: TopUp = TopUp.across_all_organizations.get()
    return found


@pytest.mark.usefixtures("terms")
class TestAccepting:
    def test_the_form_links_to_them_and_nothing_is_ticked(self, member: Client) -> None:
        page = member.get(reverse("top_ups")).content.decode()
        assert 'href="https://shop.example.com/terms?a=1&amp;b=2"' in page
        box = page.split('name="accepts_terms"')[1].split(">")[0]
        assert f'value="{VERSION}"' in box
        assert "checked" not in box

    def test_without_it_no_payment_begins(self, member: Client) -> None:
        assert "Accept the terms of use" in start(member)
        assert not TopUp.across_all_organizations.exists()

    def test_the_version_is_kept_with_the_payment(self, member: Client) -> None:
        assert start(member, accepts_terms=VERSION) == ""
        row = only_top_up()
        assert (row.terms_url, row.terms_version, row.requested_ip) == (WHERE, VERSION, "127.0.0.1")

    def test_another_version_than_that_of_now_is_read_again(
        self, member: Client, terms: PaymentTerms
    ) -> None:
        PaymentTerms.objects.filter(pk=terms.pk).update(terms_version="2027-01")
        page = start(member, accepts_terms=VERSION)
        assert "have changed" in page
        assert "checked" not in page.split('name="accepts_terms"')[1].split(">")[0]
        assert not TopUp.across_all_organizations.exists()

    def test_it_is_evidence(self, member: Client, stripe: StripeDouble) -> None:
        start(member, accepts_terms=VERSION)
        stripe.pay(only_top_up().session_id or "")
        dispute = book_dispute(dispute_facts(reconcile_top_up(only_top_up().pk), 25_00))
        assert dispute is not None
        [accepted] = evidence_of(dispute)["terms_accepted"]
        assert accepted["at"] is not None
        assert {**accepted, "at": ""} == {
            "at": "",
            "version": VERSION,
            "terms": WHERE,
            "by": "payer@example.com",
            "from": "127.0.0.1",
        }


def test_without_any_nobody_is_asked(member: Client) -> None:
    assert "accepts_terms" not in member.get(reverse("top_ups")).content.decode()
    assert start(member, accepts_terms="made up") == ""
    assert only_top_up().terms_version == ""


def test_terms_without_a_version_are_none(terms: PaymentTerms) -> None:
    terms.terms_version = ""
    with pytest.raises(IntegrityError):
        terms.save()
