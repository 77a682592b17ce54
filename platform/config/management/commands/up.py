from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.supervisor.up import up


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


class Command(BaseCommand):
    help = "Run everything: engines, migrations, web and relay, worker, beat. Ctrl-C or SIGTERM stops it."
    # Second starts are quick because nothing is done twice; `make check` runs the system checks.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--relay-workers", type=positive, default=1, metavar="N")
        parser.add_argument(
            "--stripe-double", action="store_true", help="try payments offline: no money moves"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        up(options["relay_workers"], stripe_double=options["stripe_double"])
