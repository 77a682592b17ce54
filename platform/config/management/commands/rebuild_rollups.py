import sys
from argparse import ArgumentParser
from typing import Any

from billing.rollups import rebuild_rollups
from config.management.base import FareboxCommand


class Command(FareboxCommand):
    help = "Make the rollups anew from usage records and compare; prints JSON, exits with 1 when they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--write", action="store_true", help="replace those that differ")

    def handle(self, *_args: Any, **options: Any) -> None:
        rebuilt = rebuild_rollups(write=options["write"])
        self.print_json(rebuilt.as_json())
        if not rebuilt.is_same and not rebuilt.written:
            sys.exit(1)
