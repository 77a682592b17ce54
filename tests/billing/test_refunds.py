"""A refund takes unused paid credit first, ends once, and gives it back when it failed."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError

from accounts.models import User
from billing.aggregation import aggregate_batches
from billing.ledger import Account, Posting, post
from billing.ledger.templates import refund_succeeded
from billing.models import LedgerTransaction, Lot, LotKind, PostingKind, Refund, RefundState, Wallet
from billing.operators import ReasonMissing, SecondOperatorNeeded
from billing.refunds import RefundEnded, RefundRefused, RefundTooLarge, finish_refund, request_refund
from tests.billing.test_settle_concurrency import at_once
from tests.factories.credit import arrive, assert_money_adds_up, balance, remaining, spend
from tests.factories.money import Payer, end_lease, lease, make_payer, make_record, settle

SUCCEEDED, FAILED = RefundState.SUCCEEDED, RefundState.FAILED


def ask(lot: Lot, amount: int, **changes: Any) -> Refund:
    values = {"reason": "asked for", "fact_key": uuid4().hex, **changes}
    return request_refund(lot=lot, amount_nano=amount, **values)


@pytest.mark.django_db
class TestOneRefund:
    def test_credit_leaves_the_wallet_before_anything_is_paid(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100, tax_nano=20)
        refund = ask(lot, 40, tax_nano=8)
        assert (payer.wallet.posted, remaining(lot)) == (60, [60])
        assert balance(Account.REFUNDS_PAYABLE, f"refund:{refund.pk}") == -48
        assert balance(Account.TAX_PAYABLE) == -12
        assert_money_adds_up()

    def test_paid_out_it_leaves_the_bank(self) -> None:
        payer = make_payer()
        refund = ask(arrive(payer, 100, tax_nano=20), 40, tax_nano=8)
        finished = finish_refund(refund=refund, outcome=SUCCEEDED)
        assert (finished.state, finished.ended_at is None) == ("succeeded", False)
        assert balance(Account.REFUNDS_PAYABLE) == 0
        assert balance(Account.BANK) == 72
        assert payer.wallet.posted == 60
        assert_money_adds_up()

    def test_a_vendor_may_have_paid_it(self) -> None:
        refund = ask(arrive(make_payer(), 100), 40)
        finish_refund(refund=refund, outcome=SUCCEEDED, source=Account.STRIPE_CLEARING)
        assert balance(Account.STRIPE_CLEARING) == -40

    def test_failed_it_comes_back_to_its_lot(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100, tax_nano=20)
        finish_refund(refund=ask(lot, 100, tax_nano=20), outcome=FAILED)
        assert (payer.wallet.posted, remaining(lot)) == (100, [100])
        assert balance(Account.TAX_PAYABLE) == -20
        assert_money_adds_up()

    def test_what_comes_back_pays_debts_first(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        refund = ask(lot, 100)
        owes(payer, 30)
        finish_refund(refund=refund, outcome=FAILED)
        assert (payer.wallet.posted, payer.wallet.receivable, payer.wallet.status) == (70, 0, "active")
        assert remaining(lot) == [70]

    @pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED])
    def test_everything_twice_is_once(self, outcome: RefundState) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        refunds = {ask(lot, 40, fact_key="form").pk for _ in range(2)}
        assert len(refunds) == 1
        for _ in range(2):
            finish_refund(refund=Refund.across_all_organizations.get(), outcome=outcome)
        assert LedgerTransaction.objects.filter(kind=PostingKind.REFUND).count() == 2
        assert payer.wallet.posted == (60 if outcome == SUCCEEDED else 100)
        assert_money_adds_up()

    @pytest.mark.parametrize(("first", "second"), [(SUCCEEDED, FAILED), (FAILED, SUCCEEDED)])
    def test_an_end_is_never_undone(self, first: RefundState, second: RefundState) -> None:
        refund = ask(arrive(make_payer(), 100), 40)
        finish_refund(refund=refund, outcome=first)
        with pytest.raises(RefundEnded):
            finish_refund(refund=refund, outcome=second)
        assert Refund.across_all_organizations.get().state == first

    def test_the_database_lets_no_refund_be_paid_twice(self) -> None:
        refund = ask(arrive(make_payer(), 100), 40)
        finish_refund(refund=refund, outcome=SUCCEEDED)
        entries = refund_succeeded(refund_owner=f"refund:{refund.pk}", amount=40, tax=0, source=Account.BANK)
        with pytest.raises(IntegrityError):
            post(Posting(fact_key="by mistake", kind=PostingKind.REFUND, entries=entries))

    def test_the_same_form_does_not_ask_for_something_else(self) -> None:
        lot = arrive(make_payer(), 100)
        ask(lot, 40, fact_key="form")
        with pytest.raises(RefundRefused):
            ask(lot, 50, fact_key="form")


def owes(payer: Payer, amount: int) -> None:
    Wallet.objects.filter(pk=payer.organization.pk).update(receivable=amount, status="blocked")


@pytest.mark.django_db
class TestBounds:
    def test_no_more_than_is_unspent(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        spend(payer, 30, aggregated=False)
        lease(payer, uuid4(), 20)
        with pytest.raises(RefundTooLarge):
            ask(lot, 51)
        ask(lot, 50)
        assert payer.wallet.available == 0
        aggregate_batches()
        assert_money_adds_up()

    def test_not_what_is_needed_for_a_debt(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        owes(payer, 30)
        with pytest.raises(RefundTooLarge):
            ask(lot, 71)
        ask(lot, 70)

    def test_no_more_tax_than_came(self) -> None:
        lot = arrive(make_payer(), 100, tax_nano=20)
        ask(lot, 10, tax_nano=15)
        with pytest.raises(RefundTooLarge):
            ask(lot, 10, tax_nano=6)
        finish_refund(refund=Refund.across_all_organizations.get(), outcome=FAILED)
        ask(lot, 10, tax_nano=20)

    def test_promotional_credit_is_not_paid_out(self) -> None:
        lot = arrive(make_payer(), 100, LotKind.PROMOTIONAL)
        with pytest.raises(RefundTooLarge):
            ask(lot, 1)

    @pytest.mark.parametrize(("amount", "tax"), [(0, 0), (-1, 0), (10, -1)])
    def test_nothing_is_no_refund(self, amount: int, tax: int) -> None:
        with pytest.raises(RefundRefused):
            ask(arrive(make_payer(), 100), amount, tax_nano=tax)

    def test_it_needs_a_reason(self) -> None:
        with pytest.raises(ReasonMissing):
            ask(arrive(make_payer(), 100), 10, reason="")

    def test_it_ends_as_paid_or_failed_from_an_account_that_pays(self) -> None:
        refund = ask(arrive(make_payer(), 100), 10)
        with pytest.raises(RefundRefused):
            finish_refund(refund=refund, outcome=RefundState.REQUESTED)
        with pytest.raises(RefundRefused):
            finish_refund(refund=refund, outcome=SUCCEEDED, source=Account.GOODWILL)

    def test_over_the_limit_another_operator_confirms_it(self, settings: Any) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 30
        asking, other = (User.objects.create_user(f"{name}@example.com") for name in ("one", "two"))
        refund = ask(arrive(make_payer(), 100), 40, requested_by=asking)
        with pytest.raises(SecondOperatorNeeded):
            finish_refund(refund=refund, outcome=SUCCEEDED, actor=asking)
        finish_refund(refund=refund, outcome=SUCCEEDED, actor=other)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_many_at_once_refund_no_more_than_there_is(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)

        def attempt() -> int:
            try:
                return ask(lot, 30).amount_nano
            except RefundTooLarge:
                return 0

        assert sum(at_once(*[attempt] * 8)) == 90
        assert payer.wallet.posted == 10
        assert_money_adds_up()

    def test_refunds_and_charges_at_once_never_use_the_same_credit(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 1_000)

        def charges() -> None:
            for _ in range(10):
                holder = uuid4()
                granted, _free = lease(payer, holder, 40)
                if granted:
                    settle(holder, make_record(payer, 40))
                    end_lease(payer, holder)
                aggregate_batches()

        def refunds() -> None:
            for _ in range(10):
                try:
                    finish_refund(refund=ask(lot, 45), outcome=SUCCEEDED)
                except RefundTooLarge:
                    return

        at_once(charges, charges, refunds, refunds)
        while aggregate_batches():
            pass
        assert_money_adds_up()
        assert remaining(lot) == [payer.wallet.posted]

    def test_one_refund_finished_both_ways_at_once_ends_one_way(self) -> None:
        refund = ask(arrive(make_payer(), 100), 40)

        def end(outcome: RefundState) -> bool:
            try:
                finish_refund(refund=refund, outcome=outcome)
            except RefundEnded:
                return False
            return True

        assert sum(at_once(lambda: end(SUCCEEDED), lambda: end(FAILED))) == 1
        assert_money_adds_up()
