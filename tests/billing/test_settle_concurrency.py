"""Two connections at once: what one settles or leases, the other neither charges nor hands out."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection, transaction

from billing.books import verify_books
from billing.models import SettlementBatch, UsageRecord
from billing.services import grant_credit, reap_expired_leases
from common.ids import uuid7
from tests.factories.money import end_lease, lease, make_payer, make_record, settle

pytestmark = pytest.mark.django_db(transaction=True)
RECORDS = UsageRecord.across_all_organizations
Result = TypeVar("Result")


def at_once(*works: Callable[[], Result]) -> list[Result]:
    """Each on a thread and a connection of its own, all let go at the same moment."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Result]) -> Result:
        try:
            connection.ensure_connection()
            start.wait(10)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(20) for future in [pool.submit(run, work) for work in works]]


def behind(first: Callable[[], object], second: Callable[[], Result], *, commit: bool) -> Result:
    """`second` begins while `first` stands uncommitted, and ends after its commit or rollback."""
    is_done, may_end = threading.Event(), threading.Event()

    def run_first() -> None:
        try:
            with transaction.atomic():
                first()
                is_done.set()
                may_end.wait(10)
                transaction.set_rollback(not commit)
        finally:
            is_done.set()
            connection.close()

    def run_second() -> Result:
        try:
            return second()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(run_first)
        assert is_done.wait(10)
        following = pool.submit(run_second)
        threading.Event().wait(0.2)
        assert not following.done()
        may_end.set()
        leading.result(10)
        return following.result(10)


@pytest.mark.parametrize("commit", [True, False])
def test_a_request_in_two_batches_is_charged_once_whichever_commits(commit: bool) -> None:
    payer, holder = make_payer(1_000), uuid4()
    record = make_record(payer, 100)
    behind(lambda: settle(holder, record), lambda: settle(uuid4(), record), commit=commit)
    assert payer.wallet.posted == 900
    assert RECORDS.count() == 1
    assert verify_books()["ok"]


@pytest.mark.parametrize("commit", [True, False])
def test_a_batch_on_two_connections_is_taken_once_whichever_commits(commit: bool) -> None:
    payer, holder, batch = make_payer(1_000), uuid4(), uuid7()
    record = make_record(payer, 100)
    second = behind(
        lambda: settle(holder, record, batch=batch),
        lambda: settle(holder, record, batch=batch),
        commit=commit,
    )
    assert bool(second) is not commit
    assert payer.wallet.posted == 900
    assert SettlementBatch.objects.count() == 1


def test_eight_connections_that_send_the_same_request_charge_it_once() -> None:
    payer = make_payer(1_000)
    record = make_record(payer, 100)
    at_once(*[lambda: settle(uuid4(), record)] * 8)
    assert payer.wallet.posted == 900
    assert verify_books()["ok"]


def test_batches_over_the_same_wallets_in_any_order_do_not_wait_in_a_ring() -> None:
    payers = [make_payer(100_000) for _ in range(4)]

    def settle_many(turn: int) -> None:
        for _ in range(15):
            settle(uuid4(), *(make_record(payers[(turn + step) % 4], 1) for step in range(4)))

    at_once(*[lambda turn=turn: settle_many(turn) for turn in range(4)])
    assert [payer.wallet.posted for payer in payers] == [99_940] * 4
    assert verify_books()["ok"]


def test_of_many_that_lease_at_once_only_as_many_get_credit_as_there_is() -> None:
    payer = make_payer(1_000)
    granted = [got for got, _ in at_once(*[lambda: lease(payer, uuid4(), 150)] * 16)]
    assert sorted(granted) == [0] * 10 + [150] * 6
    assert (payer.wallet.posted, payer.wallet.pending) == (1_000, 900)


def test_a_lease_that_is_returned_and_reaped_at_once_is_given_back_once() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 400, seconds=-60)
    at_once(*[lambda: end_lease(payer, holder)] * 2, *[lambda: reap_expired_leases(grace_s=5)] * 2)
    assert payer.wallet.pending == 0
    assert verify_books()["ok"]


def test_charges_grants_and_leases_at_once_balance() -> None:
    payer, holders = make_payer(5_000), [uuid4() for _ in range(4)]

    def spend(number: int) -> None:
        for _ in range(10):
            lease(payer, holders[number], 60)
            settle(holders[number], make_record(payer, 45), make_record(payer, 40))
        end_lease(payer, holders[number])

    def top_up() -> None:
        for number in range(10):
            grant_credit(
                organization=payer.organization, amount_nano=100, reason="r", fact_key=f"top-up:{number}"
            )

    at_once(*[lambda number=number: spend(number) for number in range(4)], top_up)
    assert (payer.wallet.posted, payer.wallet.pending) == (6_000 - 40 * 85, 0)
    assert verify_books()["ok"]


def test_one_fact_granted_from_many_sides_at_once_is_granted_once() -> None:
    payer = make_payer()

    def grant() -> None:
        grant_credit(organization=payer.organization, amount_nano=7, reason="r", fact_key="fact")

    at_once(*[grant] * 6)
    assert payer.wallet.posted == 7
