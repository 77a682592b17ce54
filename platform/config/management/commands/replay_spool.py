from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError

from billing.writer import MoneyConnection, replay_leftovers
from config.management.base import FareboxCommand


class Command(FareboxCommand):
    help = "Settle what processes that died had spooled; running ones replay their own."

    def handle(self, *_args: Any, **_options: Any) -> None:
        database = MoneyConnection()
        try:
            self.print_json({"batches": replay_leftovers(settings.SPOOL_FOLDER, database)})
        except (OSError, psycopg.Error) as error:
            raise CommandError(f"the spool could not be replayed: {error}") from error
        finally:
            database.close()
