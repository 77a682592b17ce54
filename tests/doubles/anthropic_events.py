"""The Anthropic double's answers on the wire: whole messages, named events, errors, and their heads."""

from typing import Any

import orjson

from tests.doubles.anthropic_script import Directive, Script

_HEADERS = (
    b"server: cloudflare\r\nrequest-id: req_double\r\nanthropic-organization-id: org-double\r\n"
    b"anthropic-ratelimit-requests-limit: 50\r\nanthropic-ratelimit-requests-remaining: 49\r\n"
    b"anthropic-ratelimit-requests-reset: 2026-11-22T00:00:00Z\r\n"
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n" + _HEADERS + b"\r\n"
)
_WHOLE_HEAD = b"HTTP/1.1 %d Double\r\ncontent-type: %b\r\ncontent-length: %d\r\n" + _HEADERS + b"%b\r\n"
_HTML = b"<html><head><title>%d</title></head><body><h1>Bad Gateway</h1></body></html>"
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


def stream_head() -> bytes:
    return _STREAM_HEAD


def render_whole(body: bytes, *, status: int = 200, page: bool = False, more: bytes = b"") -> bytes:
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    return _WHOLE_HEAD % (status, kind, len(body), more) + body


def error_body(status: int, message: str, error: dict[str, Any] | None = None) -> bytes:
    told = {"type": _ERROR_TYPES.get(status, "api_error"), "message": message, **(error or {})}
    return orjson.dumps({"type": "error", "error": told, "request_id": "req_double"})


def render_failure(status: int, directive: Directive) -> bytes:
    body = error_body(status, f"The double of org_double1 was told to answer {status}.", directive.error)
    more = b""
    if directive.retry_after is not None:
        more = f"retry-after: {directive.retry_after:g}\r\n".encode()
    return render_whole(_HTML % status if directive.html_error else body, status=status,
                        page=directive.html_error, more=more)  # fmt: skip


def whole_message(script: Script, answer_id: str) -> dict[str, Any]:
    content = [block for block, _ in script.blocks]
    if script.directive.citations:
        content = [_cite(block, script.directive) for block in content]
    return {
        **_empty_message(script, answer_id),
        "content": content,
        "stop_reason": script.stop_reason,
        "stop_sequence": script.stop_sequence,
        "stop_details": script.directive.stop_details,
        "usage": {**script.usage, **script.final_usage},
    }


def _cite(block: dict[str, Any], directive: Directive) -> dict[str, Any]:
    return {**block, "citations": list(directive.citations)} if block["type"] == "text" else block


def _empty_message(script: Script, answer_id: str) -> dict[str, Any]:
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": script.answers_as,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": script.usage,
    }


class Events:
    """The events of a stream in three parts, and how many pieces of content there are."""

    def __init__(self, script: Script, answer_id: str) -> None:
        self._script = script
        self.opening = [_event("message_start", message=_empty_message(script, answer_id))]
        self.pieces = 0
        self.content: list[tuple[bytes, int]] = []  # an event, and the pieces given with it
        for index, (block, pieces) in enumerate(script.blocks):
            self._add_block(index, block, pieces)
        delta: dict[str, Any] = {"stop_reason": script.stop_reason, "stop_sequence": script.stop_sequence}
        if script.directive.stop_details is not None:
            delta["stop_details"] = script.directive.stop_details
        self.closing = [_event("message_delta", delta=delta, usage=script.final_usage)]
        if not script.directive.no_stop:
            self.closing.append(_event("message_stop"))

    def _add_block(self, index: int, block: dict[str, Any], pieces: list[str]) -> None:
        directive = self._script.directive
        at_start = directive.input_at_start and block["type"] == "tool_use"
        self._add(_event("content_block_start", index=index, content_block=_opening(block, whole=at_start)))
        if index == 0 and directive.pings:
            self._add(_event("ping"))
        kind, field = _DELTAS.get(block["type"], ("input_json_delta", "partial_json"))
        if block["type"] == "tool_use" and not at_start:
            self._add_delta(index, {"type": kind, field: ""})
        for piece in () if at_start else pieces:
            self.pieces += 1
            self._add_delta(index, {"type": kind, field: piece})
        if block["type"] == "text":
            for citation in directive.citations:
                self._add_delta(index, {"type": "citations_delta", "citation": citation})
        if block["type"] == "thinking":
            self._add_delta(index, {"type": "signature_delta", "signature": block["signature"]})
        self._add(_event("content_block_stop", index=index))

    def _add_delta(self, index: int, delta: dict[str, Any]) -> None:
        self._add(_event("content_block_delta", index=index, delta=delta))

    def _add(self, event: bytes) -> None:
        self.content.append((event, self.pieces))


def error_event(directive: Directive) -> bytes:
    told = {"type": "overloaded_error", "message": "Overloaded", **(directive.error or {})}
    return _event("error", error=told)


def _opening(block: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """A block as it looks before its pieces come; redacted thinking comes whole."""
    empty = {"text": "", "thinking": "", "signature": ""}
    opening = {name: empty.get(name, value) for name, value in block.items()}
    return {**opening, "input": {}} if block["type"] == "tool_use" and not whole else opening


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
