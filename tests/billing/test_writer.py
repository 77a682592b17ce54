"""The money writer: one bad record stays alone, an outage loses nothing, a lost answer charges once."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
from django.db import connection, connections
from structlog.testing import capture_logs

from billing.books import verify_books
from billing.models import SettlementBatch, UsageRecord
from billing.spool import Spool, SpooledBatch
from billing.writer import MoneyConnection, MoneyWriter
from common.database import read_in_thread
from common.ids import uuid7
from tests.config.processes import wait_for
from tests.factories.money import Payer, make_payer, make_record

pytestmark = pytest.mark.django_db(transaction=True)
CREDIT = 10_000
RECORDS = UsageRecord.across_all_organizations


class Written(list[UUID]):
    """Requests whose `on_written` ran, once for each time it did."""

    def of(self, record: dict[str, Any]) -> Callable[[], None]:
        return lambda: self.append(record["request_id"])


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[MoneyWriter]:
    writer = MoneyWriter(holder=uuid4(), spool_folder=folder)
    writer.start()
    try:
        yield writer
    finally:
        await asyncio.wait_for(writer.stop(), 20)


@pytest.fixture
def payer() -> Payer:
    made = make_payer(CREDIT)
    connection.close()
    return made


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def leave_behind(folder: Path, *records: dict[str, Any]) -> None:
    """What a process had spooled that is dead now."""
    spool = Spool(folder, uuid4())
    spool.append(SpooledBatch(uuid7(), uuid4(), orjson.dumps(records).decode()))
    assert spool._descriptor is not None
    os.close(spool._descriptor)


async def posted(payer: Payer) -> int:
    return (await read_in_thread(lambda: payer.wallet)).posted


async def settle_all(writer: MoneyWriter, written: Written, records: list[dict[str, Any]]) -> list[Any]:
    """What became of each, handed in at once; `Done` is None."""
    waiting = [writer.settle(record, written.of(record)) for record in records]
    return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)


async def alter_database(change: str) -> None:
    """For every connection that is made from now on; those that exist are broken off."""

    def alter() -> None:
        with connection.cursor() as cursor:
            name = connection.settings_dict["NAME"]
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
            cursor.execute(f'ALTER DATABASE "{name}" {change}')
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )

    await read_in_thread(alter)


async def test_what_is_handed_in_together_is_one_batch(payer: Payer, tmp_path: Path) -> None:
    written = Written()
    records = [make_record(payer, 10) for _ in range(50)]
    async with running(tmp_path) as writer:
        blocker = asyncio.create_task(settle_all(writer, written, records[:1]))
        assert await settle_all(writer, written, records[1:]) == [None] * 49
        await blocker
    assert sorted(written) == sorted(record["request_id"] for record in records)
    assert await posted(payer) == CREDIT - 500
    assert await read_in_thread(SettlementBatch.objects.count) <= 3


BAD: list[dict[str, Any]] = [
    {"organization_id": 999_999_999},
    {"organization_id": None},
    {"model": None},
    {"input_tokens": -1},
    {"price_nano": -1},
    {"price_nano": None},
    {"price_nano": 2**63},
    {"price_nano": 2**70},
    {"cost_nano": 2**64},
    {"upstream_model": "\0"},
    {"upstream_model": "x" * 201},
    {"started_at": None},
    {"request_id": "no uuid"},
    {"channel": object()},
]


@pytest.mark.parametrize("broken", BAD, ids=range(len(BAD)))
async def test_a_bad_record_keeps_no_other_from_being_charged(
    broken: dict[str, Any], payer: Payer, tmp_path: Path
) -> None:
    written = Written()
    records = [make_record(payer, 10), {**make_record(payer, 10), **broken}, make_record(payer, 10)]
    async with running(tmp_path) as writer:
        first, bad, last = await settle_all(writer, written, records)
    assert (first, last) == (None, None)
    assert isinstance(bad, psycopg.Error)
    assert written.count(records[1]["request_id"]) == 1  # its hold is given back all the same
    assert await posted(payer) == CREDIT - 20
    assert (await read_in_thread(verify_books))["ok"]
    assert not files(tmp_path)


async def test_the_same_request_twice_in_a_group_is_charged_once(payer: Payer, tmp_path: Path) -> None:
    record = make_record(payer, 10)
    async with running(tmp_path) as writer:
        assert await settle_all(writer, Written(), [record, record, make_record(payer, 1)]) == [None] * 3
    assert await posted(payer) == CREDIT - 11


async def test_while_the_database_only_reads_charges_wait_in_the_spool(payer: Payer, tmp_path: Path) -> None:
    """As a primary that was demoted answers: nobody's records are at fault."""
    written, record = Written(), make_record(payer, 10)
    async with running(tmp_path) as writer:
        await alter_database("SET default_transaction_read_only = on")
        try:
            assert await settle_all(writer, written, [record]) == [None]
            assert len(files(tmp_path)) == 1
            assert await posted(payer) == CREDIT
        finally:
            await alter_database("RESET default_transaction_read_only")
        assert await settle_all(writer, written, [make_record(payer, 10)]) == [None]
    assert await posted(payer) == CREDIT - 20
    assert len(written) == 2
    assert not files(tmp_path)


