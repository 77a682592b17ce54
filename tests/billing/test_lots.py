"""Lots are spent in order, credit pays debts first, and books stay equal while aggregation lags behind."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import OperatorAlert
from billing.aggregation import aggregate_batches
from billing.ledger import Account, FactContradicts, Owner, Posting
from billing.ledger.templates import expiry
from billing.lots import Arrival, bring_in, lock_credit, take_out
from billing.models import (
    LedgerAccount,
    LedgerTransaction,
    Lot,
    LotEntry,
    LotKind,
    PostingKind,
    SettlementBatch,
    Wallet,
)
from billing.spending import SpendableLot, in_spending_order, take_in_order
from tests.factories.money import Payer, lease, make_payer, make_record, settle

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SOON, LATER = NOW + timedelta(days=1), NOW + timedelta(days=9)


def arrive(payer: Payer, amount: int, kind: LotKind = LotKind.PAID, **terms: object) -> Lot | None:
    arrival = {
        "organization_id": payer.organization.pk,
        "kind": kind,
        "amount_nano": amount,
        "fact_key": uuid4().hex,
        "posting_kind": PostingKind.TOP_UP,
        "source": Account.BANK,
        "source_owner": Owner.OPERATOR,
        **terms,
    }
    return bring_in(Arrival(**arrival))  # type: ignore[arg-type]


def spend(payer: Payer, amount: int) -> None:
    holder = uuid4()
    lease(payer, holder, amount)
    settle(holder, make_record(payer, amount))


def remaining(*lots: Lot | None) -> list[int]:
    return [Lot.across_all_organizations.get(pk=lot.pk).remaining for lot in lots if lot]


def test_the_order_is_priority_then_expiry_then_promotional_then_age() -> None:
    lots = [
        SpendableLot(1, "paid", 1, 100, None),
        SpendableLot(2, "promotional", 1, 100, None),
        SpendableLot(3, "paid", 1, 100, LATER),
        SpendableLot(4, "paid", 1, 100, SOON),
        SpendableLot(5, "promotional", 1, 100, SOON),
        SpendableLot(6, "paid", 1, 50, None),
        SpendableLot(7, "paid", 1, 100, None),
    ]
    assert [lot.lot_id for lot in in_spending_order(reversed(lots))] == [6, 5, 4, 3, 2, 1, 7]


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 300))
def test_taking_in_order_empties_one_lot_before_the_next(holds: list[int], amount: int) -> None:
    lots = [SpendableLot(number, "paid", held, 100, None) for number, held in enumerate(holds)]
    takes, missing = take_in_order(lots, amount)
    assert sum(taken for _, taken in takes) + missing == amount
    assert missing == max(0, amount - sum(holds))
    assert all(taken > 0 for _, taken in takes)
    assert all(lot.remaining == 0 for lot, _ in takes[:-1])


@pytest.mark.django_db
class TestInTheDatabase:
    def test_usage_consumes_lots_in_order_and_records_it(self) -> None:
        payer = make_payer()
        paid = arrive(payer, 100)
        promotional = arrive(payer, 30, LotKind.PROMOTIONAL, expires_at=SOON)
        spend(payer, 50)
        assert remaining(paid, promotional) == [100, 30]
        aggregate_batches()
        assert remaining(paid, promotional) == [80, 0]
        posting = LedgerTransaction.objects.get(kind=PostingKind.USAGE)
        assert {entry.lot_id: entry.amount for entry in posting.lot_entries.all()} == {
            paid.pk if paid else 0: -20,
            promotional.pk if promotional else 0: -30,
        }
        assert SettlementBatch.objects.get().posting_id == posting.pk
        amounts = {entry.account.code: entry.amount for entry in posting.entries.select_related("account")}
        assert amounts == {"2010": 20, "2020": 30, "4010": -20, "4020": -30}

    def test_the_same_fact_brings_credit_once(self) -> None:
        payer = make_payer()
        first = arrive(payer, 10, fact_key="pi:1:succeeded")
        second = arrive(payer, 10, fact_key="pi:1:succeeded")
        assert first is not None
        assert first == second
        assert payer.wallet.posted == 10

    def test_the_same_fact_counts_once_though_a_debt_took_all_of_it(self) -> None:
        payer = make_payer()
        Wallet.objects.filter(pk=payer.organization.pk).update(receivable=30, status="blocked")
        assert arrive(payer, 20, fact_key="pi:1:succeeded") is None
        assert arrive(payer, 20, fact_key="pi:1:succeeded") is None
        assert (payer.wallet.posted, payer.wallet.receivable) == (0, 10)

    def test_the_same_fact_with_another_amount_is_an_error(self) -> None:
        payer = make_payer()
        arrive(payer, 20, fact_key="pi:1:succeeded")
        with pytest.raises(FactContradicts):
            arrive(payer, 21, fact_key="pi:1:succeeded")

    def test_tax_is_no_credit(self) -> None:
        payer = make_payer()
        arrive(payer, 100, tax_nano=20)
        accounts = dict(LedgerAccount.objects.filter(is_hot=False).values_list("code", "balance"))
        assert accounts == {"1020": 120, "2010": -100}

    def test_credit_pays_the_debt_first_and_lifts_the_block(self) -> None:
        payer = make_payer()
        Wallet.objects.filter(pk=payer.organization.pk).update(receivable=30, status="blocked")
        assert arrive(payer, 20) is None
        assert (payer.wallet.posted, payer.wallet.receivable, payer.wallet.status) == (0, 10, "blocked")
        lot = arrive(payer, 20)
        assert lot is not None
        assert lot.original == 10
        assert (payer.wallet.posted, payer.wallet.receivable, payer.wallet.status) == (10, 0, "active")

    def test_credit_does_not_thaw_a_frozen_wallet(self) -> None:
        payer = make_payer()
        Wallet.objects.filter(pk=payer.organization.pk).update(receivable=5, status="frozen")
        arrive(payer, 20)
        assert payer.wallet.status == "frozen"

    def test_what_charges_will_take_is_not_there_to_be_taken_out(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        assert lot is not None
        spend(payer, 30)
        held = uuid4()
        lease(payer, held, 50)
        credit = lock_credit(payer.organization.pk)
        assert credit.unspent(lot.pk) == 20
        take_out(credit, {lot.pk: 20}, posting=_expiry(payer, 20))
        aggregate_batches()
        assert remaining(lot) == [50]
        assert (payer.wallet.posted, payer.wallet.pending) == (50, 50)

    def test_lots_that_are_wrong_hold_nobody_up(self) -> None:
        payer, other = make_payer(), make_payer(100)
        arrive(payer, 100)
        Lot.across_all_organizations.filter(organization=payer.organization).update(remaining=10)
        spend(payer, 50)
        spend(other, 50)
        assert aggregate_batches() == 2
        assert LedgerAccount.objects.get(code="2900").balance == 40
        assert OperatorAlert.objects.get().kind == "lots_short"

    def test_taking_out_twice_takes_once(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        assert lot is not None
        for _ in range(2):
            take_out(lock_credit(payer.organization.pk), {lot.pk: 20}, posting=_expiry(payer, 20))
        assert payer.wallet.posted == 80
        assert LotEntry.objects.filter(lot=lot).count() == 2


def _expiry(payer: Payer, amount: int) -> Posting:
    entries = expiry(organization_id=payer.organization.pk, kind="paid", amount=amount)
    return Posting(fact_key="expire:1", kind=PostingKind.EXPIRY, entries=entries)
