"""The small vendor behind the catalogue's `farebox-demo` model: a first call needs no vendor's key.

A process of its own that speaks OpenAI's protocol on loopback, for the relay to call like any other
vendor. It imports neither Django nor anything of Farebox's that does, and keeps nothing.

    python -m relay.demo_vendor --fd 3        a listening TCP socket the parent made
    python -m relay.demo_vendor --port 9100   its own; 0 takes a free one

It prints one line when it serves. SIGTERM and SIGINT let running answers end, for at most
GRACE_SECONDS, and exit with 0.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

import uvloop

from relay import demo_vendor_http as http
from relay.demo_vendor_text import MODEL
from relay.demo_vendor_wire import (
    Answer,
    DemoVendorError,
    answer,
    read_chat_request,
    render_model,
    render_models,
)

GRACE_SECONDS = 5.0
LINGER_SECONDS = 1.0
IDLE_SECONDS = 120  # longer than any client keeps an idle connection, so that the client closes first
TOKEN_SECONDS = 0.025


class Connection:
    """One client's connection. `busy` from a request's head to the last byte of its answer."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        started: int,
        token_seconds: float,
    ) -> None:
        self.busy = False
        self.closing = False
        self._reader = reader
        self._writer = writer
        self._started = started
        self._token_seconds = token_seconds

    async def serve(self) -> None:
        """Answer requests until either side has had enough. A client that leaves is no error."""
        try:
            while not self.closing:
                await self._serve_one()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writer.close()

    async def _serve_one(self) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                request = await http.read_head(self._reader)
            if request is None:
                self.closing = True
                return
            await self._answer(request)
        except DemoVendorError as refusal:
            # What was not read of the request would be taken for the next one.
            self.closing = True
            await self._send_whole(refusal.status, refusal.render())
            await self._linger()
        self.busy = False

    async def _answer(self, request: http.HttpRequest) -> None:
        self.busy = True
        self.closing = self.closing or not request.keeps_alive
        body = await http.read_body(request, self._reader, self._writer)
        try:
            reply = self._dispatch(request, body)
        except DemoVendorError as refusal:
            await self._send_whole(refusal.status, refusal.render())
            return
        if isinstance(reply, bytes):
            await self._send_whole(200, reply)
        else:
            await self._send_stream(reply)

    def _dispatch(self, request: http.HttpRequest, body: bytes) -> bytes | Answer:
        """The whole answer, or the one to be streamed; raises DemoVendorError."""
        route: tuple[str, Callable[[], bytes | Answer]] | None = {
            "/v1/chat/completions": ("POST", lambda: _answer_chat(body)),
            "/v1/models": ("GET", lambda: render_models(self._started)),
            f"/v1/models/{MODEL}": ("GET", lambda: render_model(self._started)),
        }.get(request.path)
        if route is None:
            raise _not_found(request.path)
        method, handle = route
        if request.method != method:
            message = f"{request.path} takes {method}."
            raise DemoVendorError(message, status=405, code="method_not_allowed")
        return handle()

    async def _send_whole(self, status: int, body: bytes) -> None:
        self._writer.write(http.render_whole(status, body, keep_alive=not self.closing))
        await self._writer.drain()

    async def _linger(self) -> None:
        """Read away what the client still sends: a reset would destroy the refusal on its way."""
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await self._reader.read(64 * 1024):
                    pass

    async def _send_stream(self, reply: Answer) -> None:
        self._writer.write(http.render_stream_head(keep_alive=not self.closing))
        for number, step in enumerate(reply.render_steps()):
            if number:
                await asyncio.sleep(self._token_seconds)
            self._writer.write(http.render_chunk(step))
            await self._writer.drain()
        self._writer.write(http.LAST_CHUNK)
        await self._writer.drain()


class DemoVendor:
    """The connections there are, and how they come and go."""

    def __init__(self, token_seconds: float) -> None:
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._token_seconds = token_seconds
        self._started = int(time.time())

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection; asyncio calls this."""
        connection = Connection(reader, writer, started=self._started, token_seconds=self._token_seconds)
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def close(self) -> None:
        """Drop idle connections, let busy ones end within GRACE_SECONDS."""
        for task, connection in self._connections.items():
            connection.closing = True
            if not connection.busy:
                task.cancel()
        await self._wait(GRACE_SECONDS)
        for task in self._connections:
            task.cancel()
        await self._wait(1)

    async def _wait(self, seconds: float) -> None:
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=seconds)


async def serve(listener: socket.socket, token_seconds: float) -> None:
    """Serve on `listener` until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    vendor = DemoVendor(token_seconds)
    server = await asyncio.start_server(vendor.accept, sock=listener, limit=http.MAX_HEAD)
    host, port = listener.getsockname()[:2]
    sys.stdout.write(f"The demo vendor serves {MODEL} at http://{host}:{port}/v1\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()
    await vendor.close()


def _answer_chat(body: bytes) -> bytes | Answer:
    request = read_chat_request(body)
    reply = answer(request)
    return reply if request.stream else reply.render()


def _not_found(path: str) -> DemoVendorError:
    if path.startswith("/v1/models/"):
        message = f"This vendor offers one model, {MODEL!r}."
        return DemoVendorError(message, status=404, code="model_not_found", param="model")
    return DemoVendorError(f"There is nothing at {path}.", status=404, code="not_found")


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="relay.demo_vendor", description="Farebox's demo vendor")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="an inherited listening TCP socket")
    where.add_argument("--port", type=int, help="a port on 127.0.0.1; 0 takes a free one")
    parser.add_argument(
        "--token-seconds", type=float, default=TOKEN_SECONDS, help="pause between streamed tokens"
    )
    return parser.parse_args(arguments)


def _open_listener(options: argparse.Namespace) -> socket.socket:
    if options.fd is not None:
        listener = socket.socket(fileno=options.fd)
    else:
        listener = socket.create_server(("127.0.0.1", options.port), backlog=512)
    listener.setblocking(False)
    return listener


def main(arguments: Sequence[str]) -> None:
    options = _read_arguments(arguments)
    uvloop.run(serve(_open_listener(options), options.token_seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
