from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from config.catalog import apply_catalog, read_catalog_file
from config.env import variables
from config.management.base import FareboxCommand


class Command(FareboxCommand):
    help = "Make channels, models and prices what a catalogue file says; prints the differences."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="print the differences, change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        catalog = read_catalog_file(options["file"], variables())
        changes = apply_catalog(catalog, dry_run=options["dry_run"])
        for change in changes:
            self.stdout.write(change)
        self.stdout.write(f"{len(changes)} differences" + (" (dry run)" if options["dry_run"] else ""))
