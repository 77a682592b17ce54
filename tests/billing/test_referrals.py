"""Customers who bring customers: who counts, when both are paid, and when nobody is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import Membership, OperatorAlert, Organization, Role, User
from accounts.services import create_api_key, create_organization
from billing.campaigns import on_sign_up, on_top_up_paid
from billing.freezing import freeze_wallet, unfreeze_wallet
from billing.mailboxes import mailbox
from billing.models import (
    Campaign,
    CampaignKind,
    Dispute,
    Referral,
    ReferralState,
    Refund,
    SavedCard,
    SignUp,
    TopUp,
    Wallet,
)
from billing.referrals import Reason, pay_due_referrals, pay_referral, referral_code
from tests.billing.test_settle_concurrency import at_once
from tests.factories.campaigns import make_campaign
from tests.factories.credit import assert_money_adds_up
from tests.factories.money import Payer, make_payer
from tests.factories.top_ups import attempt, paid_top_up

DOLLAR = 10**9
HOME, OFFICE = "198.51.100.7", "198.51.100.8"

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign() -> Campaign:
    return bonus()


def bonus(**values: Any) -> Campaign:
    return make_campaign(
        CampaignKind.REFERRAL, **{"amount_nano": 5 * DOLLAR, "referrer_nano": 10 * DOLLAR, **values}
    )


@pytest.fixture
def referrer() -> Payer:
    return make_payer()


def bring(referrer: Payer, email: str = "", ip: str | None = OFFICE) -> Payer:
    """Somebody signs up through the referrer's link."""
    owner = User.objects.create_user(email or f"{uuid4().hex[:12]}@example.com")
    organization = create_organization(owner=owner, name="New")
    on_sign_up(organization, ip, code=referral_code(referrer.organization))
    return Payer(organization, create_api_key(organization=organization, name="test").api_key)


def pay(payer: Payer, **values: Any) -> TopUp:
    """As a booking does it, and what follows its commit."""
    top_up = paid_top_up(payer, **values)
    pay_referral(organization_id=payer.organization.pk)
    return top_up


def referral(payer: Payer) -> Referral:
    found: Referral = Referral.across_all_organizations.get(organization=payer.organization)
    return found


def promotional(payer: Payer) -> int:
    paid = TopUp.across_all_organizations.filter(organization=payer.organization, lot__isnull=False)
    return payer.wallet.posted - sum(one.amount_minor * 10**7 for one in paid)


class TestSignUp:
    def test_a_code_is_made_once_and_names_its_customer(self, referrer: Payer) -> None:
        assert referral_code(referrer.organization) == referral_code(referrer.organization)
        assert referral_code(referrer.organization) != referral_code(make_payer().organization)

    def test_who_comes_through_a_link_waits_for_the_first_top_up(
        self, campaign: Campaign, referrer: Payer
    ) -> None:
        new = referral(bring(referrer))
        assert (new.state, new.referrer) == (ReferralState.PENDING, referrer.organization)

    def test_without_a_campaign_nothing_is_kept(self, referrer: Payer) -> None:
        bring(referrer)
        assert not Referral.across_all_organizations.exists()

    @pytest.mark.parametrize("code", ["", "NOBODYS"])
    def test_a_code_that_nobody_has_is_no_referral(self, campaign: Campaign, code: str) -> None:
        on_sign_up(make_payer().organization, OFFICE, code=code)
        assert not Referral.across_all_organizations.exists()

    def test_a_campaign_that_ended_keeps_nothing(self, referrer: Payer) -> None:
        bonus(ends_at=timezone.now() - timedelta(seconds=1))
        bring(referrer)
        assert not Referral.across_all_organizations.exists()


