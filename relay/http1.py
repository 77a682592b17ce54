"""HTTP/1.1 to vendors: one request at a time per connection, connections kept for the next one.

Small on purpose. What it does not do, it does not have to pay for on every request: no redirects, cookies,
proxies, compression or automatic headers. Bodies are handed on in the pieces in which they arrive.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

KEEPALIVE_S = 25.0
CONNECT_TIMEOUT_S = 10.0
BUFFERED_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024

Origin = tuple[str, int, bool]
Headers = list[tuple[bytes, bytes]]


class ConnectFailed(Exception):
    """No connection: not a byte was sent."""


class ConnectionBroken(Exception):
    """The answer did not come, or not to its end, or is not HTTP."""


class Connection(asyncio.Protocol):
    """One connection. `send`, then `read_head`, then `read` until it returns nothing."""

    def __init__(self) -> None:
        self.origin: Origin = ("", 0, False)
        self.idle_since = 0.0
        self.is_open = False
        self.is_reusable = False
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: ConnectionBroken | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: Headers = []
        self._head_bytes = 0
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._is_paused = False
        self._has_head = False
        self._is_complete = False

    def send(self, head: bytes, body: bytes) -> None:
        """Begin an exchange. `head` ends before Content-Length."""
        if self._transport is None or not self.is_open:
            raise ConnectionBroken("the connection is closed")
        self._reset()
        self.is_reusable = False
        self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))

    async def read_head(self) -> None:
        """Returns when `status` and `headers` are there. Raises ConnectionBroken."""
        while not self._has_head:
            await self._progress()

    async def read(self) -> bytes:
        """What arrived since; empty at the end of the body. Raises ConnectionBroken."""
        while not self._pieces:
            if self._is_complete:
                return b""
            await self._progress()
        pieces, self._pieces, self._buffered = self._pieces, [], 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Whoever waits gets ConnectionBroken."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def _progress(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self.is_open:
            raise ConnectionBroken("the connection was closed")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, reason: str) -> None:
        self._failure = ConnectionBroken(reason)
        self.close()
        self._wake()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._is_complete:
            self._fail("the vendor sent more than its answer")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the vendor's answer is not HTTP: {type(error).__name__}")
            return
        if self._buffered > BUFFERED_BYTES and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The end of the body, if nothing else says where that is; else something is missing."""
        self.is_open = False
        if self._has_head and not self._is_complete and self._ends_with_connection() and error is None:
            self._is_complete = True
        elif not self._is_complete and self._failure is None:
            self._failure = ConnectionBroken("the vendor closed the connection")
        self._wake()

    def _ends_with_connection(self) -> bool:
        names = {name.lower() for name, _ in self.headers}
        return b"content-length" not in names and b"transfer-encoding" not in names

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES:
            raise ConnectionBroken("the vendor's headers are too large")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._buffered += len(piece)

    def on_message_complete(self) -> None:
        if self.status < 200:  # an interim answer; the real one follows
            self.headers = []
            return
        self._is_complete = True
        self.is_reusable = self._parser.should_keep_alive()


class ConnectionPool:
    """Idle connections by origin; belongs to one event loop."""

    def __init__(self, *, tls: Callable[[], ssl.SSLContext]) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None

    async def acquire(self, origin: Origin) -> Connection:
        """A connection for one exchange; give it back. Raises ConnectFailed."""
        idle = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_S
        while idle:
            connection = idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.close()
        return await self._connect(origin)

    def give_back(self, connection: Connection) -> None:
        """Keep it if its last answer was read to the end, else close it."""
        if connection.is_reusable and connection.is_open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(connection.origin, deque()).append(connection)
        else:
            connection.close()

    def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    async def _connect(self, origin: Origin) -> Connection:
        return await open_connection(origin, tls=self._tls_context() if origin[2] else None)

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls


async def open_connection(
    origin: Origin,
    *,
    tls: ssl.SSLContext | None,
    address: str | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Connection:
    """A new connection. Raises ConnectFailed.

    `address` is where to connect without looking the host up again; its certificate must be the host's all
    the same.
    """
    host, port, _ = origin
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            transport, connection = await loop.create_connection(
                Connection, address or host, port, ssl=tls, server_hostname=host if tls else None
            )
    except TimeoutError as error:
        raise ConnectFailed("timed out") from error
    except (OSError, ssl.SSLError) as error:
        raise ConnectFailed(type(error).__name__) from error
    stream = transport.get_extra_info("socket")
    if stream is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.origin = origin
    return connection
