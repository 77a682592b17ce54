"""Notices between processes: heard within a second, told only once the change is durable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis
from django.db import transaction
from structlog.testing import capture_logs

from common.broadcast import announce, announce_on_commit, listen
from common.database import read_in_thread

SOON_S = 5.0
Notice = tuple[str, str]


@asynccontextmanager
async def listening() -> AsyncIterator[asyncio.Queue[Notice]]:
    """A queue of notices; each (re)connection puts ("connected", "") into it."""
    heard: asyncio.Queue[Notice] = asyncio.Queue()
    task = asyncio.create_task(
        listen(lambda *notice: heard.put_nowait(notice), lambda: heard.put_nowait(("connected", "")))
    )
    assert await next_of(heard) == ("connected", "")
    try:
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def next_of(heard: asyncio.Queue[Notice]) -> Notice:
    return await asyncio.wait_for(heard.get(), SOON_S)


@pytest.fixture(autouse=True)
def valkey(engines: None) -> None:
    """All of these need the real one."""


async def test_a_notice_is_heard_with_its_kind_and_subject() -> None:
    async with listening() as heard:
        await asyncio.to_thread(announce, "key", "ab:cd")
        assert await next_of(heard) == ("key", "ab:cd")
        await asyncio.to_thread(announce, "catalog")
        assert await next_of(heard) == ("catalog", "")


async def test_after_a_lost_connection_the_listener_says_that_it_may_have_missed_something(
    settings: Any,
) -> None:
    async with listening() as heard:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            assert client.client_kill_filter(_type="pubsub") >= 1
        assert await next_of(heard) == ("connected", "")
        await asyncio.to_thread(announce, "catalog")
        assert await next_of(heard) == ("catalog", "")


def test_a_notice_that_cannot_be_sent_is_logged_and_no_error(settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    with capture_logs() as logs:
        announce("key", "abcd")
    assert [entry["event"] for entry in logs] == ["notice_not_sent"]


@pytest.mark.django_db(transaction=True)
async def test_nothing_is_announced_before_it_is_durable_nor_what_was_taken_back() -> None:
    def change() -> None:
        with transaction.atomic():
            announce_on_commit("key", "kept")
            announce("order", "inside the transaction")
        with suppress(ZeroDivisionError), transaction.atomic():
            announce_on_commit("key", "taken back")
            raise ZeroDivisionError
        announce("order", "the end")

    async with listening() as heard:
        await read_in_thread(change)
        assert [await next_of(heard) for _ in range(3)] == [
            ("order", "inside the transaction"),
            ("key", "kept"),
            ("order", "the end"),
        ]
