from argparse import ArgumentParser
from typing import Any

from accounts.models import HOUSE_SLUG
from common.money import parse_nano
from config.customers import create_customer
from config.management.base import FareboxCommand
from config.management.reports import wallet_as_json


class Command(FareboxCommand):
    help = "Make a customer with a wallet and an API key; prints JSON. The key is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--organization", default="", help="name; the e-mail address without one")
        parser.add_argument("--credit", default="0", help="to start with, in USD: 5.00")
        parser.add_argument("--reseller", default=HOUSE_SLUG, help="slug")

    def handle(self, *_args: Any, **options: Any) -> None:
        customer = create_customer(
            email=options["email"],
            organization_name=options["organization"],
            credit_nano=parse_nano(options["credit"]),
            reseller_slug=options["reseller"],
        )
        self.print_json(
            {
                "organization": customer.organization.pk,
                "api_key": customer.api_key,
                "wallet": wallet_as_json(customer.wallet),
            }
        )
