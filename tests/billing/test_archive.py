"""Partitions that stand in no way, and months that leave with their sums kept."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone
from structlog.testing import capture_logs

from billing import archive
from billing.aggregation import aggregate_batches
from billing.archive import detach_old_partitions, make_usage_partitions
from billing.books import verify_books
from billing.models import ArchivedBatch, ArchivedUsage, BooksReport, UsageArchive
from common.ids import uuid7_floor
from tests.factories.money import Payer, make_payer, make_record, settle
from tests.factories.processes import start_python

pytestmark = pytest.mark.django_db
MAY_2041 = datetime(2041, 5, 10, tzinfo=UTC)


@contextmanager
def someone_reading() -> Iterator[None]:
    """Another connection is in the middle of a long read of usage records."""
    is_reading, is_over = threading.Event(), threading.Event()

    def read_for_long() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM billing_usagerecord")
                is_reading.set()
                is_over.wait(20)
        finally:
            is_reading.set()
            connection.close()

    reader = threading.Thread(target=read_for_long)
    reader.start()
    assert is_reading.wait(10)
    try:
        yield
    finally:
        is_over.set()
        reader.join(10)


def test_partitions_are_made_ahead_and_once() -> None:
    moment = datetime(2031, 11, 20, tzinfo=UTC)
    made = make_usage_partitions(today=moment, months=2)
    assert made == [f"billing_usagerecord_{month}" for month in ("2031_11", "2031_12", "2032_01")]
    assert make_usage_partitions(today=moment, months=2) == []


def test_a_record_goes_into_the_partition_of_its_month() -> None:
    make_usage_partitions()
    payer = make_payer(1_000)
    record = make_record(payer, 1)
    far = make_record(payer, 1, request_id=uuid7_floor(datetime(2090, 1, 1, tzinfo=UTC)))
    settle(uuid4(), record, far)
    with connection.cursor() as cursor:
        cursor.execute("SELECT request_id, tableoid::regclass::text FROM billing_usagerecord")
        places = dict(cursor.fetchall())
    assert places[record["request_id"]] == f"billing_usagerecord_{datetime.now(UTC):%Y_%m}"
    assert places[far["request_id"]] == "billing_usagerecord_default"


def test_a_month_astray_keeps_no_other_month_from_its_partition() -> None:
    """A record that a wrong clock dated ahead lies in the default partition when its month comes."""
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10, request_id=uuid7_floor(MAY_2041)))
    with capture_logs() as logs:
        made = make_usage_partitions(today=MAY_2041, months=1)
    assert made == ["billing_usagerecord_2041_06"]
    assert [entry["event"] for entry in logs] == ["usage_partition_not_made"]
    settle(uuid4(), make_record(payer, 10, request_id=uuid7_floor(MAY_2041 + timedelta(days=1))))
    assert payer.wallet.posted == 980


@pytest.mark.django_db(transaction=True)
def test_a_long_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charges would queue up behind the partition maker, and it behind the reader."""
    monkeypatch.setattr(archive, "PARTITION_LOCK_MS", 200)
    with someone_reading():
        assert make_usage_partitions(today=MAY_2041, months=0) == []
    assert make_usage_partitions(today=MAY_2041, months=0) == ["billing_usagerecord_2041_05"]
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE billing_usagerecord_2041_05")


def test_with_partitions_ahead_the_default_one_stays_empty() -> None:
    make_usage_partitions()
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10), make_record(payer, 10))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_usagerecord_default")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT to_regclass(%s)", [f"billing_usagerecord_{_in_months(3):%Y_%m}"])
        assert cursor.fetchone() != (None,)


def _in_months(months: int) -> datetime:
    moment = datetime.now(UTC).replace(day=1)
    for _ in range(months):
        moment = (moment + timedelta(days=31)).replace(day=1)
    return moment


JANUARY = datetime(2020, 1, 10, tzinfo=UTC)
TODAY = datetime(2020, 4, 2, tzinfo=UTC)


@pytest.fixture
def old_month(transactional_db: None) -> Iterator[Payer]:
    """Two records of January 2020, one of them of a batch that goes on in February; all aggregated."""
    make_usage_partitions(today=JANUARY, months=1)
    payer = make_payer(1_000)
    settle(uuid4(), old_record(payer, 10))
    settle(uuid4(), old_record(payer, 20), old_record(payer, 30, JANUARY + timedelta(days=30)))
    aggregate_batches()
    note_check(is_clean=True)
    yield payer
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE billing_usagerecord_2020_01, billing_usagerecord_2020_02")


