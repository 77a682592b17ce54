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
from typing import Any, TypeVar, cast
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
# What the database says about a record. Every other error is about the database, and passes: a server that
# went away, was demoted, lacks a function or room on its disk says nothing about what a customer used.
REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.NoDataFound)
# Answers of a server that is there: asking again at once would bring the same one.
UNDERSTOOD = (*REFUSED, psycopg.ProgrammingError)
SETTLE = "SELECT organization_id, is_active FROM billing_settle(%s, %s, %s)"

Record = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Settlement:
    record: Record
    done: asyncio.Future[None]
    on_written: Callable[[], None]
    is_over: bool = False

    def end(self, error: Exception | None) -> None:
        """On the loop, once: whatever comes of it, its hold ends."""
        if not self.is_over:
            self.is_over = True
            self.on_written()
            _resolve(self.done, error)


@dataclass(slots=True, eq=False)
class _Call:
    statement: str
    values: tuple[Any, ...]
    done: asyncio.Future[Rows]
    on_rows: Callable[[Rows], None] | None

    def end(self, rows: Rows) -> None:
        """On the loop, in the order in which the database answered."""
        if self.on_rows is not None:
            self.on_rows(rows)
        _resolve(self.done, rows)


class MoneyConnection:
    """A connection of its own, outside Django's pool: it must fail at once, not wait for a free one.

    Every statement is its own transaction. Raises psycopg.Error; the next statement connects anew, unless it
    was REFUSED.
    """

    def __init__(self) -> None:
        self.blocked: set[int] = set()  # organizations whose wallets could not pay, or may not any more
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def execute(self, statement: str, values: tuple[Any, ...]) -> Rows:
        try:
            if self._connection is None:
                self._connection = _connect()
            return self._connection.execute(cast("Any", statement), values).fetchall()
        except REFUSED:
            raise
        except psycopg.Error:
            self.close()
            raise

    def settle(self, batch: SpooledBatch) -> None:
        rows = self.execute(SETTLE, (batch.batch_id, batch.holder, batch.records))
        self.blocked.update(organization_id for organization_id, is_active in rows if not is_active)

    def settle_what_can_be(self, batch: SpooledBatch) -> None:
        """A batch that is refused as a whole goes one record at a time, so that a bad one stays alone."""
        try:
            self.settle(batch)
        except REFUSED:
            for record in orjson.loads(batch.records):
                self._settle_alone(batch.holder, record)

    def _settle_alone(self, holder: UUID, record: Record) -> None:
        try:
            self.settle(SpooledBatch(uuid7(), holder, orjson.dumps([record]).decode()))
        except REFUSED as error:
            log.critical("settlement_refused", error=str(error), record=record)

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

    def __init__(
        self,
        *,
        holder: UUID,
        spool_folder: Path,
        on_blocked: Callable[[int], None] = lambda _organization_id: None,
    ) -> None:
        """`on_blocked` is called on the loop for an organization that cannot go on spending."""
        self.holder = holder
        self.is_stuck = False
        self._on_blocked = on_blocked
        self._spool_folder = spool_folder
        self._spool = Spool(spool_folder, holder)
        self._database = MoneyConnection()
        self._away_until = 0.0
        self._leftovers_wait = False
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

    def call(
        self, statement: str, *values: Any, on_rows: Callable[[Rows], None] | None = None
    ) -> asyncio.Future[Rows]:
        """The rows of one statement, committed. Fails with psycopg.Error.

        `on_rows` runs on the loop before anything that came of later statements, also when nobody waits
        for the future any more. A lost connection gets a second try, so the statement may have run twice.
        """
        done: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._queue.put(_Call(statement, values, done, on_rows))
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
                failure = psycopg.InterfaceError("the money writer failed")
                for item in group:
                    self._on_loop(_end, item, failure)
        self._replay_last()
        self._database.close()

    def _next_group(self) -> tuple[list[_Settlement | _Call], bool]:
        """What waits, at least one thing, unless the spool wants another try; and whether that was all."""
        group: list[_Settlement | _Call] = []
        patience = None if self._spool.is_empty and not self._leftovers_wait else RETRY_S
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
        elif self._replay() and self._leftovers_wait:
            self._settle_leftovers()
        self._tell_of_blocked()
        for item in group:
            if isinstance(item, _Call):
                self._run_call(item)

    def _settle_group(self, settlements: list[_Settlement]) -> None:
        """One batch for all; where the database refuses that, one batch each, so that one bad record
        does not keep the others from being charged."""
        try:
            records = _as_json([settlement.record for settlement in settlements])
            self._write(SpooledBatch(uuid7(), self.holder, records))
        except REFUSED as error:
            if len(settlements) > 1:
                for settlement in settlements:
                    self._settle_group([settlement])
                return
            log.critical("settlement_refused", error=str(error), record=dict(settlements[0].record))
            self._on_loop(_end_all, settlements, error)
        else:
            self._tell_of_blocked()  # before anybody who waits can ask for more
            self._on_loop(_end_all, settlements, None)

    def _tell_of_blocked(self) -> None:
        while self._database.blocked:
            self._on_loop(self._on_blocked, self._database.blocked.pop())

    def _write(self, batch: SpooledBatch) -> None:
        """Into the database, or into the spool while that is away; returns when it is durable."""
        while True:
            try:
                if self._replay() and self._settles(self._database.settle, batch):
                    break
                self._spool.append(batch)
                break
            except (OSError, ValueError) as error:
                self.is_stuck = True  # neither place takes it: no new work, and keep what there is
                log.critical("spool_unusable", error=str(error))
                time.sleep(RETRY_S)
        self.is_stuck = False

    def _settles(self, settle: Callable[[SpooledBatch], None], batch: SpooledBatch) -> bool:
        """Whether the batch has reached the database. Raises REFUSED."""
        try:
            self._ask(lambda: settle(batch))
        except REFUSED:
            raise
        except psycopg.Error:
            return False
        return True

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """The database's answer; a connection that was merely stale gets a second try. Raises psycopg.Error,
        at once while the database is known to be away."""
        if time.monotonic() < self._away_until:
            raise psycopg.OperationalError("the database was away a moment ago")
        try:
            return question()
        except UNDERSTOOD:
            raise
        except psycopg.Error as error:
            log.warning("database_away", error=type(error).__name__)
        try:
            return question()
        except UNDERSTOOD:
            raise
        except psycopg.Error:
            self._away_until = time.monotonic() + RETRY_S
            raise

    def _replay(self) -> bool:
        """Settle what is spooled, the oldest first. False while the database is away. Raises OSError."""
        for batch in self._spool.batches():
            if not self._settles(self._database.settle_what_can_be, batch):
                return False
        if not self._spool.is_empty:
            log.info("spool_replayed")
            self._spool.clear()
        return True

    def _replay_last(self) -> None:
        """The last try before the end; what it leaves, the next process finds."""
        self._away_until = 0.0
        try:
            self._replay()
        except (OSError, ValueError) as error:
            log.critical("spool_unusable", error=str(error))

    def _settle_leftovers(self) -> None:
        """Where the database is away just now, again when it is back."""
        try:
            replay_leftovers(self._spool_folder, self._database)
        except (OSError, psycopg.Error) as error:
            if not self._leftovers_wait:
                log.warning("leftover_spool_waits", error=type(error).__name__)
            self._leftovers_wait = True
        else:
            self._leftovers_wait = False

    def _run_call(self, call: _Call) -> None:
        try:
            rows = self._ask(lambda: self._database.execute(call.statement, call.values))
        except psycopg.Error as error:
            self._on_loop(_resolve, call.done, error)
        else:
            self._on_loop(call.end, rows)

    def _on_loop(self, function: Callable[..., None], *values: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)


def replay_leftovers(folder: Path, database: MoneyConnection) -> int:
    """Settle what processes that died have spooled; returns the number of batches. Raises psycopg.Error.

    A file that cannot be read to its end stays, for a person to look at.
    """
    settled = 0
    for path, batches in take_leftovers(folder):
        try:
            for batch in batches:
                database.settle_what_can_be(batch)
                settled += 1
        except ValueError as error:
            log.critical("spool_file_unreadable", path=str(path), error=str(error))
        else:
            path.unlink()
    return settled


def _as_json(records: list[Record]) -> str:
    """Raises psycopg.DataError for what no column could hold either."""
    try:
        return orjson.dumps(records).decode()
    except orjson.JSONEncodeError as error:
        raise psycopg.DataError(str(error)) from error


def _end_all(settlements: list[_Settlement], error: Exception | None) -> None:
    for settlement in settlements:
        settlement.end(error)


def _end(item: _Settlement | _Call, error: Exception) -> None:
    if isinstance(item, _Settlement):
        item.end(error)
    else:
        _resolve(item.done, error)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
