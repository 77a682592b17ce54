"""Many at once on a small wallet: some are served, never for more than it holds, and hardly for less."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.config.processes import wait_for
from tests.flows.asking import fields
from tests.flows.wire import Seen, see_all
from tests.installation import Balance, Customer, Installation, price_of

AT_ONCE = 64
CENT = 10_000_000


@dataclass(frozen=True)
class Run:
    customer: Customer
    seen: list[Seen]
    balances: list[Balance]
    charged: list[dict[str, Any]]


# With a limit of its own a request holds its worst case; without one it gets what the wallet affords.
LIMITS: dict[str, dict[str, Any]] = {"with a limit": {"max_tokens": 60}, "without a limit": {}}


@pytest.fixture(scope="module", params=list(LIMITS))
def run(request: pytest.FixtureRequest, installation: Installation) -> Run:
    customer = installation.create_customer("0.01")
    seen, balances = asyncio.run(_fire(customer, LIMITS[request.param]))
    return Run(customer, seen, balances, customer.usage())


async def _fire(customer: Customer, limit: dict[str, Any]) -> tuple[list[Seen], list[Balance]]:
    """Ask four times as often as the cent pays for, and watch the wallet meanwhile."""
    balances: list[Balance] = []
    watcher = asyncio.create_task(_watch(customer, balances))
    tell = {"chunks": 60, "prompt_tokens": 40, "delay_ms": 2}
    requests = [(n, fields(tell=tell, stream=bool(n % 2), **limit)) for n in range(AT_ONCE)]
    seen = await see_all(customer, requests, at_once=AT_ONCE)
    watcher.cancel()
    balances.append(customer.balance())
    return seen, balances


async def _watch(customer: Customer, balances: list[Balance]) -> None:
    while True:
        balances.append(await asyncio.to_thread(customer.balance))


def test_some_are_served_and_the_others_refused_for_lack_of_credit(run: Run) -> None:
    complete = [seen for seen in run.seen if seen.is_complete]
    refused = [seen for seen in run.seen if seen.error.get("code") == "insufficient_quota"]
    assert complete
    assert refused
    assert len(complete) + len(refused) == AT_ONCE
    assert {seen.status for seen in refused} == {429}


def test_the_charges_stay_within_the_cent(run: Run) -> None:
    charges = sum(line["charge_nano"] for line in run.charged)
    assert 0 < charges <= CENT
    assert run.balances[-1].posted == CENT - charges


def test_what_was_served_is_paid_in_full(run: Run) -> None:
    assert len(run.charged) == sum(seen.is_complete for seen in run.seen)
    for line in run.charged:
        assert line["uncollected_nano"] == 0
        assert line["charge_nano"] == price_of({"model": "gpt-4o", "cached_tokens": 0, **line})


def test_the_wallet_was_never_negative_and_never_short_of_its_leases(run: Run) -> None:
    assert len(run.balances) > 3
    for balance in run.balances:
        assert 0 <= balance.pending <= balance.posted <= CENT


def test_the_books_balance(run: Run) -> None:
    assert run.customer.installation.command("verify_books")["ok"]


DOLLAR = 10**9
REQUESTS = 500
TRIES = 4
LEASES_BACK_SECONDS = 45.0


@dataclass(frozen=True)
class Spree:
    """Five hundred requests that a dollar pays for half of, on four relay processes."""

    customer: Customer
    seen: list[Seen]
    balances: list[Balance]


@pytest.fixture(scope="module")
def spree() -> Iterator[Spree]:
    with Installation("--relay-workers", "4") as installation:
        customer = installation.create_customer("1.00")
        balances: list[Balance] = []
        seen = asyncio.run(_spend(customer, balances))
        yield Spree(customer, seen, balances)


async def _spend(customer: Customer, balances: list[Balance]) -> list[Seen]:
    """Who is refused for want of credit tries again, three times at most."""
    watcher = asyncio.create_task(_watch(customer, balances))
    left, seen = list(range(REQUESTS)), []
    for _ in range(TRIES):
        answers = await see_all(customer, [(n, _four_tenths_of_a_cent(n)) for n in left], at_once=32)
        seen += answers
        left = [one.number for one in answers if one.error.get("code") == "insufficient_quota"]
    watcher.cancel()
    return seen


def _four_tenths_of_a_cent(number: int) -> dict[str, Any]:
    """Of gpt-4o: 390 tokens of output at $10.00 for a million, and some tens of prompt."""
    tell = {"chunks": 6, "completion_tokens": 390, "delay_ms": 10}
    return fields(tell=tell, stream=bool(number % 2), max_tokens=390)


class TestADollarOnFourProcesses:
    def test_nearly_all_of_it_is_spent_and_never_more(self, spree: Spree) -> None:
        charged = spree.customer.charged()
        assert 0.95 * DOLLAR <= charged <= DOLLAR
        assert spree.customer.balance().posted == DOLLAR - charged

    def test_each_is_served_and_paid_or_refused(self, spree: Spree) -> None:
        complete = sum(seen.is_complete for seen in spree.seen)
        refused = sum(seen.error.get("code") == "insufficient_quota" for seen in spree.seen)
        assert complete + refused == len(spree.seen)
        records = spree.customer.usage()
        assert len(records) == complete
        assert not any(record["uncollected_nano"] for record in records)

    def test_the_wallet_was_never_negative_and_never_short_of_its_leases(self, spree: Spree) -> None:
        assert len(spree.balances) > 3
        for balance in spree.balances:
            assert 0 <= balance.pending <= balance.posted <= DOLLAR

    def test_no_lease_is_left_stranded(self, spree: Spree) -> None:
        wait_for(lambda: spree.customer.balance().pending == 0, LEASES_BACK_SECONDS)
        assert spree.customer.installation.command("verify_books")["ok"]
