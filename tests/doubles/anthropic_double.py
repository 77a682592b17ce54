"""Anthropic's Messages API for tests, as a process of its own: as strict as the real one, and scriptable.

    python tests/doubles/anthropic_double.py --port 0 --log FILE

It serves `/v1/messages`, `/v1/messages/count_tokens` and `/v1/models`, and like the other doubles
`GET /__stats__` and `POST /__reset__`. Its first line on stdout is `{"port": N}`.

A request that the real vendor refuses (`anthropic_rules.py`) gets the vendor's error. Otherwise the last user
message may say what to answer: see Directive in `anthropic_script.py`.

The log has one JSON line for each request, with `request` (the whole body), `status`, `message` of a
refusal, `usage` (all that was reported), `stream`, `answers_as`, `chunks_sent`, `ended`, `served`,
`auth_last4` and the times, as the log of `vendor.py` has them.
"""

import asyncio
import signal
import sys
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
import uvloop
from typing_extensions import override

if not __package__:  # started as a script: the repository is the import root, not this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.doubles.anthropic_events import (
    Events,
    error_body,
    error_event,
    render_failure,
    render_whole,
    stream_head,
    whole_message,
)
from tests.doubles.anthropic_rules import FAMILIES, check_request
from tests.doubles.anthropic_script import (
    DEFAULT_INPUT_TOKENS,
    Directive,
    DirectiveInvalidError,
    Script,
    read_directive,
    read_script,
)
from tests.doubles.vendor import Answer, Connection, Double, _open_listener, read_arguments
from tests.doubles.vendor_http import END_OF_HEAD, LAST_CHUNK, Request, render_chunk
from tests.doubles.vendor_plan import Plan, _split_writes

_MODELS = {
    "data": [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 200_000,
            "max_tokens": family.most_output,
        }
        for name, family in FAMILIES.items()
    ],
    "has_more": False,
    "first_id": next(iter(FAMILIES)),
    "last_id": list(FAMILIES)[-1],
}
_PLACES = ("before_headers", "after_headers", "after_chunks", "in_usage")


class MessagesConnection(Connection):
    """One client's connection, speaking Anthropic's protocol."""

    @override
    def _handle(self, request: Request) -> None:
        head = request.head
        if (head.method, head.path) == ("POST", "/v1/messages"):
            self._begin_message(request)
            return
        status, body = self._describe(head.method, head.path)
        self._send(render_whole(body, status=status))

    @override
    def _describe(self, method: str, path: str) -> tuple[int, bytes]:
        if (method, path) == ("POST", "/v1/messages/count_tokens"):
            return 200, orjson.dumps({"input_tokens": DEFAULT_INPUT_TOKENS})
        if (method, path) == ("GET", "/v1/models"):
            return 200, orjson.dumps(_MODELS)
        if path.startswith("/__"):
            return super()._describe(method, path)
        return 404, error_body(404, "Not found")

    def _begin_message(self, request: Request) -> None:
        answer_id = self._double.new_id().replace("chatcmpl-", "msg_")
        line: dict[str, Any] = {
            "id": answer_id,
            "auth_last4": _key_of(request)[-4:],
            "request_id": request.head.request_id,
            "started_at": time.time(),
            "started_monotonic": time.monotonic(),
        }
        plan, directive = self._decide(request, line)
        self._answer = Answer(self, self._double, plan=plan, line=line)
        self._answer.start(directive.first_delay_ms / 1e3, directive.delay_ms / 1e3)

    def _decide(self, request: Request, line: dict[str, Any]) -> tuple[Plan, Directive]:
        """What to answer; what is known of the request goes into `line`."""
        status, problem, body = _judge(request)
        line["request"] = body
        if problem is not None:
            line["message"] = problem
            refusal = render_whole(error_body(status, problem), status=status)
            return Plan(status, [refusal], [0], ended="error"), Directive()
        directive = read_directive(body)
        if directive.status != 200 or directive.html_error:
            status = 502 if directive.status == 200 else directive.status
            return Plan(status, [render_failure(status, directive)], [0], ended="error"), directive
        script = read_script(body)
        line["model"], line["answers_as"], line["stream"] = script.model, script.answers_as, script.stream
        line["usage"] = {**script.usage, **script.final_usage}
        plan = (_plan_stream if script.stream else _plan_whole)(script, line["id"])
        if directive.die or directive.hang:
            plan.then, plan.ended = ("hang" if directive.hang else "close"), "cut"
        return plan, directive


