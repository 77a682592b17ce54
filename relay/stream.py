"""A streamed answer: each chunk goes on at once, the closing event waits for the commit.

What must stay true: the stream is read to its end or to a bound even when the customer has left, it is
settled exactly once however it ends, and after the first byte a failure is an error event, never a `stop`.
"""

import asyncio
from collections.abc import AsyncIterator

import structlog

from billing.contracts import Ending
from relay.endings import ending_of
from relay.errors import InternalError, RelayError, UpstreamFailed, UpstreamTimedOut
from relay.exchange import Exchange, completion_name, request_name
from relay.protocols.openai_chat.stream import ChatStreamTranslator, error_event
from relay.sse import SSESplitter
from relay.upstream import UpstreamAnswer

SILENCE_S = 300.0
DRAIN_S = 90.0
WATCH_EVERY_S = 5.0

log = structlog.get_logger(__name__)
_finishing: set[asyncio.Task[object]] = set()


class ChatStream:
    """Bytes for the customer, from the first parsed event on. Iterate it once, to the end."""

    def __init__(self, exchange: Exchange, answer: UpstreamAnswer) -> None:
        self._exchange = exchange
        self._answer = answer
        self._splitter = SSESplitter()
        self._translator = ChatStreamTranslator(
            completion_id=completion_name(exchange.request_id),
            created=int(exchange.started_at.timestamp()),
            include_usage=exchange.chat.include_usage,
            model_fallback=exchange.target.upstream_model,
        )
        self._loop = asyncio.get_running_loop()
        self._silent_since = 0.0
        self._drain_until = 0.0
        self._is_expired = False
        self._is_client_gone = False
        self._ready = b""
        self._is_open = True

    async def open(self) -> None:
        """Read up to the first event, while an error can still become an HTTP status. Raises RelayError."""
        while not self._ready and self._is_open:
            self._ready = await self._read()
        if not self._is_open and not self._translator.finished:
            raise UpstreamFailed("The model's vendor ended the stream without an answer.")

    def leave(self) -> None:
        """The customer is gone: learn what the request used, within a bound, and charge that."""
        self._is_client_gone = True
        self._drain_until = self._loop.time() + DRAIN_S

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._silent_since = self._loop.time()
        watch = self._loop.call_later(WATCH_EVERY_S, self._watch)
        try:
            if self._ready:
                yield self._ready
            while self._is_open:
                if chunk := await self._read():
                    yield chunk
            yield await self._closing()
        except RelayError as error:
            yield await self._broken(error)
        except (asyncio.CancelledError, GeneratorExit):
            self._settle_apart()
            raise
        finally:
            watch.cancel()
            self._is_open = False
            await self._answer.aclose()

    def _watch(self) -> None:
        """End a stream that fell silent, or whose customer left too long ago. One timer, not one a chunk."""
        now = self._loop.time()
        if not self._is_open:
            return
        if now - self._silent_since > SILENCE_S or 0 < self._drain_until < now:
            self._is_expired = True
            self._answer.abort()
        else:
            self._loop.call_later(WATCH_EVERY_S, self._watch)

    async def _closing(self) -> bytes:
        """Everything has been read: settle, then the events that say the answer is complete."""
        if self._translator.finished:
            return await self._settled(ending_of(self._translator.finish_reasons))
        if self._is_expired:
            raise UpstreamTimedOut("The model's vendor stopped answering.")
        raise UpstreamFailed("The model's vendor broke the stream off.")

    async def _read(self) -> bytes:
        """One piece from the vendor, translated; empty when it held no whole event."""
        piece = await self._answer.next_piece()
        if not piece:
            self._is_open = False
            return b""
        translate = self._translator.feed
        out = [chunk for payload in self._splitter.feed(piece) if (chunk := translate(payload))]
        if out:
            self._silent_since = self._loop.time()
            self._exchange.note_output()
        if self._translator.done:
            self._is_open = False
        return b"".join(out)

    async def _settled(self, ending: Ending) -> bytes:
        translator = self._translator
        usage = await self._exchange.settle(
            ending=ending,
            reported=translator.usage,
            output_bytes=translator.output_bytes,
            upstream_model=translator.upstream_model,
        )
        return translator.closing(usage)

    async def _broken(self, error: RelayError) -> bytes:
        """The stream failed after its first byte: charge what came out, tell the customer."""
        if self._is_expired:
            error = UpstreamTimedOut("The model's vendor stopped answering.")
        if self._exchange.hold.is_open:
            ending = Ending.CLIENT_GONE if self._is_client_gone else Ending.VENDOR_ERROR
            try:
                await self._settled(ending)
            except RelayError as failure:
                log.warning(
                    "settled_late", request=request_name(self._exchange.request_id), code=failure.code
                )
        return error_event(error)

    def _settle_apart(self) -> None:
        """This task is being cancelled; the charge must not be."""
        if self._exchange.hold.is_open:
            task = asyncio.create_task(self._settled(Ending.CLIENT_GONE))
            _finishing.add(task)
            task.add_done_callback(_finishing.discard)


async def finish_streams() -> None:
    """Wait for the charges of streams that were cancelled."""
    if _finishing:
        await asyncio.wait(_finishing, timeout=10)


def unexpected(error: Exception, request: str) -> InternalError:
    log.error("request_failed", request=request, exc_info=error)
    return InternalError(f"Something went wrong on our side. Request: {request}")
