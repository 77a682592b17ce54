"""A payment that was nobody's until an operator credited it: from then on it is a top-up like any other."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from accounts.models import OperatorAlert
from billing.adjustments import request_adjustment
from billing.card_refunds import most_refundable, request_card_refund
from billing.ledger import Account
from billing.models import (
    AdjustmentKind,
    Dispute,
    FraudWarning,
    LedgerTransaction,
    Refund,
    TopUp,
    TopUpOrigin,
    TopUpState,
    UnmatchedPayment,
)
from billing.recharging import sweep_recharges
from billing.stripe.mirror import reconcile_with_stripe
from billing.stripe.payments import read_payment
from billing.stripe.refunds import send_refunds
from billing.top_ups import reconcile_top_up
from billing.unmatched import ClaimRefused, put_in_suspense
from tests.doubles.stripe.double import StripeDouble
from tests.factories.at_stripe import charged, clearing_differs, hear, stripe_at
from tests.factories.credit import assert_money_adds_up, balance, spend
from tests.factories.money import Payer, make_payer
from tests.factories.payments import CENT

pytestmark = pytest.mark.django_db


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeDouble]:
    with stripe_at(settings) as double:
        yield double


@pytest.fixture
def payer() -> Payer:
    return make_payer()


def stray(stripe: StripeDouble, cents: int = 100_00, **told: Any) -> str:
    intent = stripe.control("stray_payment", amount=cents, **told)
    put_in_suspense(read_payment(intent["id"]), "Nobody's")
    return str(intent["id"])


def credit(payment: str, payer: Payer, cents: int = 100_00, *, tax: int = 0) -> TopUp:
    request_adjustment(
        organization=payer.organization,
        kind=AdjustmentKind.CLAIM,
        amount_nano=(cents - tax) * CENT,
        tax_nano=tax * CENT,
        reference=payment,
        reason="Showed the receipt",
        fact_key=uuid4().hex,
    )
    return the_top_up(payment)


def the_top_up(payment: str) -> TopUp:
    found: TopUp = TopUp.across_all_organizations.get(payment_intent_id=payment)
    return found


def assert_books_agree(stripe: StripeDouble) -> None:
    assert clearing_differs(stripe) == 0
    assert_money_adds_up()


class TestCredited:
    def test_it_is_a_paid_top_up_of_the_customer(self, stripe: StripeDouble, payer: Payer) -> None:
        top_up = credit(stray(stripe), payer, tax=20_00)
        assert (top_up.organization, top_up.origin, top_up.state) == (
            payer.organization,
            TopUpOrigin.CLAIM,
            TopUpState.PAID,
        )
        assert (top_up.amount_minor, top_up.tax_minor) == (80_00, 20_00)
        assert most_refundable(top_up) == 80_00
        assert_books_agree(stripe)

    def test_looking_again_at_stripe_credits_nothing_more(self, stripe: StripeDouble, payer: Payer) -> None:
        top_up = credit(stray(stripe), payer)
        reconcile_top_up(top_up.pk)
        hear(stripe)
        assert payer.wallet.posted == 100_00 * CENT
        assert_books_agree(stripe)

    def test_a_debt_may_take_all_of_it(self, stripe: StripeDouble, payer: Payer) -> None:
        spend(payer, 100_00 * CENT)
        top_up = credit(stray(stripe), payer)
        assert (top_up.lot, payer.wallet.receivable) == (None, 0)
        stripe.control("refund", payment_intent=top_up.payment_intent_id, amount=40_00)
        hear(stripe)
        assert payer.wallet.receivable == 40_00 * CENT
        assert_books_agree(stripe)

    def test_parts_of_cents_are_no_tax(self, stripe: StripeDouble, payer: Payer) -> None:
        payment = stray(stripe)
        with pytest.raises(ClaimRefused), transaction.atomic():
            request_adjustment(
                organization=payer.organization,
                kind=AdjustmentKind.CLAIM,
                amount_nano=100_00 * CENT - 1,
                tax_nano=1,
                reference=payment,
                reason="Showed the receipt",
                fact_key="f",
            )

    def test_the_attempt_that_had_asked_for_it_has_ended(self, stripe: StripeDouble, payer: Payer) -> None:
        wanted = charged(stripe, payer, 20_00)
        TopUp.across_all_organizations.filter(pk=wanted.pk).update(amount_minor=50_00, state="processing")
        assert reconcile_top_up(wanted.pk).state == "processing"
        other = make_payer()
        assert wanted.payment_intent_id is not None
        credit(wanted.payment_intent_id, other, 20_00)
        ended = TopUp.across_all_organizations.get(pk=wanted.pk)
        assert (ended.state, ended.payment_intent_id) == ("failed", None)
        sweep_recharges()
        assert (payer.wallet.posted, other.wallet.posted) == (0, 20_00 * CENT)
        assert_books_agree(stripe)


class TestRefunded:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_refund_in_the_dashboard_takes_the_credit(
        self, stripe: StripeDouble, payer: Payer, seed: int
    ) -> None:
        top_up = credit(stray(stripe), payer, tax=20_00)
        spend(payer, 50_00 * CENT)
        stripe.control("refund", payment_intent=top_up.payment_intent_id, amount=40_00)
        stripe.control("refund", payment_intent=top_up.payment_intent_id, amount=60_00)
        hear(stripe, seed=seed)
        assert (payer.wallet.posted, payer.wallet.receivable) == (0, 50_00 * CENT)
        assert balance(Account.TAX_PAYABLE) == 0
        assert UnmatchedPayment.objects.get().settled_at is not None
        assert not OperatorAlert.objects.filter(kind="claimed_payment_went_back").exists()
        assert_books_agree(stripe)

    def test_one_that_fails_gives_it_back(self, stripe: StripeDouble, payer: Payer) -> None:
        top_up = credit(stray(stripe), payer)
        made = stripe.control("refund", payment_intent=top_up.payment_intent_id, amount=40_00)
        hear(stripe)
        assert payer.wallet.posted == 60_00 * CENT
        stripe.control("end_refund", refund=made["id"], ok=False)
        hear(stripe)
        assert payer.wallet.posted == 100_00 * CENT
        assert_books_agree(stripe)

    def test_it_can_be_asked_for_here(self, stripe: StripeDouble, payer: Payer) -> None:
        top_up = credit(stray(stripe), payer)
        request_card_refund(top_up=top_up, amount_nano=70_00 * CENT, reason="asked for", fact_key="f")
        send_refunds()
        hear(stripe)
        assert Refund.across_all_organizations.get().state == "succeeded"
        assert payer.wallet.posted == 30_00 * CENT
        assert_books_agree(stripe)

    def test_by_stripes_book_alone_it_is_found_too(self, stripe: StripeDouble, payer: Payer) -> None:
        top_up = credit(stray(stripe), payer)
        stripe.control("refund", payment_intent=top_up.payment_intent_id, amount=40_00)
        found = reconcile_with_stripe()
        assert found is not None
        assert found.agrees
        assert payer.wallet.posted == 60_00 * CENT


class TestDisputed:
    def test_its_credit_waits_and_the_wallet_is_frozen_until_it_is_won(
        self, stripe: StripeDouble, payer: Payer
    ) -> None:
        top_up = credit(stray(stripe), payer)
        dispute = stripe.control("dispute", payment_intent=top_up.payment_intent_id)
        hear(stripe, seed=1)
        assert (payer.wallet.posted, payer.wallet.status) == (0, "frozen")
        assert Dispute.across_all_organizations.get().held_nano == 100_00 * CENT
        assert_books_agree(stripe)
        stripe.control("close_dispute", dispute=dispute["id"], won=True)
        hear(stripe, seed=2)
        assert (payer.wallet.posted, payer.wallet.status) == (100_00 * CENT, "active")
        assert_books_agree(stripe)

    def test_lost_what_was_spent_is_owed(self, stripe: StripeDouble, payer: Payer) -> None:
        top_up = credit(stray(stripe), payer)
        spend(payer, 30_00 * CENT)
        dispute = stripe.control("dispute", payment_intent=top_up.payment_intent_id)
        stripe.control("close_dispute", dispute=dispute["id"], won=False)
        hear(stripe, seed=3)
        assert (payer.wallet.posted, payer.wallet.receivable) == (0, 30_00 * CENT)
        assert_books_agree(stripe)

    def test_a_fraud_warning_stops_the_spending(self, stripe: StripeDouble, payer: Payer) -> None:
        stripe.control("warn", payment_intent=credit(stray(stripe), payer).payment_intent_id)
        hear(stripe)
        assert FraudWarning.across_all_organizations.get().froze_wallet
        assert payer.wallet.status == "frozen"


class TestWentBackBefore:
    """What moved while it was nobody's stays suspense's, whoever gets the rest."""

    def test_only_what_is_left_can_be_credited(self, stripe: StripeDouble, payer: Payer) -> None:
        payment = stray(stripe)
        stripe.control("refund", payment_intent=payment, amount=40_00)
        hear(stripe)
        with pytest.raises(ClaimRefused), transaction.atomic():
            credit(payment, payer)
        top_up = credit(payment, payer, 60_00)
        for _ in range(2):
            hear(stripe)
        assert (payer.wallet.posted, Refund.across_all_organizations.count()) == (60_00 * CENT, 0)
        stripe.control("refund", payment_intent=payment, amount=10_00)
        hear(stripe)
        assert (payer.wallet.posted, most_refundable(top_up)) == (50_00 * CENT, 50_00)
        assert_books_agree(stripe)

    def test_a_refund_from_before_that_fails_is_nobodys_again(
        self, stripe: StripeDouble, payer: Payer
    ) -> None:
        payment = stray(stripe)
        made = stripe.control("refund", payment_intent=payment, amount=40_00)
        hear(stripe)
        credit(payment, payer, 60_00)
        stripe.control("end_refund", refund=made["id"], ok=False)
        hear(stripe)
        assert payer.wallet.posted == 60_00 * CENT
        assert balance(Account.SUSPENSE) == -40_00 * CENT
        assert OperatorAlert.objects.filter(kind="claimed_payment_moved").exists()
        assert_books_agree(stripe)
        stripe.control("refund", payment_intent=payment, amount=40_00)
        hear(stripe, seed=5)
        assert (payer.wallet.posted, balance(Account.SUSPENSE)) == (60_00 * CENT, 0)
        assert UnmatchedPayment.objects.get().settled_at is not None
        assert_books_agree(stripe)

    def test_a_dispute_from_before_that_was_won_does_not_come_back(
        self, stripe: StripeDouble, payer: Payer
    ) -> None:
        payment = stray(stripe)
        dispute = stripe.control("dispute", payment_intent=payment)
        stripe.control("close_dispute", dispute=dispute["id"], won=True)
        hear(stripe)
        credit(payment, payer)
        hear(stripe, seed=4)
        assert (payer.wallet.posted, payer.wallet.status) == (100_00 * CENT, "active")
        assert not Dispute.across_all_organizations.exists()
        assert_books_agree(stripe)


def test_paid_in_another_currency_operators_are_asked(stripe: StripeDouble, payer: Payer) -> None:
    payment = stray(stripe)
    UnmatchedPayment.objects.update(currency="EUR")
    request_adjustment(
        organization=payer.organization,
        kind=AdjustmentKind.CLAIM,
        amount_nano=100_00 * CENT,
        reference=payment,
        reason="Showed the receipt",
        fact_key="f",
    )
    assert not TopUp.across_all_organizations.exists()
    stripe.control("refund", payment_intent=payment, amount=40_00)
    hear(stripe)
    assert OperatorAlert.objects.filter(kind="claimed_payment_went_back").exists()


def test_it_is_dated_when_it_was_paid(stripe: StripeDouble, payer: Payer) -> None:
    top_up = credit(stray(stripe), payer)
    paid = LedgerTransaction.objects.get(fact_key=f"pi:{top_up.payment_intent_id}:succeeded")
    assert top_up.paid_at is not None
    assert abs(top_up.paid_at - paid.effective_at) < timedelta(seconds=1)
