import json
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from billing.models import UsageRecord
from common.ids import uuid7_floor
from config.management.base import FareboxCommand
from config.management.reports import usage_as_json

AT_ONCE = 2_000
LONGEST_WAIT = timedelta(days=1)


class Command(FareboxCommand):
    help = "Print usage records as JSON lines, the oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", help="started then or later; ISO 8601, without an offset it is UTC")
        parser.add_argument("--organization", type=int, help="id")

    def handle(self, *_args: Any, **options: Any) -> None:
        records = UsageRecord.across_all_organizations.order_by("request_id")
        if options["organization"] is not None:
            records = records.filter(organization_id=options["organization"])
        if options["since"]:
            records = _started_since(records, _moment(options["since"]))
        for record in records.iterator(chunk_size=AT_ONCE):
            self.stdout.write(json.dumps(usage_as_json(record)))


def _started_since(records: QuerySet[UsageRecord], since: datetime) -> QuerySet[UsageRecord]:
    """A request gets its id a moment before it starts: the bound on the id only skips what is far older."""
    bound = uuid7_floor(since - LONGEST_WAIT)
    return records.filter(request_id__gte=bound, started_at__gte=since)


def _moment(text: str) -> datetime:
    """Raises CommandError."""
    try:
        moment = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not an ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