def _key_of(request: Request) -> str:
    """In the vendor's own header, or as a bearer token, as its SDK sends it."""
    headers = request.head.headers
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def _judge(request: Request) -> tuple[int, str | None, Any]:
    """Status, message and body: what the vendor would say before a model sees the request."""
    headers = request.head.headers
    if not _key_of(request):
        return 401, "x-api-key header is required", None
    if "anthropic-version" not in headers:
        return 400, "anthropic-version: header is required", None
    try:
        body = orjson.loads(request.body)
        problem = check_request(body)
        if problem is None:
            read_directive(body)
    except orjson.JSONDecodeError:
        return 400, "The request body is not valid JSON", None
    except DirectiveInvalidError as error:
        return 400, f"The double cannot play this: {error}", body
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return 400, f"Input should be valid: {error!r}", body
    return 400, problem, body


def _place(directive: Directive) -> tuple[str, int] | None:
    """Where the answer breaks off, and after how many pieces of content."""
    if directive.hang:
        return "before_headers", 0
    if directive.die is None:
        return None
    place, _, pieces = directive.die.partition(":")
    assert place in _PLACES, directive.die
    return place, int(pieces or 0)


def _plan_whole(script: Script, answer_id: str) -> Plan:
    write = render_whole(orjson.dumps(whole_message(script, answer_id)))
    place = _place(script.directive)
    if place is not None:
        start = write.index(END_OF_HEAD) + len(END_OF_HEAD)
        ends = {"before_headers": 0, "after_headers": start, "in_usage": write.rindex(b'"usage"') + 12}
        write = write[: ends.get(place[0], (start + len(write)) // 2)]
    pieces = 0 if place else sum(len(pieces) for _, pieces in script.blocks)
    return Plan(200, [write] if write else [], [pieces] if write else [], usage_sent=place is None)


def _plan_stream(script: Script, answer_id: str) -> Plan:
    directive = script.directive
    events = [(event.replace(b"\n", b"\r\n") if directive.crlf else event, pieces)
              for event, pieces in _events(script, answer_id)]  # fmt: skip
    plan = Plan(200, [event for event, _ in events], list(accumulate((p for _, p in events), max)))
    place = _place(directive)
    plan.usage_sent = place is None and directive.error_in_stream_after is None
    plan.ended = "complete" if directive.error_in_stream_after is None else "error"
    if directive.split != "events":
        _split_writes(plan, directive.split)
    plan.writes = [render_chunk(write) for write in plan.writes]
    if place is None or place[0] != "before_headers":
        plan.writes = plan.writes or [b""]
        plan.chunks_after = plan.chunks_after or [0]
        plan.writes[0] = stream_head() + plan.writes[0]
    if place is None:
        plan.writes[-1] += LAST_CHUNK
    return plan


def _events(script: Script, answer_id: str) -> list[tuple[bytes, int]]:
    """The events that are sent, each with the pieces of content given by then."""
    directive = script.directive
    events = Events(script, answer_id)
    whole = [*((event, 0) for event in events.opening), *events.content]
    if directive.error_in_stream_after is not None:
        kept = [each for each in whole if each[1] <= directive.error_in_stream_after]
        return [*kept, (error_event(directive), kept[-1][1])]
    place = _place(directive)
    if place is None:
        return [*whole, *((event, events.pieces) for event in events.closing)]
    name, pieces = place
    if name == "in_usage":
        return [*whole, (events.closing[0][:-20], events.pieces)]
    return [each for each in whole if each[1] <= pieces] if name == "after_chunks" else []


async def serve() -> None:
    """Serve until a signal, or until stdin closes where that was asked for."""
    options = read_arguments()
    stopped = asyncio.Event()
    double = Double(options.log)
    for number in (signal.SIGTERM, signal.SIGINT):
        double.loop.add_signal_handler(number, stopped.set)
    if options.until_stdin_closes:
        double.loop.add_reader(0, stopped.set)
    listener = _open_listener(options.host, options.port)
    server = await double.loop.create_server(lambda: MessagesConnection(double), sock=listener)
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    await stopped.wait()
    server.close()
    double.close()


if __name__ == "__main__":
    uvloop.run(serve())
