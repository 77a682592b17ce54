"""The page of credit: what there is and until when, and redeeming a code."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Role, User
from accounts.services import ensure_house_reseller
from billing.corrections import correct_usage
from billing.freezing import freeze_wallet
from billing.models import LotKind, Voucher, VoucherMiss, Wallet
from billing.vouchers import MISSES_ALLOWED, VoucherTerms, create_voucher
from common.ids import public_id
from tests.factories.credit import arrive, spend
from tests.factories.money import Payer, make_payer, make_price

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def payer() -> Payer:
    return make_payer()


@pytest.fixture
def member(client: Client, payer: Payer) -> Client:
    return sign_in(client, payer, Role.BILLING)


def sign_in(client: Client, payer: Payer, role: Role) -> Client:
    user = User.objects.create_user(f"{role}@example.com")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    Membership.across_all_organizations.create(organization=payer.organization, user=user, role=role)
    client.force_login(user)
    return client


def make_voucher(**terms: Any) -> Voucher:
    values: dict[str, Any] = {"campaign": "launch", "amount_nano": 5 * DOLLAR, **terms}
    return create_voucher(terms=VoucherTerms(reseller=ensure_house_reseller(), **values), code="WELCOME")


def page(client: Client) -> str:
    return " ".join(client.get(reverse("credit")).content.decode().split())


def redeem(client: Client, code: str = "wel come") -> str:
    response = client.post(reverse("redeem_code"), {"code": code}, follow=True)
    return " ".join(response.content.decode().split())


def test_credit_is_listed_in_the_order_it_is_spent(member: Client, payer: Payer) -> None:
    arrive(payer, 20 * DOLLAR)
    arrive(payer, 7 * DOLLAR, LotKind.PROMOTIONAL, expires_at=timezone.now() + timedelta(days=3))
    text = page(member)
    assert text.index("$7.00") < text.index("$20.00")
    assert "never" in text


def test_charges_count_before_the_lots_show_them(member: Client, payer: Payer) -> None:
    arrive(payer, 20 * DOLLAR)
    spend(payer, 5 * DOLLAR, aggregated=False)
    text = page(member)
    assert "$15.00" in text
    assert "of $20.00" in text


def test_the_overview_says_what_expires_next(member: Client, payer: Payer) -> None:
    arrive(payer, 7 * DOLLAR, expires_at=timezone.now() + timedelta(days=3))
    assert "$7.00 expires on" in member.get(reverse("overview")).content.decode()


def test_a_code_says_what_it_gave_and_until_when(member: Client, payer: Payer) -> None:
    make_voucher(credit_days=30)
    text = redeem(member)
    assert "$5.00 added to your balance. It lasts until" in text
    assert payer.wallet.posted == 5 * DOLLAR


def test_a_code_that_paid_a_debt_says_so(member: Client, payer: Payer) -> None:
    make_voucher()
    Wallet.objects.filter(pk=payer.organization.pk).update(receivable=9 * DOLLAR, status="blocked")
    assert "it paid what your organization owed" in redeem(member)


def test_a_refusal_is_at_the_field(member: Client, payer: Payer) -> None:
    assert "There is no such code" in redeem(member, "nonsense")
    make_voucher()
    redeem(member)
    assert "has redeemed this code already" in redeem(member)
    assert payer.wallet.posted == 5 * DOLLAR


def test_guessing_ends(member: Client) -> None:
    for _ in range(MISSES_ALLOWED):
        redeem(member, "guess")
    assert "Too many wrong codes" in redeem(member, "guess")
    assert VoucherMiss.across_all_organizations.count() == MISSES_ALLOWED


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_roles_that_move_no_money_see_credit_and_redeem_none(
    client: Client, payer: Payer, role: Role
) -> None:
    make_voucher()
    sign_in(client, payer, role)
    assert "Redeem" not in page(client)
    assert client.post(reverse("redeem_code"), {"code": "WELCOME"}).status_code == 403
    assert payer.wallet.posted == 0


def test_a_wallet_that_owes_or_is_frozen_says_so(member: Client, payer: Payer) -> None:
    Wallet.objects.filter(pk=payer.organization.pk).update(receivable=9 * DOLLAR, status="blocked")
    assert "owes $9.00" in page(member)
    freeze_wallet(organization=payer.organization, reason="chargeback")
    for text in (page(member), member.get(reverse("overview")).content.decode()):
        assert "frozen" in text
        assert "chargeback" not in text


def test_a_receipt_shows_what_was_given_back(member: Client, payer: Payer) -> None:
    arrive(payer, 20 * DOLLAR)
    record = spend(payer, 5 * DOLLAR, retail_version_id=make_price().pk)
    correct_usage(request_id=record["request_id"], amount_nano=DOLLAR, reason="secret", fact_key="f")
    text = member.get(reverse("receipt", args=[public_id("req", record["request_id"])])).content.decode()
    assert "Given back" in text
    assert "secret" not in text