class TestSelfReferral:
    @pytest.mark.parametrize("email", ["ann+2@example.com", "ann+x+y@example.com"])
    def test_a_plus_is_the_same_person(self, campaign: Campaign, email: str) -> None:
        referrer = make_owned_by("ann@example.com")
        assert referral(bring(referrer, email)).reason == Reason.SAME_PERSON

    def test_dots_at_gmail_are_the_same_person(self, campaign: Campaign) -> None:
        referrer = make_owned_by("ann.lee@gmail.com")
        assert referral(bring(referrer, "annlee+new@googlemail.com")).reason == Reason.SAME_PERSON

    def test_dots_elsewhere_are_other_people(self, campaign: Campaign) -> None:
        referrer = make_owned_by("ann.lee@example.com")
        assert referral(bring(referrer, "annlee@example.com")).state == ReferralState.PENDING

    def test_any_member_of_the_referrer_is_the_same_person(self, campaign: Campaign, referrer: Payer) -> None:
        add_member(referrer.organization, "dev@example.com")
        assert referral(bring(referrer, "dev+1@example.com")).reason == Reason.SAME_PERSON

    @pytest.mark.parametrize("seen", ["sign-up", "audit", "top-up"])
    def test_a_network_address_of_the_referrer_is_refused(
        self, campaign: Campaign, referrer: Payer, seen: str
    ) -> None:
        if seen == "sign-up":
            SignUp.objects.create(user=referrer.organization.members.get(), address=HOME)
        elif seen == "audit":
            create_api_key(organization=referrer.organization, name="mine", ip=HOME)
        else:
            attempt(referrer, requested_ip=HOME)
        assert referral(bring(referrer, ip=HOME)).reason == Reason.SAME_ADDRESS
        assert referral(bring(referrer, ip=OFFICE)).state == ReferralState.PENDING

    def test_the_machines_own_address_accuses_nobody(self, campaign: Campaign, referrer: Payer) -> None:
        create_api_key(organization=referrer.organization, name="mine", ip="127.0.0.1")
        assert referral(bring(referrer, ip="127.0.0.1")).state == ReferralState.PENDING

    def test_the_same_card_is_refused_when_it_pays(self, campaign: Campaign, referrer: Payer) -> None:
        SavedCard.across_all_organizations.create(
            organization=referrer.organization, payment_method_id="pm_1", fingerprint="card"
        )
        new = bring(referrer)
        pay(new, payment_fingerprint="card")
        assert referral(new).reason == Reason.SAME_CARD
        assert promotional(new) == promotional(referrer) == 0

    def test_who_joined_both_since_is_refused_when_it_pays(self, campaign: Campaign, referrer: Payer) -> None:
        new = bring(referrer)
        Membership.across_all_organizations.create(
            organization=referrer.organization, user=new.organization.members.get(), role=Role.VIEWER
        )
        pay(new)
        assert referral(new).reason == Reason.SAME_PERSON


def make_owned_by(email: str) -> Payer:
    organization = create_organization(owner=User.objects.create_user(email), name="Old")
    return Payer(organization, create_api_key(organization=organization, name="test").api_key)


def add_member(organization: Organization, email: str) -> None:
    user = User.objects.create_user(email)
    Membership.across_all_organizations.create(organization=organization, user=user, role=Role.DEVELOPER)


