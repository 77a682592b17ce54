"""The gate over a real database: holds stay within the wallet, charges are written before they are told."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from billing.books import verify_books
from billing.contracts import CreditRefused, Hold, MoneyUnavailable, PriceMissing, WalletFrozen
from billing.contracts import Payer as PayingKey
from billing.freezing import freeze_wallet, unfreeze_wallet
from billing.gate import IDLE_RETURN_S, LEASE_S, Gate
from billing.models import Lease, UsageRecord
from billing.services import reap_expired_leases
from common.database import read_in_thread
from tests.factories.gate import OUTPUT_RATE_NANO, Clock, demand, outcome, running, wallet_of
from tests.factories.money import Payer, make_payer, make_price

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def spool(settings: Any, tmp_path: Path) -> None:
    settings.SPOOL_FOLDER = tmp_path / "spool"


@pytest.fixture
def payer() -> Iterator[Payer]:
    make_price()
    yield make_payer(1_000_000_000)
    connection.close()


async def test_a_settled_request_is_charged_when_settle_returns(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer))
        assert hold.amount_nano == 100 * OUTPUT_RATE_NANO
        charge = await gate.settle(hold, outcome(output=30))
        posted, _ = await wallet_of(payer)
        assert charge.charge_nano == 30 * OUTPUT_RATE_NANO == 1_000_000_000 - posted
    assert await wallet_of(payer) == (posted, 0)


async def test_releasing_gives_everything_back_and_twice_is_once(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer))
        free_before = gate._credits[payer.organization.pk].free
        gate.release(hold)
        gate.release(hold)
        assert gate._credits[payer.organization.pk].free == free_before + hold.amount_nano
    assert await wallet_of(payer) == (1_000_000_000, 0)


async def test_many_at_once_never_hold_more_than_there_is(payer: Payer) -> None:
    async def try_one(gate: Gate) -> Hold | None:
        try:
            return await gate.open_hold(demand(payer, output=10_000))
        except CreditRefused:
            return None

    async with running() as one, running() as two:
        holds = await asyncio.gather(*(try_one(gate) for gate in (one, two) for _ in range(32)))
        granted = [hold for hold in holds if hold]
        assert 0 < len(granted) <= 10  # of 0.1 each in a wallet of 1
        for gate, gate_holds in ((one, holds[:32]), (two, holds[32:])):
            for hold in gate_holds:
                if hold:
                    await gate.settle(hold, outcome(output=10_000))
    posted, pending = await wallet_of(payer)
    assert (posted, pending) == (1_000_000_000 - len(granted) * 100_000_000, 0)
    assert (await read_in_thread(verify_books))["ok"]


async def test_without_a_limit_the_wallet_sets_one(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer, output=None))
        assert 256 <= hold.max_output_tokens < 16_384
        assert hold.amount_nano <= 1_000_000_000 // 16
        gate.release(hold)


async def test_a_limit_of_the_caller_is_never_lowered(payer: Payer) -> None:
    async with running() as gate:
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer, output=100_001))
        assert (await gate.open_hold(demand(payer, output=100_000))).max_output_tokens == 100_000


async def test_a_model_without_a_price_is_refused(payer: Payer) -> None:
    async with running() as gate:
        with pytest.raises(PriceMissing):
            await gate.open_hold(demand(payer, model="unpriced"))


async def test_a_request_settles_at_the_price_it_was_admitted_under(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer))
        await read_in_thread(lambda: make_price(input=1, output=20_000_000_000))
        await gate.refresh_prices()
        assert (await gate.settle(hold, outcome(output=1))).charge_nano == OUTPUT_RATE_NANO
        later = await gate.open_hold(demand(payer))
        assert (await gate.settle(later, outcome(output=1))).charge_nano == 2 * OUTPUT_RATE_NANO


async def test_idle_credit_goes_back(payer: Payer) -> None:
    clock = Clock()
    async with running(clock) as gate:
        gate.release(await gate.open_hold(demand(payer)))
        clock.now += IDLE_RETURN_S + 1
        gate._keep_once()
        await gate._writer.call("SELECT 1")  # comes after the return in the same queue
        assert await wallet_of(payer) == (1_000_000_000, 0)


async def test_credit_that_somebody_waits_for_is_not_returned(payer: Payer) -> None:
    clock = Clock()
    async with running(clock) as gate:
        waiting = asyncio.create_task(gate.open_hold(demand(payer)))
        await asyncio.sleep(0)
        clock.now += IDLE_RETURN_S + 1
        gate._keep_once()
        hold = await waiting
        lease = await read_in_thread(lambda: Lease.objects.get(state="open"))
        assert lease.granted >= hold.amount_nano
        gate.release(hold)


async def test_after_its_deadline_a_lease_admits_nothing(payer: Payer) -> None:
    clock = Clock()
    async with running(clock) as gate:
        first = await gate.open_hold(demand(payer))
        clock.now += LEASE_S
        second = await gate.open_hold(demand(payer))
        assert second.lease_generation == first.lease_generation + 1
        states = await read_in_thread(lambda: sorted(Lease.objects.values_list("state", flat=True)))
        assert states == ["closed", "open"]
        await gate.settle(first, outcome(output=100))
        await gate.settle(second, outcome(output=100))
    assert await wallet_of(payer) == (1_000_000_000 - 200 * OUTPUT_RATE_NANO, 0)
    assert (await read_in_thread(verify_books))["ok"]


async def test_a_lease_reaped_behind_our_back_is_not_spent_any_more(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer))
        await read_in_thread(lambda: Lease.objects.update(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
        await read_in_thread(reap_expired_leases)
        renewal = gate._renew(gate._clock())
        assert renewal is not None
        await renewal
        assert not gate._credits[payer.organization.pk].has_lease()
        await gate.settle(hold, outcome(output=100))
    assert await wallet_of(payer) == (1_000_000_000 - 100 * OUTPUT_RATE_NANO, 0)


async def test_a_connection_killed_under_the_writer_charges_once(payer: Payer) -> None:
    async with running() as gate:
        for _ in range(3):
            hold = await gate.open_hold(demand(payer))
            [[pid]] = await gate._writer.call("SELECT pg_backend_pid()")
            await read_in_thread(partial(_terminate, pid))
            await gate.settle(hold, outcome(output=10))
    assert await wallet_of(payer) == (1_000_000_000 - 30 * OUTPUT_RATE_NANO, 0)
    assert (await read_in_thread(UsageRecord.across_all_organizations.count)) == 3


async def test_a_frozen_wallet_is_called_frozen_and_not_empty(payer: Payer) -> None:
    async with running() as gate:
        await read_in_thread(partial(freeze_wallet, organization=payer.organization, reason="r"))
        for _ in range(2):  # also from memory
            with pytest.raises(WalletFrozen):
                await gate.open_hold(demand(payer))
        await read_in_thread(partial(unfreeze_wallet, organization=payer.organization, reason="r"))
        gate.wallet_changed(payer.organization.pk)
        gate.release(await gate.open_hold(demand(payer)))


async def test_a_record_the_database_refuses_fails_alone(payer: Payer) -> None:
    async with running() as gate:
        good, bad = await gate.open_hold(demand(payer)), await gate.open_hold(demand(payer))
        bad.payer = PayingKey(999_999_999, bad.payer.reseller_id, bad.payer.api_key_id)
        results = await asyncio.gather(
            gate.settle(bad, outcome(output=1)), gate.settle(good, outcome(output=1)), return_exceptions=True
        )
        assert isinstance(results[0], MoneyUnavailable)
        assert await wallet_of(payer) != (1_000_000_000, 0)


def _terminate(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
