"""Bring the database to what this code needs, in the supervisor's process, which has Django loaded."""

from collections.abc import Callable

from django.db import connection

from config.bootstrap import FirstStart, prepare
from config.migrating import migrate_if_needed


def bring_up_to_date(say: Callable[[str], None]) -> FirstStart | None:
    """Apply what is missing and prepare the installation; what it returns can be shown only once."""
    try:
        migrate_if_needed(say)
        return prepare()
    finally:
        _hang_up()


def _hang_up() -> None:
    """The supervisor lives long and needs no connection: close this thread's, and the pool behind it."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's backend, the only one