class TestPaying:
    def test_both_get_their_credit_once(self, campaign: Campaign, referrer: Payer) -> None:
        new = bring(referrer)
        pay(new)
        pay(new)
        assert (promotional(new), promotional(referrer)) == (5 * DOLLAR, 10 * DOLLAR)
        assert referral(new).state == ReferralState.PAID
        assert Campaign.objects.get().granted_nano == 15 * DOLLAR
        assert_money_adds_up()

    def test_a_booking_pays_after_its_commit(
        self, campaign: Campaign, referrer: Payer, django_capture_on_commit_callbacks: Callable[..., Any]
    ) -> None:
        new = bring(referrer)
        with django_capture_on_commit_callbacks(execute=True):
            on_top_up_paid(paid_top_up(new))
            assert promotional(new) == 0
        assert promotional(new) == 5 * DOLLAR

    def test_what_a_dead_process_left_the_sweep_pays(self, campaign: Campaign, referrer: Payer) -> None:
        new = bring(referrer)
        paid_top_up(new)
        bring(referrer)
        assert (pay_due_referrals(), pay_due_referrals()) == (1, 0)
        assert promotional(referrer) == 10 * DOLLAR

    def test_a_held_payment_waits_until_it_is_free(self, campaign: Campaign, referrer: Payer) -> None:
        new = bring(referrer)
        top_up = pay(new, held_until=timezone.now() + timedelta(hours=1))
        assert referral(new).state == ReferralState.PENDING
        top_up.unlocked_at = timezone.now()
        top_up.save()
        pay_referral(organization_id=new.organization.pk)
        assert promotional(new) == 5 * DOLLAR

    def test_one_that_is_too_small_waits_for_a_larger_one(self, referrer: Payer) -> None:
        bonus(least_top_up_minor=20_00)
        new = bring(referrer)
        pay(new, amount_minor=19_99)
        assert referral(new).state == ReferralState.PENDING
        pay(new, amount_minor=20_00)
        assert referral(new).state == ReferralState.PAID

    @pytest.mark.parametrize("kind", ["refund", "dispute"])
    def test_a_payment_that_was_taken_back_pays_nobody(
        self, campaign: Campaign, referrer: Payer, kind: str
    ) -> None:
        new = bring(referrer)
        top_up = paid_top_up(new)
        if kind == "refund":
            Refund.across_all_organizations.create(
                organization=new.organization, lot=top_up.lot, amount_nano=1, reason="x", fact_key="r"
            )
        else:
            Dispute.across_all_organizations.create(
                organization=new.organization,
                top_up=top_up,
                dispute_id="dp_1",
                status="needs_response",
                amount_minor=1,
                opened_at=timezone.now(),
            )
        pay_referral(organization_id=new.organization.pk)
        assert referral(new).reason == Reason.TAKEN_BACK
        assert promotional(new) == promotional(referrer) == 0

    def test_a_frozen_wallet_waits(self, campaign: Campaign, referrer: Payer) -> None:
        new = bring(referrer)
        freeze_wallet(organization=referrer.organization, reason="test")
        pay(new)
        assert referral(new).state == ReferralState.PENDING
        unfreeze_wallet(organization=referrer.organization, reason="test")
        assert pay_due_referrals() == 1

    def test_above_the_cap_only_the_new_customer_is_paid(self, referrer: Payer) -> None:
        bonus(most_per_referrer=1)
        first, second = bring(referrer), bring(referrer)
        pay(first)
        pay(second)
        assert (promotional(first), promotional(second)) == (5 * DOLLAR, 5 * DOLLAR)
        assert promotional(referrer) == 10 * DOLLAR

    def test_a_budget_for_one_of_both_pays_nobody_and_is_told(self, referrer: Payer) -> None:
        campaign = bonus(budget_nano=15 * DOLLAR)
        first, second = bring(referrer), bring(referrer)
        Campaign.objects.update(granted_nano=1)
        pay(first)
        assert referral(first).reason == Reason.OVER
        assert promotional(first) == promotional(referrer) == 0
        assert OperatorAlert.objects.get().subject == f"campaign {campaign.pk}"
        Campaign.objects.update(granted_nano=0)
        pay(second)
        assert promotional(second) == 5 * DOLLAR

    def test_after_the_end_nothing_is_paid(self, campaign: Campaign, referrer: Payer) -> None:
        new = bring(referrer)
        Campaign.objects.update(ends_at=timezone.now())
        pay(new)
        assert referral(new).reason == Reason.OVER


@pytest.mark.django_db(transaction=True)
def test_two_processes_pay_a_referral_once_and_a_chain_never_locks_up() -> None:
    """Each brought the next, and all of them pay at the same moment, twice."""
    bonus()
    chain = [make_payer()]
    for _number in range(5):
        chain.append(bring(chain[-1]))
    for payer in chain:
        paid_top_up(payer)

    def work(payer: Payer) -> Callable[[], Any]:
        return lambda: pay_referral(organization_id=payer.organization.pk)

    at_once(*[work(payer) for payer in chain for _twice in range(2)])
    pay_due_referrals()
    assert [promotional(payer) for payer in chain] == [10 * DOLLAR, *[15 * DOLLAR] * 4, 5 * DOLLAR]
    assert Campaign.objects.get().granted_nano == 75 * DOLLAR
    assert sum(Wallet.objects.values_list("posted", flat=True)) == (75 + 6 * 20) * DOLLAR


@pytest.mark.parametrize(
    ("email", "reaches"),
    [
        ("Ann@Example.com", "ann@example.com"),
        ("a.n.n+spam@googlemail.com", "ann@gmail.com"),
        ("a.n.n+spam@example.com", "a.n.n@example.com"),
    ],
)
def test_where_mail_goes(email: str, reaches: str) -> None:
    assert mailbox(email) == reaches
