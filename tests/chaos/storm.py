"""The traffic of a chaos run: many customers at once, streaming and plain, some of whom leave.

A request's number is in the name under which the vendor answers, behind what looks like a snapshot's date, so
it stands in the vendor's log and in the usage record as well.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.flows.asking import fields
from tests.flows.wire import Seen, Wire, see
from tests.installation import Customer, Installation

ORGANIZATIONS = 200
# Dollars to begin with: some run out within the run, most do not.
CREDITS = ("0.004", "0.02", "0.10", "5.00", "50.00")
UPSTREAM_NAMES = {"gpt-4o": "gpt-4o-2024-08-06", "tiny": "tiny-001", "banded": "banded-001"}
AFTER_FAILURE_S = 0.2


class Manner(StrEnum):
    """How a client behaves."""

    STAYS = "stays"
    LEAVES_EARLY = "leaves before the first byte"
    LEAVES_MIDWAY = "leaves midway"


@dataclass(frozen=True)
class Asked:
    """One request of the run and what its client saw of it."""

    organization: int
    manner: Manner
    seen: Seen


@dataclass
class Storm:
    """Clients that ask one after the other until told to stop."""

    customers: list[Customer]
    seed: int
    asked: list[Asked] = field(default_factory=list)
    is_over: bool = False
    _last_number: int = 0

    async def blow(self, *, clients: int, until: float) -> None:
        """Until the monotonic time `until`; then each client finishes what it has begun."""
        async with asyncio.TaskGroup() as group:
            for client in range(clients):
                group.create_task(self._ask_on(random.Random(f"{self.seed}:{client}"), until))
        self.is_over = True

    async def _ask_on(self, dice: random.Random, until: float) -> None:
        while time.monotonic() < until:
            self._last_number += 1
            number, customer = self._last_number, dice.choice(self.customers)
            [manner] = dice.choices(list(Manner), weights=(88, 5, 7))
            seen = await _ASK[manner](customer, number, _request(dice, number))
            self.asked.append(Asked(customer.organization, manner, seen))
            if seen.status == 0 and manner == Manner.STAYS:
                await asyncio.sleep(AFTER_FAILURE_S)


def _request(dice: random.Random, number: int) -> dict[str, Any]:
    model = dice.choice(list(UPSTREAM_NAMES))
    tell = {
        "model": numbered_name(UPSTREAM_NAMES[model], number),
        "chunks": dice.randint(1, 60),
        "delay_ms": dice.choice((0, 2, 10)),
        "first_delay_ms": dice.choice((0, 0, 20, 150)),
    }
    if dice.random() < 0.02:
        tell = {"status": 500}
    options: dict[str, Any] = {"max_tokens": 80} if dice.random() < 0.5 else {}
    if dice.random() < 0.6:
        options |= {"stream": True, "stream_options": {"include_usage": True}}
    return fields(model=model, tell=tell, **options)


def numbered_name(upstream_model: str, number: int) -> str:
    return f"{upstream_model}:{number:08d}"


def number_in(name: str) -> int:
    """0 where the name has none."""
    number = name.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


async def _leave_early(customer: Customer, number: int, request: dict[str, Any]) -> Seen:
    wire = Wire(customer, request)
    try:
        await wire.send()
        await asyncio.sleep(number % 7 * 0.01)
    except OSError:
        pass
    finally:
        wire.close()
    return Seen(number, 0, is_complete=False)


async def _leave_midway(customer: Customer, number: int, request: dict[str, Any]) -> Seen:
    """After the first few chunks, or in the middle of waiting for a plain answer."""
    stay = 1 + number % 4
    status, chunks = 0, 0
    try:
        async with Wire(customer, {**request, "stream": True}) as answer:
            status = answer.status
            if status == 200:
                async for _ in answer.texts():
                    chunks += 1
                    if chunks >= stay:
                        break
    except OSError:
        pass
    return Seen(number, status, is_complete=False)


_ASK = {Manner.STAYS: see, Manner.LEAVES_EARLY: _leave_early, Manner.LEAVES_MIDWAY: _leave_midway}


def make_customers(installation: Installation, *, seed: int) -> list[Customer]:
    dice = random.Random(seed)
    return installation.create_customers([dice.choice(CREDITS) for _ in range(ORGANIZATIONS)])
