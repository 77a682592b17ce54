"""What was paid by card goes back to it once, right to the cent, whoever starts it and however it ends."""

from dataclasses import replace
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import OperatorAlert, User
from billing.card_refunds import (
    FactsContradict,
    approve_refund,
    book_refund,
    claim_refund,
    most_refundable,
    refund_was_refused,
    refunds_under_way,
    request_card_refund,
)
from billing.facts import RefundFacts
from billing.ledger import Account, Owner
from billing.models import Lot, Refund, RefundState, TopUp
from billing.operators import ReasonMissing, SecondOperatorNeeded
from billing.refunds import RefundEnded, RefundRefused, RefundTooLarge, finish_refund, request_refund
from billing.shares import Paid, split, tax_with
from billing.unlocking import unlock_top_up
from tests.billing.test_settle_concurrency import at_once
from tests.factories.credit import assert_money_adds_up, balance, remaining, spend
from tests.factories.money import end_lease, lease, make_payer, make_record, settle
from tests.factories.payments import CENT, line, refund_facts, top_up_paid

FAILED = RefundState.FAILED


def ask(top_up: TopUp, cents: int, **changes: Any) -> Refund:
    values = {"reason": "asked for", "fact_key": uuid4().hex, **changes}
    return request_card_refund(top_up=top_up, amount_nano=cents * CENT, **values)


def answer(refund: Refund, **changes: Any) -> RefundFacts:
    """Stripe's word on a refund that was sent."""
    assert refund.top_up is not None
    claim_refund(refund.pk)
    cents = (refund.amount_nano + refund.tax_nano) // CENT
    return refund_facts(refund.top_up, cents, our_id=refund.pk, **changes)


class TestShares:
    @given(
        st.integers(1, 10_000),
        st.integers(0, 3_000),
        st.lists(st.integers(1, 2_000), min_size=1, max_size=12),
        st.booleans(),
    )
    def test_no_cent_is_lost_over_any_number_of_parts(
        self, credit: int, tax: int, parts: list[int], is_gross: bool
    ) -> None:
        paid = Paid(credit, tax)
        for wanted in [*parts, 10**9]:
            total_left = paid.credit_left + paid.tax_left
            if is_gross:
                gross = min(wanted, total_left)
                more, its_tax = split(paid, gross)
                assert more + its_tax == gross
            else:
                more = min(wanted, paid.credit_left)
                its_tax = tax_with(paid, more)
            assert 0 <= its_tax <= paid.tax_left
            paid = Paid(credit, tax, paid.gone_credit + more, paid.gone_tax + its_tax)
        assert (paid.gone_credit, paid.gone_tax) == (credit, tax)


