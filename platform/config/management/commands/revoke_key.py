from argparse import ArgumentParser
from typing import Any

from accounts.services import find_api_key, revoke_api_key
from config.management.base import FareboxCommand


class Command(FareboxCommand):
    help = "Revoke an API key; every process refuses it within a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="the key itself, or its id")

    def handle(self, *_args: Any, **options: Any) -> None:
        api_key = revoke_api_key(api_key=find_api_key(options["key"]))
        self.print_json({"api_key": api_key.pk, "revoked_at": str(api_key.revoked_at)})
