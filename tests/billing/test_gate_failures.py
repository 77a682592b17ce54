"""The gate when things go wrong: databases that hang, people who leave, credit that comes and goes."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from billing import gate as gates
from billing.books import verify_books
from billing.contracts import CreditRefused, MoneyUnavailable
from billing.credit import REFUSAL_MEMORY_S
from billing.gate import IDLE_RETURN_S, LEASE_MARGIN_S, LEASE_S, RENEW_EVERY_S, SETTLE_WAIT_S, Gate
from billing.models import Lease, LeaseState, UsageRecord, Wallet, WalletStatus
from billing.services import reap_expired_leases
from billing.writer import RETRY_S
from common.database import read_in_thread
from tests.factories.gate import OUTPUT_RATE_NANO, Clock, demand, locked, outcome, running, wallet_of
from tests.factories.money import Payer, make_payer, make_price

pytestmark = pytest.mark.django_db(transaction=True)
DOLLAR = 1_000_000_000


@pytest.fixture(autouse=True)
def quick(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper looks often; what it decides by is the gate's clock."""
    settings.SPOOL_FOLDER = tmp_path / "spool"
    monkeypatch.setattr(gates, "KEEP_EVERY_S", 0.02)


@pytest.fixture
def payer() -> Iterator[Payer]:
    make_price()
    yield make_payer(DOLLAR)
    connection.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def open_leases() -> list[Lease]:
    return await read_in_thread(lambda: list(Lease.objects.filter(state=LeaseState.OPEN)))


async def caught_up(gate: Gate) -> None:
    """Everything handed to the writer until now has been done."""
    await gate._writer.call("SELECT 1")


async def wait_until_idle_credit_is_back(gate: Gate, clock: Clock) -> None:
    await caught_up(gate)
    clock.now += IDLE_RETURN_S + 1
    await asyncio.sleep(0.1)
    await caught_up(gate)


# A database that hangs: it neither answers nor fails.


async def test_whoever_waits_for_a_hanging_commit_is_told_and_the_charge_comes_later(
    payer: Payer, clock: Clock
) -> None:
    async with running(clock) as gate:
        hold = await gate.open_hold(demand(payer))
        purse = gate._credits[payer.organization.pk]
        async with locked("billing_wallet", payer):
            settling = asyncio.create_task(gate.settle(hold, outcome(output=10)))
            for _ in range(5):  # renewals fall due meanwhile, and hang behind the charge
                clock.now += RENEW_EVERY_S + 0.1
                await asyncio.sleep(0.1)
            with pytest.raises(MoneyUnavailable):
                await asyncio.wait_for(settling, 5)
            assert purse.open_requests == 1
        await caught_up(gate)
        assert purse.open_requests == 0
    assert await wallet_of(payer) == (DOLLAR - 10 * OUTPUT_RATE_NANO, 0)


async def test_a_commit_is_waited_for_no_shorter(payer: Payer, clock: Clock) -> None:
    async with running(clock) as gate:
        hold = await gate.open_hold(demand(payer))
        async with locked("billing_wallet", payer):
            settling = asyncio.create_task(gate.settle(hold, outcome(output=10)))
            await asyncio.sleep(0)
            clock.now += SETTLE_WAIT_S - 0.1
            await asyncio.sleep(0.1)
            assert not settling.done()
        assert (await settling).charge_nano == 10 * OUTPUT_RATE_NANO


async def test_credit_that_cannot_be_checked_is_not_waited_for_without_end(
    payer: Payer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "LEASE_WAIT_S", 0.2)
    async with running(clock) as gate:
        async with locked("billing_wallet", payer):
            asking = [gate.open_hold(demand(payer)) for _ in range(3)]
            refusals = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
            assert [type(refusal) for refusal in refusals] == [MoneyUnavailable] * 3
        hold = await gate.open_hold(demand(payer))
        gate.release(hold)
        await wait_until_idle_credit_is_back(gate, clock)
        assert await wallet_of(payer) == (DOLLAR, 0)


