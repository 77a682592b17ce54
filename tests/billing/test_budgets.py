"""Budgets are set by people, leased by gates, and never overspent by what is admitted."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEvent, User
from accounts.services import create_api_key
from billing.budgets import BudgetRefused, budgets_in_scope, reap_budget_leases, remove_budget, set_budget
from billing.contracts import BudgetExceeded, Demand, Hold
from billing.contracts import Payer as PayingKey
from billing.gate import IDLE_RETURN_S, Gate
from billing.models import Budget, BudgetLease, BudgetPeriod
from common.database import read_in_thread
from common.ids import uuid7
from common.models import organization_scope
from tests.factories.gate import OUTPUT_RATE_NANO, Clock, outcome, running, wallet_of
from tests.factories.money import MODEL, Payer, make_payer, make_price

pytestmark = pytest.mark.django_db(transaction=True)
DOLLAR = 1_000_000_000
COST = 100 * OUTPUT_RATE_NANO  # of a request for a hundred tokens


@pytest.fixture(autouse=True)
def spool(settings: Any, tmp_path: Path) -> None:
    settings.SPOOL_FOLDER = tmp_path / "spool"


@pytest.fixture
def payer() -> Iterator[Payer]:
    make_price()
    yield make_payer(100 * DOLLAR)
    connection.close()


def demand(payer: Payer, output: int | None = 100, member: int | None = None) -> Demand:
    key = PayingKey(payer.organization.pk, payer.organization.reseller_id, payer.api_key.pk, member)
    return Demand(uuid7(), key, MODEL, 0, output, 16_384)


def budget(payer: Payer, limit: int, period: str = "day", **of: Any) -> Budget:
    return set_budget(organization=payer.organization, limit_nano=limit, period=period, **of)


async def period_of(budget: Budget) -> tuple[int, int]:
    """Spent and pending."""
    period = await read_in_thread(lambda: BudgetPeriod.objects.get(budget=budget))
    return period.spent, period.pending


async def try_hold(gate: Gate, wanted: Demand) -> Hold | None:
    try:
        return await gate.open_hold(wanted)
    except BudgetExceeded:
        return None


async def test_what_is_charged_is_spent_of_every_budget(payer: Payer) -> None:
    budgets = await read_in_thread(
        lambda: [
            budget(payer, DOLLAR),
            budget(payer, DOLLAR, "month"),
            budget(payer, DOLLAR, "total", api_key=payer.api_key),
        ]
    )
    async with running() as gate:
        hold = await gate.open_hold(demand(payer))
        assert len(hold.budgets) == 3
        charge = (await gate.settle(hold, outcome(output=30))).charge_nano
    for each in budgets:
        assert await period_of(each) == (charge, 0)


async def test_a_budget_refuses_what_it_cannot_carry_and_holds_nothing(payer: Payer) -> None:
    await read_in_thread(lambda: budget(payer, COST - 1, api_key=payer.api_key))
    async with running() as gate:
        with pytest.raises(BudgetExceeded) as caught:
            await gate.open_hold(demand(payer))
        assert (caught.value.subject, caught.value.period) == ("api_key", "day")
        assert gate._credits[payer.organization.pk].open_requests == 0
    assert await wallet_of(payer) == (100 * DOLLAR, 0)


async def test_a_budget_of_another_key_or_member_bounds_nobody_else(payer: Payer) -> None:
    def others() -> None:
        other = create_api_key(organization=payer.organization, name="other").api_key
        budget(payer, 0, api_key=other)
        budget(payer, 0, member=payer.organization.members.get())

    await read_in_thread(others)
    async with running() as gate:
        gate.release(await gate.open_hold(demand(payer)))
        owner = await read_in_thread(lambda: payer.organization.members.get().pk)
        with pytest.raises(BudgetExceeded, match="budget"):
            await gate.open_hold(demand(payer, member=owner))


async def test_a_request_without_a_limit_gets_what_the_budget_affords(payer: Payer) -> None:
    await read_in_thread(lambda: budget(payer, 8_000 * OUTPUT_RATE_NANO))
    async with running() as gate:
        hold = await gate.open_hold(demand(payer, output=None))
        assert 256 <= hold.max_output_tokens <= 8_000
        gate.release(hold)


async def test_two_processes_never_spend_more_than_the_budget(payer: Payer) -> None:
    each = await read_in_thread(lambda: budget(payer, 10 * COST))
    async with running() as one, running() as two:
        asked = [(gate, try_hold(gate, demand(payer))) for _ in range(32) for gate in (one, two)]
        holds = await asyncio.gather(*(hold for _, hold in asked))
        for (gate, _), hold in zip(asked, holds, strict=True):
            if hold:
                await gate.settle(hold, outcome(output=100))
    spent, pending = await period_of(each)
    assert (spent, pending) == (COST * sum(1 for hold in holds if hold), 0)
    assert 0 < spent <= 10 * COST


async def test_a_raised_limit_is_in_force_after_a_refresh(payer: Payer) -> None:
    await read_in_thread(lambda: budget(payer, 0))
    async with running() as gate:
        assert await try_hold(gate, demand(payer)) is None
        await read_in_thread(lambda: budget(payer, DOLLAR))
        await asyncio.sleep(0.3)  # a refusal is remembered that long
        await gate.refresh_budgets()
        gate.release(await gate.open_hold(demand(payer)))


async def test_a_removed_budget_bounds_nothing_not_even_before_it_is_known(payer: Payer) -> None:
    each = await read_in_thread(lambda: budget(payer, 0))
    async with running() as gate:
        await read_in_thread(lambda: remove_budget(budget=each))
        hold = await gate.open_hold(demand(payer, output=None))
        await gate.settle(hold, outcome(output=10))
        await gate.refresh_budgets()
        assert (await gate.open_hold(demand(payer))).budgets == ()


async def test_a_new_day_begins_with_the_whole_budget(payer: Payer) -> None:
    each = await read_in_thread(lambda: budget(payer, 2 * COST))
    clock = Clock()
    async with running(clock) as gate:
        yesterday = await gate.open_hold(demand(payer, output=200))
        purse = gate._budgets[each.pk]
        assert clock.now < purse.ends_at <= clock.now + 86_400
        await read_in_thread(_make_it_yesterdays)
        clock.now = purse.ends_at + 1
        today = await gate.open_hold(demand(payer, output=200))
        assert today.budgets[0].period_id != yesterday.budgets[0].period_id
        await gate.settle(yesterday, outcome(output=50))
        await gate.settle(today, outcome(output=100))
    spent = await read_in_thread(
        lambda: list(BudgetPeriod.objects.order_by("starts_at").values_list("spent", "pending"))
    )
    assert spent == [(50 * OUTPUT_RATE_NANO, 0), (COST, 0)]


def _make_it_yesterdays() -> None:
    day = timedelta(days=1)
    for period in BudgetPeriod.objects.all():
        period.starts_at, period.ends_at = period.starts_at - day, timezone.now()
        period.save()


async def test_idle_credit_of_a_budget_goes_back(payer: Payer) -> None:
    each = await read_in_thread(lambda: budget(payer, DOLLAR))
    clock = Clock()
    async with running(clock) as gate:
        gate.release(await gate.open_hold(demand(payer)))
        clock.now += IDLE_RETURN_S + 1
        gate._keep_once()
        await gate._writer.call("SELECT 1")
        assert await period_of(each) == (0, 0)
        assert not gate._budgets


async def test_what_a_dead_process_held_is_reaped(payer: Payer) -> None:
    each = await read_in_thread(lambda: budget(payer, DOLLAR))
    async with running() as gate:
        await gate.open_hold(demand(payer))
        _, pending = await period_of(each)
        assert pending >= COST
        await read_in_thread(
            lambda: BudgetLease.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
        )
        assert await read_in_thread(lambda: reap_budget_leases(grace_s=5)) == 1
        assert await period_of(each) == (0, 0)


def test_one_budget_of_a_kind_with_the_newest_limit(payer: Payer) -> None:
    first, second = budget(payer, 1), budget(payer, 2)
    assert first.pk == second.pk
    with organization_scope(payer.organization.pk):
        [shown] = budgets_in_scope()
    assert (shown.budget.limit_nano, shown.left_nano) == (2, 2)
    assert AuditEvent.objects.filter(action="budget.set").count() == 2


def test_nobody_sets_a_budget_for_strangers(payer: Payer) -> None:
    stranger = User.objects.create_user("stranger@example.com")
    for of in ({"member": stranger}, {"api_key": make_payer().api_key}):
        with pytest.raises(BudgetRefused):
            budget(payer, 1, **of)