@pytest.mark.django_db
class TestAskedForHere:
    def test_credit_and_its_share_of_tax_leave_first(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=19_01)
        refund = ask(top_up, 33_33)
        assert refund.tax_nano == 6_34 * CENT
        assert payer.wallet.posted == 66_67 * CENT
        assert balance(Account.REFUNDS_PAYABLE) == -39_67 * CENT
        assert balance(Account.STRIPE_CLEARING) == 119_01 * CENT
        assert_money_adds_up()

    def test_stripes_answer_and_its_event_are_one_fact(self) -> None:
        top_up = top_up_paid(make_payer(), 100_00, tax=20_00)
        facts = answer(ask(top_up, 50_00))
        for _ in range(3):
            book_refund(facts)
        assert Refund.across_all_organizations.get().state == "succeeded"
        assert balance(Account.STRIPE_CLEARING) == 60_00 * CENT
        assert balance(Account.REFUNDS_PAYABLE) == 0
        assert_money_adds_up()

    def test_several_parts_bring_back_every_cent_of_tax(self) -> None:
        top_up = top_up_paid(make_payer(), 10_00, tax=1_99)
        for cents in (3_33, 3_33, 3_34):
            book_refund(answer(ask(top_up, cents)))
        assert balance(Account.TAX_PAYABLE) == 0
        assert balance(Account.STRIPE_CLEARING) == 0
        assert_money_adds_up()

    def test_pending_it_stays_payable_until_its_money_moves(self) -> None:
        facts = answer(ask(top_up_paid(make_payer()), 40_00), status="pending", paid=None)
        refund = book_refund(facts)
        assert refund is not None
        assert (refund.state, refund.stripe_status) == ("requested", "pending")
        assert balance(Account.REFUNDS_PAYABLE) == -40_00 * CENT
        assert_money_adds_up()
        paid = replace(facts, paid=line(-40_00))
        book_refund(paid)
        assert_money_adds_up()
        assert balance(Account.REFUNDS_PAYABLE) == 0
        book_refund(replace(paid, status="succeeded"))
        assert Refund.across_all_organizations.get().state == "succeeded"

    @pytest.mark.parametrize("status", ["failed", "canceled"])
    def test_unpaid_and_failed_the_credit_comes_back(self, status: str) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=20_00)
        facts = answer(ask(top_up, 100_00), status=status, paid=None)
        for _ in range(2):
            book_refund(facts)
        assert (payer.wallet.posted, most_refundable(top_up)) == (100_00 * CENT, 100_00)
        assert Refund.across_all_organizations.get().failure_reason == status
        assert balance(Account.TAX_PAYABLE) == -20_00 * CENT
        assert_money_adds_up()

    def test_one_that_fails_after_it_succeeded_comes_back_too(self) -> None:
        payer = make_payer()
        facts = answer(ask(top_up_paid(payer, 100_00, tax=20_00), 100_00))
        book_refund(facts)
        failed = replace(facts, status="failed", failure_reason="lost_or_stolen_card")
        book_refund(failed)
        assert payer.wallet.posted == 0, "the money is not back at Stripe yet"
        returned = replace(failed, returned=line(120_00))
        for _ in range(2):
            book_refund(returned)
        assert payer.wallet.posted == 100_00 * CENT
        assert balance(Account.STRIPE_CLEARING) == 120_00 * CENT
        assert OperatorAlert.objects.filter(kind="refund_failed").exists()
        assert_money_adds_up()

    def test_refused_by_stripe_the_credit_comes_back(self) -> None:
        payer = make_payer()
        refund = ask(top_up_paid(payer), 100_00)
        claim_refund(refund.pk)
        for _ in range(2):
            refund_was_refused(refund.pk, "charge_disputed")
        assert payer.wallet.posted == 100_00 * CENT
        assert_money_adds_up()

    def test_one_that_stripe_made_after_it_had_refused_takes_the_credit_again(self) -> None:
        payer = make_payer()
        refund = ask(top_up_paid(payer), 60_00)
        facts = answer(refund)
        refund_was_refused(refund.pk, "charge_disputed")
        book_refund(facts)
        assert payer.wallet.posted == 40_00 * CENT
        assert list(Refund.across_all_organizations.order_by("pk").values_list("state", flat=True)) == [
            "failed",
            "succeeded",
        ]
        assert_money_adds_up()

    def test_of_another_amount_it_is_not_ours(self) -> None:
        facts = answer(ask(top_up_paid(make_payer()), 60_00))
        with pytest.raises(FactsContradict):
            book_refund(replace(facts, amount=50_00, paid=line(-50_00)))
        with pytest.raises(FactsContradict):
            book_refund(replace(facts, paid=line(-59_00)))
        with pytest.raises(FactsContradict):
            book_refund(replace(facts, currency="EUR"))
        with pytest.raises(FactsContradict):
            book_refund(replace(facts, paid=replace(line(-60_00), currency="EUR")))

    def test_its_fee_is_a_cost(self) -> None:
        book_refund(answer(ask(top_up_paid(make_payer()), 60_00), paid=line(-60_00, fee=25)))
        assert balance(Account.STRIPE_CLEARING) == (40_00 - 25) * CENT
        assert balance(Account.STRIPE_FEES) == 25 * CENT

    def test_the_same_form_asks_once(self) -> None:
        top_up = top_up_paid(make_payer())
        assert ask(top_up, 1_00, fact_key="form").pk == ask(top_up, 1_00, fact_key="form").pk
        with pytest.raises(RefundRefused):
            ask(top_up, 2_00, fact_key="form")