async def test_without_its_function_the_database_refuses_no_record(payer: Payer, tmp_path: Path) -> None:
    def rename(before: str, after: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER FUNCTION {before} RENAME TO {after}")

    async with running(tmp_path) as writer:
        await read_in_thread(lambda: rename("billing_settle", "billing_settle_away"))
        try:
            assert await settle_all(writer, Written(), [make_record(payer, 10)]) == [None]
        finally:
            await read_in_thread(lambda: rename("billing_settle_away", "billing_settle"))
    assert await posted(payer) == CREDIT - 10


async def test_an_outage_loses_nothing_and_a_bad_record_in_the_spool_stays_alone(
    payer: Payer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [make_record(payer, 10) for _ in range(5)]
    records[2]["model"] = None
    async with running(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setitem(connections.settings["default"], "HOST", "/nowhere")
            assert await settle_all(writer, Written(), records[:3]) == [None] * 3
            assert await settle_all(writer, Written(), records[3:]) == [None] * 2
        [path] = files(tmp_path)
        assert len(path.read_bytes().splitlines()) == 2
    assert await posted(payer) == CREDIT - 40
    assert not files(tmp_path)
    assert (await read_in_thread(verify_books))["ok"]


async def test_an_outage_in_the_middle_of_a_replay_refuses_nothing(
    payer: Payer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spooled batch holds a bad record, so its records go one by one; then the connection breaks."""
    settle = MoneyConnection.settle
    calls: list[int] = []

    def breaks_once(self: MoneyConnection, batch: SpooledBatch) -> None:
        calls.append(len(calls))
        if calls[-1] in (1, 2):
            raise psycopg.OperationalError("the server closed the connection unexpectedly")
        settle(self, batch)

    async with running(tmp_path) as writer:
        spooled = [make_record(payer, 10), {**make_record(payer, 10), "model": None}]
        with monkeypatch.context() as patch:
            patch.setitem(connections.settings["default"], "HOST", "/nowhere")
            await settle_all(writer, Written(), spooled)
        monkeypatch.setattr(MoneyConnection, "settle", breaks_once)
        assert await settle_all(writer, Written(), [make_record(payer, 10)]) == [None]
        await asyncio.to_thread(wait_for, lambda: not files(tmp_path), 10)
    assert len(calls) > 3
    assert await posted(payer) == CREDIT - 20


async def test_a_spool_that_somebody_removed_stops_nothing(
    payer: Payer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_record(payer, 10)
    async with running(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setitem(connections.settings["default"], "HOST", "/nowhere")
            await settle_all(writer, Written(), [record])
            [path] = files(tmp_path)
            path.unlink()
        assert await settle_all(writer, Written(), [make_record(payer, 10)]) == [None]
    assert await posted(payer) == CREDIT - 20


@pytest.mark.parametrize(
    "damage", [b"no json\n", b"[1, 2]\n", b'{"a": 1}\n', b'["x", "y", "[]"]\n', b"\xff\n"]
)
async def test_a_damaged_file_of_a_dead_process_stops_nothing(
    damage: bytes, payer: Payer, tmp_path: Path
) -> None:
    damaged = tmp_path / "0.spool"
    damaged.write_bytes(damage)
    leave_behind(tmp_path, make_record(payer, 5))
    with capture_logs() as logs:
        async with running(tmp_path) as writer:
            assert await settle_all(writer, Written(), [make_record(payer, 10)]) == [None]
    assert await posted(payer) == CREDIT - 15
    assert files(tmp_path) == [damaged]  # for a person to look at
    assert "spool_file_unreadable" in {entry["event"] for entry in logs}


async def test_a_commit_whose_answer_was_lost_charges_once(
    payer: Payer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = MoneyConnection.settle
    lost: list[UUID] = []

    def lose_answer(self: MoneyConnection, batch: SpooledBatch) -> None:
        settle(self, batch)
        if not lost:
            lost.append(batch.batch_id)
            raise psycopg.OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(MoneyConnection, "settle", lose_answer)
    async with running(tmp_path) as writer:
        assert await settle_all(writer, Written(), [make_record(payer, 10)]) == [None]
    assert lost
    assert await posted(payer) == CREDIT - 10
    assert await read_in_thread(RECORDS.count) == 1


async def test_connections_killed_all_the_time_charge_each_request_once(payer: Payer, tmp_path: Path) -> None:
    is_over = threading.Event()

    def kill_on() -> None:
        try:
            while not is_over.wait(0.005):
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE query LIKE '%%billing_settle(%%' AND pid <> pg_backend_pid()"
                    )
        finally:
            connection.close()

    killer = threading.Thread(target=kill_on)
    killer.start()
    written = Written()
    async with running(tmp_path) as writer:
        for _ in range(60):
            results = await settle_all(writer, written, [make_record(payer, 1) for _ in range(5)])
            assert results == [None] * 5
        is_over.set()
        await asyncio.to_thread(killer.join)
    assert len(set(written)) == len(written) == 300
    assert await posted(payer) == CREDIT - 300
    assert await read_in_thread(RECORDS.count) == 300
    assert (await read_in_thread(verify_books))["ok"]


async def test_a_call_survives_a_connection_that_went_stale(tmp_path: Path, db: None) -> None:
    async with running(tmp_path) as writer:
        [[pid]] = await writer.call("SELECT pg_backend_pid()")

        def terminate() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

        await read_in_thread(terminate)
        [[other]] = await writer.call("SELECT pg_backend_pid()")
        assert other != pid


async def test_while_the_database_is_away_calls_fail_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setitem(connections.settings["default"], "HOST", "/nowhere")
            waiting = [writer.call("SELECT 1") for _ in range(20)]
            results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert {type(result) for result in results} == {psycopg.OperationalError}
        await asyncio.sleep(0.3)
        assert await writer.call("SELECT 1") == [(1,)]


async def test_a_call_that_makes_no_sense_fails_alone(payer: Payer, tmp_path: Path) -> None:
    async with running(tmp_path) as writer:
        nonsense = writer.call("SELECT nothing FROM nowhere")
        settled = writer.settle(make_record(payer, 10), lambda: None)
        with pytest.raises(psycopg.ProgrammingError):
            await nonsense
        await settled
        await writer.call("SELECT 1")
    assert await posted(payer) == CREDIT - 10


async def test_stopping_writes_what_was_handed_in(payer: Payer, tmp_path: Path) -> None:
    written = Written()
    async with running(tmp_path) as writer:
        records = [make_record(payer, 1) for _ in range(1_200)]
        waiting = [writer.settle(record, written.of(record)) for record in records]
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [None] * 1_200
    assert len(set(written)) == len(written) == 1_200
    assert await posted(payer) == CREDIT - 1_200


async def test_where_neither_database_nor_disk_takes_it_nothing_is_told(
    payer: Payer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool").write_text("a file where a folder should be")
    written, record = Written(), make_record(payer, 10)
    async with running(tmp_path / "spool") as writer:
        with monkeypatch.context() as patch:
            patch.setitem(connections.settings["default"], "HOST", "/nowhere")
            settled = writer.settle(record, written.of(record))
            await asyncio.wait({settled}, timeout=0.6)
            assert writer.is_stuck
            assert not settled.done()
        await asyncio.wait_for(settled, 10)
        assert not writer.is_stuck
    assert await posted(payer) == CREDIT - 10
