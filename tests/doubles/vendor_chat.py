"""The vendor double's chat completions as OpenAI writes them: choices, chunks, tool calls."""

from functools import lru_cache
from typing import Any

import orjson

from tests.doubles.vendor_http import render_error
from tests.doubles.vendor_script import Point, Script, words


class Stream:
    """The events of one streamed answer, and how many of them come before and after the content."""

    def __init__(self, script: Script, answer_id: str, created: int) -> None:
        self.script = script
        self._start = orjson.dumps(
            {
                "id": answer_id,
                "object": "chat.completion.chunk",
                "created": created,
                "model": script.answers_as,
                "service_tier": "default",
                "system_fingerprint": "fp_double",
            }
        )[:-1]
        usage = b',"usage":null' if self._asks_usage else b""
        self._middle = b',"logprobs":null,"finish_reason":null}]%b}\n\n' % usage
        self.opening = self._render_opening()
        self.content = self._render_content()
        self.closing = [self._chunk(b"{}", index, final=True) for index in range(script.choices)]
        if script.directive.usage_each_chunk:
            self._add_usage_everywhere()
        self.usage = [self._usage_event()] if self._asks_usage else []

    @property
    def tells_usage(self) -> bool:
        """Whether the whole of it holds the usage somewhere."""
        return bool(self.usage) or self.script.directive.usage_each_chunk

    @property
    def _asks_usage(self) -> bool:
        return self.script.include_usage and not self.script.directive.no_usage

    def _render_opening(self) -> list[bytes]:
        script = self.script
        content = b"null" if script.directive.tool_calls else b'""'
        delta = b'{"role":"assistant","content":%b,"refusal":null}' % content
        opening = [self._chunk(delta, index) for index in range(script.choices)]
        if script.directive.empty_first_choices:
            opening.insert(0, b'data: %b,"choices":[],"prompt_filter_results":[]}\n\n' % self._start)
        return opening

    def _render_content(self) -> list[bytes]:
        script = self.script
        if script.directive.tool_calls:
            deltas = tuple(_tool_deltas(script.directive.tool_calls))
        elif script.texts is None:
            deltas = content_deltas(script.chunks, unicode=script.directive.unicode)
        else:
            name = "refusal" if script.directive.refuses else "content"
            deltas = tuple(orjson.dumps({name: piece}) for piece in script.texts)
        if script.logprobs is not None and not script.directive.tool_calls:
            return self._render_with_logprobs(deltas)
        if script.choices > 1:
            return [self._chunk(delta, index) for delta in deltas for index in range(script.choices)]
        start = b'data: %b,"choices":[{"index":0,"delta":' % self._start
        middle = self._middle
        return [start + delta + middle for delta in deltas]

    def _render_with_logprobs(self, deltas: tuple[bytes, ...]) -> list[bytes]:
        chunks = []
        for delta, piece in zip(deltas, pieces_to_say(self.script), strict=True):
            told = orjson.dumps(_logprobs([piece], self.script.logprobs or 0))
            for index in range(self.script.choices):
                chunk = self._chunk(delta, index)
                chunks.append(chunk.replace(b'"logprobs":null', b'"logprobs":' + told))
        return chunks

    def _chunk(self, delta: bytes, index: int, *, final: bool = False) -> bytes:
        end = self._middle
        if final:
            reason = b'"finish_reason":%b' % orjson.dumps(self.script.finish_reason)
            end = end.replace(b'"finish_reason":null', reason)
        return b'data: %b,"choices":[{"index":%d,"delta":%b%b' % (self._start, index, delta, end)

    def _usage_event(self) -> bytes:
        usage = orjson.dumps(self.script.usage())
        return b'data: %b,"choices":[],"usage":%b}\n\n' % (self._start, usage)

    def _add_usage_everywhere(self) -> None:
        """Give each chunk the usage so far, as some vendors do; the last chunk's is the true one."""
        events = [*self.opening, *self.content, *self.closing]
        total = len(events)
        usage = self.script.usage()
        completion, prompt = usage["completion_tokens"], usage["prompt_tokens"]
        for at, event in enumerate(events, 1):
            done = completion * at // total
            so_far = {**usage, "completion_tokens": done, "total_tokens": prompt + done}
            bare = event.replace(b',"usage":null', b"")
            events[at - 1] = b'%b,"usage":%b}\n\n' % (bare[:-3], orjson.dumps(so_far))
        first, last = len(self.opening), total - len(self.closing)
        self.opening, self.content = events[:first], events[first:last]
        self.closing = events[last:]

    def events(self) -> list[bytes]:
        """The events that are sent, up to where the directive breaks the answer off."""
        directive = self.script.directive
        if directive.error_in_stream_after is not None:
            kept = directive.error_in_stream_after * self.script.choices
            return [*self.opening, *self.content[:kept], self._error_event()]
        point = directive.stops_at
        if point is not None:
            return self._events_until(point)
        done = [] if directive.no_done else [b"data: [DONE]\n\n"]
        return [*self.opening, *self.content, *self.closing, *self.usage, *done]

    def _error_event(self) -> bytes:
        _, error = render_error(500, message="The double failed.", error=self.script.directive.error)
        return b"data: %b\n\n" % error

    def _events_until(self, point: Point) -> list[bytes]:
        if point.place == "after_chunks":
            return [*self.opening, *self.content[: point.chunks * self.script.choices]]
        if point.place != "in_usage":
            return []
        *whole, last = [*self.opening, *self.content, *self.closing, *self.usage]
        return [*whole, last[: max(last.rfind(b'"usage"'), len(last) // 2) + 12]]


def whole_answer(script: Script, answer_id: str, created: int) -> dict[str, Any]:
    """The plain answer."""
    answer: dict[str, Any] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": script.answers_as,
        "choices": [_whole_choice(script, index) for index in range(script.choices)],
        "service_tier": "default",
        "system_fingerprint": "fp_double",
    }
    if not script.directive.no_usage:
        answer["usage"] = script.usage()
    return answer


def _whole_choice(script: Script, index: int) -> dict[str, Any]:
    calls = script.directive.tool_calls
    said = None if calls else _said(script)
    refuses = script.directive.refuses
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refuses else said,
        "refusal": said if refuses else None,
        "annotations": [],
    }
    if calls:
        message["tool_calls"] = [tool_call(number, call) for number, call in enumerate(calls)]
    return {
        "index": index,
        "message": message,
        "logprobs": None if script.logprobs is None else _logprobs(pieces_to_say(script), script.logprobs),
        "finish_reason": script.finish_reason,
    }


def _said(script: Script) -> str:
    if script.texts is None:
        return whole_text(script.chunks, unicode=script.directive.unicode)
    return "".join(script.texts)


def pieces_to_say(script: Script) -> list[str]:
    if script.texts is None:
        return words(script.chunks, unicode=script.directive.unicode)
    return list(script.texts)


def _logprobs(pieces: list[str], alternatives: int) -> dict[str, Any]:
    """Each piece as a token, with the most probable others beside it."""
    others = [{"token": f"x{n}", "logprob": -1.5 - n, "bytes": None} for n in range(alternatives)]
    told = [{"token": piece, "logprob": -0.25, "bytes": list(piece.encode())} for piece in pieces]
    content = [{**each, "top_logprobs": [each, *others][:alternatives]} for each in told]
    return {"content": content, "refusal": None}


def tool_call(number: int, call: dict[str, Any]) -> dict[str, Any]:
    """A tool call as OpenAI writes it; a directive may also give just `name` and `arguments`."""
    function = call.get("function", call)
    return {
        "id": call.get("id", f"call_double{number}"),
        "type": "function",
        "function": {"name": function["name"], "arguments": function.get("arguments", "{}")},
    }


def _tool_deltas(calls: tuple[dict[str, Any], ...]) -> list[bytes]:
    """Each call's first fragment names it; its arguments follow in pieces of a few characters."""
    deltas = []
    for number, call in enumerate(calls):
        whole = tool_call(number, call)
        arguments = whole["function"]["arguments"]
        opening = {**whole, "function": {**whole["function"], "arguments": ""}}
        fragments: list[dict[str, Any]] = [{"index": number, **opening}]
        for at in range(0, len(arguments), 7):
            piece = {"arguments": arguments[at : at + 7]}
            fragments.append({"index": number, "function": piece})
        deltas += [orjson.dumps({"tool_calls": [fragment]}) for fragment in fragments]
    return deltas


@lru_cache(maxsize=64)
def content_deltas(chunks: int, *, unicode: bool) -> tuple[bytes, ...]:
    """The deltas of a streamed answer of so many chunks."""
    return tuple(orjson.dumps({"content": word}) for word in words(chunks, unicode=unicode))


@lru_cache(maxsize=64)
def whole_text(chunks: int, *, unicode: bool) -> str:
    """The text of an answer of so many chunks, streamed or not."""
    return "".join(words(chunks, unicode=unicode))
