"""A streamed answer: each chunk goes on at once, the closing event waits for the commit.

What must stay true: the stream is read to its end or to a bound even when the customer has left, it is
settled exactly once however it ends, and after the first byte a failure is an error event, never a `stop`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog

from billing.contracts import Ending
from relay.adapters import StreamTranslator
from relay.endings import ending_of
from relay.errors import InternalError, RelayError, UpstreamFailed, UpstreamTimedOut
from relay.exchange import Exchange, request_name
from relay.protocols.openai_chat.stream import error_event
from relay.sse import SSEOverflow, SSESplitter
from relay.upstream import UpstreamAnswer

SILENCE_S = 300.0
DRAIN_S = 90.0
WATCH_EVERY_S = 5.0
KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": keep-alive\n\n"

log = structlog.get_logger(__name__)
_finishing: set[asyncio.Task[object]] = set()


class ChatStream:
    """Bytes for the customer, from the first parsed event on. Iterate it once, to the end.

    `on_quiet` is called with a comment to send when nothing came for a while, so that proxies in between
    keep the connection.
    """

    def __init__(
        self,
        exchange: Exchange,
        answer: UpstreamAnswer,
        translator: StreamTranslator,
        remember: Callable[[int, Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        self.on_quiet: Callable[[bytes], None] | None = None
        self._exchange = exchange
        self._answer = answer
        self._splitter = SSESplitter()
        self._translator = translator
        self._remember = remember
        self._loop = asyncio.get_running_loop()
        self._silent_since = 0.0
        self._drain_until = 0.0
        self._is_expired = False
        self._is_client_gone = False
        self._ready = b""
        self._failure: RelayError | None = None
        self._is_open = True

    async def open(self) -> None:
        """Read up to the first event, while an error can still become an HTTP status. Raises RelayError."""
        while not self._ready and self._is_open:
            self._ready = await self._read()
        if not self._ready and not self._is_whole():
            raise self._failure or UpstreamFailed("The model's vendor ended the stream without an answer.")

    def leave(self) -> None:
        """The customer is gone: learn what the request used, within a bound, and charge that."""
        self._is_client_gone = True
        self._drain_until = self._loop.time() + DRAIN_S

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._silent_since = self._loop.time()
        self._loop.call_later(WATCH_EVERY_S, self._watch)
        try:
            if self._ready:
                yield self._ready
            while self._is_open:
                if chunk := await self._read():
                    yield chunk
            yield await self._closing()
        except RelayError as error:
            yield await self._broken(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, what came out is charged
            name = request_name(self._exchange.request_id)
            yield await self._broken(unexpected(error, name))
        except (asyncio.CancelledError, GeneratorExit):
            _finish_apart(self._settle_unless_done())
            raise
        finally:
            self._is_open = False
            _finish_apart(self._answer.finish())

    def _watch(self) -> None:
        """One timer a stream, not one a chunk: ends what fell silent, or outlived a customer who left."""
        if not self._is_open:
            return
        now = self._loop.time()
        silence = now - self._silent_since
        if silence > SILENCE_S or 0 < self._drain_until < now:
            self._is_expired = True
            self._answer.abort()
            return
        if silence > KEEP_ALIVE_S and self.on_quiet is not None:
            self.on_quiet(KEEP_ALIVE)
        self._loop.call_later(WATCH_EVERY_S, self._watch)

    async def _read(self) -> bytes:
        """One piece from the vendor, translated; empty when it held no whole event.

        What came before a failure in the same piece is delivered first: it will be charged.
        """
        piece = await self._answer.next_piece()
        out = []
        try:
            for payload in self._splitter.feed(piece) if piece else self._splitter.flush():
                if chunk := self._translator.feed(payload):
                    out.append(chunk)  # noqa: PERF401 - a failure must not take the others with it
        except RelayError as error:
            self._failure = error
        except SSEOverflow:
            self._failure = UpstreamFailed("The model's vendor sent an event that is too large.")
        if out:
            self._silent_since = self._loop.time()
            self._exchange.note_output()
        if not piece or self._translator.done or self._failure:
            self._is_open = False
        return b"".join(out)

    def _is_whole(self) -> bool:
        """Whether the vendor said all there is: the end itself, or a finish reason for every choice."""
        translator = self._translator
        expected = self._exchange.chat.n
        is_told = translator.finished and len(translator.finish_reasons) >= expected
        return self._failure is None and translator.complete and (translator.done or is_told)

    async def _closing(self) -> bytes:
        """Everything has been read: settle, then the events that say the answer is complete."""
        if self._is_whole():
            reasons = self._translator.finish_reasons
            return await self._settled(Ending.CLIENT_GONE if self._is_client_gone else ending_of(reasons))
        raise self._failure or UpstreamFailed("The model's vendor broke the stream off.")

    async def _settled(self, ending: Ending) -> bytes:
        translator = self._translator
        usage = await self._exchange.settle(
            ending=ending,
            reported=translator.reported_usage,
            output_bytes=translator.output_bytes,
            upstream_model=translator.upstream_model,
            service_tier=translator.service_tier,
        )
        if not self._is_whole():
            return b""
        await self._remember(self._exchange.hold.payer.organization_id, translator.remember)
        return translator.closing(usage)

    async def _broken(self, error: RelayError) -> bytes:
        """The stream failed after its first byte: charge what came out, tell the customer."""
        if self._is_expired:
            error = UpstreamTimedOut("The model's vendor stopped answering.")
        await self._settle_unless_done()
        return error_event(error)

    async def _settle_unless_done(self) -> None:
        if not self._exchange.hold.is_open:
            return
        try:
            await self._settled(Ending.CLIENT_GONE if self._is_client_gone else Ending.VENDOR_ERROR)
        except RelayError as failure:
            name = request_name(self._exchange.request_id)
            log.warning("settled_late", request=name, code=failure.code)


def _finish_apart(work: Coroutine[Any, Any, None]) -> None:
    """In a task of its own: the one at hand is ending, or must not wait."""
    task = asyncio.get_running_loop().create_task(work)
    _finishing.add(task)
    task.add_done_callback(_finishing.discard)


async def finish_streams() -> None:
    """Wait for the charges of streams that were cancelled, and for connections to be given back."""
    if _finishing:
        await asyncio.wait(_finishing, timeout=10)


def unexpected(error: Exception, request: str) -> InternalError:
    log.error("request_failed", request=request, exc_info=error)
    return InternalError(f"Something went wrong on our side. Request: {request}")