async def test_while_the_database_is_away_only_what_was_leased_is_admitted(
    payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as gate:
        gate.release(await gate.open_hold(demand(payer)))
        with monkeypatch.context() as patch:
            patch.setitem(connections.settings["default"], "HOST", "/nowhere")
            await read_in_thread(lambda: None)
            gate._writer._database.close()
            warm = await gate.open_hold(demand(payer))
            with pytest.raises(MoneyUnavailable):
                await gate.open_hold(demand(payer, output=90_000))
            assert (await gate.settle(warm, outcome(output=10))).charge_nano == 10 * OUTPUT_RATE_NANO
        await asyncio.sleep(RETRY_S + 0.05)
    assert await wallet_of(payer) == (DOLLAR - 10 * OUTPUT_RATE_NANO, 0)


# People who leave while credit is being leased for them.


async def test_credit_leased_for_somebody_who_left_goes_back(payer: Payer, clock: Clock) -> None:
    async with running(clock) as gate:
        async with locked("billing_wallet", payer):
            asking = asyncio.create_task(gate.open_hold(demand(payer)))
            await asyncio.sleep(0.1)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        await wait_until_idle_credit_is_back(gate, clock)
        assert await wallet_of(payer) == (DOLLAR, 0)


async def test_when_the_first_in_line_leaves_the_others_are_served(payer: Payer, clock: Clock) -> None:
    async with running(clock) as gate:
        async with locked("billing_wallet", payer):
            asking = [asyncio.create_task(gate.open_hold(demand(payer))) for _ in range(5)]
            await asyncio.sleep(0.1)
            asking[0].cancel()
            await asyncio.sleep(0)
        holds = await asyncio.wait_for(asyncio.gather(*asking[1:]), 5)
        for hold in holds:
            gate.release(hold)
        assert gate._credits[payer.organization.pk].open_requests == 0


async def test_a_lease_nobody_here_knows_of_is_left_to_expire(payer: Payer, clock: Clock) -> None:
    """A grant whose answer was lost: renewing it would keep the customer's credit for ever."""
    other = await read_in_thread(lambda: make_payer(DOLLAR))
    async with running(clock) as gate:
        known = await gate.open_hold(demand(payer))
        now = timezone.now()
        lost = await read_in_thread(
            lambda: Lease.objects.create(
                wallet_id=other.organization.pk,
                holder=gate._writer.holder,
                granted=0,
                opened_at=now,
                expires_at=now,
            )
        )
        renewal = gate._renew(clock.now)
        assert renewal is not None
        await renewal
        expiries = {lease.pk: lease.expires_at for lease in await open_leases()}
        assert expiries.pop(lost.pk) == now
        [expiry] = expiries.values()
        assert expiry > now + timedelta(seconds=LEASE_S / 2)
        gate.release(known)


# Credit that changes while somebody waits for it.


async def test_what_others_take_meanwhile_refuses_nobody_the_wallet_could_pay(payer: Payer) -> None:
    async with running() as gate:
        gate.release(await gate.open_hold(demand(payer, output=100)))
        async with locked("billing_wallet", payer):
            large = asyncio.create_task(gate.open_hold(demand(payer, output=90_000)))
            await asyncio.sleep(0.1)
            small = [
                await gate.open_hold(demand(payer, output=100)) for _ in range(3)
            ]  # out of the warm lease
            assert not large.done()
        hold = await large
        assert hold.amount_nano == 90_000 * OUTPUT_RATE_NANO
        for one in (hold, *small):
            gate.release(one)


async def test_a_refusal_is_remembered_for_a_moment_only(
    payer: Payer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "KEEP_EVERY_S", 60)
    async with running(clock) as gate:
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer, output=200_000))
        await read_in_thread(lambda: Wallet.objects.update(posted=10 * DOLLAR))
        for _ in range(3):  # asking on must not lengthen it
            clock.now += REFUSAL_MEMORY_S / 3 - 0.01
            with pytest.raises(CreditRefused):
                await gate.open_hold(demand(payer, output=200_000))
        clock.now += 0.1
        gate.release(await gate.open_hold(demand(payer, output=200_000)))


async def test_a_refusal_of_much_does_not_refuse_little(payer: Payer, clock: Clock) -> None:
    async with running(clock) as gate:
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer, output=200_000))
        gate.release(await gate.open_hold(demand(payer, output=100)))


async def test_a_blocked_wallet_is_spent_no_longer_than_to_the_next_renewal(
    payer: Payer, clock: Clock
) -> None:
    async with running(clock) as gate:
        hold = await gate.open_hold(demand(payer))
        await read_in_thread(lambda: Wallet.objects.update(status=WalletStatus.BLOCKED))
        clock.now += RENEW_EVERY_S + 0.1
        await asyncio.sleep(0.2)
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer))
        await gate.settle(hold, outcome(output=10))  # what was admitted is paid
        assert await wallet_of(payer) == (DOLLAR - 10 * OUTPUT_RATE_NANO, 0)
        assert not await open_leases()


async def test_renewals_keep_a_busy_lease_for_as_long_as_it_is_used(payer: Payer, clock: Clock) -> None:
    async with running(clock) as gate:
        hold = await gate.open_hold(demand(payer))
        [before] = await open_leases()
        for _ in range(8):
            clock.now += RENEW_EVERY_S + 0.1
            await asyncio.sleep(0.06)
            await caught_up(gate)
        assert clock.now > 1_000 + 2 * LEASE_S
        again = await gate.open_hold(demand(payer))
        assert again.lease_generation == hold.lease_generation
        [after] = await open_leases()
        assert after.pk == before.pk
        assert after.expires_at > before.expires_at
        gate.release(hold)
        gate.release(again)


async def test_our_deadline_is_before_the_databases(payer: Payer, clock: Clock) -> None:
    """The holder stops first: what is reaped is spent by nobody any more."""
    async with running(clock) as gate:
        asked = datetime.now(UTC)
        gate.release(await gate.open_hold(demand(payer)))
        [lease] = await open_leases()
        credit = gate._credits[payer.organization.pk]
        assert credit.deadline == clock.now + LEASE_S - LEASE_MARGIN_S
        assert lease.expires_at >= asked + timedelta(seconds=LEASE_S)


