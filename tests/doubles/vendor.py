"""A fast OpenAI-compatible vendor for tests and benches, as a process of its own.

    python tests/doubles/vendor.py --port 0 --log FILE

Its first line on stdout is `{"port": N}`; SIGTERM and SIGINT end it. It serves
`/v1/chat/completions` and `/v1/models`, plus `GET /__stats__` (counts since the last reset, CPU
seconds of this process) and `POST /__reset__` (counts to zero, log emptied).

What it answers is told by the request. The content of the LAST user message may be a JSON object with

    chunks, delay_ms, first_delay_ms    content chunks; pause between writes, and before the first
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens      the usage it reports
    usage                 fields put over that usage object as they are
    finish_reason, model, tool_calls ([{"name", "arguments"}] or OpenAI's shape), unicode
    status, error, retry_after, html_error      an HTTP error, fields of its envelope, or a page
    die                   before_headers | after_headers | after_chunks:N | in_usage: closes there
    hang                  true, or one of these places: writes nothing more, keeps the connection
    error_in_stream_after N content chunks, then an error event instead of the rest
    no_usage, no_done, usage_each_chunk, crlf, empty_first_choices     streams of other vendors
    reasoning, refusal    pieces of thought, one of the vendor's own errors: see below
    text, refuses         a text of one's own, said as a refusal of the model
    split                 events (a write each, the default) | whole | bytes | random:SEED

`stop` ends the words, `response_format` gets JSON that fulfils it, `logprobs` are told.

Anything else gets 8 chunks at once, 10 prompt tokens plus one for every 4 characters, a completion
token for each chunk. With several choices, N chunks means N of each choice. `max_completion_tokens`
and `max_tokens` lower the completion (finish reason `length`).

A path that begins with the name of another vendor (`/deepseek/chat/completions`, see vendor_profiles)
is answered as that vendor would: its shapes, usage, comments, errors, and its refusal of what it does not
take, which is counted (`refused`) but not logged. There `reasoning` is a number of pieces of thought that
come before the content, and `refusal` names one of the vendor's errors (balance, limit, context, filter, …).

The log has one JSON line for each chat request, appended with one write as soon as the kernel has
the last byte of its answer (VendorDouble.records waits out the instant between the two):

    id, model, answers_as, stream, status
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens
    usage                 the whole usage object, only where the directive's `usage` changed it
    usage_sent            whether the peer was told the usage
    chunks_sent           content chunks given to the peer, over all choices
    ended                 complete | error (told to answer one) | cut (told to die, or the peer left)
    served                the kernel took all of a completion
    auth_last4, request_id
    request               some of its fields, those present, and of its messages: parts, pictures, thoughts
    started_at, ended_at  Unix seconds; started_monotonic, ended_monotonic: this machine's own
"""

import argparse
import asyncio
import gc
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop
from typing_extensions import override

if not __package__:  # started as a script: the repository is the import root, not this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.doubles.vendor_http import Request, render_answer, render_error, render_whole, take_request
from tests.doubles.vendor_plan import PLACEHOLDER, Plan, read_score
from tests.doubles.vendor_profiles import find_profile

_PLACEHOLDER = PLACEHOLDER.encode()
_MODELS = {
    "object": "list",
    "data": [{"id": "double", "object": "model", "created": 1764000000, "owned_by": "double"}],
}


