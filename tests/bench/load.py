"""A cheap client: keep-alive connections that ask, read to the end, and ask again. Prints JSON.

A process of its own, so that its work is not counted as the relay's. `--chunks` turns on streaming: the
vendor double sends a chunk every `--delay-ms`, and a chunk that has to wait shows as a longer gap.
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop

PROMPT = "The quick brown fox jumps over the lazy dog. " * 12


@dataclass
class Seen:
    requests: int = 0
    chunks: int = 0
    failures: int = 0
    seconds: list[float] = field(default_factory=list)
    first_chunk: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


class Asker(asyncio.Protocol):
    def __init__(self, request: bytes, seen: Seen, *, is_stream: bool) -> None:
        self._request = request
        self._seen = seen
        self._is_stream = is_stream
        self._transport: Any = None
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks = 0
        self._tail = b""
        self._asked = self._last = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.is_over:
            self._seen.failures += 1

    def on_body(self, body: bytes) -> None:
        self._tail = (self._tail + body)[-40:]
        if not self._is_stream:
            return
        now = time.perf_counter()
        events = body.count(b"data: ")
        if self._chunks == 0:
            self._seen.first_chunk.append(now - self._asked)
        else:
            self._seen.gaps.append(now - self._last)
        self._last = now
        self._chunks += events
        self._seen.chunks += events

    def on_message_complete(self) -> None:
        is_whole = self._tail.endswith(b"data: [DONE]\n\n") or not self._is_stream
        if self._parser.get_status_code() == 200 and is_whole:
            self._seen.requests += 1
            self._seen.seconds.append(time.perf_counter() - self._asked)
        else:
            self._seen.failures += 1
        if self.is_over:
            self._transport.close()
        else:
            self._ask()


def render_request(arguments: argparse.Namespace) -> bytes:
    content = PROMPT
    if arguments.chunks:
        content = json.dumps({"chunks": arguments.chunks, "delay_ms": arguments.delay_ms})
    body = json.dumps(
        {
            "model": arguments.model,
            "stream": bool(arguments.chunks),
            "max_tokens": 1_000,
            "temperature": 0.7,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": content},
            ],
        }
    ).encode()
    parts = urlsplit(arguments.url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {arguments.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(arguments: argparse.Namespace) -> Seen:
    """Warm up, then measure for the given time; connections finish the answer they are reading."""
    parts = urlsplit(arguments.url)
    seen = Seen()
    request = render_request(arguments)
    loop = asyncio.get_running_loop()
    askers = []
    for _ in range(arguments.concurrency):
        _, asker = await loop.create_connection(
            lambda: Asker(request, seen, is_stream=bool(arguments.chunks)), parts.hostname, parts.port
        )
        askers.append(asker)
    await asyncio.sleep(arguments.seconds)
    for asker in askers:
        asker.is_over = True
    return seen


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", required=True)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--chunks", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=5)
    arguments = parser.parse_args()
    seen = uvloop.run(ask(arguments))
    answer = {
        "requests": seen.requests,
        "chunks": seen.chunks,
        "failures": seen.failures,
        "seconds": arguments.seconds,
        "latency_ms": {"p50": quantile(seen.seconds, 0.5) * 1e3, "p99": quantile(seen.seconds, 0.99) * 1e3},
        "first_chunk_ms": quantile(seen.first_chunk, 0.5) * 1e3,
        "gap_ms": {"p50": quantile(seen.gaps, 0.5) * 1e3, "p99": quantile(seen.gaps, 0.99) * 1e3},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