async def test_a_charge_above_its_hold_takes_what_the_wallet_has_and_no_more(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer, output=100))
        await gate.settle(hold, outcome(output=150_000))
        [record] = await read_in_thread(lambda: list(UsageRecord.across_all_organizations.all()))
        assert (record.charge_nano, record.uncollected_nano) == (DOLLAR, DOLLAR // 2)
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer))
    assert await wallet_of(payer) == (0, 0)


# Odd requests.


async def test_what_certainly_costs_nothing_needs_no_credit() -> None:
    penniless = await read_in_thread(make_payer)
    await read_in_thread(lambda: make_price("free", input=0, output=0))
    async with running() as gate:
        hold = await gate.open_hold(demand(penniless, model="free", output=None))
        assert (hold.amount_nano, hold.max_output_tokens) == (0, 16_384)
        assert (await gate.settle(hold, outcome(output=9_999))).charge_nano == 0
    assert (await read_in_thread(verify_books))["ok"]


async def test_a_limit_beyond_all_money_is_refused_like_any_other(payer: Payer) -> None:
    async with running() as gate:
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(payer, output=2**62))


async def test_a_name_no_column_can_hold_does_not_make_an_answer_free(payer: Payer) -> None:
    async with running() as gate:
        hold = await gate.open_hold(demand(payer))
        await gate.settle(hold, outcome(output=10, upstream_model="m\0" * 300))
    [record] = await read_in_thread(lambda: list(UsageRecord.across_all_organizations.all()))
    assert record.upstream_model == "m" * 200
    assert record.charge_nano == 10 * OUTPUT_RATE_NANO


async def test_a_short_wallet_lowers_limits_and_keeps_them_useful() -> None:
    """Until not even a short answer is affordable: then it refuses."""
    await read_in_thread(make_price)
    short = await read_in_thread(lambda: make_payer(1_000 * OUTPUT_RATE_NANO))
    async with running() as gate:
        holds = [await gate.open_hold(demand(short, output=None)) for _ in range(3)]
        assert all(256 <= hold.max_output_tokens <= 1_000 for hold in holds)
        with pytest.raises(CreditRefused):
            await gate.open_hold(demand(short, output=None))
        for hold in holds:
            gate.release(hold)
    assert await wallet_of(short) == (1_000 * OUTPUT_RATE_NANO, 0)


async def test_stopping_gives_every_lease_back(payer: Payer) -> None:
    others = [await read_in_thread(lambda: make_payer(DOLLAR)) for _ in range(3)]
    async with running() as gate:
        for one in (payer, *others):
            gate.release(await gate.open_hold(demand(one)))
        assert len(await open_leases()) == 4
    assert not await open_leases()
    assert await wallet_of(payer) == (DOLLAR, 0)


# All of it at once.


class Crowd:
    """Customers whose requests come, leave, end, and find their leases expired, as the dice fall."""

    def __init__(self, gate: Gate, clock: Clock, payers: list[Payer]) -> None:
        self.gate, self.clock, self.payers = gate, clock, payers
        self.dice = random.Random(7)

    async def one_customer(self) -> None:
        for _ in range(12):
            request = asyncio.create_task(self.one_request())
            if self.dice.random() < 0.2:
                await asyncio.sleep(self.dice.choice([0, 0.001]))
                request.cancel()
            with suppress(asyncio.CancelledError, CreditRefused, MoneyUnavailable):
                await request
            if self.dice.random() < 0.1:
                self.clock.now += self.dice.choice([RENEW_EVERY_S, IDLE_RETURN_S, LEASE_S])
                await read_in_thread(reap_expired_leases)

    async def one_request(self) -> None:
        payer, output = self.dice.choice(self.payers), self.dice.choice([None, 10, 100, 700])
        hold = await self.gate.open_hold(demand(payer, output=output))
        try:
            await asyncio.sleep(self.dice.choice([0, 0, 0.001, 0.01]))
            if self.dice.random() < 0.8:
                used = self.dice.randint(0, hold.max_output_tokens)
                await self.gate.settle(hold, outcome(output=used))
        finally:
            self.gate.release(hold)


async def test_memory_and_database_agree_whatever_happened(clock: Clock) -> None:
    """What is free in memory is what the lease has left."""
    await read_in_thread(make_price)
    payers = [await read_in_thread(lambda: make_payer(DOLLAR // 50)) for _ in range(3)]
    async with running(clock) as gate:
        crowd = Crowd(gate, clock, payers)
        await asyncio.gather(*(crowd.one_customer() for _ in range(16)))
        await caught_up(gate)
        left = {lease.wallet_id: lease.granted - lease.settled for lease in await open_leases()}
        for number, credit in gate._credits.items():
            assert credit.open_requests == 0
            assert credit.free == (left[number] if credit.has_lease() else 0)
    assert (await read_in_thread(verify_books))["ok"]
    assert {(await wallet_of(payer))[1] for payer in payers} == {0}
