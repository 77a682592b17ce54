"""Campaigns: budgets that hold when many ask at once, ends, and grants by operators."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import Reseller
from accounts.services import create_operator, ensure_house_reseller
from billing.adjustments import approve_adjustment, request_campaign_grant
from billing.books import verify_books
from billing.ledger import Account, Owner
from billing.models import AdjustmentState, Campaign, CampaignKind, Grant, GrantKind, Lot
from billing.operators import SecondOperatorNeeded
from billing.promotions import CampaignElsewhere, CampaignOver, CampaignSpent, give, running_campaign
from common.errors import AppError
from tests.billing.test_settle_concurrency import at_once
from tests.factories.campaigns import make_campaign
from tests.factories.credit import assert_money_adds_up, balance
from tests.factories.money import Payer, make_payer

DOLLAR = 10**9

pytestmark = pytest.mark.django_db


def grant(campaign: Campaign, payer: Payer, amount_nano: int = DOLLAR, key: str = "f") -> Grant:
    return give(
        campaign,
        organization=payer.organization,
        amount_nano=amount_nano,
        kind=GrantKind.CAMPAIGN,
        fact_key=key,
    )


def granted(campaign: Campaign) -> int:
    return Campaign.objects.get(pk=campaign.pk).granted_nano


class TestBudget:
    def test_the_last_of_it_is_given_and_no_more(self) -> None:
        campaign, payer = make_campaign(budget_nano=3 * DOLLAR), make_payer()
        grant(campaign, payer, 3 * DOLLAR)
        with pytest.raises(CampaignSpent):
            grant(campaign, payer, 1, "another")
        assert (granted(campaign), payer.wallet.posted) == (3 * DOLLAR, 3 * DOLLAR)

    def test_a_fact_counts_once(self) -> None:
        campaign, payer = make_campaign(budget_nano=DOLLAR), make_payer()
        first, again = grant(campaign, payer), grant(campaign, payer)
        assert first == again
        assert (granted(campaign), payer.wallet.posted) == (DOLLAR, DOLLAR)

    def test_the_database_holds_it_too(self) -> None:
        campaign = make_campaign(budget_nano=DOLLAR)
        with pytest.raises(IntegrityError):
            Campaign.objects.filter(pk=campaign.pk).update(granted_nano=DOLLAR + 1)

    def test_the_ledger_knows_whose_it_was(self) -> None:
        campaign, payer = make_campaign(credit_days=7), make_payer()
        grant(campaign, payer)
        assert balance(Account.PROMOTIONS, Owner.campaign(campaign.book_name)) == DOLLAR
        lot = Lot.across_all_organizations.get()
        assert lot.expires_at is not None
        assert lot.expires_at - timezone.now() > timedelta(days=6)
        assert_money_adds_up()

    def test_the_books_check_sees_a_grant_that_was_not_counted(self) -> None:
        campaign = make_campaign()
        grant(campaign, make_payer())
        Campaign.objects.update(granted_nano=0)
        broken = {check["name"] for check in verify_books()["checks"] if not check["ok"]}
        assert "campaigns" in broken


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_never_get_more_than_the_budget() -> None:
    campaign = make_campaign(budget_nano=5 * DOLLAR)
    payers = [make_payer() for _number in range(20)]

    def ask(payer: Payer) -> Callable[[], str]:
        return lambda: outcome(lambda: grant(campaign, payer, key=f"f{payer.organization.pk}"))

    outcomes = at_once(*map(ask, payers))
    assert outcomes.count("given") == 5
    assert outcomes.count("campaign_budget_spent") == 15
    assert granted(campaign) == sum(payer.wallet.posted for payer in payers) == 5 * DOLLAR


def outcome(do: Callable[[], Any]) -> str:
    try:
        do()
    except AppError as error:
        return error.code
    return "given"


class TestRunning:
    @pytest.mark.parametrize(
        "changes",
        [
            {"is_on": False},
            {"starts_at": timezone.now() + timedelta(hours=1)},
            {"ends_at": timezone.now() - timedelta(seconds=1)},
        ],
    )
    def test_nothing_is_given_before_after_or_when_off(self, changes: dict[str, Any]) -> None:
        campaign, payer = make_campaign(**changes), make_payer()
        with pytest.raises(CampaignOver):
            grant(campaign, payer)
        assert payer.wallet.posted == 0

    def test_a_bonus_that_the_budget_cannot_carry_is_not_offered(self) -> None:
        make_campaign(CampaignKind.REFERRAL, amount_nano=2, referrer_nano=2, budget_nano=3)
        assert running_campaign(ensure_house_reseller().pk, CampaignKind.REFERRAL) is None

    def test_another_resellers_campaign_is_not_ours(self) -> None:
        other = Reseller.objects.create(slug="other", name="Other")
        make_campaign(CampaignKind.REFERRAL, reseller=other)
        assert running_campaign(ensure_house_reseller().pk, CampaignKind.REFERRAL) is None


class TestGrantsByOperators:
    def ask(self, campaign: Campaign, payer: Payer, amount_nano: int = DOLLAR, **values: Any) -> Any:
        return request_campaign_grant(
            campaign=campaign,
            organization=payer.organization,
            amount_nano=amount_nano,
            reason="conference",
            fact_key="f",
            **values,
        )

    def test_it_is_posted_once_and_counted_once(self) -> None:
        campaign, payer = make_campaign(budget_nano=2 * DOLLAR), make_payer()
        first, again = self.ask(campaign, payer), self.ask(campaign, payer)
        assert first == again
        assert (payer.wallet.posted, granted(campaign)) == (DOLLAR, DOLLAR)
        assert_money_adds_up()

    def test_more_than_the_budget_is_refused(self) -> None:
        campaign, payer = make_campaign(budget_nano=DOLLAR), make_payer()
        with pytest.raises(CampaignSpent):
            self.ask(campaign, payer, DOLLAR + 1)
        assert (payer.wallet.posted, granted(campaign)) == (0, 0)

    def test_over_the_limit_a_second_operator_decides_and_only_then_it_counts(self) -> None:
        campaign, payer = make_campaign(budget_nano=500 * DOLLAR), make_payer()
        one, _password = create_operator(email="one@example.com")
        two, _password = create_operator(email="two@example.com")
        waiting = self.ask(campaign, payer, 500 * DOLLAR, requested_by=one)
        assert (waiting.state, granted(campaign)) == (AdjustmentState.REQUESTED, 0)
        with pytest.raises(SecondOperatorNeeded):
            approve_adjustment(adjustment=waiting, approved_by=one)
        approve_adjustment(adjustment=waiting, approved_by=two)
        assert payer.wallet.posted == granted(campaign) == 500 * DOLLAR

    def test_what_waits_is_refused_when_the_campaign_has_ended(self) -> None:
        campaign, payer = make_campaign(), make_payer()
        one, _password = create_operator(email="one@example.com")
        two, _password = create_operator(email="two@example.com")
        waiting = self.ask(campaign, payer, 500 * DOLLAR, requested_by=one)
        Campaign.objects.update(is_on=False)
        with pytest.raises(CampaignOver):
            approve_adjustment(adjustment=waiting, approved_by=two)
        assert payer.wallet.posted == 0

    def test_bonuses_and_other_resellers_campaigns_are_not_for_it(self) -> None:
        other = Reseller.objects.create(slug="other", name="Other")
        payer = make_payer()
        with pytest.raises(CampaignElsewhere):
            self.ask(make_campaign(reseller=other), payer)
        with pytest.raises(CampaignElsewhere):
            self.ask(make_campaign(CampaignKind.SIGN_UP), payer)
