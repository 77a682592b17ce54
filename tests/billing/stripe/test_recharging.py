"""Auto-recharge: one charge at a time, within the customer's bounds, and quiet after failures."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from accounts.models import OperatorAlert
from billing import recharging
from billing.books import verify_books
from billing.freezing import freeze_wallet
from billing.models import RechargeRule, SavedCard, TopUp, TopUpOrigin, TopUpState, Wallet
from billing.recharging import (
    RechargeInvalid,
    RechargeTerms,
    remove_card,
    sweep_recharges,
    turn_off_recharge,
    turn_on_recharge,
)
from billing.stripe.client import StripeUnknown
from billing.top_ups import reconcile_top_up
from common.money import NANO_PER_MINOR
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import spend
from tests.factories.money import Payer
from tests.factories.stripe import open_page, session_of

pytestmark = pytest.mark.django_db

TERMS = RechargeTerms(
    threshold_minor=10_00,
    target_minor=30_00,
    most_per_charge_minor=30_00,
    most_per_day_minor=60_00,
    most_per_month_minor=100_00,
)


@pytest.fixture
def card(stripe: StripeDouble, payer: Payer) -> SavedCard:
    """Of a customer who paid $20 by hand and let the card be kept."""
    top_up = open_page(payer, 20_00, save_card=True)
    stripe.pay(session_of(top_up))
    reconcile_top_up(top_up.pk)
    found: SavedCard = SavedCard.across_all_organizations.get(organization=payer.organization)
    return found


@pytest.fixture
def rule(payer: Payer, card: SavedCard) -> RechargeRule:
    return turn_on_recharge(organization=payer.organization, terms=TERMS, card=card)


def recharges(payer: Payer) -> list[TopUp]:
    rows = TopUp.across_all_organizations.filter(organization=payer.organization)
    return list(rows.filter(origin=TopUpOrigin.RECHARGE).order_by("created_at"))


def credit(payer: Payer) -> int:
    """In cents."""
    return Wallet.objects.get(pk=payer.organization.pk).posted // NANO_PER_MINOR


def use(payer: Payer, cents: int) -> None:
    spend(payer, cents * NANO_PER_MINOR)


def fresh(rule: RechargeRule) -> RechargeRule:
    found: RechargeRule = RechargeRule.across_all_organizations.get(pk=rule.pk)
    return found


@dataclass(frozen=True)
class Told:
    """Sweeps whose mails are sent."""

    stripe: StripeDouble
    mails: list[Any]
    committing: Any

    def sweep(self) -> None:
        with self.committing(execute=True):
            sweep_recharges()


@pytest.fixture
def told(stripe: StripeDouble, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any) -> Told:
    return Told(stripe, mailoutbox, django_capture_on_commit_callbacks)


def now_is(moment: datetime) -> Any:
    return time_machine.travel(moment, tick=False)


@pytest.fixture
def later() -> Iterator[Any]:
    """Moves the clock on, of everything here."""
    with time_machine.travel(timezone.now(), tick=True) as traveller:
        yield lambda **step: traveller.shift(timedelta(**step))


class TestWhenItIsDue:
    def test_nothing_happens_above_the_threshold(self, payer: Payer, rule: RechargeRule) -> None:
        use(payer, 10_00)
        assert (sweep_recharges(), recharges(payer)) == (0, [])

    def test_below_it_credit_is_filled_up(self, payer: Payer, rule: RechargeRule) -> None:
        use(payer, 10_01)
        assert sweep_recharges() == 1
        [attempt] = recharges(payer)
        assert (attempt.state, attempt.amount_minor) == (TopUpState.PAID, 20_01)
        assert credit(payer) == 30_00
        assert sweep_recharges() == 0
        assert verify_books()["ok"]

    def test_what_is_owed_counts(self, payer: Payer, rule: RechargeRule) -> None:
        use(payer, 24_00)
        sweep_recharges()
        assert [attempt.amount_minor for attempt in recharges(payer)] == [30_00]
        assert credit(payer) == 26_00

    def test_who_turned_it_off_is_not_charged(self, payer: Payer, rule: RechargeRule) -> None:
        turn_off_recharge(organization=payer.organization)
        use(payer, 15_00)
        assert sweep_recharges() == 0

    def test_a_frozen_wallet_is_not_filled(self, payer: Payer, rule: RechargeRule) -> None:
        use(payer, 15_00)
        freeze_wallet(organization=payer.organization, reason="looks odd")
        assert sweep_recharges() == 0

    def test_who_is_paying_by_hand_is_left_alone(
        self, payer: Payer, rule: RechargeRule, stripe: StripeDouble
    ) -> None:
        use(payer, 15_00)
        page = open_page(payer, 25_00)
        assert sweep_recharges() == 0
        stripe.pay(session_of(page))
        assert sweep_recharges() == 0
        assert credit(payer) == 30_00

    def test_a_page_left_lying_is_closed_before_the_charge(
        self, payer: Payer, rule: RechargeRule, stripe: StripeDouble
    ) -> None:
        use(payer, 15_00)
        page = open_page(payer, 25_00)
        assert sweep_recharges(timezone.now() + timedelta(minutes=11)) == 1
        assert stripe.get(session_of(page))["status"] == "expired"


class TestBounds:
    def drain(self, payer: Payer, times: int, start: datetime, step: timedelta) -> None:
        for number in range(times):
            with now_is(start + number * step):
                use(payer, credit(payer))
                sweep_recharges()

    def test_a_burst_never_goes_over_the_day(self, payer: Payer, rule: RechargeRule) -> None:
        """The wallet is drained fifty times an hour."""
        start = datetime(2026, 12, 1, 1, tzinfo=UTC)
        self.drain(payer, 50, start, timedelta(seconds=72))
        assert sum(attempt.amount_minor for attempt in recharges(payer)) <= TERMS.most_per_day_minor
        assert verify_books()["ok"]

    def test_nor_over_the_month(self, payer: Payer, rule: RechargeRule) -> None:
        start = datetime(2026, 12, 1, 1, tzinfo=UTC)
        self.drain(payer, 28, start, timedelta(days=1))
        amounts = [attempt.amount_minor for attempt in recharges(payer)]
        assert sum(amounts) == 90_00  # of 100.00: with the last ten it would be due again at once
        self.drain(payer, 1, datetime(2027, 1, 1, 1, tzinfo=UTC), timedelta(0))
        assert len(recharges(payer)) == len(amounts) + 1

    def test_three_charges_in_ten_minutes_are_too_many(self, payer: Payer, card: SavedCard) -> None:
        terms = RechargeTerms(
            threshold_minor=10_00,
            target_minor=30_00,
            most_per_charge_minor=30_00,
            most_per_day_minor=1_000_00,
            most_per_month_minor=1_000_00,
        )
        rule = turn_on_recharge(organization=payer.organization, terms=terms, card=card)
        self.drain(payer, 5, timezone.now(), timedelta(minutes=1))
        assert len(recharges(payer)) == 3
        assert (fresh(rule).is_on, fresh(rule).turned_off_because) == (False, "burst")
        assert OperatorAlert.objects.filter(kind="recharge_burst").count() == 1

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"threshold_minor": 0}, "threshold"),
            ({"target_minor": 12_00}, "target"),
            ({"most_per_charge_minor": 29_99}, "most_per_charge"),
            ({"most_per_day_minor": 29_00}, "most_per_day"),
            ({"most_per_month_minor": 59_00}, "most_per_month"),
        ],
    )
    def test_bounds_that_make_no_sense_are_refused(
        self, payer: Payer, card: SavedCard, changes: dict[str, int], param: str
    ) -> None:
        with pytest.raises(RechargeInvalid) as caught:
            turn_on_recharge(
                organization=payer.organization, terms=RechargeTerms(**{**vars(TERMS), **changes}), card=card
            )
        assert caught.value.param == param


class TestFailures:
    @pytest.fixture(autouse=True)
    def declined(self, card: SavedCard, stripe: StripeDouble) -> None:
        stripe.control("card", payment_method=card.payment_method_id, card="chargeDeclined")

    def test_it_waits_longer_and_longer_and_ends(
        self, payer: Payer, rule: RechargeRule, later: Any, told: Told
    ) -> None:
        use(payer, 15_00)
        for tries, wait in enumerate((1, 6, 24), start=1):
            told.sweep()
            assert len(recharges(payer)) == tries
            later(hours=wait, minutes=-1)
            assert sweep_recharges() == 0
            later(minutes=2)
        assert sweep_recharges() == 0
        rule = fresh(rule)
        assert (rule.is_on, rule.failures, rule.turned_off_because) == (False, 3, "three_failures")
        assert len(told.mails) == 2  # one when it began, one that it is off
        assert {attempt.failure_code for attempt in recharges(payer)} == {"generic_decline"}

    def test_a_payment_by_hand_begins_anew(
        self, payer: Payer, rule: RechargeRule, stripe: StripeDouble, later: Any
    ) -> None:
        use(payer, 15_00)
        sweep_recharges()
        assert fresh(rule).failures == 1
        page = open_page(payer, 7_00)
        stripe.pay(session_of(page))
        reconcile_top_up(page.pk)
        later(hours=2)
        use(payer, 5_00)
        sweep_recharges()
        assert fresh(rule).failures == 1  # again the first

    def test_a_bank_that_wants_its_customer_gets_no_second_try(
        self,
        payer: Payer,
        rule: RechargeRule,
        card: SavedCard,
        told: Told,
    ) -> None:
        stripe = told.stripe
        stripe.control("card", payment_method=card.payment_method_id, card="authenticationRequired")
        use(payer, 15_00)
        told.sweep()
        [attempt] = recharges(payer)
        assert (attempt.state, attempt.failure_code) == (TopUpState.FAILED, "authentication_required")
        assert stripe.get(str(attempt.payment_intent_id))["status"] == "canceled"
        assert fresh(rule).turned_off_because == "authentication_required"
        [mail] = told.mails
        assert "confirm the payment yourself" in mail.body

    def test_a_card_that_was_taken_away_counts_as_a_failure(
        self, payer: Payer, rule: RechargeRule, card: SavedCard, stripe: StripeDouble
    ) -> None:
        """Stripe refuses such a request and sends no event for it."""
        from billing.stripe.charging import forget_card

        forget_card(card.payment_method_id)
        use(payer, 15_00)
        sweep_recharges()
        assert fresh(rule).failures == 1


class TestLostAnswers:
    def test_an_answer_that_was_lost_is_asked_for_again(
        self, payer: Payer, rule: RechargeRule, stripe: StripeDouble
    ) -> None:
        use(payer, 15_00)
        stripe.trouble(cut_after=1.0)
        sweep_recharges()
        [attempt] = recharges(payer)
        assert attempt.state == TopUpState.CREATED
        stripe.trouble(cut_after=0.0)
        assert sweep_recharges() == 0  # the call may still be on its way
        sweep_recharges(timezone.now() + timedelta(minutes=1))
        assert [one.state for one in recharges(payer)] == [TopUpState.PAID]
        assert credit(payer) == 30_00
        assert len(stripe.state()["payment_intent"]) == 2
        assert verify_books()["ok"]

    def test_an_error_after_the_charge_is_no_second_charge(
        self, payer: Payer, rule: RechargeRule, stripe: StripeDouble
    ) -> None:
        """Stripe keeps answering the error under that key; the charge is found by its metadata."""
        use(payer, 15_00)
        stripe.trouble(error_after=1.0)
        sweep_recharges()
        stripe.trouble(error_after=0.0)
        sweep_recharges(timezone.now() + timedelta(minutes=1))
        assert [one.state for one in recharges(payer)] == [TopUpState.PAID]
        assert len(stripe.state()["payment_intent"]) == 2

    def test_whoever_dies_between_the_charge_and_the_row_charged_once(
        self, payer: Payer, rule: RechargeRule, stripe: StripeDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: Any) -> None:
            raise StripeUnknown("the process died here")

        use(payer, 15_00)
        with monkeypatch.context() as patch:
            patch.setattr(recharging, "reconcile_top_up", die)
            sweep_recharges()
        sweep_recharges(timezone.now() + timedelta(minutes=1))
        assert [one.state for one in recharges(payer)] == [TopUpState.PAID]
        assert len(stripe.state()["payment_intent"]) == 2


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_charge_once(payer: Payer, rule: RechargeRule, stripe: StripeDouble) -> None:
    use(payer, 15_00)
    barrier = threading.Barrier(4)

    def sweep() -> None:
        barrier.wait(10)
        try:
            sweep_recharges()
        finally:
            connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [one.amount_minor for one in recharges(payer)] == [25_00]
    sweep_recharges(timezone.now() + timedelta(minutes=1))
    assert credit(payer) == 30_00


def test_a_card_can_be_taken_away(
    payer: Payer, rule: RechargeRule, card: SavedCard, stripe: StripeDouble
) -> None:
    remove_card(card=card)
    assert stripe.get(card.payment_method_id)["customer"] is None
    assert (fresh(rule).is_on, fresh(rule).turned_off_because) == (False, "card_removed")
    use(payer, 15_00)
    assert sweep_recharges() == 0
