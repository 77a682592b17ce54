"""A gate over the test database, and what is asked of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
from django.db import connections
from psycopg import sql

from billing.contracts import Demand, Ending, Outcome, TokenUsage, UsageSource
from billing.contracts import Payer as PayingKey
from billing.gate import Gate
from common.database import read_in_thread
from common.ids import uuid7
from tests.factories.money import MODEL, Payer

OUTPUT_RATE_NANO = 10_000  # per token, of make_price's default


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def running(clock: Clock | None = None) -> AsyncIterator[Gate]:
    gate = Gate(clock=clock) if clock else Gate()
    await gate.start()
    try:
        yield gate
    finally:
        await gate.stop()


def demand(payer: Payer, *, output: int | None = 100, prompt: int = 0, model: str = MODEL) -> Demand:
    """`output` None: the caller set no limit."""
    key = PayingKey(payer.organization.pk, payer.organization.reseller_id, payer.api_key.pk)
    return Demand(uuid7(), key, model, prompt, output, 16_384)


def outcome(*, output: int, upstream_model: str = "m") -> Outcome:
    now = datetime.now(UTC)
    return Outcome(
        usage=TokenUsage(output_tokens=output),
        source=UsageSource.REPORTED,
        ending=Ending.COMPLETE,
        channel="c",
        upstream_model=upstream_model,
        is_stream=False,
        first_output_at=now,
        ended_at=now,
    )


async def wallet_of(payer: Payer) -> tuple[int, int]:
    """Posted and pending."""
    wallet = await read_in_thread(lambda: payer.wallet)
    return wallet.posted, wallet.pending


@asynccontextmanager
async def locked(table: str, payer: Payer) -> AsyncIterator[None]:
    """Whoever wants the payer's row of `table` hangs inside of the database as long as the block lasts."""
    given = connections.settings["default"]
    address = {"dbname": given["NAME"], "user": given["USER"], "host": given["HOST"], "port": given["PORT"]}
    lock = sql.SQL("SELECT 1 FROM {} WHERE organization_id = %s FOR UPDATE").format(sql.Identifier(table))
    async with await psycopg.AsyncConnection.connect(**address) as locker:
        await locker.execute(lock, [payer.organization.pk])
        yield
