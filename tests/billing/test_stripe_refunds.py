"""Refunds, disputes, warnings and payouts with Stripe itself: asked under one key, heard in any order."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from billing.card_refunds import claim_refund, request_card_refund
from billing.ledger import Account
from billing.models import (
    BalanceTransaction,
    Dispute,
    FraudWarning,
    Refund,
    TopUp,
    UnmatchedPayment,
)
from billing.payment_facts import PaymentFacts
from billing.stripe.client import StripeUnknown, stripe_client
from billing.stripe.payments import read_payment
from billing.stripe.refunds import send_refund, send_refunds
from billing.unmatched import put_in_suspense
from tests.doubles.stripe.double import StripeDouble
from tests.factories.at_stripe import charged, clearing_differs, hear, paid_at, stripe_at
from tests.factories.credit import assert_money_adds_up, balance, spend
from tests.factories.money import make_payer
from tests.factories.payments import CENT

pytestmark = pytest.mark.django_db


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeDouble]:
    with stripe_at(settings) as double:
        yield double


def ask(top_up: TopUp, cents: int) -> Refund:
    return request_card_refund(
        top_up=top_up, amount_nano=cents * CENT, reason="asked for", fact_key=uuid4().hex
    )


def made_at(stripe: StripeDouble) -> list[dict[str, Any]]:
    return list(stripe.state().get("refund", []))


class TestSending:
    def test_it_is_made_once_with_its_tax_and_says_whose_it_is(self, stripe: StripeDouble) -> None:
        top_up = paid_at(stripe, make_payer(), 100_00, tax=20_00)
        refund = ask(top_up, 50_00)
        for _ in range(2):
            send_refund(refund.pk)
        hear(stripe)
        [made] = made_at(stripe)
        assert (made["amount"], made["metadata"]) == (60_00, {"refund_id": str(refund.pk)})
        found = Refund.across_all_organizations.get()
        assert (found.state, found.stripe_id) == ("succeeded", made["id"])
        assert clearing_differs(stripe) == 0
        assert_money_adds_up()

    def test_its_event_may_come_before_its_answer(self, stripe: StripeDouble) -> None:
        refund = ask(paid_at(stripe, make_payer()), 50_00)
        claimed = claim_refund(refund.pk)
        assert claimed is not None
        assert claimed.top_up is not None
        stripe_client().v1.refunds.create(
            {
                "payment_intent": claimed.top_up.payment_intent_id or "",
                "amount": 50_00,
                "metadata": {"refund_id": str(refund.pk)},
            }
        )
        hear(stripe)
        send_refunds()
        assert [one.state for one in Refund.across_all_organizations.all()] == ["succeeded"]
        assert len(made_at(stripe)) == 1
        assert clearing_differs(stripe) == 0

    def test_an_error_after_the_work_was_done_makes_no_second_one(self, stripe: StripeDouble) -> None:
        refund = ask(paid_at(stripe, make_payer()), 50_00)
        stripe.trouble(error_after=1.0)
        with pytest.raises(StripeUnknown):
            send_refund(refund.pk)
        stripe.trouble(error_after=0.0)
        assert Refund.across_all_organizations.get().state == "requested"
        assert send_refunds() == 1
        assert Refund.across_all_organizations.get().state == "succeeded"
        assert len(made_at(stripe)) == 1
        assert clearing_differs(stripe) == 0

    def test_days_later_the_key_is_forgotten_and_the_refund_is_not(self, stripe: StripeDouble) -> None:
        refund = ask(paid_at(stripe, make_payer()), 50_00)
        stripe.trouble(error_after=1.0)
        with pytest.raises(StripeUnknown):
            send_refund(refund.pk)
        stripe.trouble(error_after=0.0)
        stripe.control("warp", seconds=3 * 86_400)
        send_refunds()
        assert len(made_at(stripe)) == 1

    def test_a_worker_that_died_before_the_call_is_made_up_for(self, stripe: StripeDouble) -> None:
        refund = ask(paid_at(stripe, make_payer()), 50_00)
        claim_refund(refund.pk)
        send_refunds()
        assert len(made_at(stripe)) == 1
        assert Refund.across_all_organizations.get().state == "succeeded"

    def test_refused_the_credit_comes_back(self, stripe: StripeDouble) -> None:
        payer = make_payer()
        top_up = paid_at(stripe, payer)
        refund = ask(top_up, 50_00)
        stripe.control("dispute", payment_intent=top_up.payment_intent_id, inquiry=True)
        send_refund(refund.pk)
        found = Refund.across_all_organizations.get()
        assert (found.state, found.failure_reason) == ("failed", "charge_disputed")
        assert payer.wallet.posted == 100_00 * CENT
        assert_money_adds_up()

    def test_with_a_wrong_key_it_waits(self, stripe: StripeDouble, settings: Any) -> None:
        ask(paid_at(stripe, make_payer()), 50_00)
        settings.STRIPE_API_KEY = "sk_test_wrong"
        assert send_refunds() == 0
        assert Refund.across_all_organizations.get().state == "requested"
        settings.STRIPE_API_KEY = stripe.api_key
        assert send_refunds() == 1

    def test_what_stays_pending_is_looked_at_again(self, stripe: StripeDouble) -> None:
        payer = make_payer()
        stripe.control("settings", refunds_wait=True)
        ask(paid_at(stripe, payer), 50_00)
        send_refunds()
        assert clearing_differs(stripe) == 0
        [made] = made_at(stripe)
        stripe.control("end_refund", refund=made["id"], ok=False)
        assert payer.wallet.posted == 50_00 * CENT
        send_refunds()
        assert payer.wallet.posted == 100_00 * CENT
        assert clearing_differs(stripe) == 0
        assert_money_adds_up()

    def test_without_a_key_nothing_is_sent(self, settings: Any) -> None:
        settings.STRIPE_API_KEY = ""
        assert send_refunds() == 0


class TestHearing:
    @pytest.mark.parametrize("seed", range(6))
    def test_everything_in_any_order_and_twice(self, stripe: StripeDouble, seed: int) -> None:
        payer = make_payer()
        first, second, third = (charged(stripe, payer, 100_00, tax=tax) for tax in (0, 7_77, 19_00))
        fail = stripe.control("refund", payment_intent=first.payment_intent_id, amount=12_34)
        stripe.control("refund", payment_intent=first.payment_intent_id, amount=7_66)
        stripe.control("end_refund", refund=fail["id"], ok=False)
        stripe.control("refund", payment_intent=second.payment_intent_id, amount=1)
        lost = stripe.control("dispute", payment_intent=second.payment_intent_id)
        stripe.control("close_dispute", dispute=lost["id"], won=False)
        won = stripe.control("dispute", payment_intent=third.payment_intent_id, reason="general")
        stripe.control("close_dispute", dispute=won["id"], won=True)
        payout = stripe.control("pay_out", amount=50_00)
        stripe.control("fail_payout", payout=payout["id"])
        assert hear(stripe, seed=seed) == []
        assert clearing_differs(stripe) == 0
        assert balance(Account.BANK) == 0
        assert payer.wallet.posted == (100_00 - 7_66 + 100_00) * CENT
        assert_money_adds_up()

    def test_every_line_of_stripes_book_knows_its_posting(self, stripe: StripeDouble) -> None:
        top_up = paid_at(stripe, make_payer())
        stripe.control("refund", payment_intent=top_up.payment_intent_id, amount=10_00)
        dispute = stripe.control("dispute", payment_intent=top_up.payment_intent_id)
        stripe.control("close_dispute", dispute=dispute["id"], won=True)
        stripe.control("pay_out", amount=5_00)
        hear(stripe)
        lines = BalanceTransaction.objects.all()
        theirs = {line["id"] for line in stripe.state()["balance_transaction"]}
        assert {line.balance_transaction_id for line in lines} == theirs
        assert all(line.transaction_id for line in lines)

    def test_an_inquiry_withdraws_nothing_until_it_is_a_dispute(self, stripe: StripeDouble) -> None:
        payer = make_payer()
        top_up = paid_at(stripe, payer)
        dispute = stripe.control("dispute", payment_intent=top_up.payment_intent_id, inquiry=True)
        hear(stripe)
        assert payer.wallet.posted == 100_00 * CENT
        stripe.control("withdraw", dispute=dispute["id"])
        hear(stripe, seed=1)
        assert (payer.wallet.posted, Dispute.across_all_organizations.get().held_nano) == (0, 100_00 * CENT)
        assert clearing_differs(stripe) == 0

    def test_a_fraud_warning_freezes(self, stripe: StripeDouble) -> None:
        payer = make_payer()
        stripe.control("warn", payment_intent=charged(stripe, payer).payment_intent_id)
        assert hear(stripe, seed=2) == []
        assert payer.wallet.status == "frozen"
        assert FraudWarning.across_all_organizations.get().fraud_type == "made_with_stolen_card"

    @pytest.mark.parametrize("seed", range(4))
    def test_what_a_dispute_froze_is_open_once_it_is_won(self, stripe: StripeDouble, seed: int) -> None:
        payer = make_payer()
        top_up = paid_at(stripe, payer)
        dispute = stripe.control("dispute", payment_intent=top_up.payment_intent_id)
        hear(stripe, seed=seed)
        assert payer.wallet.status == "frozen"
        stripe.control("close_dispute", dispute=dispute["id"], won=True)
        hear(stripe, seed=seed)
        assert (payer.wallet.status, payer.wallet.posted) == ("active", 100_00 * CENT)
        assert clearing_differs(stripe) == 0
        assert_money_adds_up()

    def test_what_nobody_knows_waits(self, stripe: StripeDouble) -> None:
        intent = stripe.control("stray_payment", amount=10_00)
        stripe.control("refund", payment_intent=intent["id"])
        waiting = hear(stripe)
        assert {event.state for event in waiting} == {"waiting"}
        assert not Refund.across_all_organizations.exists()


class TestSuspense:
    def stray(self, stripe: StripeDouble, cents: int = 10_00) -> PaymentFacts:
        intent = stripe.control("stray_payment", amount=cents)
        facts = read_payment(intent["id"])
        put_in_suspense(facts, "Nobody's")
        return facts

    def test_sent_back_from_the_dashboard_it_is_settled(self, stripe: StripeDouble) -> None:
        facts = self.stray(stripe)
        stripe.control("refund", payment_intent=facts.payment_intent_id, amount=4_00)
        hear(stripe)
        assert UnmatchedPayment.objects.get().settled_at is None
        assert_money_adds_up()
        stripe.control("refund", payment_intent=facts.payment_intent_id)
        hear(stripe)
        assert UnmatchedPayment.objects.get().settled_at is not None
        assert balance(Account.SUSPENSE) == 0
        assert clearing_differs(stripe) == 0
        assert_money_adds_up()

    def test_a_refund_that_fails_opens_it_again(self, stripe: StripeDouble) -> None:
        facts = self.stray(stripe)
        made = stripe.control("refund", payment_intent=facts.payment_intent_id)
        hear(stripe)
        stripe.control("end_refund", refund=made["id"], ok=False)
        hear(stripe)
        assert UnmatchedPayment.objects.get().settled_at is None
        assert balance(Account.SUSPENSE) == -10_00 * CENT
        assert_money_adds_up()

    def test_disputed_it_is_gone_and_won_it_is_back(self, stripe: StripeDouble) -> None:
        facts = self.stray(stripe)
        dispute = stripe.control("dispute", payment_intent=facts.payment_intent_id)
        hear(stripe)
        assert balance(Account.SUSPENSE) == 0
        stripe.control("close_dispute", dispute=dispute["id"], won=True)
        hear(stripe)
        assert balance(Account.SUSPENSE) == -10_00 * CENT
        assert clearing_differs(stripe) == 0
        assert_money_adds_up()


def test_spent_credit_refunded_in_the_dashboard_is_owed(stripe: StripeDouble) -> None:
    payer = make_payer()
    top_up = paid_at(stripe, payer)
    spend(payer, 99_00 * CENT)
    stripe.control("refund", payment_intent=top_up.payment_intent_id)
    hear(stripe, seed=3)
    assert (payer.wallet.posted, payer.wallet.receivable, payer.wallet.status) == (0, 99_00 * CENT, "blocked")
    assert clearing_differs(stripe) == 0
    assert_money_adds_up()
