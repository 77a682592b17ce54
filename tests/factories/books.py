"""Months of books made in SQL, as many records as asked for: for measuring, and for finding damage in.

Every organization has one lot, paid or promotional, that goes to usage. The last records wait for
aggregation, the last postings for the fold.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db import connection, transaction

from accounts.services import ensure_house_reseller
from billing.archive import make_usage_partitions

RECORDS_PER_BATCH = 10
BATCHES_PER_POSTING = 200
SPAN = timedelta(days=100)
STATEMENTS = Path(__file__).with_suffix(".sql")


def fill_books(*, records: int, organizations: int = 2_000, models: int = 50) -> None:
    """Everything in one transaction, into a database without customers."""
    start = datetime.now(UTC) - SPAN
    batches = records // RECORDS_PER_BATCH
    values = {
        "records": batches * RECORDS_PER_BATCH,
        "organizations": organizations,
        "models": models,
        "batches": batches,
        "aggregated": batches - max(1, batches // 1_000),
        "per_batch": RECORDS_PER_BATCH,
        "batches_per_posting": BATCHES_PER_POSTING,
        "batch_us": int(SPAN.total_seconds() * 1e6) // batches,
        "start": start.isoformat(),
    }
    ensure_house_reseller()
    make_usage_partitions(today=start, months=4)
    statements = STATEMENTS.read_text().format(**values)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute("SET LOCAL work_mem = '512MB'")
        for statement in statements.strip().removesuffix(";").split(";\n"):
            cursor.execute(statement)
