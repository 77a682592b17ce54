"""The Gemini double's answers on the wire: whole ones, events, growing arrays, errors, and their heads."""

from typing import Any

import orjson

from tests.doubles.gemini_script import Directive, Script

_HEADERS = (
    b"server: scaffolding on HTTPServer2\r\nvary: Origin\r\nvary: X-Origin\r\nx-xss-protection: 0\r\n"
    b"x-frame-options: SAMEORIGIN\r\nserver-timing: gfet4t7; dur=12\r\n"
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: %b; charset=UTF-8\r\ntransfer-encoding: chunked\r\n"
    + _HEADERS
    + b"\r\n"
)
_WHOLE_HEAD = b"HTTP/1.1 %d Double\r\ncontent-type: %b\r\ncontent-length: %d\r\n" + _HEADERS + b"\r\n"
_HTML = b"<html><head><title>%d</title></head><body><h1>Bad Gateway</h1></body></html>"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."


def stream_head(*, events: bool) -> bytes:
    return _STREAM_HEAD % (b"text/event-stream" if events else b"application/json")


def render_whole(body: bytes, *, status: int = 200, page: bool = False) -> bytes:
    kind = b"text/html; charset=UTF-8" if page else b"application/json; charset=UTF-8"
    return _WHOLE_HEAD % (status, kind, len(body)) + body


def error_object(
    status: int,
    message: str,
    *,
    details: list[dict[str, Any]] | None = None,
    error: dict[str, Any] | None = None,
) -> dict[str, Any]:
    told: dict[str, Any] = {"code": status, "message": message, "status": _STATUSES.get(status, "INTERNAL")}
    if details:
        told["details"] = details
    return {"error": {**told, **(error or {})}}


def reason_details(reason: str) -> list[dict[str, Any]]:
    return [{"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": "googleapis.com"}]


def render_failure(status: int, directive: Directive) -> bytes:
    if directive.html_error:
        return render_whole(_HTML % status, status=status, page=True)
    details = []
    if directive.retry_delay is not None:
        details = [{"@type": f"{_TYPE}RetryInfo", "retryDelay": directive.retry_delay}]
    message = f"The double of projects/123456789012 was told to answer {status}."
    told = error_object(status, message, details=details, error=directive.error)
    return render_whole(orjson.dumps(told), status=status)


def whole_answer(script: Script, answer_id: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if script.thoughts:
        parts.append({"text": "".join(script.thoughts), "thought": True})
    if script.pieces:
        parts.append({"text": "".join(script.pieces)})
    parts += script.calls
    candidates = [
        _candidate(script, index, parts, tokens=script.pieces, finishes=True)
        for index in range(script.candidates)
    ]
    return _frame(script, answer_id, candidates, script.usage)


def _candidate(
    script: Script, index: int, parts: list[dict[str, Any]], *, tokens: list[str], finishes: bool
) -> dict[str, Any]:
    """Of one event or of a whole answer. A candidate without parts has no content at all."""
    directive = script.directive
    candidate: dict[str, Any] = {"index": index}
    if parts:
        candidate["content"] = {"role": "model", "parts": parts}
    if script.logprobs is not None and tokens:
        candidate["logprobsResult"] = _logprobs(tokens, script.logprobs)
    if finishes:
        candidate["finishReason"] = script.finish_reason
        if directive.finish_message is not None:
            candidate["finishMessage"] = directive.finish_message
        if directive.citations:
            candidate["citationMetadata"] = {"citationSources": list(directive.citations)}
    return candidate


def _logprobs(tokens: list[str], alternatives: int) -> dict[str, Any]:
    chosen = [{"token": token, "tokenId": 7, "logProbability": -0.25} for token in tokens]
    others = [{"token": f"x{n}", "tokenId": n, "logProbability": -1.5 - n} for n in range(alternatives)]
    tops = [{"candidates": [each, *others][:alternatives]} for each in chosen]
    return {"chosenCandidates": chosen, **({"topCandidates": tops} if alternatives else {})}


def _frame(
    script: Script, answer_id: str, candidates: list[dict[str, Any]], usage: dict[str, Any]
) -> dict[str, Any]:
    directive = script.directive
    ids = {"usageMetadata": usage, "modelVersion": script.answers_as, "responseId": answer_id}
    if directive.block_reason is not None:
        return {"promptFeedback": {"blockReason": directive.block_reason}, **ids}
    return ids if directive.empty else {"candidates": candidates, **ids}


class Events:
    """The objects of a stream, each with the pieces of content given by then."""

    def __init__(self, script: Script, answer_id: str) -> None:
        self._script = script
        self._answer_id = answer_id
        self._given = 0
        self.objects: list[tuple[dict[str, Any], int]] = []
        directive = script.directive
        if directive.block_reason is not None or directive.empty:
            self._add([], script.usage)
            return
        for thought in script.thoughts:
            self._add_all([{"text": thought, "thought": True}])
        for piece in script.pieces:
            self._given += 1
            self._add_all([{"text": piece}], tokens=[piece])
        for calls in [script.calls] if directive.together else [[call] for call in script.calls]:
            self._add_all(calls)
        self._close()

    def _add_all(self, parts: list[dict[str, Any]], tokens: list[str] | None = None) -> None:
        """The same from every candidate, each in an event of its own."""
        for index in range(self._script.candidates if parts else 0):
            self._add(
                [_candidate(self._script, index, parts, tokens=tokens or [], finishes=False)], self._counts()
            )

    def _counts(self) -> dict[str, Any]:
        """So far: the prompt at first, then what was written too."""
        usage = self._script.usage
        prompt = usage.get("promptTokenCount", 0)
        counts = {"promptTokenCount": prompt, "totalTokenCount": prompt + self._given}
        return {**counts, "candidatesTokenCount": self._given} if self._given else counts

    def _close(self) -> None:
        script = self._script
        if script.directive.no_finish:
            return
        if script.directive.finish_apart or not self.objects or script.candidates > 1:
            parts = [{"text": ""}] if script.directive.finish_apart else []
            closing = [
                _candidate(script, index, parts, tokens=[], finishes=True)
                for index in range(script.candidates)
            ]
            self._add(closing, script.usage)
            return
        last, _ = self.objects[-1]
        last["candidates"][0]["finishReason"] = script.finish_reason
        last["usageMetadata"] = script.usage

    def _add(self, candidates: list[dict[str, Any]], usage: dict[str, Any]) -> None:
        self.objects.append((_frame(self._script, self._answer_id, candidates, usage), self._given))


def render_event(value: dict[str, Any], *, crlf: bool) -> bytes:
    event = b"data: " + orjson.dumps(value) + b"\n\n"
    return event.replace(b"\n", b"\r\n") if crlf else event


def render_array(values: list[dict[str, Any]]) -> list[bytes]:
    """A growing array, over several lines as the vendor writes it."""
    pieces = [orjson.dumps(value, option=orjson.OPT_INDENT_2) for value in values]
    opened = [(b"[" if not index else b",\r\n") + piece for index, piece in enumerate(pieces)]
    return [*opened[:-1], opened[-1] + b"]"] if opened else [b"[]"]
