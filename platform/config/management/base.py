"""What the project's commands share: refusals as one line, results as JSON."""

import json
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from billing.services import make_usage_partitions
from common.errors import AppError


def _ensure_migrated() -> None:
    """A command may come before the first `up`; what it needs then is made here."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0)
        make_usage_partitions()


class FareboxCommand(BaseCommand):
    """A command whose AppErrors end it with one line and exit code 1."""

    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            _ensure_migrated()
            return super().execute(*args, **options)
        except AppError as error:
            raise CommandError(f"{error.message} ({error.code})") from error

    def print_json(self, content: Any) -> None:
        self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))
