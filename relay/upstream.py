"""One request to a vendor: sent once, its answer opened, every failure turned into one of ours."""

import asyncio
from types import TracebackType
from typing import Self

from relay.adapters import Adapter
from relay.contracts import UpstreamRequest
from relay.errors import RelayError, UpstreamFailed, UpstreamUnavailable
from relay.routing import Target
from relay.transport import (
    UpstreamBroken,
    UpstreamClient,
    UpstreamNotReached,
    UpstreamResponse,
)

ERROR_BODY_BYTES = 64 * 1024
ERROR_BODY_S = 5.0
LAST_BYTES_S = 1.0
ANSWER_BYTES = 64 * 1024 * 1024


class UpstreamAnswer:
    """An answer that is being read. Use it as an asynchronous context, or close it."""

    def __init__(self, response: UpstreamResponse) -> None:
        self._response = response

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
        await self._response.aclose()

    async def finish(self) -> None:
        """Close after the last event: what the vendor still sends is a terminator, worth a moment's wait,
        because a connection that was read to its end can be used again."""
        try:
            async with asyncio.timeout(LAST_BYTES_S):
                while await self.next_piece():
                    pass
        except (TimeoutError, RelayError):
            pass  # then the connection is dropped
        await self.aclose()

    def abort(self) -> None:
        """Break the connection off; whoever waits in `next_piece` gets UpstreamFailed."""
        self._response.abort()

    async def next_piece(self) -> bytes:
        """What arrived next; empty at the end. Raises RelayError when the connection breaks."""
        try:
            return await self._response.next_piece()
        except UpstreamBroken as error:
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
    client: UpstreamClient, target: Target, adapter: Adapter, request: UpstreamRequest
) -> UpstreamAnswer:
    """Send `request`; returns once the vendor has accepted it. Raises RelayError otherwise."""
    try:
        response = await client.post(
            target.url(request.path), adapter.headers(target.api_keys[0]), request.body
        )
    except (UpstreamNotReached, UpstreamBroken) as error:
        raise _failure(error) from error
    if response.status == 200:
        return UpstreamAnswer(response)
    raise await _refusal(response, adapter)


async def _refusal(response: UpstreamResponse, adapter: Adapter) -> RelayError:
    body = b""
    async with UpstreamAnswer(response) as answer:
        try:
            async with asyncio.timeout(ERROR_BODY_S):
                while len(body) < ERROR_BODY_BYTES and (piece := await answer.next_piece()):
                    body += piece
        except (TimeoutError, RelayError):
            body = b""  # the status alone says enough
    return adapter.refusal(response.status, response.headers, body)


def _failure(error: Exception) -> RelayError:
    if isinstance(error, UpstreamNotReached):
        return UpstreamUnavailable(
            "The model's vendor cannot be reached right now. Nothing was charged.",
            headers={"retry-after": "1"},
        )
    return UpstreamFailed("The connection to the model's vendor broke.")
