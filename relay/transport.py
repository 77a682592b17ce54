"""The only maker of upstream connections: httpx's transport interface over aiohttp's connector.

The exceptions tell what a caller may conclude, which aiohttp alone does not:

httpx.ConnectError, ConnectTimeout   no byte of the request left: it was surely not run
httpx.ReadError, RemoteProtocolError the request may have been run
httpx.ReadTimeout                    the same, and the vendor is silent
"""

from collections.abc import AsyncIterator

import aiohttp
import httpx

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 25.0
READ_BUFFER_BYTES = 256 * 1024


class UpstreamTransport(httpx.AsyncBaseTransport):
    """One per process and event loop. Keeps connections, no cookies, follows no redirect, reads no proxy
    settings, asks for no compression."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ttl_dns_cache=60, keepalive_timeout=KEEPALIVE_S, enable_cleanup_closed=False
            ),
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
                data=await request.aread(),
                allow_redirects=False,
            )
        except Exception as error:
            raise _translated(error, request) from error
        return httpx.Response(
            answer.status,
            headers=list(answer.raw_headers),
            stream=_AnswerStream(answer, request),
            request=request,
            extensions={"abort": answer.close},
        )

    async def aclose(self) -> None:
        await self._session.close()


class _AnswerStream(httpx.AsyncByteStream):
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
            raise _translated(error, self._request) from error

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


def _translated(error: Exception, request: httpx.Request) -> Exception:
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
