"""Settlement batches reach the rollups exactly once, whoever dies, and partitions are there ahead of time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, connections

from billing import aggregation
from billing.books import verify_books
from billing.models import SettlementBatch, UsageRecord, UsageRollup
from tests.factories.money import make_payer, make_record, settle
from tests.factories.processes import start_python

pytestmark = pytest.mark.django_db(transaction=True)
ROLLUPS = UsageRollup.across_all_organizations


def test_a_batch_is_added_up_once() -> None:
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10, input_tokens=5, output_tokens=2, reasoning_tokens=1))
    settle(uuid4(), make_record(payer, 20, input_tokens=7))
    assert aggregation.aggregate_batches() == 2
    assert aggregation.aggregate_batches() == 0
    [rollup] = ROLLUPS.filter(organization=payer.organization)
    assert (rollup.requests, rollup.prompt_tokens, rollup.completion_tokens, rollup.charge_nano) == (
        2,
        12,
        3,
        30,
    )
    payer.api_key.refresh_from_db()
    assert payer.api_key.last_used_at is not None
    assert verify_books()["ok"]


def test_quarter_hours_are_kept_apart() -> None:
    payer = make_payer(1_000)
    now = datetime.now(UTC)
    settle(uuid4(), make_record(payer, 1), make_record(payer, 1, started_at=now - timedelta(minutes=15)))
    aggregation.aggregate_batches()
    assert ROLLUPS.filter(organization=payer.organization).count() == 2
    assert verify_books()["ok"]


def test_two_workers_share_the_batches() -> None:
    payers = [make_payer(10_000) for _ in range(5)]
    for _ in range(40):
        settle(uuid4(), *(make_record(payer, 3) for payer in payers))

    def work() -> int:
        try:
            return sum(iter(lambda: aggregation.aggregate_batches(at_once=3), 0))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        taken = [future.result() for future in [pool.submit(work), pool.submit(work)]]
    while aggregation.aggregate_batches():  # what the other held when one found nothing free
        pass
    assert sum(taken) <= 40
    assert not SettlementBatch.objects.filter(aggregated_at=None).exists()
    assert sum(ROLLUPS.values_list("requests", flat=True)) == 200
    assert verify_books()["ok"]


KILLED_WORKER = """
import os
from billing import aggregation
aggregation._post_usage = lambda claimed: os.kill(os.getpid(), 9)
aggregation.aggregate_batches()
"""


def test_a_worker_killed_in_the_middle_leaves_everything_to_the_next() -> None:
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10))
    with start_python(KILLED_WORKER) as worker:
        assert worker.wait(60) == -9
    assert not ROLLUPS.exists()
    assert aggregation.aggregate_batches() == 1
    assert ROLLUPS.get().charge_nano == 10
    assert verify_books()["ok"]


WORKER = """
import os, sys, threading
from billing import aggregation
print("ready", flush=True)
if sys.stdin.readline() == "die\\n":
    threading.Timer(0.02, os.kill, (os.getpid(), 9)).start()
print(sum(iter(lambda: aggregation.aggregate_batches(at_once=2), 0)))
"""


def test_of_two_processes_one_dies_and_everything_is_added_up_once() -> None:
    payers = [make_payer(10_000) for _ in range(3)]
    for _ in range(40):
        settle(uuid4(), *(make_record(payer, 3) for payer in payers))
    with start_python(WORKER) as one, start_python(WORKER) as other:
        for worker in (one, other):
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker, word in ((other, "die"), (one, "live")):
            assert worker.stdin is not None
            worker.stdin.write(f"{word}\n")
            worker.stdin.flush()
        assert one.wait(60) == 0
        other.wait(60)
    while aggregation.aggregate_batches():  # what the one that died had claimed
        pass
    assert sum(ROLLUPS.values_list("requests", flat=True)) == 120
    assert sum(ROLLUPS.values_list("charge_nano", flat=True)) == 360
    assert verify_books()["ok"]


@pytest.mark.parametrize(
    ("check", "tampering"),
    [
        ("wallets", "UPDATE billing_wallet SET posted = posted + 1"),
        ("pending", "UPDATE billing_wallet SET pending = pending + 1"),
        ("batches", "UPDATE billing_settlementbatch SET charge_nano = charge_nano + 1"),
        ("batches", "DELETE FROM billing_settlementbatch"),
        ("rollups", "UPDATE billing_usagerollup SET charge_nano = charge_nano + 1"),
        ("rollups", "DELETE FROM billing_usagerollup"),
    ],
)
def test_the_books_check_sees_a_single_nano(check: str, tampering: str) -> None:
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10))
    aggregation.aggregate_batches()
    assert verify_books()["ok"]
    with connection.cursor() as cursor:
        cursor.execute(tampering)
    report = verify_books()
    assert not report["ok"]
    assert check in {one["name"] for one in report["checks"] if not one["ok"]}


def test_records_are_listed_by_time() -> None:
    payer = make_payer(1_000)
    first, second = make_record(payer, 1), make_record(payer, 1)
    settle(uuid4(), second, first)
    listed = UsageRecord.across_all_organizations.order_by("request_id").values_list("request_id", flat=True)
    assert set(listed) == {first["request_id"], second["request_id"]}
