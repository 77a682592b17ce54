"""A process that is refused asks the others for what lies idle there, for a moment only."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from billing.aggregation import aggregate_batches
from billing.budgets import set_budget
from billing.contracts import CreditRefused
from billing.debts import collect_debts
from billing.gate import Gate
from billing.models import Wallet
from common.database import read_in_thread
from tests.factories.gate import OUTPUT_RATE_NANO, demand, outcome, running, wallet_of
from tests.factories.money import Payer, make_payer, make_price

pytestmark = pytest.mark.django_db(transaction=True)
COST = 100 * OUTPUT_RATE_NANO


@pytest.fixture(autouse=True)
def spool(settings: Any, tmp_path: Path) -> None:
    settings.SPOOL_FOLDER = tmp_path / "spool"


@pytest.fixture
def payer() -> Iterator[Payer]:
    make_price()
    yield make_payer(10 * COST)
    connection.close()


def introduce(*gates: Gate) -> list[tuple[str, str]]:
    """What Valkey does between processes; returns all that is said."""
    said: list[tuple[str, str]] = []

    def tell(kind: str, subject: str) -> None:
        said.append((kind, subject))
        for gate in gates:
            if kind == "recall":
                gate.give_back_idle(subject)
            else:
                gate.wallet_changed(int(subject))

    for gate in gates:
        gate.tell = tell
    return said


async def hoard(gate: Gate, payer: Payer) -> None:
    """Lease most of the wallet and use nothing of it."""
    gate.release(await gate.open_hold(demand(payer, output=900)))


async def test_idle_credit_elsewhere_serves_a_request_here(payer: Payer) -> None:
    async with running() as rich, running() as poor:
        said = introduce(rich, poor)
        await hoard(rich, payer)
        hold = await poor.open_hold(demand(payer, output=500))
        assert said == [("recall", f"wallet:{payer.organization.pk}")]
        await poor.settle(hold, outcome(output=500))
    assert await wallet_of(payer) == (5 * COST, 0)


async def test_what_others_use_is_not_theirs_to_give(payer: Payer) -> None:
    async with running() as busy, running() as poor:
        introduce(busy, poor)
        held = await busy.open_hold(demand(payer, output=800))
        with pytest.raises(CreditRefused):
            await poor.open_hold(demand(payer, output=500))
        await busy.settle(held, outcome(output=800))
    assert await wallet_of(payer) == (2 * COST, 0)


async def test_an_empty_wallet_is_refused_at_once(payer: Payer) -> None:
    async with running() as gate:
        said = introduce(gate)
        started = time.monotonic()
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer, output=5_000))
        assert time.monotonic() - started < 0.25
        assert not said


async def test_without_anybody_to_ask_the_wait_is_bounded(payer: Payer) -> None:
    """Valkey is away: nobody hears the recall."""
    async with running() as rich, running() as poor:
        await hoard(rich, payer)
        with pytest.raises(CreditRefused):
            await asyncio.wait_for(poor.open_hold(demand(payer, output=500)), 2)


async def test_budgets_are_recalled_as_wallets_are(payer: Payer) -> None:
    await read_in_thread(
        lambda: set_budget(organization=payer.organization, limit_nano=9 * COST, period="total")
    )
    async with running() as rich, running() as poor:
        introduce(rich, poor)
        await hoard(rich, payer)
        poor.release(await poor.open_hold(demand(payer, output=500)))


async def test_a_wallet_blocked_by_one_process_is_left_alone_by_all(payer: Payer) -> None:
    async with running() as overrun, running() as other:
        said = introduce(overrun, other)
        waiting = await other.open_hold(demand(payer, output=100))
        hold = await overrun.open_hold(demand(payer, output=100))
        await overrun.settle(hold, outcome(output=2_000))
        await other._writer.call("SELECT 1")  # comes after the renewal that was refused
        with pytest.raises(CreditRefused):
            await other.open_hold(demand(payer, output=1))
        assert ("wallet", str(payer.organization.pk)) in said
        await other.settle(waiting, outcome(output=100))
    wallet = await read_in_thread(lambda: _wallet_after_its_debts(payer))
    assert (wallet.posted, wallet.pending, wallet.status) == (0, 0, "blocked")
    assert wallet.receivable == 11 * COST


def _wallet_after_its_debts(payer: Payer) -> Wallet:
    """What the other's lease gave back pays a part."""
    aggregate_batches()
    collect_debts()
    return payer.wallet


async def test_a_notice_about_one_wallet_puts_off_nobody_elses_renewal(payer: Payer) -> None:
    async with running() as gate:
        gate.release(await gate.open_hold(demand(payer)))
        before = gate._renewed_at
        gate.wallet_changed(payer.organization.pk)
        await gate._writer.call("SELECT 1")
        assert gate._renewed_at == before
        renewal = gate._renew(gate._clock())
        assert renewal is not None
        await renewal
        await asyncio.sleep(0)
        assert gate._renewed_at > before
