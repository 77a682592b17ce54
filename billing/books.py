"""The books check: what must be equal, proved from primary rows in one consistent snapshot."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

SHOWN = 20


@dataclass(frozen=True)
class Check:
    """`differences` holds up to SHOWN rows that break the rule; an empty list is a pass."""

    name: str
    rule: str
    differences: list[dict[str, Any]]


# Each query returns the rows that break its rule.
RULES: dict[str, tuple[str, str]] = {
    "wallets": (
        "posted = grants - charges",
        """
        SELECT w.organization_id, w.posted AS posted_nano,
            coalesce(g.granted, 0) AS granted_nano, coalesce(u.charged, 0) AS charged_nano
        FROM billing_wallet w
        LEFT JOIN (SELECT organization_id, sum(amount_nano) AS granted FROM billing_grant GROUP BY 1) g
            USING (organization_id)
        LEFT JOIN (SELECT organization_id, sum(charge_nano) AS charged FROM billing_usagerecord
            GROUP BY 1) u USING (organization_id)
        WHERE w.posted <> coalesce(g.granted, 0) - coalesce(u.charged, 0)
        """,
    ),
    "pending": (
        "pending = what open leases have left",
        """
        SELECT w.organization_id, w.pending AS pending_nano, coalesce(l.open, 0) AS leased_nano
        FROM billing_wallet w
        LEFT JOIN (SELECT wallet_id, sum(granted - settled) AS open FROM billing_lease
            WHERE state = 'open' GROUP BY 1) l ON l.wallet_id = w.organization_id
        WHERE w.pending <> coalesce(l.open, 0)
        """,
    ),
    "batches": (
        "a settlement batch charges what its usage records charge, and each record is in a batch",
        """
        SELECT coalesce(b.id, u.batch_id) AS batch, b.charge_nano AS batch_nano, u.charged AS records_nano
        FROM billing_settlementbatch b
        FULL JOIN (SELECT batch_id, sum(charge_nano) AS charged FROM billing_usagerecord GROUP BY 1) u
            ON u.batch_id = b.id
        WHERE b.id IS NULL OR b.charge_nano <> coalesce(u.charged, 0)
        """,
    ),
    "rollups": (
        "rollups = usage records of the batches marked as aggregated, so each was added once",
        """
        SELECT coalesce(r.organization_id, u.organization_id) AS organization_id,
            coalesce(r.bucket, u.bucket) AS bucket, coalesce(r.model, u.model) AS model,
            r.requests AS rollup_requests, u.requests, r.charge_nano AS rollup_nano, u.charge_nano
        FROM billing_usagerollup r
        FULL JOIN (
            SELECT organization_id, api_key_id, model,
                date_bin('15 minutes', started_at, 'epoch') AS bucket, count(*) AS requests,
                sum(charge_nano) AS charge_nano, sum(cost_nano) AS cost_nano,
                sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
                    + audio_input_tokens + image_input_tokens) AS prompt_tokens,
                sum(output_tokens + reasoning_tokens + audio_output_tokens) AS completion_tokens
            FROM billing_usagerecord
            WHERE batch_id IN (SELECT id FROM billing_settlementbatch WHERE aggregated_at IS NOT NULL)
            GROUP BY 1, 2, 3, 4
        ) u ON r.organization_id = u.organization_id AND r.bucket = u.bucket
            AND r.api_key_id = u.api_key_id AND r.model = u.model
        WHERE r.requests IS DISTINCT FROM u.requests OR r.charge_nano IS DISTINCT FROM u.charge_nano
            OR r.cost_nano IS DISTINCT FROM u.cost_nano
            OR r.prompt_tokens IS DISTINCT FROM u.prompt_tokens
            OR r.completion_tokens IS DISTINCT FROM u.completion_tokens
        """,
    ),
}


def verify_books() -> dict[str, Any]:
    """`{"ok": …, "checks": […], "totals": {…}}`; amounts in nano-units.

    One snapshot, so it may run while traffic does; inside a transaction of somebody else, that one's view.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        checks = [Check(name, rule, list(_rows(cursor, query))) for name, (rule, query) in RULES.items()]
        [totals] = _rows(cursor, TOTALS)
    return {
        "ok": not any(check.differences for check in checks),
        "checks": [{**asdict(check), "ok": not check.differences} for check in checks],
        "totals": totals,
    }


TOTALS = """
SELECT
    (SELECT coalesce(sum(amount_nano), 0) FROM billing_grant) AS granted_nano,
    (SELECT coalesce(sum(charge_nano), 0) FROM billing_usagerecord) AS charged_nano,
    (SELECT coalesce(sum(uncollected_nano), 0) FROM billing_usagerecord) AS uncollected_nano,
    (SELECT count(*) FROM billing_usagerecord) AS usage_records,
    (SELECT coalesce(sum(posted), 0) FROM billing_wallet) AS posted_nano,
    (SELECT coalesce(sum(pending), 0) FROM billing_wallet) AS pending_nano,
    (SELECT count(*) FROM billing_settlementbatch WHERE aggregated_at IS NULL) AS batches_to_aggregate
"""


def _rows(cursor: Any, query: str) -> Iterator[dict[str, Any]]:
    cursor.execute(query)
    names = [column.name for column in cursor.description]
    for row in cursor.fetchmany(SHOWN):
        yield {name: _plain(value) for name, value in zip(names, row, strict=True)}


def _plain(value: Any) -> Any:
    """As JSON can say it. Numbers stay integers: PostgreSQL sums bigint as numeric."""
    if isinstance(value, Decimal):
        return int(value)
    return value if value is None or isinstance(value, int) else str(value)
