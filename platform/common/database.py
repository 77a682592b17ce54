"""Reads for asynchronous code: on a small thread pool, giving the connection back at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
