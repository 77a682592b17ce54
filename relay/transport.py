"""The only place that imports an HTTP client: httpx's transport interface over our own connections.

httpx's own pool costs more per request than all the rest of the relay together, aiohttp's client about a
third of it (`platform/docs/decisions/0005-own-upstream-connections.md`). What httpx gives is the interface
and the names of what can go wrong:

httpx.ConnectError              no byte of the request left: it was surely not run
httpx.RemoteProtocolError       the connection ended early: the request may have been run
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any

import httpx

from relay.http1 import ConnectFailed, Connection, ConnectionBroken, ConnectionPool, Origin

UpstreamBroken = ConnectionBroken
"""Whether the vendor ran the request is unknown."""

HeaderPairs = tuple[tuple[str, str], ...]
PREPARED = "farebox.prepared"


class UpstreamNotReached(Exception):
    """Nothing was sent; sending it again, here or elsewhere, cannot run it twice."""


def make_public_tls() -> ssl.SSLContext:
    """What the public web is checked against: the bundled authorities, whatever the environment says."""
    return httpx.create_ssl_context(trust_env=False)


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Keeps connections, but no cookies; follows no redirect and reads no proxy settings."""

    def __init__(self) -> None:
        self._pool = ConnectionPool(tls=httpx.create_ssl_context)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin, head = request.extensions.get(PREPARED) or _prepared(request)
        try:
            connection = await self._pool.acquire(origin)
        except ConnectFailed as error:
            raise httpx.ConnectError(str(error), request=request) from error
        try:
            connection.send(head, request.read())
            await connection.read_head()
        except ConnectionBroken as error:
            connection.close()
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except BaseException:
            connection.close()
            raise
        return httpx.Response(
            connection.status,
            headers=connection.headers,
            stream=_Body(self._pool, connection),
            request=request,
        )

    async def aclose(self) -> None:
        self._pool.close()


class _Body(httpx.AsyncByteStream):
    """The body, in the pieces in which it arrives."""

    def __init__(self, pool: ConnectionPool, connection: Connection) -> None:
        self.connection = connection
        self._pool = pool
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self.connection.read():
                yield piece
        except ConnectionBroken as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    async def aclose(self) -> None:
        if self._is_open:
            self._is_open = False
            self._pool.give_back(self.connection)


class UpstreamResponse:
    """A vendor's answer: the head is there, the body is still to be read."""

    def __init__(self, response: httpx.Response) -> None:
        assert isinstance(response.stream, _Body)  # noqa: S101 - our transport made it
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._body = response.stream
        # What arrived next, empty at the end; raises UpstreamBroken. Bound to the connection itself: one
        # layer less for every chunk. Not to be called after `aclose`.
        self.next_piece = response.stream.connection.read

    async def aclose(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""
        await self._body.aclose()

    def abort(self) -> None:
        """Break the connection off; whoever waits for a piece gets UpstreamBroken."""
        self._body.connection.close()


class UpstreamClient:
    """One per process and event loop."""

    def __init__(self) -> None:
        self._transport = UpstreamTransport()

    async def post(self, url: str, headers: HeaderPairs, body: bytes) -> UpstreamResponse:
        """Send `body`; returns when the head of the answer is there, whatever its status.

        Raises UpstreamNotReached or UpstreamBroken.
        """
        return await self._send("POST", url, headers, body)

    async def get(self, url: str, headers: HeaderPairs) -> UpstreamResponse:
        """The same without a body."""
        return await self._send("GET", url, headers, b"")

    async def _send(self, method: str, url: str, headers: HeaderPairs, body: bytes) -> UpstreamResponse:
        parsed_url, parsed_headers, extensions = _parsed(method, url, headers)
        request = httpx.Request(
            method,
            parsed_url,
            headers=parsed_headers,
            stream=httpx.ByteStream(body),
            extensions=extensions,
        )
        try:
            return UpstreamResponse(await self._transport.handle_async_request(request))
        except httpx.ConnectError as error:
            raise UpstreamNotReached(str(error)) from error
        except httpx.TransportError as error:
            raise UpstreamBroken(str(error)) from error

    async def aclose(self) -> None:
        await self._transport.aclose()


@lru_cache(maxsize=1024)
def _parsed(method: str, url: str, headers: HeaderPairs) -> tuple[httpx.URL, httpx.Headers, dict[str, Any]]:
    """What all requests to one vendor with one credential have in common, made once."""
    sample = httpx.Request(method, url, headers=headers, stream=httpx.ByteStream(b""))
    return sample.url, sample.headers, {PREPARED: _prepared(sample)}


def _prepared(request: httpx.Request) -> tuple[Origin, bytes]:
    """Where it goes, and its head up to the body's length, which is added when it is sent."""
    url = request.url
    is_tls = url.scheme == "https"
    lines = [
        b"%b %b HTTP/1.1" % (request.method.encode(), url.raw_path),
        b"Host: %b" % url.netloc,
        *(b"%b: %b" % pair for pair in request.headers.raw),
    ]
    return (url.host, url.port or (443 if is_tls else 80), is_tls), b"\r\n".join(lines) + b"\r\n"
