"""One request to a vendor: sent once, its answer opened, every failure turned into one of ours."""

import asyncio
from types import TracebackType
from typing import Self

import httpx

from relay.errors import RelayError, UpstreamFailed, UpstreamTimedOut, UpstreamUnavailable
from relay.routing import Target
from relay.transport import UpstreamTransport
from relay.vendors.openai_shaped import request_headers, request_url, vendor_refusal

ERROR_BODY_BYTES = 64 * 1024
ANSWER_BYTES = 64 * 1024 * 1024


class UpstreamAnswer:
    """An answer with status 200 whose body is still to be read. Use it as an asynchronous context."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = aiter(response.stream)  # type: ignore[arg-type]  # ours is asynchronous

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""
        await self._response.stream.aclose()  # type: ignore[union-attr]

    def abort(self) -> None:
        """Break the connection off; whoever waits in `next_piece` gets UpstreamFailed."""
        self._response.extensions["abort"]()

    async def next_piece(self) -> bytes:
        """What arrived next; empty at the end. Raises RelayError when the connection breaks."""
        try:
            return await anext(self._pieces, b"")
        except httpx.TransportError as error:
            raise _failure(error) from error

    async def read_all(self) -> bytes:
        pieces = []
        size = 0
        while piece := await self.next_piece():
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_BYTES:
                raise UpstreamFailed("The model's vendor answered with more than can be relayed.")
        return b"".join(pieces)


async def send_upstream(
    transport: UpstreamTransport, target: Target, body: bytes
) -> UpstreamAnswer:
    """Send `body`; returns once the vendor has accepted it. Raises RelayError otherwise."""
    request = httpx.Request(
        "POST", request_url(target), headers=request_headers(target.api_keys[0]), content=body
    )
    try:
        async with asyncio.timeout(target.timeout_first_token_s):
            response = await transport.handle_async_request(request)
    except TimeoutError as error:
        raise UpstreamTimedOut(
            "The model's vendor did not answer in time. Nothing was charged."
        ) from error
    except httpx.TransportError as error:
        raise _failure(error) from error
    if response.status_code == 200:
        return UpstreamAnswer(response)
    raise await _refusal(response)


async def _refusal(response: httpx.Response) -> RelayError:
    async with UpstreamAnswer(response) as answer:
        body = b""
        try:
            async with asyncio.timeout(5):
                while len(body) < ERROR_BODY_BYTES and (piece := await answer.next_piece()):
                    body += piece
        except (TimeoutError, RelayError):
            body = b""
    return vendor_refusal(response.status_code, response.headers, body)


def _failure(error: httpx.TransportError) -> RelayError:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)):
        return UpstreamUnavailable(
            "The model's vendor cannot be reached right now. Nothing was charged.",
            headers={"retry-after": "1"},
        )
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimedOut("The model's vendor stopped answering.")
    return UpstreamFailed("The connection to the model's vendor broke.")


