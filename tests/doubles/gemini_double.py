"""Gemini's API for tests, as a process of its own: as strict as the real one, and scriptable.

    python tests/doubles/gemini_double.py --port 0 --log FILE

Under `/v1beta` and `/v1` it serves `/models/{model}:generateContent`, `:streamGenerateContent` (events with
`?alt=sse`, else a growing array), `:countTokens` and `/models`, and like the other doubles `GET /__stats__`
and `POST /__reset__`. Its first line on stdout is `{"port": N}`.

A request that the real vendor refuses (`gemini_rules.py`) gets the vendor's error; so does a key that ends
in `-wrong`. Otherwise the last content's text may say what to answer: see Directive in `gemini_script.py`.

The log has one JSON line for each request, with `request` (the whole body), `status`, `message` of a
refusal, `usage` (the last report), `stream`, `answers_as`, `chunks_sent`, `ended`, `served`, `auth_last4`
and the times, as the log of `vendor.py` has them.
"""

import asyncio
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import uvloop
from typing_extensions import override

if not __package__:  # started as a script: the repository is the import root, not this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.doubles.gemini_events import (
    Events,
    error_object,
    reason_details,
    render_array,
    render_event,
    render_failure,
    render_whole,
    stream_head,
    whole_answer,
)
from tests.doubles.gemini_names import in_camel_case
from tests.doubles.gemini_rules import FAMILIES, check_request, family_of
from tests.doubles.gemini_script import (
    DEFAULT_PROMPT_TOKENS,
    Directive,
    DirectiveInvalidError,
    Script,
    read_directive,
    read_script,
)
from tests.doubles.vendor import Answer, Connection, Double, _open_listener, read_arguments
from tests.doubles.vendor_http import END_OF_HEAD, LAST_CHUNK, Request, render_chunk
from tests.doubles.vendor_plan import Plan, _split_writes