def old_record(payer: Payer, price: int, at: datetime = JANUARY) -> dict[str, object]:
    return make_record(payer, price, request_id=_id_at(at), started_at=at, ended_at=at)


def _id_at(moment: datetime) -> UUID:
    return UUID(int=uuid7_floor(moment).int + uuid4().int % 2**64)


def note_check(*, is_clean: bool) -> None:
    BooksReport.objects.create(started_at=timezone.now(), seconds=1, is_clean=is_clean, report={})


def attached() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(archive.PARTITIONS)
        return [name for (name,) in cursor.fetchall() if "_2020" in name]


@pytest.mark.django_db(transaction=True)
class TestDetaching:
    def test_a_month_goes_and_its_sums_stay(self, old_month: Payer) -> None:
        assert detach_old_partitions(keep_months=2, today=TODAY) == ["billing_usagerecord_2020_01"]
        kept = ArchivedUsage.across_all_organizations.get()
        assert (kept.organization_id, kept.records, kept.charge_nano) == (old_month.organization.pk, 2, 30)
        assert sorted(ArchivedBatch.objects.values_list("charge_nano", flat=True)) == [10, 20]
        with connection.cursor() as cursor:
            cursor.execute("SELECT sum(charge_nano) FROM billing_usagerecord")
            assert cursor.fetchone() == (30,)
            cursor.execute("SELECT sum(charge_nano) FROM billing_usagerecord_2020_01")
            assert cursor.fetchone() == (30,)

    def test_the_books_balance_without_the_month(self, old_month: Payer) -> None:
        detach_old_partitions(keep_months=2, today=TODAY)
        report = verify_books()
        assert [check for check in report["checks"] if not check["ok"]] == []

    def test_what_was_detached_cannot_be_changed(self, old_month: Payer) -> None:
        detach_old_partitions(keep_months=2, today=TODAY)
        with connection.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("UPDATE billing_usagerecord_2020_01 SET charge_nano = 0")

    def test_again_changes_nothing(self, old_month: Payer) -> None:
        detach_old_partitions(keep_months=2, today=TODAY)
        assert detach_old_partitions(keep_months=2, today=TODAY) == []
        assert UsageArchive.objects.count() == 1

    def test_whole_months_older_than_the_limit_go_and_no_others(self, old_month: Payer) -> None:
        assert detach_old_partitions(keep_months=3, today=TODAY) == []
        assert detach_old_partitions(keep_months=1, today=TODAY) == [
            "billing_usagerecord_2020_01",
            "billing_usagerecord_2020_02",
        ]

    def test_without_a_setting_everything_is_kept(self, old_month: Payer) -> None:
        assert detach_old_partitions(today=TODAY) == []

    @pytest.mark.parametrize("is_clean", [False, None])
    def test_books_that_are_not_clean_keep_everything(self, old_month: Payer, is_clean: bool | None) -> None:
        if is_clean is None:
            BooksReport.objects.all().delete()
        else:
            note_check(is_clean=is_clean)
        assert detach_old_partitions(keep_months=1, today=TODAY) == []

    def test_a_batch_that_waits_keeps_its_month_and_later_ones(self, old_month: Payer) -> None:
        settle(uuid4(), old_record(old_month, 1))
        assert detach_old_partitions(keep_months=1, today=TODAY) == []
        aggregate_batches()
        assert len(detach_old_partitions(keep_months=1, today=TODAY)) == 2

    def test_a_worker_killed_in_the_middle_changes_nothing(self, old_month: Payer) -> None:
        with start_python(KILLED_WORKER) as worker:
            assert worker.wait(60) == -9
        assert attached() == ["billing_usagerecord_2020_01", "billing_usagerecord_2020_02"]
        assert not UsageArchive.objects.exists()
        assert detach_old_partitions(keep_months=2, today=TODAY) == ["billing_usagerecord_2020_01"]

    def test_a_long_read_puts_it_off(self, old_month: Payer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "PARTITION_LOCK_MS", 200)
        with someone_reading():
            assert detach_old_partitions(keep_months=2, today=TODAY) == []
        assert not UsageArchive.objects.exists()
        assert detach_old_partitions(keep_months=2, today=TODAY) == ["billing_usagerecord_2020_01"]


KILLED_WORKER = """
import os
from datetime import UTC, datetime
from billing import archive
class Deadly(str):
    def format(self, name):
        os.kill(os.getpid(), 9)
archive.KEEP_AS_IT_IS = Deadly()
archive.detach_old_partitions(keep_months=2, today=datetime(2020, 4, 2, tzinfo=UTC))
"""