@pytest.mark.django_db
class TestBounds:
    def test_no_more_than_is_unspent_in_whole_cents(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer)
        spend(payer, 30 * CENT + 1, aggregated=False)
        lease(payer, uuid4(), 20 * CENT)
        assert most_refundable(top_up) == 100_00 - 51
        with pytest.raises(RefundTooLarge):
            ask(top_up, 100_00 - 50)
        ask(top_up, 100_00 - 51)
        assert payer.wallet.available == CENT - 1

    @pytest.mark.parametrize("nano", [0, -CENT, 1, CENT + 1])
    def test_whole_cents_and_more_than_none(self, nano: int) -> None:
        with pytest.raises(RefundRefused):
            request_card_refund(top_up=top_up_paid(make_payer()), amount_nano=nano, reason="r", fact_key="f")

    def test_it_needs_a_reason(self) -> None:
        with pytest.raises(ReasonMissing):
            ask(top_up_paid(make_payer()), 1_00, reason=" ")

    def test_a_card_payment_is_not_paid_back_by_hand(self) -> None:
        top_up = top_up_paid(make_payer())
        assert top_up.lot is not None
        with pytest.raises(RefundRefused):
            request_refund(lot=top_up.lot, amount_nano=1, reason="r", fact_key="f")
        refund = ask(top_up, 1_00)
        with pytest.raises(RefundRefused):
            finish_refund(refund=refund, outcome=RefundState.SUCCEEDED)

    def test_one_that_is_not_sent_can_be_called_off_and_later_not(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer)
        finish_refund(refund=ask(top_up, 40_00), outcome=FAILED)
        assert payer.wallet.posted == 100_00 * CENT
        sent = ask(top_up, 40_00)
        claim_refund(sent.pk)
        with pytest.raises(RefundRefused):
            finish_refund(refund=sent, outcome=FAILED)

    def test_over_the_limit_it_waits_for_another_operator(self, settings: Any) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 30_00 * CENT
        asking, other = (User.objects.create_user(f"{name}@example.com") for name in ("one", "two"))
        refund = ask(top_up_paid(make_payer(), 30_00, tax=1), 30_00, requested_by=asking)
        assert not refunds_under_way()
        assert claim_refund(refund.pk) is None
        with pytest.raises(SecondOperatorNeeded):
            approve_refund(refund=refund, approved_by=asking)
        approve_refund(refund=refund, approved_by=other)
        assert [one.pk for one in refunds_under_way()] == [refund.pk]
        assert claim_refund(refund.pk) is not None
        book_refund(answer(refund))
        with pytest.raises(RefundEnded):
            approve_refund(refund=refund, approved_by=other)

    def test_an_unknown_payment_is_nobodys(self) -> None:
        facts = refund_facts(top_up_paid(make_payer()), 1_00)
        assert book_refund(replace(facts, payment_intent_id="pi_other")) is None


@pytest.mark.django_db
class TestHeld:
    def test_what_was_never_unlocked_goes_back_out_of_the_hold(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 300_00, tax=30_00, held=True)
        refund = ask(top_up, 100_00)
        assert refund.from_held
        assert balance(Account.HELD_CREDIT) == -200_00 * CENT
        assert_money_adds_up()
        book_refund(answer(refund))
        assert balance(Account.STRIPE_CLEARING) == 220_00 * CENT
        assert unlock_top_up(top_up).lot is not None
        assert payer.wallet.posted == 200_00 * CENT
        assert_money_adds_up()

    def test_failed_it_is_held_again_and_after_unlocking_it_is_credit(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 300_00, held=True)
        first, second = ask(top_up, 100_00), ask(top_up, 50_00)
        book_refund(answer(first, status="failed", paid=None))
        assert balance(Account.HELD_CREDIT) == -250_00 * CENT
        assert_money_adds_up()
        unlock_top_up(top_up)
        book_refund(answer(second, status="failed", paid=None))
        assert payer.wallet.posted == 300_00 * CENT
        assert balance(Account.HELD_CREDIT) == 0
        assert_money_adds_up()

    def test_all_of_it_refunded_there_is_nothing_to_unlock(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 300_00, tax=7, held=True)
        book_refund(answer(ask(top_up, 300_00)))
        assert unlock_top_up(top_up).unlocked_at is not None
        assert (payer.wallet.posted, balance(Account.STRIPE_CLEARING)) == (0, 0)
        assert_money_adds_up()

    def test_from_the_dashboard_too(self) -> None:
        book_refund(refund_facts(top_up_paid(make_payer(), 300_00, tax=30_00, held=True), 330_00))
        assert (balance(Account.HELD_CREDIT), balance(Account.TAX_PAYABLE)) == (0, 0)
        assert_money_adds_up()


