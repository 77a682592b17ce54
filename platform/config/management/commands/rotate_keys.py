from typing import Any

from config.management.base import FareboxCommand
from relay.services import reseal_credentials


class Command(FareboxCommand):
    help = "Seal vendor credentials under the first key of FIELD_KEYS; then the others can go."

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.print_json({"resealed": reseal_credentials()})
