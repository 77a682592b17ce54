"""The vendor double's plans: every byte of an answer, rendered before the first is written.

So what a bench measures is the relay, and what a test asked for is decided in one place.
"""

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import orjson

from tests.doubles.vendor_chat import Stream, whole_answer
from tests.doubles.vendor_dress import DressedStream, dress_answer
from tests.doubles.vendor_http import (
    END_OF_HEAD,
    LAST_CHUNK,
    render_answer,
    render_chunk,
    render_error,
    render_stream_head,
    render_whole,
)
from tests.doubles.vendor_profiles import PROFILES
from tests.doubles.vendor_script import Point, Script, read_script, read_seed

LOGGED_FIELDS = (
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "user",
    "safety_identifier",
    "temperature",
    "stop",
    "reasoning_effort",
    "thinking",
    "enable_thinking",
)
# Stands for an answer's id in bytes rendered before it is known; just as long.
PLACEHOLDER = "chatcmpl-" + "?" * 24
UNCUT = ("events", "whole")  # the splits that never cut an id in two
_KNOWN_BODY = 8192  # bytes
_SHOWN_OF_PICTURE = 400  # characters of its address, or of a data URL
_HTML = b"<html><head><title>%d</title></head><body><h1>Bad Gateway</h1></body></html>"


@dataclass(slots=True)
class Plan:
    """The writes of one answer and what follows the last: `keep` or `close` the connection, or `hang`.

    `ended` is how the answer ends when the peer stays: `complete`, `error` or `cut`. `chunks_after`
    tells, for each write, how many content chunks the peer then has.
    """

    status: int
    writes: list[bytes]
    chunks_after: list[int]
    then: str = "keep"
    ended: str = "complete"
    usage_sent: bool = False


class Score:
    """A request body, understood once: many requests of a bench are the same to the byte."""

    __slots__ = ("_created", "_line", "_plan", "script")

    def __init__(self, body: bytes, created: int, vendor: str = "") -> None:
        fields = orjson.loads(body)
        self.script = read_script(fields, vendor)
        self._created = created
        self._line = _describe_request(fields, self.script)
        self._plan = plan_answer(self.script, answer_id=PLACEHOLDER, created=created)

    def line(self) -> dict[str, Any]:
        """A new line for the log, with what is known of the request."""
        return self._line.copy()

    def plan(self, answer_id: str) -> Plan:
        """The plan; its writes may hold PLACEHOLDER where `answer_id` belongs."""
        if self.script.directive.split in UNCUT:
            return self._plan
        return plan_answer(self.script, answer_id=answer_id, created=self._created)


_read_known_score = lru_cache(maxsize=512)(Score)


def read_score(body: bytes, created: int, vendor: str = "") -> Score:
    """The score of a request; raises ValueError, TypeError, KeyError, AttributeError for nonsense."""
    return (_read_known_score if len(body) <= _KNOWN_BODY else Score)(body, created, vendor)


def _describe_request(fields: dict[str, Any], script: Script) -> dict[str, Any]:
    line = {
        "id": "",
        "model": script.model,
        "answers_as": script.answers_as,
        "stream": script.stream,
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.completion_tokens,
        "cached_tokens": script.cached_tokens,
        "reasoning_tokens": script.reasoning_tokens,
        "request": {
            **{name: fields[name] for name in LOGGED_FIELDS if name in fields},
            **_parts_of(fields),
        },
    }
    return {**line, "usage": script.usage()} if script.directive.usage else line


def _parts_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Of the last message the kinds of its parts, and pictures as far as they are told apart by it.

    Of messages with tool calls what was thought beside them, or null.
    """
    messages = fields.get("messages") or [{}]
    content = messages[-1].get("content")
    parts = content if isinstance(content, list) else []
    pictures = [part["image_url"]["url"][:_SHOWN_OF_PICTURE] for part in parts if "image_url" in part]
    thoughts = [each.get("reasoning_content") for each in messages if each.get("tool_calls")]
    described = {"parts": [part["type"] for part in parts], "pictures": pictures, "thoughts": thoughts}
    return {name: value for name, value in described.items() if value}


def plan_answer(script: Script, *, answer_id: str, created: int) -> Plan:
    """The writes that play `script`; `created` is a Unix time in seconds."""
    if script.directive.refusal is not None:
        plan = _plan_refusal(script, answer_id)
    elif script.directive.fails:
        plan = _plan_failure(script, answer_id)
    elif script.stream:
        plan = _plan_stream(script, answer_id, created)
    else:
        plan = _plan_whole(script, answer_id, created)
    if script.directive.stops_at is not None:
        plan.then = "hang" if script.directive.hang else "close"
        plan.ended = "cut"
    return plan


def _plan_refusal(script: Script, answer_id: str) -> Plan:
    """One of the vendor's canned errors, which may come with the status 200."""
    status, body = PROFILES[script.vendor].refusals[str(script.directive.refusal)]
    retry = script.directive.retry_after
    more = b"" if retry is None else f"retry-after: {retry}\r\n".encode()
    write = render_answer(status, body, answer_id=answer_id, more=more)
    return Plan(status, [write], [0], ended="error")


