"""`kill -9` of the relay under load: what was seen complete is charged, once; what nobody served is not."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.config.processes import wait_for
from tests.flows.asking import fields
from tests.flows.wire import Seen, see_all
from tests.installation import Customer, Installation, price_of, request_hex

REQUESTS = 2_000
AT_ONCE = 64
KILL_AFTER = REQUESTS // 2
TRIES = 3
LEASE_SECONDS = 40.0
# A request's number is in its prompt tokens, so that a charge without an answer can be told apart too.
FIRST_NUMBER = 1_000


@dataclass(frozen=True)
class Aftermath:
    """Everything there is to know when the load is over."""

    customer: Customer
    killed: list[int]
    killed_at: float
    seen: list[Seen]
    served: dict[int, dict[str, Any]]
    charged: list[dict[str, Any]]


def numbered(number: int) -> dict[str, Any]:
    """Half of them stream; lengths and pauses differ, so that a kill finds requests in every state."""
    tell = {"prompt_tokens": number, "chunks": 2 + number % 9, "delay_ms": number % 4}
    options = {"stream": True, "stream_options": {"include_usage": True}} if number % 2 else {}
    return fields(model="gpt-4o" if number % 3 else "tiny", tell=tell, **options)


class Load:
    """REQUESTS of a customer who tries again when the connection breaks, with a new number each time."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.killed: list[int] = []
        self.killed_at = 0.0
        self._numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + REQUESTS * TRIES))
        self._complete = 0

    async def run(self) -> list[Seen]:
        seen: list[Seen] = []
        missing = REQUESTS
        for _ in range(TRIES):
            requests = [
                (number, numbered(number)) for number, _ in zip(self._numbers, range(missing), strict=False)
            ]
            seen += await see_all(self.customer, requests, at_once=AT_ONCE, on_seen=self._count)
            missing = REQUESTS - self._complete
        return seen

    def _count(self, seen: Seen) -> None:
        self._complete += seen.is_complete
        if self._complete >= KILL_AFTER and not self.killed:
            self.killed_at = time.monotonic()
            self.killed = self.customer.installation.kill_relays()


@pytest.fixture(scope="module")
def aftermath(breakable: Installation) -> Aftermath:
    breakable.vendor.reset()
    load = Load(breakable.create_customer("100.00"))
    seen = asyncio.run(load.run())
    served = {record["prompt_tokens"]: record for record in breakable.vendor.records()}
    return Aftermath(
        customer=load.customer,
        killed=load.killed,
        killed_at=load.killed_at,
        seen=seen,
        served=served,
        charged=load.customer.usage(),
    )


class TestTheKill:
    def test_it_hit_requests_under_way(self, aftermath: Aftermath) -> None:
        assert len(aftermath.killed) == 1
        assert any(not seen.is_complete for seen in aftermath.seen)

    def test_the_relay_was_started_again_and_the_log_says_so(self, aftermath: Aftermath) -> None:
        installation = aftermath.customer.installation
        assert "relay.1 was ended by SIGKILL; starting it again" in installation.log_text()
        assert installation.relay_pids() not in ([], aftermath.killed)

    def test_every_request_was_answered_in_the_end(self, aftermath: Aftermath) -> None:
        assert sum(seen.is_complete for seen in aftermath.seen) == REQUESTS


class TestCharges:
    def test_no_request_is_charged_twice(self, aftermath: Aftermath) -> None:
        numbers = [line["prompt_tokens"] for line in aftermath.charged]
        assert len(numbers) == len(set(numbers))

    def test_every_answer_seen_complete_is_charged_under_its_own_id(self, aftermath: Aftermath) -> None:
        charged = {request_hex(line["request_id"]): line for line in aftermath.charged}
        for seen in aftermath.seen:
            if seen.is_complete:
                line = charged[request_hex(seen.answer_id)]
                assert line["prompt_tokens"] == seen.number
                assert line["completion_tokens"] == seen.completion_tokens

    def test_every_charge_is_the_price_of_something_the_vendor_served(self, aftermath: Aftermath) -> None:
        for line in aftermath.charged:
            served = aftermath.served[line["prompt_tokens"]]
            assert served["served"], served
            assert line["completion_tokens"] == served["completion_tokens"]
            assert line["charge_nano"] == price_of(served)
            assert line["uncollected_nano"] == 0

    def test_the_wallet_lost_exactly_the_charges(self, aftermath: Aftermath) -> None:
        charges = sum(line["charge_nano"] for line in aftermath.charged)
        assert aftermath.customer.balance().posted == aftermath.customer.credit_nano - charges


class TestTheDeadProcessesCredit:
    def test_the_books_balance_while_its_lease_is_open_and_after(self, aftermath: Aftermath) -> None:
        verify_books = aftermath.customer.installation.command
        assert verify_books("verify_books")["ok"]
        self.wait_for_the_reaper(aftermath)
        assert verify_books("verify_books")["ok"]

    def test_it_is_given_back_within_the_leases_deadline(self, aftermath: Aftermath) -> None:
        self.wait_for_the_reaper(aftermath)
        assert aftermath.customer.wallet()["pending_nano"] == 0

    def wait_for_the_reaper(self, aftermath: Aftermath) -> None:
        left = aftermath.killed_at + LEASE_SECONDS - time.monotonic()
        wait_for(lambda: aftermath.customer.balance().pending == 0, max(left, 0))
