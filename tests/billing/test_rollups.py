"""Rollups can be made anew at any time: compared, and replaced without a record counted twice."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, connections

from billing.aggregation import aggregate_batches
from billing.models import UsageArchive, UsageRollup
from billing.rollups import rebuild_rollups
from common.ids import uuid7
from tests.factories.money import Payer, make_payer, make_record, settle

pytestmark = pytest.mark.django_db(transaction=True)
ROLLUPS = UsageRollup.across_all_organizations


@pytest.fixture
def payer() -> Payer:
    payer = make_payer(10_000)
    earlier = datetime.now(UTC) - timedelta(hours=1)
    settle(uuid4(), make_record(payer, 10, input_tokens=3), make_record(payer, 20, started_at=earlier))
    aggregate_batches()
    return payer


def tamper(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def stored() -> list[dict[str, object]]:
    return list(ROLLUPS.order_by("bucket").values(*(f.attname for f in UsageRollup._meta.fields[1:])))


def test_rollups_that_are_right_stay(payer: Payer) -> None:
    before = list(ROLLUPS.order_by("pk").values())
    rebuilt = rebuild_rollups(write=True)
    assert (rebuilt.rollups, rebuilt.differing, rebuilt.written) == (2, 0, False)
    assert list(ROLLUPS.order_by("pk").values()) == before


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE billing_usagerollup SET charge_nano = charge_nano + 1 WHERE charge_nano = 10",
        "UPDATE billing_usagerollup SET prompt_tokens = 0 WHERE prompt_tokens = 3",
        "UPDATE billing_usagerollup SET bucket = bucket - interval '1 hour' WHERE charge_nano = 20",
        "UPDATE billing_usagerollup SET model = 'another'",
        "DELETE FROM billing_usagerollup",
    ],
)
def test_what_differs_is_named_and_put_right(payer: Payer, tampering: str) -> None:
    right = stored()
    tamper(tampering)
    wrong = stored()
    compared = rebuild_rollups()
    assert not compared.is_same
    assert compared.differences
    assert stored() == wrong
    assert rebuild_rollups(write=True).written
    assert stored() == right
    assert rebuild_rollups().is_same


def test_batches_that_wait_are_not_counted(payer: Payer) -> None:
    settle(uuid4(), make_record(payer, 1_000))
    assert rebuild_rollups(write=True).is_same
    aggregate_batches()
    assert rebuild_rollups().is_same


def test_archived_months_keep_their_rollups(payer: Payer) -> None:
    UsageArchive.objects.create(
        partition="gone",
        first_request_id=uuid7(),
        end_request_id=uuid7(),
        rollups_until=datetime.now(UTC) - timedelta(minutes=30),
    )
    tamper("UPDATE billing_usagerollup SET charge_nano = 77 WHERE charge_nano = 20")
    assert rebuild_rollups(write=True).is_same
    assert ROLLUPS.filter(charge_nano=77).exists()


def test_aggregation_goes_on_meanwhile(payer: Payer) -> None:
    """A rollup is replaced or added to, never both from the same batch."""
    ends = threading.Event()

    def work() -> None:
        try:
            while not ends.is_set():
                settle(uuid4(), make_record(payer, 1))
                aggregate_batches()
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            tamper("DELETE FROM billing_usagerollup")
            rebuild_rollups(write=True)
    finally:
        ends.set()
        worker.join(20)
    assert rebuild_rollups().is_same