def _plan_failure(script: Script, answer_id: str) -> Plan:
    directive = script.directive
    status = 502 if directive.html_error and directive.status == 200 else directive.status
    message = f"The double of org-double was told to answer {status}."
    reason, body = render_error(status, message=message, error=directive.error)
    if script.vendor and directive.error is None:
        body = orjson.dumps(PROFILES[script.vendor].error(status, message))
    content_type = b"application/json"
    if directive.html_error:
        content_type, body = b"text/html; charset=utf-8", _HTML % status
    retry = directive.retry_after
    write = render_whole(
        body,
        status=status,
        reason=reason,
        content_type=content_type,
        answer_id=answer_id,
        more=b"" if retry is None else f"retry-after: {retry}\r\n".encode(),
    )
    writes = _cut_whole(write, script.directive.stops_at)
    return Plan(status, writes, [0] * len(writes), ended="error")


def _plan_whole(script: Script, answer_id: str, created: int) -> Plan:
    body = _whole_body(script, answer_id, created)
    point = script.directive.stops_at
    writes = _cut_whole(render_whole(body, answer_id=answer_id), point)
    chunks = script.chunks * script.choices if point is None else 0
    usage_sent = point is None and not script.directive.no_usage
    return Plan(200, writes, [chunks] * len(writes), usage_sent=usage_sent)


def _whole_body(script: Script, answer_id: str, created: int) -> bytes:
    answer = whole_answer(script, answer_id, created)
    if not script.vendor:
        return orjson.dumps(answer)
    return dress_answer(PROFILES[script.vendor], script, answer)


def _cut_whole(write: bytes, point: Point | None) -> list[bytes]:
    """A whole response up to `point`: in the middle of the body for `after_chunks`."""
    if point is None:
        return [write]
    start = write.index(END_OF_HEAD) + len(END_OF_HEAD)
    usage = write.find(b'"usage":')
    middle = (start + len(write)) // 2
    ends = {
        "before_headers": 0,
        "after_headers": start,
        "after_chunks": middle,
        "in_usage": usage + 20 if usage >= 0 else middle,
    }
    return [write[: ends[point.place]]] if ends[point.place] else []


def _plan_stream(script: Script, answer_id: str, created: int) -> Plan:
    directive = script.directive
    stream = _stream_of(script, answer_id, created)
    events = stream.events()
    if directive.crlf:
        events = [event.replace(b"\n", b"\r\n") for event in events]
    point = directive.stops_at
    failing = directive.error_in_stream_after is not None
    opening = len(stream.opening)
    content = min(len(stream.content), len(events) - opening - failing)
    plan = Plan(200, events, _count_chunks(len(events), opening, max(0, content)))
    plan.usage_sent = not failing and stream.tells_usage
    plan.ended = "error" if failing else "complete"
    if directive.split != "events":
        _split_writes(plan, directive.split)
    plan.writes = [render_chunk(write) for write in plan.writes]
    if point is None or point.place != "before_headers":
        _add_head(plan, answer_id)
    if point is None:
        plan.writes[-1] += LAST_CHUNK
    return plan


def _stream_of(script: Script, answer_id: str, created: int) -> Stream:
    if not script.vendor:
        return Stream(script, answer_id, created)
    return DressedStream(PROFILES[script.vendor], script, answer_id, created)


def _add_head(plan: Plan, answer_id: str) -> None:
    """The head goes out together with the first event, as a vendor's does with the first token."""
    head = render_stream_head(answer_id)
    if plan.writes:
        plan.writes[0] = head + plan.writes[0]
    else:
        plan.writes, plan.chunks_after = [head], [0]


@lru_cache(maxsize=64)
def _count_chunks(events: int, opening: int, content: int) -> list[int]:
    """For each of the events, how many content events are out once it is."""
    counts = [*[0] * opening, *range(1, content + 1), *[content] * max(0, events - opening - content)]
    return counts[:events]


def _split_writes(plan: Plan, split: str) -> None:
    """Cut the events' bytes anew: into one write, into single bytes, or at random places."""
    if not plan.writes:
        return
    stream = b"".join(plan.writes)
    ends = list(accumulate(len(event) for event in plan.writes))
    cuts = _random_cuts(len(stream), split) if split.startswith("random") else []
    if split == "bytes":
        cuts = list(range(1, len(stream)))
    places = [0, *cuts, len(stream)]
    counts, events = [], 0
    for place in places[1:]:
        while events < len(ends) and ends[events] <= place:
            events += 1
        counts.append(plan.chunks_after[events - 1] if events else 0)
    plan.writes = [stream[a:b] for a, b in pairwise(places)]
    plan.chunks_after = counts


def _random_cuts(length: int, split: str) -> list[int]:
    dice = random.Random(read_seed(split))
    return sorted(dice.sample(range(1, length), min(length - 1, max(1, length // 40))))
