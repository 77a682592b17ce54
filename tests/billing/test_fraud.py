"""What looks like fraud stops the spending, each cause for itself; what ends well lets it go on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import AuditEvent, OperatorAlert
from billing.card_refunds import request_card_refund
from billing.disputes import book_dispute
from billing.facts import DisputeFacts, WarningFacts
from billing.fraud import book_warning, settle_warning
from billing.freezing import freeze_wallet, unfreeze_wallet
from billing.models import FraudWarning, PaymentTerms, RechargeRule, SavedCard, TopUp
from tests.factories.credit import assert_money_adds_up, spend
from tests.factories.money import Payer, make_payer
from tests.factories.payments import (
    CENT,
    NOW,
    dispute_facts,
    line,
    lost,
    open_dispute,
    recharges,
    top_up_paid,
    won,
)


@pytest.mark.django_db
class TestFraudWarning:
    def test_it_freezes_once_and_operators_may_lift_it(self) -> None:
        payer = make_payer()
        recharges(payer)
        facts = warning(top_up_paid(payer))
        book_warning(facts)
        assert payer.wallet.status == "frozen"
        assert not RechargeRule.across_all_organizations.get().is_on
        assert OperatorAlert.objects.get(kind="fraud_warning").severity == "critical"
        unfreeze_wallet(organization=payer.organization, reason="It was them")
        book_warning(facts)
        assert payer.wallet.status == "active"

    def test_by_setting_it_only_tells(self) -> None:
        payer = make_payer()
        PaymentTerms.objects.create(reseller=payer.organization.reseller, freezes_on_fraud_warning=False)
        book_warning(warning(top_up_paid(payer)))
        assert (payer.wallet.status, FraudWarning.across_all_organizations.get().froze_wallet) == (
            "active",
            False,
        )

    def test_the_payment_can_be_refunded_at_once(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer)
        book_warning(warning(top_up))
        request_card_refund(top_up=top_up, amount_nano=100_00 * CENT, reason="fraud", fact_key="f")
        assert (payer.wallet.posted, payer.wallet.status) == (0, "frozen")

    def test_seen_to_the_alert_is_resolved(self, django_user_model: Any) -> None:
        operator = django_user_model.objects.create_user("operator@example.com")
        made = book_warning(warning(top_up_paid(make_payer())))
        assert made is not None
        for _ in range(2):
            assert settle_warning(warning=made, actor=operator).settled_at is not None
        assert OperatorAlert.objects.get(kind="fraud_warning").resolved_at is not None

    def test_an_unknown_payment_is_nobodys(self) -> None:
        facts = WarningFacts(warning_id="issfr_1", payment_intent_id="pi_other", fraud_type="misc")
        assert book_warning(facts) is None


def warning(top_up: TopUp) -> WarningFacts:
    return WarningFacts(
        warning_id=uuid4().hex,
        payment_intent_id=top_up.payment_intent_id or "",
        fraud_type="made_with_stolen_card",
    )


@pytest.mark.django_db
class TestWhatItStopped:
    def fraud(self, payer: Payer) -> DisputeFacts:
        return open_dispute(payer, reason="fraudulent")[1]

    def test_won_the_wallet_is_open_again(self) -> None:
        payer = make_payer()
        ended = won(self.fraud(payer))
        for _ in range(2):
            book_dispute(ended)
        assert payer.wallet.status == "active"
        event = AuditEvent.objects.get(action="wallet.unfrozen")
        assert ended.dispute_id in event.reason

    def test_won_a_wallet_that_owes_is_blocked(self) -> None:
        payer = make_payer()
        facts = self.fraud(payer)
        spend(payer, 130_00 * CENT)
        book_dispute(won(facts))
        assert (payer.wallet.receivable, payer.wallet.status) == (30_00 * CENT, "blocked")

    def test_lost_it_stays_frozen_and_won_after_all_it_is_open(self) -> None:
        payer = make_payer()
        facts = self.fraud(payer)
        book_dispute(lost(facts))
        assert payer.wallet.status == "frozen"
        book_dispute(won(facts))
        assert payer.wallet.status == "active"

    def test_first_heard_of_when_it_was_won_nothing_stops(self) -> None:
        payer = make_payer()
        recharges(payer)
        top_up = top_up_paid(payer)
        book_dispute(won(dispute_facts(top_up, 100_00, reason="fraudulent")))
        assert payer.wallet.status == "active"
        assert RechargeRule.across_all_organizations.get().is_on
        assert_money_adds_up()

    def test_taken_up_again_after_it_was_won_it_freezes_again(self) -> None:
        payer = make_payer()
        ended = won(self.fraud(payer))
        book_dispute(ended)
        again = line(-100_00, at=NOW + timedelta(days=60))
        book_dispute(replace(ended, status="under_review", moves=[*ended.moves, again]))
        assert payer.wallet.status == "frozen"

    def test_another_dispute_keeps_it_frozen_until_that_is_won_too(self) -> None:
        payer = make_payer()
        first, second = self.fraud(payer), self.fraud(payer)
        book_dispute(won(first))
        assert payer.wallet.status == "frozen"
        book_dispute(won(second))
        assert payer.wallet.status == "active"

    def test_a_fraud_warning_keeps_it_frozen(self) -> None:
        payer = make_payer()
        top_up, facts = open_dispute(payer, reason="fraudulent")
        book_warning(warning(top_up))
        book_dispute(won(facts))
        assert payer.wallet.status == "frozen"

    @pytest.mark.parametrize("is_before", [True, False])
    def test_what_an_operator_froze_stays_frozen(self, is_before: bool) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer)
        facts = dispute_facts(top_up, 100_00, reason="fraudulent")
        steps: list[Callable[[], object]] = [
            lambda: freeze_wallet(organization=payer.organization, reason="looks odd"),
            lambda: book_dispute(facts),
        ]
        for step in steps if is_before else reversed(steps):
            step()
        book_dispute(won(facts))
        assert payer.wallet.status == "frozen"
        unfreeze_wallet(organization=payer.organization, reason="seen to")
        assert payer.wallet.status == "active"

    def test_what_an_operator_opened_the_same_dispute_leaves_open(self) -> None:
        payer = make_payer()
        facts = self.fraud(payer)
        unfreeze_wallet(organization=payer.organization, reason="we know them")
        book_dispute(replace(facts, status="under_review"))
        assert payer.wallet.status == "active"
        freeze_wallet(organization=payer.organization, reason="we do not, after all")
        book_dispute(won(facts))
        assert payer.wallet.status == "frozen"

    def test_auto_recharge_goes_on_as_the_customer_had_left_it_and_they_are_told(
        self, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        payer = make_payer()
        recharges(payer)
        facts = self.fraud(payer)
        assert not recharge_is_on()
        with django_capture_on_commit_callbacks(execute=True):
            book_dispute(won(facts))
        assert recharge_is_on()
        told = [mail.to for mail in mailoutbox if "on again" in mail.subject]
        assert told == [[owner.email] for owner in payer.organization.members.all()] != []
        assert AuditEvent.objects.filter(action="recharge.turned_on").count() == 1

    def test_auto_recharge_stays_off_where_something_else_speaks_against_it(self) -> None:
        payer = make_payer()
        recharges(payer)
        facts, other = self.fraud(payer), open_dispute(payer)[1]
        book_dispute(lost(other))
        book_dispute(won(facts))
        assert not recharge_is_on()

    def test_auto_recharge_stays_off_where_the_customer_has_no_card_any_more(self) -> None:
        payer = make_payer()
        recharges(payer)
        facts = self.fraud(payer)
        SavedCard.across_all_organizations.update(removed_at=NOW)
        book_dispute(won(facts))
        assert not recharge_is_on()

    def test_auto_recharge_that_was_turned_off_for_something_else_stays_off(self) -> None:
        payer = make_payer()
        recharges(payer)
        RechargeRule.across_all_organizations.update(is_on=False, turned_off_because="three_failures")
        book_dispute(won(self.fraud(payer)))
        assert not recharge_is_on()


def recharge_is_on() -> bool:
    return bool(RechargeRule.across_all_organizations.get().is_on)
