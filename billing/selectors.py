"""Reads of money for pages: balance, spend by day and model, usage page by page, the receipt of a request.

Everything here reads the organization in scope and raises ScopeMissing where none is.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from billing.contracts import Rates, TokenUsage, Window
from billing.models import UsageRecord, UsageRollup, Wallet
from billing.pricing import band_for, price_at, price_usage, rates_for, tier_for, window_at
from billing.tariffs import tariff_of
from common.ids import uuid7_floor
from common.models import current_organization_id

TOKEN_CLASSES = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "image_input",
    "audio_input",
    "output",
    "reasoning",
    "audio_output",
)
PAGE_SIZE = 50
MILLIONTH = -6


@dataclass(frozen=True)
class Spend:
    """What was used by one model on one day of the reader's time zone."""

    day: date
    model: str
    charge_nano: int
    requests: int
    tokens: int


@dataclass(frozen=True)
class UsageFilter:
    """Which usage to list; days are whole days of the reader's time zone, both included."""

    model: str = ""
    api_key_id: int | None = None
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True)
class UsagePage:
    """Newest first. `newer` and `older` are the request ids to go on from; None at that end."""

    records: list[UsageRecord]
    newer: UUID | None
    older: UUID | None


@dataclass(frozen=True)
class ReceiptLine:
    """Tokens of one class times their rate. `amount_nano` is exact: it may have six decimals."""

    token_class: str
    tokens: int
    rate_nano: int
    amount_nano: Decimal


@dataclass(frozen=True)
class Receipt:
    """How a charge came about: the lines, their exact sum, one rounding, then what was collected.

    `tier` is the service tier that has a price of its own, else ""; `window` and `over_prompt_tokens` are
    those that decided, where one did.
    """

    record: UsageRecord
    usage: TokenUsage
    lines: tuple[ReceiptLine, ...]
    tokens_nano: Decimal
    per_request_nano: int
    price_nano: int
    over_prompt_tokens: int | None
    window: Window | None
    tier: str

    @property
    def sum_nano(self) -> Decimal:
        return self.tokens_nano + self.per_request_nano

    @property
    def is_rounded(self) -> bool:
        return self.sum_nano != self.price_nano


def current_wallet() -> Wallet:
    return Wallet.objects.get(pk=current_organization_id())


def spend_by_day_and_model(days: Sequence[date]) -> list[Spend]:
    """Out of the rollups, so a few seconds behind. `days` ascend without a gap."""
    zone = timezone.get_current_timezone()
    rows = (
        UsageRollup.objects.filter(
            bucket__gte=_start_of(days[0]), bucket__lt=_start_of(days[-1] + timedelta(days=1))
        )
        .annotate(day=TruncDate("bucket", tzinfo=zone))
        .values_list("day", "model")
        .annotate(Sum("charge_nano"), Sum("requests"), tokens=Sum("prompt_tokens") + Sum("completion_tokens"))
        .order_by("day", "model")
    )
    return [
        Spend(day, model, int(charge), int(requests), int(tokens))
        for day, model, charge, requests, tokens in rows
    ]


def has_usage() -> bool:
    return UsageRecord.objects.exists()


def models_used() -> list[str]:
    """Names of models this organization ever called, for choosing among them."""
    return list(UsageRollup.objects.order_by("model").values_list("model", flat=True).distinct())


def usage_page(
    chosen: UsageFilter, *, before: UUID | None = None, after: UUID | None = None, size: int = PAGE_SIZE
) -> UsagePage:
    """The `size` records next to a request id: older ones than `before`, or newer ones than `after`."""
    records = _filtered(chosen)
    if after is not None:
        nearest = list(records.filter(request_id__gt=after).order_by("request_id")[: size + 1])
        page = nearest[:size][::-1]
        return _page(page, has_newer=len(nearest) > size, has_older=bool(page))
    if before is not None:
        records = records.filter(request_id__lt=before)
    nearest = list(records.order_by("-request_id")[: size + 1])
    return _page(nearest[:size], has_newer=before is not None, has_older=len(nearest) > size)


def find_usage(request_id: UUID) -> UsageRecord | None:
    found: UsageRecord | None = (
        UsageRecord.objects.select_related("api_key", "retail_version").filter(request_id=request_id).first()
    )
    return found


def receipt_of(record: UsageRecord) -> Receipt:
    """The charge worked out anew from what the record keeps: tokens, price version, start, service tier."""
    usage = usage_of(record)
    listed = tariff_of(record.retail_version)
    tariff, tier = price_at(listed, record.started_at), tier_for(listed, record.service_tier)
    rates = rates_for(tariff, usage.prompt_tokens, tier)
    band = band_for(tariff, usage.prompt_tokens, tier)
    lines = tuple(_line(usage, rates, name) for name in TOKEN_CLASSES)
    return Receipt(
        record=record,
        usage=usage,
        lines=tuple(line for line in lines if line.tokens),
        tokens_nano=sum((line.amount_nano for line in lines), Decimal(0)),
        per_request_nano=rates.per_request,
        price_nano=price_usage(usage, tariff, tier),
        over_prompt_tokens=band.over_prompt_tokens if band else None,
        window=None if tier else window_at(listed, record.started_at),
        tier=tier,
    )


def usage_of(record: UsageRecord) -> TokenUsage:
    return TokenUsage(**{f"{name}_tokens": getattr(record, f"{name}_tokens") for name in TOKEN_CLASSES})


def totals_by_model(spend: Sequence[Spend]) -> list[Spend]:
    """Summed over the days, the dearest model first; a sum carries its last day."""
    sums: dict[str, Spend] = {}
    for one in spend:
        known = sums.get(one.model)
        sums[one.model] = one if known is None else _add(known, one)
    return sorted(sums.values(), key=lambda one: (-one.charge_nano, -one.requests, one.model))


def values_by_day(spend: Sequence[Spend], days: Sequence[date], attribute: str) -> dict[str, list[int]]:
    """Per model one value for each of `days`."""
    table: dict[str, list[int]] = defaultdict(lambda: [0] * len(days))
    position = {day: index for index, day in enumerate(days)}
    for one in spend:
        table[one.model][position[one.day]] += getattr(one, attribute)
    return dict(table)


def _filtered(chosen: UsageFilter) -> QuerySet[UsageRecord]:
    records: QuerySet[UsageRecord] = UsageRecord.objects.select_related("api_key")
    if chosen.model:
        records = records.filter(model=chosen.model)
    if chosen.api_key_id is not None:
        records = records.filter(api_key_id=chosen.api_key_id)
    if chosen.since is not None:
        records = records.filter(request_id__gte=uuid7_floor(_start_of(chosen.since)))
    if chosen.until is not None:
        end = _start_of(chosen.until + timedelta(days=1))
        records = records.filter(request_id__lt=uuid7_floor(end))
    return records


def _page(records: list[UsageRecord], *, has_newer: bool, has_older: bool) -> UsagePage:
    return UsagePage(
        records=records,
        newer=records[0].request_id if records and has_newer else None,
        older=records[-1].request_id if records and has_older else None,
    )


def _line(usage: TokenUsage, rates: Rates, name: str) -> ReceiptLine:
    tokens = getattr(usage, f"{name}_tokens")
    rate = getattr(rates, name)
    return ReceiptLine(name, tokens, rate, Decimal(tokens * rate).scaleb(MILLIONTH))


def _add(left: Spend, right: Spend) -> Spend:
    return Spend(
        right.day,
        right.model,
        left.charge_nano + right.charge_nano,
        left.requests + right.requests,
        left.tokens + right.tokens,
    )


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, timezone.get_current_timezone())
