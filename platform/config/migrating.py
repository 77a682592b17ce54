"""Migrations, one process at a time: the first `up` and a command may want them in the same moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def migrate_if_needed(say: Callable[[str], None] = lambda _text: None) -> bool:
    """Whether anything had to be applied by this process. The newcomer waits and finds nothing to do."""
    if not _unapplied():
        return False
    with _alone():
        if missing := _unapplied():
            say(f"applying {missing} migrations")
            call_command("migrate", interactive=False, verbosity=0)
    return missing > 0


@contextmanager
def _alone() -> Iterator[None]:
    """A lock of the session: it outlives the transactions of single migrations, and dies with the process."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('farebox migrations'))")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('farebox migrations'))")


def _unapplied() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
