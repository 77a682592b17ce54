"""A cheap client in a process of its own: connections that ask, read the answer whole, and ask again.

Requests are rendered once; answers are not parsed but counted and checked. Counting, and the CPU time of the
processes to `--watch`, covers a window in the middle: it begins when all connections are warm, and after it
every answer is read to its end, so that nobody in between has to deal with a client that left. Prints JSON.
"""

import argparse
import asyncio
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop
from typing_extensions import override

from tests.bench.kernel import cpu_seconds, main_thread_seconds

PROMPT = "The quick brown fox jumps over the lazy dog. " * 12
LAST_WORD = b'w7 "'  # of the double's plain answer, which has eight words
EVENT = b"data: "
END_OF_STREAM = b"data: [DONE]\n\n\r\n0\r\n\r\n"
BESIDE_CONTENT = 3  # events of a stream: the opening with the role, the closing with the reason, [DONE]
FINISH_S = 20.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class Tally:
    """What was seen; the lists and the first three counts cover the window only. Times are in seconds."""

    answers: int = 0
    chunks: int = 0
    chunks_together: int = 0  # content chunks that came in one read with an earlier one
    answers_in_all: int = 0
    latencies: list[float] = field(default_factory=list)
    first_chunks: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)  # between reads that brought content chunks
    failures: list[str] = field(default_factory=list)
    is_open: bool = False


class Asker(asyncio.Protocol):
    """One connection. `is_last` makes the answer it is reading its last."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._asked = 0.0
        self._transport: asyncio.Transport
        self.is_last = False
        self.ended = asyncio.Event()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it
        self._ask()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.is_set():
            self._fail(f"the connection was closed: {exc}")

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def _end_answer(self, flaw: str) -> None:
        """The answer is here to its end. `flaw` is what is wrong with it, if anything."""
        if flaw:
            self._fail(flaw)
            return
        self._tally.answers_in_all += 1
        if self._tally.is_open:
            self._tally.answers += 1
        if self.is_last:
            self._close()
        else:
            self._ask()

    def _fail(self, flaw: str) -> None:
        self._tally.failures.append(flaw)
        self._close()

    def _close(self) -> None:
        self.ended.set()
        self._transport.close()


class PlainAsker(Asker):
    _got = b""
    _size = 0  # of the whole answer, head included; 0 while unknown

    @override
    def data_received(self, data: bytes) -> None:
        self._got += data
        self._size = self._size or _size_of(self._got)
        if not self._size or len(self._got) < self._size:
            return
        if self._tally.is_open:
            self._tally.latencies.append(time.perf_counter() - self._asked)
        answer, self._got, self._size = self._got, b"", 0
        self._end_answer("" if _is_ok(answer) and LAST_WORD in answer else _shown(answer))


def _size_of(got: bytes) -> int:
    head_end = got.find(b"\r\n\r\n")
    length = _LENGTH.search(got[: head_end + 2]) if head_end >= 0 else None
    return head_end + 4 + int(length[1]) if length else 0


class StreamAsker(Asker):
    """Expects `chunks` content chunks, each an event, and the three events around them."""

    _tail = (
        b""  # of the read before, so that no mark is overlooked where two reads meet; empty before the head
    )
    _events = 0
    _last = 0.0  # when the read before came

    def __init__(self, request: bytes, tally: Tally, chunks: int) -> None:
        super().__init__(request, tally)
        self._content_end = 1 + chunks
        self._expected = chunks + BESIDE_CONTENT

    @override
    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._tail and not _is_ok(data):
            self._fail(_shown(data))
            return
        came = (self._tail[1 - len(EVENT) :] + data).count(EVENT)
        if self._tally.is_open and came:
            self._note(now, came)
        self._events += came
        self._last = now
        self._tail = (self._tail + data)[-len(END_OF_STREAM) :]
        if self._tail == END_OF_STREAM:
            self._end()

    def _note(self, now: float, came: int) -> None:
        tally = self._tally
        tally.chunks += came
        if self._events == 0:
            tally.first_chunks.append(now - self._asked)
        elif self._events + came <= self._content_end:  # the closing ones may wait for the charge
            tally.gaps.append(now - self._last)
            tally.chunks_together += came - 1

    def _end(self) -> None:
        events, self._events, self._tail = self._events, 0, b""
        self._end_answer("" if events == self._expected else f"{events} events, not {self._expected}")


def _is_ok(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 200 ")


def _shown(answer: bytes) -> str:
    return answer[:1000].decode(errors="replace")


def render_request(options: argparse.Namespace) -> bytes:
    content = PROMPT
    if options.chunks:
        content = json.dumps({"chunks": options.chunks, "delay_ms": options.delay_ms})
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": content},
    ]
    fields = {"model": options.model, "messages": messages, "max_tokens": 1000, "temperature": 0.7}
    body = json.dumps({**fields, "stream": bool(options.chunks)}).encode()
    address = urlsplit(options.url)
    head = (
        f"POST {address.path} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {options.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(options: argparse.Namespace) -> dict[str, Any]:
    tally = Tally()
    askers = await _connect(options, tally)
    await asyncio.sleep(options.warm_up)
    before, began = _watched(options.watch), time.perf_counter()
    tally.is_open = True
    await asyncio.sleep(options.seconds)
    tally.is_open = False
    after, seconds = _watched(options.watch), time.perf_counter() - began
    await _finish(askers)
    return {
        **{name: value for name, value in vars(tally).items() if name != "is_open"},
        "seconds": seconds,
        "cpu": {pid: after[pid][0] - before[pid][0] for pid in before if pid in after},
        "main_thread": {pid: after[pid][1] - before[pid][1] for pid in before if pid in after},
    }


async def _connect(options: argparse.Namespace, tally: Tally) -> list[Asker]:
    """Streams begin one after the other, so that their chunks are not due at the same moments."""
    request = render_request(options)
    address = urlsplit(options.url)
    askers: list[Asker] = []

    def make() -> Asker:
        askers.append(
            StreamAsker(request, tally, options.chunks) if options.chunks else PlainAsker(request, tally)
        )
        return askers[-1]

    loop = asyncio.get_running_loop()
    for _ in range(options.concurrency):
        await loop.create_connection(make, address.hostname, address.port)
        if options.chunks:
            await asyncio.sleep(0.003)
    return askers


def _watched(pids: list[int]) -> dict[int, tuple[float, float]]:
    """CPU seconds of each process, and of its first thread; a process that has ended is left out."""
    found = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found[pid] = cpu_seconds(pid), main_thread_seconds(pid)
    return found


async def _finish(askers: list[Asker]) -> None:
    for asker in askers:
        asker.is_last = True
    async with asyncio.timeout(FINISH_S):
        for asker in askers:
            await asker.ended.wait()


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A cheap load for `make bench`")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", required=True)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds before the window")
    parser.add_argument("--seconds", type=float, default=2.5, help="length of the window")
    parser.add_argument("--chunks", type=int, default=0, help="stream answers of so many chunks")
    parser.add_argument("--delay-ms", type=float, default=10, help="between two chunks of a stream")
    parser.add_argument("--watch", type=int, action="append", default=[], metavar="PID")
    return parser.parse_args()


if __name__ == "__main__":
    found = json.dumps(uvloop.run(load(read_options())))
    # Not sys.stdout: under PYTHONUNBUFFERED it loses what a pipe does not take at once.
    with open(1, "w", closefd=False) as out:
        out.write(found)
