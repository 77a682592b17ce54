"""Locks: taken once per transaction, all together, in id order, with a bound on the wait."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import OperationalError, connection, models
from psycopg.errors import LockNotAvailable

from common.errors import AppError

LOCK_TIMEOUT_MS = 3_000

Row = TypeVar("Row", bound=models.Model)


class RowsBusy(AppError):
    """Somebody else held the rows for too long; nothing was changed."""

    code = "rows_busy"
    http_status = 503


def lock_rows(rows: models.QuerySet[Row], ids: Iterable[object]) -> list[Row]:
    """The rows with these primary keys, locked for this transaction in ascending order.

    Raises RowsBusy after LOCK_TIMEOUT_MS, and TransactionManagementError outside a transaction.
    """
    with bounded_waits(LOCK_TIMEOUT_MS):
        return list(rows.select_for_update(of=("self",)).filter(pk__in=list(ids)).order_by("pk"))


@contextmanager
def bounded_waits(milliseconds: int) -> Iterator[None]:
    """No lock of this transaction is waited for any longer, from here to its end. Raises RowsBusy."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise RowsBusy("the rows are in use; try again") from error
        raise
