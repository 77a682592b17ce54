"""The slim ASGI application behind `/v1/`: reads the body, awaits a DRF view, sends what it answers.

It stands in for Django's request handler, whose middleware, signals and thread hops cost several times what
relaying does. A customer who leaves does not stop a stream: it is told, and read to a bound.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from django.http import HttpResponse

from common.ids import uuid7
from relay.api.answers import StreamedAnswer, error_response
from relay.api.base import RelayRequest, RelayView
from relay.api.views import ChatCompletionsView, ModelsView, ModelView
from relay.errors import NotFound, RequestTooLarge, ServiceUnavailable
from relay.exchange import request_name
from relay.protocols.openai_chat.stream import error_event
from relay.runtime import Relay
from relay.stream import ChatStream

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

VIEWS: dict[str, type[RelayView]] = {
    "/v1/chat/completions": ChatCompletionsView,
    "/v1/models": ModelsView,
}
MODEL_PREFIX = "/v1/models/"


class ClientLeft(Exception):
    """The connection ended before the body was complete; there is nobody to answer."""


class RelayApplication:
    def __init__(self, relay: Relay, *, body_limit: int) -> None:
        self._relay = relay
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = uuid7()
        try:
            body = await self._read_body(scope, receive)
        except ClientLeft:
            return
        except RequestTooLarge as error:
            await _send_whole(error_response(error), request_name(request_id), send)
            return
        response = await self._answer(scope, body, request_id)
        if isinstance(response, StreamedAnswer):
            await _send_stream(response, request_name(request_id), receive, send)
        else:
            await _send_whole(response, request_name(request_id), send)

    async def _answer(self, scope: Scope, body: bytes, request_id: UUID) -> HttpResponse:
        found = _find_view(scope["path"])
        if found is None:
            return error_response(NotFound(f"There is no {scope['method']} {scope['path'][:200]} here."))
        view, arguments = found
        request = RelayRequest(scope, body, request_id)
        try:
            return await view(relay=self._relay).dispatch(request, **arguments)
        except asyncio.CancelledError:  # the server stops, and this took longer than it may wait
            return error_response(_stopping())

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """Raises RequestTooLarge, as soon as the declared or the real size says so."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._body_limit:
                raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._body_limit:
                raise self._too_large()
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The body is larger than {self._body_limit // 2**20} MB.")


def _stopping() -> ServiceUnavailable:
    return ServiceUnavailable("The service is restarting; try again.", headers={"retry-after": "1"})


def _find_view(path: str) -> tuple[type[RelayView], dict[str, str]] | None:
    view = VIEWS.get(path)
    if view is not None:
        return view, {}
    if path.startswith(MODEL_PREFIX) and len(path) > len(MODEL_PREFIX):
        return ModelView, {"model": unquote(path[len(MODEL_PREFIX) :])}
    return None


async def _send_whole(response: HttpResponse, request: str, send: Send) -> None:
    headers = _headers(response, request)
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


async def _send_stream(response: StreamedAnswer, request: str, receive: Receive, send: Send) -> None:
    watcher = asyncio.create_task(_tell_when_gone(receive, response.chunks))
    response.chunks.on_quiet = lambda comment: _send_aside(send, comment)
    try:
        await send({"type": "http.response.start", "status": 200, "headers": _headers(response, request)})
        async for chunk in response.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except asyncio.CancelledError:
        await send({"type": "http.response.body", "body": error_event(_stopping())})
    finally:
        watcher.cancel()


_sending: set[asyncio.Task[None]] = set()


def _send_aside(send: Send, comment: bytes) -> None:
    """Between two chunks: each is whole events, so a comment fits anywhere."""
    message = {"type": "http.response.body", "body": comment, "more_body": True}
    task = asyncio.ensure_future(send(message))
    _sending.add(task)
    task.add_done_callback(_sending.discard)


async def _tell_when_gone(receive: Receive, chunks: ChatStream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    chunks.leave()


def _headers(response: HttpResponse, request: str) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
    headers.append((b"x-request-id", request.encode()))
    return headers
