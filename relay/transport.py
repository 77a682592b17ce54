"""The only maker of upstream connections: httpx's transport interface over aiohttp's connector.

What a failure allows to conclude, which neither library tells on its own:

UpstreamNotReached   no byte of the request left: it was surely not run
UpstreamBroken       the connection ended early: the request may have been run
UpstreamSilent       the same, and nobody ended anything
"""

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache

import aiohttp
import httpx

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 25.0
READ_BUFFER_BYTES = 256 * 1024

HeaderPairs = tuple[tuple[str, str], ...]


class UpstreamNotReached(Exception):
    """Nothing was sent; sending it again, here or elsewhere, cannot run it twice."""


class UpstreamBroken(Exception):
    """Whether the vendor ran the request is unknown."""


class UpstreamSilent(UpstreamBroken):
    """The vendor took the request and fell silent."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Keeps connections, no cookies, follows no redirect, reads no proxy settings, asks for no compression.

    Raises httpx.ConnectError and ConnectTimeout only for requests of which nothing was sent.
    """

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = await self._session.request(
                request.method,
                str(request.url),
                headers=request.headers.multi_items(),
                data=request.read(),
                allow_redirects=False,
            )
        except Exception as error:
            raise _as_httpx(error, request) from error
        return httpx.Response(
            answer.status,
            headers=list(answer.raw_headers),
            stream=_Body(answer, request),
            request=request,
            extensions={"abort": answer.close},
        )

    async def aclose(self) -> None:
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body, in the pieces in which it arrives."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._answer.content
        try:
            while data := await content.readany():
                yield data
        except Exception as error:
            raise _as_httpx(error, self._request) from error

    async def aclose(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


class UpstreamResponse:
    """A vendor's answer: the head is there, the body is still to be read."""

    def __init__(self, response: httpx.Response) -> None:
        assert isinstance(response.stream, _Body)  # noqa: S101 - our transport made it
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._body = response.stream
        self._pieces = aiter(response.stream)
        self._abort = response.extensions["abort"]

    async def next_piece(self) -> bytes:
        """What arrived next; empty at the end. Raises UpstreamBroken."""
        try:
            return await anext(self._pieces, b"")
        except httpx.TransportError as error:
            raise _as_ours(error) from error

    async def aclose(self) -> None:
        await self._body.aclose()

    def abort(self) -> None:
        """Break the connection off; whoever waits for a piece gets UpstreamBroken."""
        self._abort()


class UpstreamClient:
    """One per process and event loop."""

    def __init__(self) -> None:
        self._transport = AiohttpTransport()

    async def post(self, url: str, headers: HeaderPairs, body: bytes) -> UpstreamResponse:
        """Send `body`; returns when the head of the answer is there, whatever its status.

        Raises UpstreamNotReached, UpstreamBroken or UpstreamSilent.
        """
        request = httpx.Request(
            "POST", _parsed_url(url), headers=_parsed_headers(headers), stream=httpx.ByteStream(body)
        )
        try:
            return UpstreamResponse(await self._transport.handle_async_request(request))
        except httpx.TransportError as error:
            raise _as_ours(error) from error

    async def aclose(self) -> None:
        await self._transport.aclose()


@lru_cache(maxsize=1024)
def _parsed_url(url: str) -> httpx.URL:
    return httpx.URL(url)


@lru_cache(maxsize=1024)
def _parsed_headers(headers: HeaderPairs) -> httpx.Headers:
    return httpx.Headers(headers)


def _as_httpx(error: Exception, request: httpx.Request) -> Exception:
    for kind, meaning in _MEANINGS:
        if isinstance(error, kind):
            return meaning(type(error).__name__, request=request)
    return error


# The first that fits counts, so the narrow ones stand first.
_MEANINGS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
    (OSError, httpx.ReadError),
)


def _as_ours(error: httpx.TransportError) -> Exception:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)):
        return UpstreamNotReached(str(error))
    if isinstance(error, httpx.TimeoutException):
        return UpstreamSilent(str(error))
    return UpstreamBroken(str(error))
