"""Sixty-four at once on a wallet of one cent: some are served, and never for more than the cent."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

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
