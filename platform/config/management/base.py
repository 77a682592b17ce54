"""What the project's commands share: refusals as one line, results as JSON."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.archive import make_usage_partitions
from common.errors import AppError
from config.migrating import migrate_if_needed


class FareboxCommand(BaseCommand):
    """A command whose AppErrors end it with one line and exit code 1."""

    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            if migrate_if_needed():  # a command may come before the first `up`
                make_usage_partitions()
            return super().execute(*args, **options)
        except AppError as error:
            raise CommandError(f"{error.message} ({error.code})") from error

    def print_json(self, content: Any) -> None:
        self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))
