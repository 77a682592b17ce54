"""The thread through which a relay process writes money: one connection, one order, one commit per group.

What is handed in while a commit is under way goes into the next one, so groups grow with the load and a lone
request waits for nobody. A commit whose answer is lost is sent again under the same batch id, which the
database takes once.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog
from django.db import InterfaceError, OperationalError, connection
from django.db.utils import DatabaseError

from common.ids import uuid7

MAX_GROUP = 500
# Under load a commit waits a moment for company: fewer, larger transactions cost less each.
BUSY_GROUP = 4
GATHER_S = 0.003
RETRY_S = 0.2
AWAY = (OperationalError, InterfaceError)

Record = Mapping[str, Any]
Statement = tuple[str, tuple[Any, ...]]

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Settlement:
    record: Record
    done: asyncio.Future[None]
    on_written: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Call:
    statement: Statement
    done: asyncio.Future[list[tuple[Any, ...]]]


class MoneyWriter:
    """Settles records and runs lease statements, in the order they were handed in."""

    def __init__(self, *, holder: UUID) -> None:
        self.holder = holder
        self._queue: queue.SimpleQueue[_Settlement | _Call | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="money-writer", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write what was handed in, then end. A database that stays away ends the wait after a few tries."""
        self._stopping.set()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def settle(self, record: Record, on_written: Callable[[], None]) -> asyncio.Future[None]:
        """Done when the record is committed; fails with DatabaseError when the database refuses it.

        `on_written` runs on the loop at that moment, also when nobody waits for the future any more.
        """
        assert self._loop is not None, "the writer was started"  # noqa: S101 - a mistake of ours
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Settlement(record, done, on_written))
        return done

    def call(self, statement: str, *values: Any) -> asyncio.Future[list[tuple[Any, ...]]]:
        """The rows of one statement, committed. Tried once: fails with DatabaseError."""
        done: asyncio.Future[list[tuple[Any, ...]]] = asyncio.get_running_loop().create_future()
        self._queue.put(_Call((statement, values), done))
        return done

    def _run(self) -> None:
        group: list[_Settlement | _Call] = []
        while (first := self._queue.get()) is not None:
            if len(group) >= BUSY_GROUP:
                time.sleep(GATHER_S)
            group = [first]
            more = True
            while more and len(group) < MAX_GROUP:
                more = self._take_waiting(group)
            self._commit(group)
        connection.close()

    def _take_waiting(self, group: list[_Settlement | _Call]) -> bool:
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return False
        if item is None:
            self._queue.put(None)
            return False
        group.append(item)
        return True

    def _commit(self, group: list[_Settlement | _Call]) -> None:
        settlements = [item for item in group if isinstance(item, _Settlement)]
        if settlements:
            self._settle_all(settlements)
        for item in group:
            if isinstance(item, _Call):
                self._run_call(item)

    def _settle_all(self, settlements: list[_Settlement]) -> None:
        """One batch for all; where the database refuses that, one batch each, so that one bad record
        does not keep the others from being charged."""
        try:
            self._settle_batch(settlements)
        except DatabaseError as error:
            if len(settlements) > 1:
                for settlement in settlements:
                    self._settle_all([settlement])
                return
            log.critical("settlement_refused", error=str(error), record=dict(settlements[0].record))
            self._on_loop(_resolve_settlements, settlements, error)
        else:
            self._on_loop(_resolve_settlements, settlements, None)

    def _settle_batch(self, settlements: list[_Settlement]) -> None:
        records = orjson.dumps([settlement.record for settlement in settlements]).decode()
        values = (uuid7(), self.holder, records)
        self._until_it_answers(lambda: _execute(SETTLE, values))

    def _until_it_answers(self, attempt: Callable[[], Any]) -> None:
        tries = 0
        while True:
            try:
                attempt()
            except AWAY as error:
                tries += 1
                log.warning("money_writer_waits", error=type(error).__name__, tries=tries)
                connection.close()
                if self._stopping.is_set() and tries >= 10:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def _run_call(self, call: _Call) -> None:
        try:
            rows = _execute(*call.statement)
        except DatabaseError as error:
            if isinstance(error, AWAY):
                connection.close()
            self._on_loop(_resolve, call.done, error)
        else:
            self._on_loop(_resolve, call.done, rows)

    def _on_loop(self, function: Callable[..., None], *values: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)


SETTLE = "SELECT organization_id, lease_left FROM billing_settle(%s, %s, %s)"


def _execute(statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


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