class Double:
    """What all connections share: the log, the counts, the ids."""

    def __init__(self, log: Path | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self._log = -1 if log is None else _open_log(log)
        self._prefix = f"chatcmpl-{secrets.token_hex(4)}"
        self._number = 0
        self._counts: dict[str, int] = {}
        self._cpu_start = 0.0
        self._start_counting()

    def _start_counting(self) -> None:
        self._counts = dict.fromkeys(("requests", "served", "error", "cut", "chunks", "refused"), 0)
        self._cpu_start = time.process_time()

    def reset(self) -> None:
        """Start counting anew and empty the log."""
        self._start_counting()
        if self._log >= 0:
            os.ftruncate(self._log, 0)

    def new_id(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number:016d}"

    def refuse(self) -> None:
        """Count a request that gets no line in the log."""
        self._counts["refused"] += 1

    def record(self, line: dict[str, Any]) -> None:
        """Count an ended answer and append its line: one write, so that no kill tears it."""
        counts = self._counts
        counts["requests"] += 1
        counts["chunks"] += line["chunks_sent"]
        counts["served" if line["served"] else line["ended"]] += 1
        if self._log >= 0:
            os.write(self._log, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def stats(self) -> dict[str, Any]:
        return {
            **self._counts,
            "open_requests": sum(each.answering for each in self.connections),
            "connections": len(self.connections),
            "cpu_seconds": time.process_time() - self._cpu_start,
        }

    def close(self) -> None:
        """Drop every connection; answers still on their way are logged as cut."""
        for connection in tuple(self.connections):
            connection.drop()


class Connection(asyncio.Protocol):
    """One client's connection: takes requests one at a time, plays an answer for each."""

    def __init__(self, double: Double) -> None:
        self._double = double
        self._buffer: bytes | bytearray = b""
        self._wanted = 0
        self._answer: Answer | None = None
        self._closing = False
        self.transport: asyncio.Transport
        self.paused = False

    @property
    def answering(self) -> bool:
        return self._answer is not None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it
        self.transport.set_write_buffer_limits(0)  # paused: the kernel does not have all of it yet
        self._double.connections.add(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._double.connections.discard(self)
        self._end_answer()

    def drop(self) -> None:
        self._end_answer()
        self.transport.abort()

    def _end_answer(self) -> None:
        if self._answer is not None:
            self._answer.cut()
            self._answer = None

    @override
    def pause_writing(self) -> None:
        self.paused = True

    @override
    def resume_writing(self) -> None:
        self.paused = False
        if self._answer is not None:
            self._answer.resume()

    @override
    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer = bytearray(self._buffer) if type(self._buffer) is bytes else self._buffer
            self._buffer += data
        else:
            self._buffer = data
        self.take_next()

    def take_next(self) -> None:
        """Begin the next request, if no answer is on its way and the request is here as a whole."""
        while self._answer is None and self._buffer and len(self._buffer) >= self._wanted:
            request = take_request(self._buffer)
            if isinstance(request, int):
                self._wanted = request
                return
            self._wanted = 0
            self._buffer = self._buffer[request.size :]
            self._closing = request.head.closes
            self._handle(request)

    def _handle(self, request: Request) -> None:
        head = request.head
        if head.method == "POST" and head.path.endswith("/chat/completions"):
            self._begin_answer(request)
            return
        status, body = self._describe(head.method, head.path)
        self._send(render_whole(body, status=status))

    def _describe(self, method: str, path: str) -> tuple[int, bytes]:
        """Everything but chat."""
        if (method, path) == ("GET", "/__stats__"):
            return 200, orjson.dumps(self._double.stats())
        if (method, path) == ("POST", "/__reset__"):
            self._double.reset()
            return 200, b"{}"
        if method == "GET" and path.endswith("/models"):
            return 200, orjson.dumps(_MODELS)
        return 404, render_error(404, message="There is nothing here.")[1]

    def _begin_answer(self, request: Request) -> None:
        double = self._double
        now = time.time()
        try:
            profile = find_profile(request.head.path)
            refused = profile and profile.refuse(request.head, orjson.loads(request.body))
            if refused:
                double.refuse()
                self._send(render_answer(*refused))
                return
            score = read_score(request.body, int(now), profile.name if profile else "")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            double.refuse()
            reason, body = render_error(400, message=f"The double cannot play this: {error!r}")
            self._send(render_whole(body, status=400, reason=reason))
            return
        line = score.line()
        line["id"] = answer_id = double.new_id()
        line["auth_last4"] = request.head.auth_last4
        line["request_id"] = request.head.request_id
        line["started_at"] = now
        line["started_monotonic"] = time.monotonic()
        self._answer = Answer(self, double, plan=score.plan(answer_id), line=line)
        directive = score.script.directive
        self._answer.start(directive.first_delay_ms / 1e3, directive.delay_ms / 1e3)

    def _send(self, response: bytes) -> None:
        self.transport.write(response)
        if self._closing:
            self.transport.close()

    def answer_ended(self, *, close: bool) -> None:
        """The answer is out as far as it goes."""
        self._answer = None
        if close or self._closing:
            self.transport.close()
        else:
            self.take_next()


class Answer:
    """One answer being written, and its line of the log."""

    __slots__ = ("_connection", "_delay", "_double", "_handle", "_id", "_line", "_plan", "_sent", "_stalled")

    def __init__(self, connection: Connection, double: Double, *, plan: Plan, line: dict[str, Any]) -> None:
        self._connection = connection
        self._double = double
        self._plan = plan
        self._line = line
        self._id = line["id"].encode()
        self._sent = 0
        self._stalled = False
        self._delay = 0.0
        self._handle: asyncio.Handle | None = None

    def start(self, first_delay: float, delay: float) -> None:
        """Write the first bytes after `first_delay` seconds, each later write `delay` after the last."""
        self._delay = delay
        if first_delay:
            self._handle = self._double.loop.call_later(first_delay, self._step)
        else:
            self._step()

    def resume(self) -> None:
        """The peer reads again."""
        if self._stalled:
            self._stalled = False
            self._go_on()

    def cut(self) -> None:
        """The peer has left."""
        if self._handle is not None:
            self._handle.cancel()
        self._record("cut")

    def _step(self) -> None:
        """Write what is next. Each write has a turn of the loop of its own, so each is a send."""
        transport = self._connection.transport
        if transport.is_closing():
            return  # connection_lost is about to cut this answer
        writes = self._plan.writes
        if self._sent < len(writes):
            transport.write(writes[self._sent].replace(_PLACEHOLDER, self._id))
            self._sent += 1
        self._go_on()

    def _go_on(self) -> None:
        """Decide what comes after a write, once the kernel has all of it."""
        if self._connection.paused:
            self._stalled = True
        elif self._sent >= len(self._plan.writes):
            self._finish()
        elif self._delay:
            self._handle = self._double.loop.call_later(self._delay, self._step)
        else:
            self._handle = self._double.loop.call_soon(self._step)

    def _finish(self) -> None:
        plan = self._plan
        if plan.then == "hang" or self._connection.transport.is_closing():
            return
        self._record(plan.ended)
        self._connection.answer_ended(close=plan.then == "close")

    def _record(self, ended: str) -> None:
        plan, line = self._plan, self._line
        line["status"] = plan.status
        line["chunks_sent"] = plan.chunks_after[self._sent - 1] if self._sent else 0
        line["usage_sent"] = plan.usage_sent and ended == "complete"
        line["ended"] = ended
        line["served"] = ended == "complete"
        line["ended_at"] = time.time()
        line["ended_monotonic"] = time.monotonic()
        self._double.record(line)


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _open_listener(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=2048)
    listener.setblocking(False)
    if hasattr(socket, "TCP_CONGESTION"):
        # BBR, the default on some machines, paces every send with a timer: a third of a chunk's CPU.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    return listener


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal, or until stdin closes where that was asked for."""
    stopped = asyncio.Event()
    double = Double(options.log)
    for number in (signal.SIGTERM, signal.SIGINT):
        double.loop.add_signal_handler(number, stopped.set)
    if options.until_stdin_closes:
        double.loop.add_reader(0, stopped.set)
    listener = _open_listener(options.host, options.port)
    server = await double.loop.create_server(lambda: Connection(double), sock=listener)
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    gc.freeze()
    await stopped.wait()
    server.close()
    double.close()


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A fast vendor double")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, default=None)
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that started this"
    )
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(serve(read_arguments()))
