"""A relay killed between every two of its durable effects: what was answered is paid once, the rest never.

Each case has a customer and a relay process of its own. The relay dies at the named point while three
requests are under way one after the other, is started again, and serves another one.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.storm import number_in, numbered_name
from tests.config.processes import wait_for
from tests.crash.die_at import Point
from tests.crash.relays import Auditor, CrashRelay
from tests.flows.asking import fields
from tests.flows.wire import Seen, see
from tests.installation import Customer, Installation, price_of, request_hex

MONEY = "billing.writer:MoneyConnection"
SPOOL = "billing.writer:Spool"
CYCLE = "uvicorn.protocols.http.httptools_impl:RequestResponseCycle"
UPSTREAM_MODEL = "gpt-4o-2024-08-06"
REQUESTS = 3
LEASE_SECONDS = 40.0


@dataclass(frozen=True)
class Case:
    """`charged` of the three requests have a usage record in the end, `complete` were seen to their end.

    `away`: the database is away for the relay from the second request on. `again`: the point is in the
    process that starts after the first one was killed with its spool full. `stopped`: it is in its stop.
    `back`: before the third request the database is back, and the process dies of that.
    """

    point: Point
    complete: int
    charged: int
    away: bool = False
    back: bool = False
    again: Point | None = None
    stopped: bool = False


SPOOLED = Point(f"{SPOOL}.append", "after", hit=2)
CASES = {
    "before the credit is leased": Case(Point(f"{MONEY}.execute", "before", "billing_lease_credit"), 0, 0),
    "after the credit is leased, before it is used": Case(
        Point(f"{MONEY}.execute", "after", "billing_lease_credit"), 0, 0
    ),
    "after the vendor answered, before the charge": Case(Point(f"{MONEY}.settle", "before", hit=2), 1, 1),
    "after the charge, before the answer": Case(Point(f"{MONEY}.settle", "after", hit=2), 1, 2),
    "after the answer": Case(Point(f"{CYCLE}.send", "after", "'body': b''}", hit=2), 3, 3),
    "in the middle of a stream": Case(Point(f"{CYCLE}.send", "after", "'more_body': True", hit=2), 0, 0),
    "before anything is spooled": Case(Point("billing.spool:_write_all", "before"), 1, 1, away=True),
    "in the middle of a spooled line": Case(Point("billing.spool:_write_all", "halfway"), 1, 1, away=True),
    "after the spool is written, before it is synced": Case(
        Point("billing.spool:_write_all", "after"), 1, 2, away=True
    ),
    "after the spool is synced, before the answer": Case(Point(f"{SPOOL}.append", "after"), 1, 2, away=True),
    "after the replay by the same process, before its spool is cleared": Case(
        Point(f"{SPOOL}.clear", "before"), 2, 2, away=True, back=True
    ),
    "after the spool is cleared": Case(Point(f"{SPOOL}.clear", "after"), 2, 2, away=True, back=True),
    "between two batches of the replay": Case(
        SPOOLED, 2, 3, away=True, again=Point(f"{MONEY}.settle_what_can_be", "after")
    ),
    "after the replay, before the spool is removed": Case(
        SPOOLED, 2, 3, away=True, again=Point(f"{MONEY}.settle_what_can_be", "after", hit=2)
    ),
    "before the leases are returned": Case(
        Point(f"{MONEY}.execute", "before", "billing_end_lease"), 3, 3, stopped=True
    ),
    "after the leases are returned": Case(
        Point(f"{MONEY}.execute", "after", "billing_end_lease"), 3, 3, stopped=True
    ),
}


@dataclass
class Crash:
    """One case that has happened."""

    case: Case
    customer: Customer
    relay: CrashRelay
    seen: list[Seen] = field(default_factory=list)

    async def happen(self) -> None:
        self.relay.start(self.case.point)
        self.relay.wait_until_ready()
        for number in range(1, REQUESTS + (not self.case.back)):
            if self.case.away and number == 2:
                self.relay.lose_database()
            self.seen.append(await self.ask(number))
        if self.case.stopped:
            self.relay.ask_to_stop()
        if self.case.back:
            self.relay.reach_database()
        self.relay.wait_for_its_death()
        if self.case.away:
            self.relay.reach_database()
        if self.case.again:
            self.relay.start(self.case.again)
            self.relay.wait_for_its_death()

    async def ask(self, number: int) -> Seen:
        name = numbered_name(UPSTREAM_MODEL, self.customer.organization * 100 + number)
        options: dict[str, Any] = {}
        if number % 2:
            options = {"stream": True, "stream_options": {"include_usage": True}}
        request = fields(tell={"model": name, "chunks": 4 + number, "delay_ms": 15}, max_tokens=50, **options)
        return await see(self.relay.asked_by(self.customer), number, request)

    def served(self) -> dict[int, dict[str, Any]]:
        mine = [record for record in self.customer.installation.vendor.records() if record["served"]]
        numbered = {number_in(record["answers_as"]): record for record in mine}
        return {n % 100: one for n, one in numbered.items() if n // 100 == self.customer.organization}

    def charged(self) -> list[dict[str, Any]]:
        return self.customer.installation.query(
            "SELECT * FROM billing_usagerecord WHERE organization_id = %s", self.customer.organization
        )


@pytest.fixture(scope="module")
def auditor(installation: Installation) -> Iterator[Auditor]:
    auditor = Auditor(installation)
    yield auditor
    auditor.stop()


@pytest.fixture(scope="module")
def relay(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashRelay]:
    relay = CrashRelay(installation, tmp_path_factory.mktemp("relay"))
    yield relay
    relay.discard()


@pytest.fixture(scope="module")
def customers(installation: Installation) -> dict[str, Customer]:
    return dict(zip(CASES, installation.create_customers(["1.00"] * len(CASES)), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_killed(name: str, customers: dict[str, Customer], relay: CrashRelay, auditor: Auditor) -> None:
    crash = Crash(CASES[name], customers[name], relay)
    asyncio.run(crash.happen())
    relay.start()
    relay.wait_until_ready()
    crash.seen.append(asyncio.run(crash.ask(REQUESTS + 1)))
    wait_for(lambda: not relay.spools)
    relay.stop()
    assert crash.seen[-1].is_complete, relay.log
    assert sum(seen.is_complete for seen in crash.seen) == crash.case.complete + 1
    assert len(crash.charged()) == crash.case.charged + 1
    _check_reconciled(crash)
    assert auditor.broken_rules() == []


def _check_reconciled(crash: Crash) -> None:
    """The customers' view, the vendor's log and the books agree, to the nano-dollar."""
    served, charged = crash.served(), crash.charged()
    records = {number_in(record["upstream_model"]) % 100: record for record in charged}
    assert len(records) == len(charged)  # nothing twice
    assert set(records) <= set(served)
    assert {n: record["charge_nano"] for n, record in records.items()} == {
        n: price_of(served[n]) for n in records
    }
    for seen in crash.seen:
        if seen.is_complete:
            assert records[seen.number]["request_id"].hex == request_hex(seen.answer_id)
    charges = sum(record["charge_nano"] + record["uncollected_nano"] for record in charged)
    assert crash.customer.balance().posted == crash.customer.credit_nano - charges


def test_in_the_end_no_credit_is_held_for_the_dead(customers: dict[str, Customer], auditor: Auditor) -> None:
    """Within the deadline of their leases."""
    wait_for(lambda: not any(one.balance().pending for one in customers.values()), LEASE_SECONDS)
    assert auditor.broken_rules() == []
