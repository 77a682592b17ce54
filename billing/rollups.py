"""Rollups made anew from usage records, to compare them with what aggregation added up, or to replace it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection, transaction

from billing.models import UsageRollup
from common.database import plain_rows
from common.locking import bounded_waits

SHOWN = 100
LOCK_MS = 10_000

SUMS = ("requests", "prompt_tokens", "completion_tokens", "charge_nano", "cost_nano")

# Buckets up to `rollups_until` hold usage whose records were detached: those stay as they are.
FIRST_BUCKET = "SELECT coalesce(max(rollups_until), '-infinity') FROM billing_usagearchive"

STAGE = f"""
CREATE TEMP TABLE staged_rollups ON COMMIT DROP AS
SELECT organization_id, api_key_id, model, reseller_id,
    date_bin('15 minutes', started_at, 'epoch') AS bucket, count(*) AS requests,
    sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
        + audio_input_tokens + image_input_tokens)::bigint AS prompt_tokens,
    sum(output_tokens + reasoning_tokens + audio_output_tokens)::bigint AS completion_tokens,
    sum(charge_nano)::bigint AS charge_nano, sum(cost_nano)::bigint AS cost_nano
FROM billing_usagerecord
WHERE batch_id IN (SELECT id FROM billing_settlementbatch WHERE aggregated_at IS NOT NULL)
    AND date_bin('15 minutes', started_at, 'epoch') >= ({FIRST_BUCKET})
GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608 - a query of this module

# One row for each rollup that is wrong, missing (no kept_*) or there without usage (no staged_*).
COMPARE = f"""
CREATE TEMP TABLE wrong_rollups ON COMMIT DROP AS
SELECT r.id, organization_id, bucket, api_key_id, model,
    r.reseller_id AS kept_reseller_id, s.reseller_id AS staged_reseller_id,
    {", ".join(f"r.{name} AS kept_{name}, s.{name} AS staged_{name}" for name in SUMS)}
FROM (SELECT * FROM billing_usagerollup WHERE bucket >= ({FIRST_BUCKET})) r
FULL JOIN staged_rollups s USING (organization_id, bucket, api_key_id, model)
WHERE (r.reseller_id, {", ".join(f"r.{name}" for name in SUMS)})
    IS DISTINCT FROM (s.reseller_id, {", ".join(f"s.{name}" for name in SUMS)})
"""  # noqa: S608 - column names of this module

REPLACE = f"""
INSERT INTO billing_usagerollup
    (organization_id, reseller_id, api_key_id, model, bucket, {", ".join(SUMS)})
SELECT organization_id, staged_reseller_id, api_key_id, model, bucket,
    {", ".join(f"staged_{name}" for name in SUMS)}
FROM wrong_rollups WHERE staged_requests IS NOT NULL
"""  # noqa: S608 - column names of this module


@dataclass(frozen=True)
class Rebuilt:
    """`differing` is how many rollups differed, `differences` up to SHOWN of them; `written` whether they
    were replaced."""

    rollups: int
    differing: int
    written: bool
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        return not self.differing

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.is_same, **asdict(self)}


def rebuild_rollups(*, write: bool = False) -> Rebuilt:
    """Make the rollups of all usage that is aggregated, compare, and with `write` replace those that differ.

    Runs while traffic does. Writing holds up aggregation to its end, and nothing else: whoever reads sees the
    old rollups or the new ones. Raises RowsBusy.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if write:
            _hold_up_aggregation(cursor)
        elif is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL work_mem = '256MB'")
        cursor.execute("DROP TABLE IF EXISTS pg_temp.staged_rollups, pg_temp.wrong_rollups")
        cursor.execute(STAGE)
        cursor.execute("ANALYZE staged_rollups")
        cursor.execute(COMPARE)
        rebuilt = _result(cursor, write)
        if write:
            cursor.execute("DELETE FROM billing_usagerollup WHERE id IN (SELECT id FROM wrong_rollups)")
            cursor.execute(REPLACE)
    return rebuilt


def _hold_up_aggregation(cursor: Any) -> None:
    """What is claimed already is waited for; it is committed before anything here is read."""
    with bounded_waits(LOCK_MS):
        cursor.execute(f"LOCK TABLE {UsageRollup._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def _result(cursor: Any, write: bool) -> Rebuilt:
    cursor.execute("SELECT (SELECT count(*) FROM staged_rollups), (SELECT count(*) FROM wrong_rollups)")
    [(rollups, differing)] = cursor.fetchall()
    cursor.execute(
        "SELECT * FROM wrong_rollups ORDER BY organization_id, bucket, api_key_id, model LIMIT %s", [SHOWN]
    )
    return Rebuilt(rollups, differing, write and differing > 0, list(plain_rows(cursor)))
