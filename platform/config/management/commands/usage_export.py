import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils.dateparse import parse_datetime

from billing.models import UsageRecord
from common.ids import uuid7_floor
from config.management.base import FareboxCommand
from config.management.reports import usage_as_json

AT_ONCE = 2_000


class Command(FareboxCommand):
    help = "Print usage records as JSON lines, the oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", help="ISO 8601; without an offset it is UTC")
        parser.add_argument("--organization", type=int, help="id")

    def handle(self, *_args: Any, **options: Any) -> None:
        records = UsageRecord.across_all_organizations.order_by("request_id")
        if options["organization"] is not None:
            records = records.filter(organization_id=options["organization"])
        if options["since"]:
            records = records.filter(request_id__gte=uuid7_floor(_moment(options["since"])))
        for record in records.iterator(chunk_size=AT_ONCE):
            self.stdout.write(json.dumps(usage_as_json(record)))


def _moment(text: str) -> datetime:
    """Raises CommandError."""
    try:
        moment = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not an ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
