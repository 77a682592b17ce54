import sys
from typing import Any

from billing.books import verify_books
from config.management.base import FareboxCommand


class Command(FareboxCommand):
    help = "Prove that the books balance; prints JSON, exits with 1 on any difference."

    def handle(self, *_args: Any, **_options: Any) -> None:
        report = verify_books()
        self.print_json(report)
        if not report["ok"]:
            sys.exit(1)