_METHOD = re.compile(r"/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent|countTokens)")
_PLACES = ("before_headers", "after_headers", "after_chunks", "in_usage")
_MODELS = {
    "models": [
        {
            "name": f"models/{name}",
            "displayName": name,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": family.most_output,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        for name, family in FAMILIES.items()
    ]
}


class GenerateConnection(Connection):
    """One client's connection, speaking Gemini's protocol."""

    @override
    def _handle(self, request: Request) -> None:
        head = request.head
        called = _METHOD.fullmatch(unquote(head.path)) if head.method == "POST" else None
        if called is not None and called[2] != "countTokens":
            self._begin(request, called[1], stream=called[2] == "streamGenerateContent")
            return
        status, body = self._describe(head.method, unquote(head.path))
        self._send(render_whole(body, status=status))

    @override
    def _describe(self, method: str, path: str) -> tuple[int, bytes]:
        if method == "POST" and path.endswith(":countTokens"):
            return 200, orjson.dumps({"totalTokens": DEFAULT_PROMPT_TOKENS})
        if method == "GET" and path in ("/v1/models", "/v1beta/models"):
            return 200, orjson.dumps(_MODELS)
        if path.startswith("/__"):
            return super()._describe(method, path)
        return 404, orjson.dumps(error_object(404, "Requested entity was not found."))

    def _begin(self, request: Request, model: str, *, stream: bool) -> None:
        headers = request.head.headers
        line: dict[str, Any] = {
            "id": self._double.new_id(),
            "auth_last4": headers.get("x-goog-api-key", "")[-4:],
            "request_id": request.head.request_id,
            "started_at": time.time(),
            "started_monotonic": time.monotonic(),
            "model": model,
            "stream": stream,
        }
        plan, directive = self._decide(request, model, line)
        self._answer = Answer(self, self._double, plan=plan, line=line)
        self._answer.start(directive.first_delay_ms / 1e3, directive.delay_ms / 1e3)

    def _decide(self, request: Request, model: str, line: dict[str, Any]) -> tuple[Plan, Directive]:
        """What to answer; what is known of the request goes into `line`."""
        problem, body = _judge(request, model)
        line["request"] = body
        stream, events = line["stream"], "alt=sse" in request.head.query
        if problem is not None:
            line["message"] = problem["error"]["message"]
            told = [problem] if stream and not events else problem
            status = problem["error"]["code"]
            refusal = render_whole(orjson.dumps(told), status=status)
            return Plan(status, [refusal], [0], ended="error"), Directive()
        directive = read_directive(body)
        if directive.status != 200 or directive.html_error:
            status = 502 if directive.status == 200 else directive.status
            return Plan(status, [render_failure(status, directive)], [0], ended="error"), directive
        script = read_script(model, body, stream=stream)
        line["answers_as"], line["usage"] = script.answers_as, script.usage
        plan = _plan_stream(script, line["id"], events=events) if stream else _plan_whole(script, line["id"])
        if directive.die or directive.hang:
            plan.then, plan.ended = ("hang" if directive.hang else "close"), "cut"
        return plan, directive


def _judge(request: Request, model: str) -> tuple[dict[str, Any] | None, Any]:
    """The error and the body: what the vendor would say before a model sees the request."""
    stranger = _check_caller(request.head.headers.get("x-goog-api-key", ""), model)
    if stranger is not None:
        return stranger, None
    try:
        body = in_camel_case(orjson.loads(request.body))
    except orjson.JSONDecodeError:
        return error_object(400, "Invalid JSON payload received. Unexpected token."), None
    try:
        problem = check_request(model, body)
        if problem is None:
            read_directive(body)
    except DirectiveInvalidError as error:
        problem = f"The double cannot play this: {error}"
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        problem = f"Invalid value: {error!r}"
    return (None if problem is None else error_object(400, problem)), body


def _check_caller(key: str, model: str) -> dict[str, Any] | None:
    if not key:
        return error_object(403, "Method doesn't allow unregistered callers.")
    if key.endswith("-wrong"):
        details = reason_details("API_KEY_INVALID")
        return error_object(400, "API key not valid. Please pass a valid API key.", details=details)
    if family_of(model) is None:
        return error_object(404, f"models/{model} is not found for API version v1beta.")
    return None


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
    write = render_whole(orjson.dumps(whole_answer(script, answer_id)))
    place = _place(script.directive)
    if place is not None:
        start = write.index(END_OF_HEAD) + len(END_OF_HEAD)
        ends = {
            "before_headers": 0,
            "after_headers": start,
            "in_usage": write.rindex(b'"usageMetadata"') + 20,
        }
        write = write[: ends.get(place[0], (start + len(write)) // 2)]
    pieces = 0 if place else len(script.pieces)
    return Plan(200, [write] if write else [], [pieces] if write else [], usage_sent=place is None)


def _plan_stream(script: Script, answer_id: str, *, events: bool) -> Plan:
    directive = script.directive
    objects = _objects(script, answer_id)
    if events:
        writes = [render_event(value, crlf=directive.crlf) for value, _ in objects]
    else:
        writes = render_array([value for value, _ in objects])
    plan = Plan(200, writes, [pieces for _, pieces in objects] or [0] * len(writes))
    place = _place(directive)
    if place is not None and place[0] == "in_usage" and writes:
        writes[-1] = writes[-1][: writes[-1].rindex(b'"usageMetadata"') + 20]
    plan.usage_sent = place is None and directive.error_in_stream_after is None
    plan.ended = "complete" if directive.error_in_stream_after is None else "error"
    if directive.split != "events":
        _split_writes(plan, directive.split)
    plan.writes = [render_chunk(write) for write in plan.writes]
    if place is None or place[0] != "before_headers":
        plan.writes = plan.writes or [b""]
        plan.chunks_after = plan.chunks_after or [0]
        plan.writes[0] = stream_head(events=events) + plan.writes[0]
    if place is None:
        plan.writes[-1] += LAST_CHUNK
    return plan


def _objects(script: Script, answer_id: str) -> list[tuple[dict[str, Any], int]]:
    """The objects that are sent, each with the pieces of content given by then."""
    directive = script.directive
    whole = Events(script, answer_id).objects
    if directive.error_in_stream_after is not None:
        kept = [each for each in whole[:-1] if each[1] <= directive.error_in_stream_after]
        told = error_object(503, "The model is overloaded. Please try again later.", error=directive.error)
        return [*kept, (told, kept[-1][1] if kept else 0)]
    place = _place(directive)
    if place is None or place[0] == "in_usage":
        return whole
    return [each for each in whole if each[1] <= place[1]] if place[0] == "after_chunks" else []


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
    server = await double.loop.create_server(lambda: GenerateConnection(double), sock=listener)
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    await stopped.wait()
    server.close()
    double.close()


if __name__ == "__main__":
    uvloop.run(serve())
