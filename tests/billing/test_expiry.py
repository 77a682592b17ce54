"""Expired credit goes once, and only as far as nobody has spent or holds it."""

import functools
import itertools
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from billing import tasks
from billing.aggregation import aggregate_batches
from billing.expiry import expire_lot, expire_lots
from billing.ledger import Account
from billing.models import LedgerTransaction, Lot, LotKind, PostingKind, UsageRecord
from tests.billing.test_settle_concurrency import at_once, behind
from tests.factories.credit import arrive, assert_money_adds_up, balance, remaining, spend
from tests.factories.money import Payer, end_lease, lease, make_payer, make_record, settle

NOW = timezone.now()
PAST, FUTURE = NOW - timedelta(minutes=1), NOW + timedelta(days=30)


def facts() -> list[str]:
    expiries = LedgerTransaction.objects.filter(kind=PostingKind.EXPIRY).order_by("posted_at")
    return list(expiries.values_list("fact_key", flat=True))


@pytest.mark.django_db
class TestOneLot:
    def test_what_is_left_of_an_expired_lot_is_taken(self) -> None:
        payer = make_payer()
        gone, kept = arrive(payer, 70, expires_at=PAST), arrive(payer, 50, expires_at=FUTURE)
        assert expire_lots() == 1
        assert remaining(gone, kept) == [0, 50]
        assert payer.wallet.posted == 50
        assert balance(Account.BREAKAGE) == -70
        assert_money_adds_up()

    def test_expired_promotional_credit_is_a_cost_that_did_not_come_about(self) -> None:
        arrive(make_payer(), 70, LotKind.PROMOTIONAL, expires_at=PAST)
        expire_lots()
        assert balance(Account.PROMOTIONS) == 0
        assert_money_adds_up()

    def test_a_second_sweep_finds_nothing(self) -> None:
        payer = make_payer()
        arrive(payer, 70, expires_at=PAST)
        assert [expire_lots(), expire_lots()] == [1, 0]
        assert (payer.wallet.posted, len(facts())) == (0, 1)

    def test_credit_that_never_expires_stays(self) -> None:
        payer = make_payer(40)
        assert expire_lots() == 0
        assert payer.wallet.posted == 40

    def test_a_lot_that_has_not_expired_cannot_be_expired_by_name(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 40, expires_at=FUTURE)
        assert expire_lot(organization_id=payer.organization.pk, lot_id=lot.pk) == 0

    def test_charges_that_lots_do_not_show_yet_are_left_to_them(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100, expires_at=PAST)
        spend(payer, 30, aggregated=False)
        expire_lots()
        assert remaining(lot) == [30]
        assert payer.wallet.posted == 0
        aggregate_batches()
        assert remaining(lot) == [0]
        assert_money_adds_up()

    def test_what_a_lease_holds_goes_at_a_later_sweep_as_a_fact_of_its_own(self) -> None:
        payer, holder = make_payer(), uuid4()
        lot = arrive(payer, 100, expires_at=PAST)
        lease(payer, holder, 60)
        expire_lots()
        assert (payer.wallet.posted, payer.wallet.pending) == (60, 60)
        settle(holder, make_record(payer, 20))
        end_lease(payer, holder)
        aggregate_batches()
        expire_lots()
        assert remaining(lot) == [0]
        assert facts() == [f"expire:{lot.pk}:1", f"expire:{lot.pk}:2"]
        assert balance(Account.BREAKAGE) == -80
        assert_money_adds_up()

    def test_the_worker_sweeps(self) -> None:
        payer = make_payer()
        arrive(payer, 70, expires_at=PAST)
        tasks.expire_lots()
        assert payer.wallet.posted == 0


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_two_sweeps_at_once_expire_once(self) -> None:
        payer = make_payer()
        arrive(payer, 100, expires_at=PAST)
        at_once(*[expire_lots] * 4)
        assert (payer.wallet.posted, len(facts())) == (0, 1)
        assert_money_adds_up()

    def test_a_charge_that_is_settled_first_is_paid_from_the_lot(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 100, expires_at=PAST)
        lease(payer, holder, 40)

        def charge() -> object:
            return settle(holder, make_record(payer, 40))

        behind(charge, expire_lots, commit=True)
        assert payer.wallet.posted == 0
        aggregate_batches()
        assert_money_adds_up()

    def test_a_charge_after_the_expiry_takes_its_lease_and_no_more(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 100, expires_at=PAST)
        lease(payer, holder, 40)
        behind(expire_lots, lambda: settle(holder, make_record(payer, 55)), commit=True)
        record = UsageRecord.across_all_organizations.get()
        assert (record.charge_nano, record.uncollected_nano) == (40, 15)

    def test_sweeps_aggregation_and_charges_side_by_side_lose_nothing(self) -> None:
        payers = [make_payer() for _ in range(3)]
        for payer, number in itertools.product(payers, range(5)):
            arrive(payer, 100, expires_at=PAST if number % 2 else FUTURE)
        at_once(*[functools.partial(spend_often, payer) for payer in payers], sweep_often, sweep_often)
        while aggregate_batches():
            pass
        expire_lots()
        assert_money_adds_up()
        expired = Lot.across_all_organizations.filter(expires_at=PAST)
        assert sum(expired.values_list("remaining", flat=True)) == 0


def spend_often(payer: Payer) -> None:
    for _ in range(15):
        spend(payer, 7, aggregated=False)


def sweep_often() -> None:
    for _ in range(10):
        expire_lots()
        aggregate_batches(at_once=2)
