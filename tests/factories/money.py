"""Small coherent pieces of a paying customer, and the SQL a relay process settles with."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import connection

from accounts.models import APIKey, Organization, User
from accounts.services import create_api_key, create_organization, ensure_house_reseller
from billing.models import Lease, PriceKind, PriceVersion, Wallet
from billing.price_shapes import Price
from billing.publishing import publish_price
from billing.services import grant_credit
from common.ids import uuid7

MODEL = "gpt-test"
NEVER = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Payer:
    organization: Organization
    api_key: APIKey

    @property
    def wallet(self) -> Wallet:
        return Wallet.objects.get(pk=self.organization.pk)

    def lease(self, holder: UUID) -> Lease:
        return Lease.objects.get(wallet_id=self.organization.pk, holder=holder, state="open")


def make_payer(credit_nano: int = 0) -> Payer:
    name = uuid4().hex[:12]
    owner = User.objects.create_user(f"{name}@example.com")
    organization = create_organization(owner=owner, name=name)
    if credit_nano:
        grant_credit(organization=organization, amount_nano=credit_nano, reason="test", fact_key=name)
    return Payer(organization, create_api_key(organization=organization, name="test").api_key)


def make_price(model: str = MODEL, **rates: int) -> PriceVersion:
    """In force at once; rates in nano-units per million tokens."""
    publish_price(
        model=model,
        kind=PriceKind.RETAIL,
        price=Price(rates or {"input": 2_500_000_000, "output": 10_000_000_000}),
    )
    return PriceVersion.objects.filter(model=model).latest("pk")


def flat_price(nano: int, kind: str = PriceKind.RETAIL, model: str = MODEL) -> int:
    """The id of a version at which every request costs `nano`, whatever it used. It is never in force."""

    def make() -> int:
        known = {"reseller": ensure_house_reseller(), "model": model, "kind": kind, "per_request": nano}
        since = NEVER + timedelta(microseconds=nano % 10**15)
        version, _ = PriceVersion.objects.get_or_create(
            **known, input=0, output=0, defaults={"effective_from": since}
        )
        return version.pk

    return _also_in_a_loop(make)


def _also_in_a_loop(read: Callable[[], int]) -> int:
    """Django refuses to touch the database beside a running event loop; tests may let it wait a moment."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return read()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: _and_hang_up(read)).result()


def _and_hang_up(read: Callable[[], int]) -> int:
    try:
        return read()
    finally:
        connection.close()


def make_record(payer: Payer, price_nano: int, **overrides: Any) -> dict[str, Any]:
    """`price_nano`, and `cost_nano` where it is given, are what the versions of the record say."""
    now = datetime.now(UTC)
    model, cost = overrides.get("model", MODEL), overrides.get("cost_nano", 0)
    counts = dict.fromkeys(
        (
            *("input_tokens", "output_tokens", "reasoning_tokens", "cache_read_tokens"),
            *("cache_write_5m_tokens", "cache_write_1h_tokens"),
            *("audio_input_tokens", "audio_output_tokens", "image_input_tokens"),
        ),
        0,
    )
    return {
        "request_id": uuid7(),
        "organization_id": payer.organization.pk,
        "reseller_id": payer.organization.reseller_id,
        "api_key_id": payer.api_key.pk,
        "model": MODEL,
        "channel": "test",
        "upstream_model": "test-1",
        **counts,
        "price_nano": price_nano,
        "cost_nano": 0,
        "retail_version_id": flat_price(price_nano, model=model),
        "cost_version_id": flat_price(cost, PriceKind.COST, model) if cost else None,
        "usage_source": "reported",
        "ending": "complete",
        "is_stream": False,
        "started_at": now,
        "first_output_at": None,
        "ended_at": now,
        **overrides,
    }


def settle(holder: UUID, *records: dict[str, Any], batch: UUID | None = None) -> dict[int, int]:
    """Organization → what the holder's lease has left; empty when the batch was settled before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT organization_id, lease_left FROM billing_settle(%s, %s, %s)",
            [batch or uuid7(), holder, orjson.dumps(records).decode()],
        )
        return dict(cursor.fetchall())


def lease(payer: Payer, holder: UUID, need: int, *, want: int = 0, seconds: float = 20) -> tuple[int, int]:
    """What was granted, and what the wallet has free afterwards."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT granted, free FROM billing_lease_credit(%s, %s, %s, %s, %s)",
            [payer.organization.pk, holder, need, want, seconds],
        )
        [row] = cursor.fetchall()
    return row[0], row[1]


def end_lease(payer: Payer, holder: UUID, state: str = "closed", before: datetime | None = None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT billing_end_lease(%s, %s, %s, %s)", [payer.organization.pk, holder, state, before]
        )
        [row] = cursor.fetchall()
    return int(row[0])
