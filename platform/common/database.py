"""Reads for asynchronous code, on a small thread pool; and rows in the words of JSON."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, TypeVar

from django.db import connections

Result = TypeVar("Result")

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="database")


async def read_in_thread(read: Callable[[], Result]) -> Result:
    """`read()` on a database thread. Never on the warm path of a request."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _read, read)


def _read(read: Callable[[], Result]) -> Result:
    try:
        return read()
    finally:
        connections.close_all()


def plain_rows(cursor: Any) -> Iterator[dict[str, Any]]:
    """What a cursor has fetched, by column name, as JSON can say it."""
    names = [column.name for column in cursor.description]
    for row in cursor.fetchall():
        yield {name: _plain(value) for name, value in zip(names, row, strict=True)}


def _plain(value: Any) -> Any:
    """Numbers stay integers: PostgreSQL sums bigint as numeric."""
    if isinstance(value, Decimal):
        return int(value)
    return value if value is None or isinstance(value, int) else str(value)
