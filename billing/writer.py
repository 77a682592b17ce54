"""The thread through which a relay process writes money: one connection, one order, one commit per group.

What is handed in while a commit is under way goes into the next one, so groups grow with the load and a lone
request waits for nobody. A commit whose answer is lost is sent again under the same batch id, which the
database takes once. While the database is away, groups go to the spool, and from there to the database before
anything newer.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import orjson
import psycopg
import structlog
from django.db import connection

from billing.spool import Spool, SpooledBatch, take_leftovers
from common.ids import uuid7

MAX_GROUP = 500
# Under load a commit waits a moment for company: fewer, larger transactions cost less each.
BUSY_GROUP = 4
GATHER_S = 0.003
RETRY_S = 0.25
CONNECT_TIMEOUT_S = 3
AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
SETTLE = "SELECT organization_id, lease_left FROM billing_settle(%s, %s, %s)"

Record = Mapping[str, Any]
Rows = list[tuple[Any, ...]]

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Settlement:
    record: Record
    done: asyncio.Future[None]
    on_written: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Call:
    statement: str
    values: tuple[Any, ...]
    done: asyncio.Future[Rows]


class MoneyConnection:
    """A connection of its own, outside Django's pool: it must fail at once, not wait for a free one.

    Every statement is its own transaction. Raises psycopg.Error; after AWAY the next statement connects anew.
    """

    def __init__(self) -> None:
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def execute(self, statement: str, values: tuple[Any, ...]) -> Rows:
        try:
            if self._connection is None:
                self._connection = _connect()
            return self._connection.execute(cast("Any", statement), values).fetchall()
        except AWAY:
            self.close()
            raise

    def settle(self, batch: SpooledBatch) -> None:
        self.execute(SETTLE, (batch.batch_id, batch.holder, batch.records))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect() -> psycopg.Connection[tuple[Any, ...]]:
    given = cast("Any", connection).get_connection_params()
    wanted = {name: value for name, value in given.items() if name not in {"context", "cursor_factory"}}
    wanted |= {"prepare_threshold": 3, "connect_timeout": CONNECT_TIMEOUT_S}
    return psycopg.connect(**wanted, autocommit=True)


class MoneyWriter:
    """Settles records and runs lease statements, in the order they were handed in."""

    def __init__(self, *, holder: UUID, spool_folder: Path) -> None:
        self.holder = holder
        self.is_stuck = False
        self._spool_folder = spool_folder
        self._spool = Spool(spool_folder, holder)
        self._database = MoneyConnection()
        self._away_until = 0.0
        self._queue: queue.SimpleQueue[_Settlement | _Call | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="money-writer", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write what was handed in, to the database or to the spool, then end."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def settle(self, record: Record, on_written: Callable[[], None]) -> asyncio.Future[None]:
        """Done when the record is committed or spooled; fails with psycopg.Error when it is refused.

        `on_written` runs on the loop at that moment, also when nobody waits for the future any more.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(_Settlement(record, done, on_written))
        return done

    def call(self, statement: str, *values: Any) -> asyncio.Future[Rows]:
        """The rows of one statement, committed. Tried once: fails with psycopg.Error."""
        done: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._queue.put(_Call(statement, values, done))
        return done

    def _run(self) -> None:
        self._settle_leftovers()
        is_over = False
        group: list[_Settlement | _Call] = []
        while not is_over:
            if len(group) >= BUSY_GROUP:
                time.sleep(GATHER_S)
            group, is_over = self._next_group()
            try:
                self._commit(group)
            except Exception as error:
                log.critical("money_writer_failed", exc_info=error)
                for item in group:
                    self._on_loop(_resolve, item.done, error)
        self._replay()
        self._database.close()

    def _next_group(self) -> tuple[list[_Settlement | _Call], bool]:
        """What waits, at least one thing, unless the spool wants another try; and whether that was all."""
        group: list[_Settlement | _Call] = []
        patience = None if self._spool.is_empty else RETRY_S
        try:
            item = self._queue.get(timeout=patience)
            while item is not None and len(group) < MAX_GROUP:
                group.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return group, False
        if item is not None:
            group.append(item)
        return group, item is None

    def _commit(self, group: list[_Settlement | _Call]) -> None:
        settlements = [item for item in group if isinstance(item, _Settlement)]
        if settlements:
            self._settle_group(settlements)
        else:
            self._replay()
        for item in group:
            if isinstance(item, _Call):
                self._run_call(item)

    def _settle_group(self, settlements: list[_Settlement]) -> None:
        """One batch for all; where the database refuses that, one batch each, so that one bad record
        does not keep the others from being charged."""
        records = orjson.dumps([settlement.record for settlement in settlements]).decode()
        try:
            self._write(SpooledBatch(uuid7(), self.holder, records))
        except psycopg.Error as error:
            if len(settlements) > 1:
                for settlement in settlements:
                    self._settle_group([settlement])
                return
            log.critical("settlement_refused", error=str(error), record=dict(settlements[0].record))
            self._on_loop(_resolve_settlements, settlements, error)
        else:
            self._on_loop(_resolve_settlements, settlements, None)

    def _write(self, batch: SpooledBatch) -> None:
        """Into the database, or into the spool while that is away; returns when it is durable."""
        while True:
            if self._replay() and self._settles(batch):
                break
            try:
                self._spool.append(batch)
                break
            except OSError as error:
                self.is_stuck = True  # neither place takes it: no new work, and keep what there is
                log.critical("spool_unusable", error=str(error))
                time.sleep(RETRY_S)
        self.is_stuck = False

    def _settles(self, batch: SpooledBatch) -> bool:
        """Whether the database took the batch; a connection that was merely stale gets a second try."""
        for _ in range(2):
            try:
                self._database.settle(batch)
            except AWAY as error:
                log.warning("database_away", error=type(error).__name__)
            else:
                return True
        self._away_until = time.monotonic() + RETRY_S
        return False

    def _replay(self) -> bool:
        """Settle what is spooled, the oldest first. False while the database is away."""
        if time.monotonic() < self._away_until:
            return False
        for batch in self._spool.batches():
            try:
                if not self._settles(batch):
                    return False
            except psycopg.Error:
                settle_one_by_one(self._database, batch)
        if not self._spool.is_empty:
            log.info("spool_replayed")
            self._spool.clear()
        return True

    def _settle_leftovers(self) -> None:
        try:
            replay_leftovers(self._spool_folder, self._database)
        except (OSError, *AWAY) as error:
            log.warning("leftover_spool_waits", error=type(error).__name__)

    def _run_call(self, call: _Call) -> None:
        try:
            rows = self._database.execute(call.statement, call.values)
        except psycopg.Error as error:
            self._on_loop(_resolve, call.done, error)
        else:
            self._on_loop(_resolve, call.done, rows)

    def _on_loop(self, function: Callable[..., None], *values: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)


def replay_leftovers(folder: Path, database: MoneyConnection) -> int:
    """Settle what processes that died have spooled; returns the number of batches. Raises psycopg.Error."""
    settled = 0
    for path, batches in take_leftovers(folder):
        for batch in batches:
            try:
                database.settle(batch)
            except AWAY:
                raise
            except psycopg.Error:
                settle_one_by_one(database, batch)
            settled += 1
        path.unlink()
    return settled


def settle_one_by_one(database: MoneyConnection, batch: SpooledBatch) -> None:
    """A spooled batch that the database refuses as a whole: what it takes of it, each record by itself."""
    for record in orjson.loads(batch.records):
        try:
            database.settle(SpooledBatch(uuid7(), batch.holder, orjson.dumps([record]).decode()))
        except AWAY:
            raise
        except psycopg.Error as error:
            log.critical("settlement_refused", error=str(error), record=record)


def _resolve_settlements(settlements: list[_Settlement], error: Exception | None) -> None:
    for settlement in settlements:
        settlement.on_written()
        _resolve(settlement.done, error)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