@pytest.mark.django_db
class TestFromTheDashboard:
    def test_unspent_credit_pays_for_it_and_the_rest_is_owed(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=20_00)
        spend(payer, 70_00 * CENT)
        facts = refund_facts(top_up, 120_00)
        for _ in range(2):
            book_refund(facts)
        refund = Refund.across_all_organizations.get()
        assert (refund.amount_nano, refund.tax_nano, refund.owed_nano) == (
            100_00 * CENT,
            20_00 * CENT,
            70_00 * CENT,
        )
        wallet = payer.wallet
        assert (wallet.posted, wallet.receivable, wallet.status) == (0, 70_00 * CENT, "blocked")
        assert balance(Account.STRIPE_CLEARING) == 0
        assert OperatorAlert.objects.filter(kind="refund_of_spent_credit").exists()
        assert_money_adds_up()

    def test_one_that_fails_later_gives_back_what_it_took_and_what_is_owed(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00)
        spend(payer, 70_00 * CENT)
        facts = refund_facts(top_up, 100_00)
        book_refund(facts)
        book_refund(replace(facts, status="failed", returned=line(100_00)))
        wallet = payer.wallet
        assert (wallet.posted, wallet.receivable, wallet.status) == (30_00 * CENT, 0, "active")
        assert top_up.lot is not None
        assert remaining(top_up.lot) == [30_00 * CENT]
        assert_money_adds_up()

    def test_a_debt_that_was_paid_meanwhile_comes_back_as_credit(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00)
        spend(payer, 70_00 * CENT)
        facts = refund_facts(top_up, 100_00)
        book_refund(facts)
        top_up_paid(payer, 100_00)
        assert payer.wallet.receivable == 0
        book_refund(replace(facts, status="failed", returned=line(100_00)))
        assert payer.wallet.posted == 130_00 * CENT
        assert_money_adds_up()

    def test_first_heard_of_when_it_had_failed_already(self) -> None:
        payer = make_payer()
        facts = refund_facts(top_up_paid(payer), 100_00, status="failed", returned=line(100_00))
        book_refund(facts)
        assert payer.wallet.posted == 100_00 * CENT
        assert balance(Account.STRIPE_CLEARING) == 100_00 * CENT
        assert_money_adds_up()

    @pytest.mark.parametrize("order", list(permutations(range(4))))
    def test_parts_in_any_order_each_twice_end_the_same(self, order: tuple[int, ...]) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=7_77)
        ours = ask(top_up, 10_00)
        third = refund_facts(top_up, 21_11)
        told = [
            answer(ours),
            refund_facts(top_up, 13_33),
            third,
            replace(third, status="failed", returned=line(21_11)),
        ]
        for number in order:
            for _ in range(2):
                book_refund(told[number])
        gone = (ours.amount_nano + ours.tax_nano) // CENT + 13_33
        assert balance(Account.STRIPE_CLEARING) == (107_77 - gone) * CENT
        assert balance(Account.REFUNDS_PAYABLE) == 0
        kept = -balance(Account.PAID_CREDIT, Owner.organization(payer.organization.pk))
        assert kept - balance(Account.TAX_PAYABLE) == balance(Account.STRIPE_CLEARING)
        assert_money_adds_up()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_a_running_spend_and_refunds_never_use_the_same_credit(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 10_00)

        def charges() -> None:
            for _ in range(12):
                holder = uuid4()
                granted, _free = lease(payer, holder, 40 * CENT)
                if granted:
                    settle(holder, make_record(payer, 40 * CENT))
                    end_lease(payer, holder)

        def refunds() -> None:
            for _ in range(12):
                try:
                    book_refund(answer(ask(top_up, 45)))
                except RefundTooLarge:
                    return

        facts = refund_facts(top_up, 1_00)
        at_once(charges, charges, refunds, refunds, *[lambda: book_refund(facts)] * 2)
        assert_money_adds_up()
        assert payer.wallet.posted >= 0

    def test_the_answer_and_the_event_at_once_are_booked_once(self) -> None:
        top_up = top_up_paid(make_payer(), 10_00)
        ours, theirs = answer(ask(top_up, 4_00)), refund_facts(top_up, 3_00)
        at_once(*[lambda: book_refund(ours)] * 3, *[lambda: book_refund(theirs)] * 3)
        assert balance(Account.STRIPE_CLEARING) == 3_00 * CENT
        assert Refund.across_all_organizations.count() == 2
        assert_money_adds_up()

    def test_many_at_once_refund_no_more_than_there_is(self) -> None:
        top_up = top_up_paid(make_payer(), 1_00)

        def attempt() -> int:
            try:
                return ask(top_up, 30).amount_nano // CENT
            except RefundTooLarge:
                return 0

        assert sum(at_once(*[attempt] * 8)) == 90
        assert Lot.across_all_organizations.get().remaining == 10 * CENT
        assert_money_adds_up()
