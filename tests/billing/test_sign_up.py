"""Signing up on the page: how many from one address, the bonus for a verified one, and referral links."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import OperatorAlert, Organization, User
from accounts.services import create_organization, ensure_house_reseller
from billing.campaigns import give_due_sign_up_bonuses, give_sign_up_bonus
from billing.models import Campaign, CampaignKind, Grant, PaymentTerms, Referral, SignUp, Wallet
from billing.referrals import referral_code
from billing.sign_ups import TooManySignUps, forget_sign_ups, record_sign_up
from billing.vouchers import grouped
from tests.billing.test_settle_concurrency import at_once
from tests.factories.campaigns import make_campaign
from tests.factories.credit import assert_money_adds_up
from tests.factories.money import make_payer

DOLLAR = 10**9
HOME = "198.51.100.7"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_rate_limits_left() -> None:
    """allauth counts sign-ups per minute in the cache."""
    cache.clear()


def sign_up(email: str = "", ip: str = HOME, client: Client | None = None) -> Any:
    address = email or f"{uuid4().hex[:12]}@example.com"
    return (client or Client()).post(
        reverse("account_signup"),
        {"email": address, "password1": "long-enough-4-anybody"},
        REMOTE_ADDR=ip,
    )


def verify(email: str) -> Organization:
    """What following the link in the mail does."""
    address = EmailAddress.objects.get(email=email)
    address.set_verified()
    email_confirmed.send(sender=EmailAddress, request=None, email_address=address)
    return Organization.objects.get(members__email=email)


def posted(organization: Organization) -> int:
    return Wallet.objects.get(pk=organization.pk).posted


class TestHowMany:
    @pytest.fixture(autouse=True)
    def two_a_day(self, db: None) -> None:
        PaymentTerms.objects.create(reseller=ensure_house_reseller(), most_sign_ups_per_address=2)

    def test_the_address_is_kept(self) -> None:
        sign_up("ann@example.com")
        assert SignUp.objects.get(user__email="ann@example.com").address == HOME

    def test_beyond_the_limit_it_is_refused_in_words_and_nobody_is_made(self) -> None:
        for _number in range(2):
            assert sign_up().status_code == 302
        refused = sign_up("third@example.com")
        assert "2 accounts were created within a day" in refused.content.decode()
        assert not User.objects.filter(email="third@example.com").exists()
        assert sign_up("third@example.com", ip="198.51.100.8").status_code == 302

    def test_the_next_day_it_is_possible_again(self) -> None:
        for _number in range(2):
            sign_up()
        SignUp.objects.update(signed_up_at=timezone.now() - timedelta(days=1))
        assert sign_up().status_code == 302

    def test_operators_see_how_many_were_refused(self) -> None:
        for _number in range(4):
            sign_up()
        alert = OperatorAlert.objects.get(kind="too_many_sign_ups")
        assert (alert.subject, alert.count) == (f"address {HOME}", 2)

    def test_rows_are_deleted_after_thirty_days(self) -> None:
        sign_up("old@example.com")
        SignUp.objects.update(signed_up_at=timezone.now() - timedelta(days=30))
        sign_up("new@example.com")
        assert forget_sign_ups() == 1
        assert SignUp.objects.get().user.email == "new@example.com"
        assert User.objects.filter(email="old@example.com").exists()


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_are_no_more_than_allowed() -> None:
    house = ensure_house_reseller()
    PaymentTerms.objects.create(reseller=house, most_sign_ups_per_address=3)
    users = [User.objects.create_user(f"{number}@example.com") for number in range(10)]

    def work(user: User) -> Callable[[], bool]:
        def run() -> bool:
            try:
                record_sign_up(user=user, reseller_id=house.pk, ip=HOME)
            except TooManySignUps:
                return False
            return True

        return run

    assert at_once(*map(work, users)).count(True) == 3


class TestBonus:
    @pytest.fixture(autouse=True)
    def campaign(self, db: None) -> Campaign:
        return make_campaign(CampaignKind.SIGN_UP, amount_nano=2 * DOLLAR, credit_days=30)

    def test_it_comes_with_the_verified_address_and_once(self) -> None:
        sign_up("ann@example.com")
        assert not Grant.across_all_organizations.exists()
        organization = verify("ann@example.com")
        verify("ann@example.com")
        assert posted(organization) == 2 * DOLLAR
        assert_money_adds_up()

    def test_the_link_in_the_mail_gives_it(self, mailoutbox: list[Any]) -> None:
        client = Client()
        sign_up("ann@example.com", client=client)
        link = next(word for word in mailoutbox[0].body.split() if "confirm-email" in word)
        client.post("/" + link.split("/", 3)[3])
        assert posted(Organization.objects.get(members__email="ann@example.com")) == 2 * DOLLAR

    def test_another_spelling_of_a_mailbox_gets_none(self) -> None:
        sign_up("ann.lee@gmail.com")
        verify("ann.lee@gmail.com")
        sign_up("annlee+2@gmail.com")
        assert posted(verify("annlee+2@gmail.com")) == 0

    def test_who_was_made_by_an_operator_did_not_sign_up(self) -> None:
        user = User.objects.create_user("made@example.com")
        create_organization(owner=user, name="Made")
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
        assert posted(verify("made@example.com")) == 0

    def test_who_signed_up_before_the_campaign_gets_none(self, campaign: Campaign) -> None:
        sign_up("ann@example.com")
        Campaign.objects.update(starts_at=timezone.now())
        assert posted(verify("ann@example.com")) == 0

    def test_a_spent_budget_gives_none_and_is_told_once(self, campaign: Campaign) -> None:
        Campaign.objects.update(budget_nano=DOLLAR)
        sign_up("ann@example.com")
        organization = verify("ann@example.com")
        assert posted(organization) == 0
        assert OperatorAlert.objects.get().kind == "campaign_spent"

    def test_what_a_dead_process_left_the_sweep_gives(self) -> None:
        sign_up("ann@example.com")
        EmailAddress.objects.update(verified=True)
        sign_up("bob@example.com")
        assert (give_due_sign_up_bonuses(), give_due_sign_up_bonuses()) == (1, 0)

    def test_without_a_campaign_the_sweep_looks_at_nobody(self) -> None:
        sign_up("ann@example.com")
        EmailAddress.objects.update(verified=True)
        Campaign.objects.update(is_on=False)
        assert give_due_sign_up_bonuses() == 0


@pytest.mark.django_db(transaction=True)
def test_ten_processes_give_one_bonus() -> None:
    make_campaign(CampaignKind.SIGN_UP, amount_nano=DOLLAR)
    sign_up("ann@example.com")
    EmailAddress.objects.update(verified=True)
    organization = Organization.objects.get()
    at_once(*[lambda: give_sign_up_bonus(organization_id=organization.pk)] * 10)
    assert posted(organization) == Campaign.objects.get().granted_nano == DOLLAR


class TestReferralLinks:
    @pytest.fixture
    def code(self, db: None) -> str:
        make_campaign(CampaignKind.REFERRAL, referrer_nano=DOLLAR)
        return referral_code(make_payer().organization)

    @pytest.mark.parametrize("page", ["/", "/accounts/signup/", "/accounts/login/"])
    def test_the_code_waits_in_the_session_until_the_sign_up(self, code: str, page: str) -> None:
        client = Client()
        client.get(page, {"ref": grouped(code).lower()})
        client.get(reverse("account_signup"))
        sign_up("ann@example.com", client=client)
        referral = Referral.across_all_organizations.get()
        assert referral.organization.members.get().email == "ann@example.com"
        assert "referral_code" not in client.session

    def test_without_a_link_nobody_is_referred(self, code: str) -> None:
        sign_up()
        assert not Referral.across_all_organizations.exists()

    @pytest.mark.parametrize("junk", ["", "x" * 5000, "'; --", "\u2603"])
    def test_what_is_no_code_does_no_harm(self, code: str, junk: str) -> None:
        client = Client()
        assert client.get(reverse("account_signup"), {"ref": junk}).status_code == 200
        sign_up(client=client)
        assert not Referral.across_all_organizations.exists()
