"""Chat requests over sockets of the test's own: a connection each, every byte seen, the moment of each known.

The SDK hides what these tests are about: when a chunk came, whether an answer was complete, what else was
sent. Times are this machine's monotonic seconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

from tests.installation import Customer

ANSWER_SECONDS = 30.0
DONE = b"[DONE]"


class BrokenOff(ConnectionError):
    """The connection ended before the answer did."""


@dataclass(eq=False)
class Wire:
    """One request and its answer; `async with Wire(customer, fields(...)) as answer:` has its head."""

    customer: Customer
    request: dict[str, Any]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    received: bytearray = field(default_factory=bytearray)
    arrivals: list[float] = field(default_factory=list)
    is_done: bool = False
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.send()
            await self.read_head()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    async def send(self) -> None:
        port = self.customer.installation.port
        self._streams = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        body = orjson.dumps(self.request)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.customer.api_key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._streams[1].write(head.encode() + body)

    async def read_head(self) -> None:
        lines = (await self._read_until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        pairs = (line.partition(": ") for line in lines[1:] if line)
        self.headers = {name.lower(): value for name, _, value in pairs}

    async def body(self) -> Any:
        """The JSON of a plain answer."""
        pieces = [piece async for piece in self._pieces()]
        return orjson.loads(b"".join(pieces))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What each event of a stream says, as it comes; `is_done` tells whether the end mark came too."""
        async for piece in self._pieces():
            for event in piece.split(b"\n\n"):
                payload = event.removeprefix(b"data: ")
                self.is_done = self.is_done or payload == DONE
                if event.startswith(b"data: ") and payload != DONE:
                    yield orjson.loads(payload)

    async def texts(self) -> AsyncIterator[str]:
        """The text of each chunk that has some."""
        async for event in self.events():
            for choice in event.get("choices", ()):
                if text := choice["delta"].get("content"):
                    yield text

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it was sent."""
        if "content-length" in self.headers:
            yield await self._read(int(self.headers["content-length"]))
            return
        while size := int(await self._read_until(b"\r\n"), 16):
            piece = await self._read(size + 2)
            self.arrivals.append(time.monotonic())
            yield piece[:-2]
        await self._read(2)

    async def _read_until(self, end: bytes) -> bytes:
        assert self._streams is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return (await self._streams[0].readuntil(end))[: -len(end)]
        except asyncio.IncompleteReadError as error:
            raise BrokenOff from error

    async def _read(self, size: int) -> bytes:
        assert self._streams is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                piece = await self._streams[0].readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise BrokenOff from error
        self.received += piece
        return piece


@dataclass(frozen=True)
class Seen:
    """What one client saw of one request. `number` is in the request as its prompt tokens."""

    number: int
    status: int
    is_complete: bool
    answer_id: str = ""
    completion_tokens: int | None = None
    began: float = 0.0
    ended: float = 0.0
    error: dict[str, Any] = field(default_factory=dict)


async def see(customer: Customer, number: int, request: dict[str, Any]) -> Seen:
    """Ask once and look at all of it; a broken connection is an answer that is not complete."""
    began = time.monotonic()
    status, answer_id, tokens, complete = 0, "", None, False
    error: dict[str, Any] = {}
    try:
        async with Wire(customer, request) as answer:
            status = answer.status
            events = [e async for e in answer.events()] if _is_stream(answer) else [await answer.body()]
            usages = [event["usage"] for event in events if event.get("usage")]
            error = events[-1].get("error", {}) if events else {}
            answer_id = next((event["id"] for event in events if "id" in event), "")
            tokens = usages[-1]["completion_tokens"] if usages else None
            complete = status == 200 and not error and (answer.is_done or not _is_stream(answer))
    except OSError:
        pass
    return Seen(number, status, complete, answer_id, tokens, began, time.monotonic(), error)


def _is_stream(answer: Wire) -> bool:
    return answer.headers.get("content-type", "").startswith("text/event-stream")


async def see_all(
    customer: Customer,
    requests: Iterable[tuple[int, dict[str, Any]]],
    *,
    at_once: int,
    on_seen: Callable[[Seen], None] = lambda _: None,
) -> list[Seen]:
    """Ask all numbered requests, so many at once; `on_seen` hears of each as it ends."""
    waiting, all_seen = iter(requests), []

    async def work() -> None:
        for number, request in waiting:
            seen = await see(customer, number, request)
            all_seen.append(seen)
            on_seen(seen)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return all_seen
