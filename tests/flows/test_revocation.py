"""A revoked key under load: refused within a second of the revocation, and never accepted again."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tests.flows.asking import fields
from tests.flows.wire import Seen, see_all
from tests.installation import Customer, Installation

AT_ONCE = 32
WARM_SECONDS = 1.0
SECONDS_AFTER = 1.5


@dataclass(frozen=True)
class Run:
    """`revoked_at` is when the service set it, just before its commit: monotonic seconds, like Seen's."""

    revoked_at: float
    seen: list[Seen]


@pytest.fixture(scope="module")
def run(installation: Installation) -> Run:
    return asyncio.run(_revoke_under_load(installation.create_customer("10.00")))


async def _revoke_under_load(customer: Customer) -> Run:
    stop = asyncio.Event()
    load = asyncio.create_task(see_all(customer, _until(stop), at_once=AT_ONCE))
    await asyncio.sleep(WARM_SECONDS)
    revoke = customer.installation.command
    answer = await asyncio.to_thread(revoke, "revoke_key", customer.api_key)
    ago = time.time() - datetime.fromisoformat(answer["revoked_at"]).timestamp()
    revoked_at = time.monotonic() - ago
    await asyncio.sleep(SECONDS_AFTER)
    stop.set()
    return Run(revoked_at, await load)


def _until(stop: asyncio.Event) -> Iterator[tuple[int, dict[str, Any]]]:
    while not stop.is_set():
        yield 0, fields(stream=True, tell={"chunks": 3, "delay_ms": 2})


def test_the_key_worked_until_then(run: Run) -> None:
    before = [seen for seen in run.seen if seen.ended < run.revoked_at]
    assert len(before) > AT_ONCE
    assert all(seen.is_complete for seen in before)


def test_the_first_refusal_comes_within_a_second(run: Run) -> None:
    first = min(seen.ended for seen in run.seen if seen.status == 401)
    assert first - run.revoked_at < 1


def test_all_later_requests_are_refused(run: Run) -> None:
    first = min(seen.ended for seen in run.seen if seen.status == 401)
    later = [seen for seen in run.seen if seen.began > min(first, run.revoked_at + 1)]
    assert len(later) > AT_ONCE
    assert {(seen.status, seen.error.get("code")) for seen in later} == {(401, "invalid_api_key")}


def test_requests_under_way_were_answered(run: Run) -> None:
    assert all(seen.is_complete or seen.status == 401 for seen in run.seen)
