from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from billing.models import Wallet
from config.management.base import FareboxCommand
from config.management.reports import wallet_as_json


class Command(FareboxCommand):
    help = "Print an organization's wallet as JSON, in nano-units."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", type=int, help="id")

    def handle(self, *_args: Any, **options: Any) -> None:
        wallet = Wallet.objects.filter(pk=options["organization"]).first()
        if wallet is None:
            raise CommandError(f"there is no organization {options['organization']}")
        self.print_json(wallet_as_json(wallet))
