"""Months of usage records: partitions made ahead, and old ones detached with their sums kept in the books."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing.models import BooksReport, UsageArchive
from common.ids import uuid7_floor
from common.locking import RowsBusy, bounded_waits

MONTHS_AHEAD = 3
PARTITION_LOCK_MS = 2_000
_NAME = re.compile(r"billing_usagerecord_(\d{4})_(\d{2})")
_FOUR_DAYS = timedelta(days=4)

PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'billing_usagerecord'::regclass ORDER BY c.relname
"""

# {} is the name of a partition, made of digits here: names cannot be parameters.
WAITS_FOR_AGGREGATION = """
SELECT EXISTS (SELECT 1 FROM billing_settlementbatch b JOIN {} u ON u.batch_id = b.id
    WHERE b.aggregated_at IS NULL)
"""
LAST_BUCKET = "SELECT date_bin('15 minutes', max(started_at), 'epoch') + interval '15 minutes' FROM {}"
KEEP_SUMS_OF_ORGANIZATIONS = """
INSERT INTO billing_archivedusage
    (archive_id, organization_id, records, charge_nano, uncollected_nano, cost_nano)
SELECT %s, organization_id, count(*), sum(charge_nano), sum(uncollected_nano), sum(cost_nano)
FROM {} GROUP BY organization_id
"""
KEEP_SUMS_OF_BATCHES = """
INSERT INTO billing_archivedbatch (archive_id, batch_id, records, charge_nano, uncollected_nano, cost_nano)
SELECT %s, batch_id, count(*), sum(charge_nano), sum(uncollected_nano), sum(cost_nano)
FROM {} GROUP BY batch_id
"""
DETACH = "ALTER TABLE billing_usagerecord DETACH PARTITION {}"
# The triggers of the whole table leave with the partition's place in it.
KEEP_AS_IT_IS = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change()
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Month:
    """A partition that may be there or not."""

    start: datetime

    @property
    def end(self) -> datetime:
        return (self.start.replace(day=28) + _FOUR_DAYS).replace(day=1)

    @property
    def name(self) -> str:
        return f"billing_usagerecord_{self.start:%Y_%m}"


def make_usage_partitions(*, today: datetime | None = None, months: int = MONTHS_AHEAD) -> list[str]:
    """See to it that this month and the next `months` have their partitions; returns those made now.

    One that cannot be made is left for the next sweep: the default partition takes its records meanwhile.
    """
    month = _month_of(today or timezone.now())
    made = []
    for _ in range(months + 1):
        try:
            if _make_partition(month):
                made.append(month.name)
        except (IntegrityError, RowsBusy) as error:
            reason = str(error).partition("\n")[0]
            log.warning("usage_partition_not_made", partition=month.name, error=reason)
        month = _Month(month.end)
    return made


def detach_old_partitions(*, keep_months: int | None = None, today: datetime | None = None) -> list[str]:
    """Take whole months out of the table of usage records; returns their names, now of tables of their own.

    Kept are this month and the `keep_months` before it (None: the setting; unset: everything). A month goes
    only when all of it is aggregated and the last books check was clean, and with it go its sums into the
    archive, in one transaction. One that cannot go now is left, with all later ones, for the next sweep.
    """
    keep_months = settings.USAGE_RETENTION_MONTHS if keep_months is None else keep_months
    if keep_months is None:
        return []
    if not _books_are_clean():
        log.warning("usage_not_detached", error="the last books check is missing or not clean")
        return []
    limit = _months_before(_month_of(today or timezone.now()).start, keep_months)
    detached: list[str] = []
    for month in _attached_months():
        if month.end > limit or not _detached(month):
            break
        detached.append(month.name)
    return detached


def _detached(month: _Month) -> bool:
    try:
        return _detach(month)
    except RowsBusy as error:
        log.warning("usage_not_detached", partition=month.name, error=str(error))
        return False


def _detach(month: _Month) -> bool:
    """False where batches of the month wait for aggregation, or somebody else detached it meanwhile.

    Nothing can be added to the month while its sums are made; only for the last step does traffic wait.
    Raises RowsBusy.
    """
    with transaction.atomic(), bounded_waits(PARTITION_LOCK_MS), connection.cursor() as cursor:
        _take_turn(cursor)
        if month.name not in _partitions(cursor):
            return False
        cursor.execute(f"LOCK TABLE {month.name} IN SHARE MODE")
        if _one(cursor, WAITS_FOR_AGGREGATION.format(month.name)):
            log.warning("usage_not_detached", partition=month.name, error="batches wait for aggregation")
            return False
        archive = UsageArchive.objects.create(
            partition=month.name,
            first_request_id=uuid7_floor(month.start),
            end_request_id=uuid7_floor(month.end),
            rollups_until=_one(cursor, LAST_BUCKET.format(month.name)) or month.end,
        )
        for keep in (KEEP_SUMS_OF_ORGANIZATIONS, KEEP_SUMS_OF_BATCHES):
            cursor.execute(keep.format(month.name), [archive.pk])
        cursor.execute(DETACH.format(month.name))
        cursor.execute(KEEP_AS_IT_IS.format(month.name))
    log.info("usage_detached", partition=month.name)
    return True


def _make_partition(month: _Month) -> bool:
    """False where it is there already. Waits for locks a moment only: charges queue up behind the wait.

    Raises RowsBusy where somebody reads on, IntegrityError where the default partition has
    records of that month.
    """
    with transaction.atomic(), bounded_waits(PARTITION_LOCK_MS), connection.cursor() as cursor:
        _take_turn(cursor)
        if _one(cursor, "SELECT to_regclass(%s)", month.name) is not None:
            return False
        cursor.execute(
            f"CREATE TABLE {month.name} PARTITION OF billing_usagerecord"
            f" FOR VALUES FROM ('{uuid7_floor(month.start)}') TO ('{uuid7_floor(month.end)}')"
        )
    return True


def _books_are_clean() -> bool:
    last = BooksReport.objects.order_by("-started_at").values_list("is_clean", flat=True).first()
    return bool(last)


def _attached_months() -> Iterator[_Month]:
    """The oldest first. The default partition is no month."""
    with connection.cursor() as cursor:
        names = _partitions(cursor)
    for name in names:
        if match := _NAME.fullmatch(name):
            yield _Month(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC))


def _partitions(cursor: Any) -> list[str]:
    cursor.execute(PARTITIONS)
    return [name for (name,) in cursor.fetchall()]


def _take_turn(cursor: Any) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('usage partitions'))")


def _one(cursor: Any, query: str, *parameters: object) -> Any:
    cursor.execute(query, parameters)
    [(value,)] = cursor.fetchall()
    return value


def _month_of(moment: datetime) -> _Month:
    return _Month(moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def _months_before(start: datetime, months: int) -> datetime:
    years, month = divmod(start.year * 12 + start.month - 1 - months, 12)
    return start.replace(year=years, month=month + 1)
