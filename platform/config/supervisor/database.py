"""Bring the database to what this code needs, in the supervisor's process, which has Django loaded."""

from collections.abc import Callable

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from config.bootstrap import FirstStart, prepare


def bring_up_to_date(say: Callable[[str], None]) -> FirstStart | None:
    """Apply what is missing and prepare the installation; what it returns can be shown only once."""
    try:
        if missing := _unapplied():
            say(f"applying {missing} migrations")
            call_command("migrate", interactive=False, verbosity=0)
        return prepare()
    finally:
        _hang_up()


def _unapplied() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _hang_up() -> None:
    """The supervisor lives long and needs no connection: close this thread's, and the pool behind it."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's backend, the only one
