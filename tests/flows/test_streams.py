"""Chunks on real sockets: each comes when the vendor sent it, and no stream waits for another."""

import asyncio
import time
from itertools import pairwise

from tests.flows.asking import fields
from tests.flows.wire import Wire
from tests.installation import Customer

CHUNKS = 20
DELAY_S = 0.05
STREAMS = 64


def request(chunks: int = CHUNKS, **tell: float) -> dict[str, object]:
    return fields(tell={"chunks": chunks, "delay_ms": DELAY_S * 1e3, **tell}, stream=True)


async def arrivals(customer: Customer, asked: dict[str, object]) -> list[float]:
    """When each text came, in seconds since the request."""
    began = time.monotonic()
    async with Wire(customer, asked) as answer:
        return [time.monotonic() - began async for _ in answer.texts()]


async def test_chunks_arrive_one_by_one(customer: Customer) -> None:
    times = await arrivals(customer, request())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == CHUNKS
    assert max(gaps) < 3 * DELAY_S
    assert sorted(gaps)[len(gaps) // 4] > DELAY_S / 2


async def test_a_chunk_does_not_wait_for_the_next(customer: Customer) -> None:
    """The double's first event holds the role, the second the first text."""
    times = await arrivals(customer, request(2, delay_ms=400))
    assert times[0] < 0.7
    assert times[1] - times[0] > 0.3


async def test_sixty_four_streams_do_not_wait_for_each_other(customer: Customer) -> None:
    runs = await asyncio.gather(*(arrivals(customer, request()) for _ in range(STREAMS)))
    assert all(len(times) == CHUNKS for times in runs)
    assert max(times[0] for times in runs) < 1
    for times in runs:
        assert times[-1] - times[0] < 2 * CHUNKS * DELAY_S


async def test_a_slow_stream_holds_up_no_quick_one(customer: Customer) -> None:
    slow = asyncio.create_task(arrivals(customer, request(3, delay_ms=300)))
    began = time.monotonic()
    quick = await asyncio.gather(*(arrivals(customer, request(5, delay_ms=0)) for _ in range(20)))
    assert time.monotonic() - began < 1
    assert all(len(times) == 5 for times in quick)
    assert not slow.done()
    assert len(await slow) == 3


async def test_a_reader_that_pauses_holds_up_nobody(customer: Customer) -> None:
    """What it does not read waits for it; others go on, and it gets all of it in the end."""
    async with Wire(customer, fields(tell={"chunks": 40_000}, stream=True)) as paused:
        await asyncio.sleep(0.5)
        assert len(await arrivals(customer, request(5, delay_ms=0))) == 5
        assert len([text async for text in paused.texts()]) == 16_384  # the most the model may say


async def test_events_end_with_the_end_mark_and_nothing_else(customer: Customer) -> None:
    async with Wire(customer, request(3)) as answer:
        events = [event async for event in answer.events()]
    assert answer.is_done
    assert answer.received.endswith(b"data: [DONE]\n\n\r\n\r\n")
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


async def test_headers_keep_proxies_from_buffering(customer: Customer) -> None:
    async with Wire(customer, request(3)) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
