"""All rules, one snapshot, one report."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from django.db import connection, transaction

from billing.books import ledger, making, operators, payments, prices, usage, wallets
from billing.books.rules import Rule, Search
from common.database import plain_rows

SHOWN = 20

# Rules that come with more money (the payment provider's mirror, invoice numbers) get a module of their own
# beside these, and their SEARCHES are added here.
SEARCHES: tuple[Search, ...] = (
    *wallets.SEARCHES,
    *ledger.SEARCHES,
    *prices.SEARCHES,
    *usage.SEARCHES,
    *making.SEARCHES,
    *operators.SEARCHES,
    *payments.SEARCHES,
)
RULES: tuple[Rule, ...] = tuple(rule for search in SEARCHES for rule in search.rules)

# For the transaction of the check. Its queries read whole tables: sums in memory, several cores, and no order
# for which an index would have to be walked. No loops within loops either: where statistics are older than
# the rows, PostgreSQL takes tables for empty, and a check of 10,000 records lasts half a minute.
SETTINGS = {
    "work_mem": "256MB",
    "hash_mem_multiplier": "4",
    "max_parallel_workers_per_gather": "2",
    "enable_nestloop": "off",
    "enable_mergejoin": "off",
    "enable_incremental_sort": "off",
    "enable_memoize": "off",
    "jit": "off",
}


@dataclass(frozen=True)
class Check:
    """`differences` holds up to SHOWN rows that break the rule; an empty list is a pass."""

    name: str
    rule: str
    differences: list[dict[str, Any]]
    seconds: float


def verify_books() -> dict[str, Any]:
    """`{"ok": …, "checks": […], "totals": {…}}`; amounts in nano-units.

    One snapshot and no locks, so it may run while traffic does; inside somebody's transaction, what that one
    sees.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for name, value in SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        for statement in (*usage.STAGE, *making.STAGE):
            cursor.execute(statement)
        checks = [check for search in SEARCHES for check in _run(cursor, search)]
        cursor.execute(TOTALS)
        [totals] = plain_rows(cursor)
    return {
        "ok": not any(check.differences for check in checks),
        "checks": [{**asdict(check), "ok": not check.differences} for check in checks],
        "totals": totals,
    }


def _run(cursor: Any, search: Search) -> Iterator[Check]:
    """The query is one pass for all its rules; each has its own first rows that break it."""
    began = monotonic()
    parts = [
        f"(SELECT '{rule.name}' AS broken_rule, * FROM found WHERE {rule.broken} LIMIT {SHOWN})"  # noqa: S608
        for rule in search.rules
    ]
    given = _given(cursor, search) if search.given else None
    cursor.execute(f"WITH found AS MATERIALIZED ({search.query}) {' UNION ALL '.join(parts)}", given)
    rows = list(plain_rows(cursor))
    seconds = round((monotonic() - began) / len(search.rules), 3)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.pop("broken_rule")].append(row)
    for rule in search.rules:
        yield Check(rule.name, rule.words, found[rule.name], seconds)


def _given(cursor: Any, search: Search) -> dict[str, Any]:
    cursor.execute(search.given)
    [(value,)] = cursor.fetchall()
    return {"given": value}


TOTALS = """
SELECT
    (SELECT coalesce(sum(amount_nano), 0) FROM billing_grant) AS granted_nano,
    u.charged_nano, u.uncollected_nano, u.usage_records,
    (SELECT coalesce(sum(posted), 0) FROM billing_wallet) AS posted_nano,
    (SELECT coalesce(sum(pending), 0) FROM billing_wallet) AS pending_nano,
    (SELECT coalesce(sum(receivable), 0) FROM billing_wallet) AS owed_nano,
    (SELECT count(*) FROM billing_settlementbatch WHERE aggregated_at IS NULL) AS batches_to_aggregate,
    (SELECT count(*) FROM billing_ledgertransaction) AS postings,
    (SELECT coalesce(sum(records), 0) FROM billing_archivedusage) AS archived_records,
    (SELECT coalesce(sum(charge_nano), 0) FROM billing_archivedusage) AS archived_charged_nano
FROM (SELECT coalesce(sum(charge), 0) AS charged_nano, coalesce(sum(requests), 0) AS usage_records,
    coalesce(sum(uncollected), 0) AS uncollected_nano FROM books_usage) u
"""
