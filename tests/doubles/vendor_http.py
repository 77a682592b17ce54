"""The vendor double's HTTP/1.1: requests taken from a buffer, responses rendered as bytes."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

LAST_CHUNK = b"0\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"
# Headers a relay must not pass on, as real vendors send them.
_VENDOR_HEADERS = (
    b"server: vendor-double\r\nopenai-organization: org-double\r\n"
    b"openai-processing-ms: 1\r\nx-request-id: %b\r\n"
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n" + _VENDOR_HEADERS + b"\r\n"
)
_WHOLE_HEAD = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n" + _VENDOR_HEADERS + b"%b\r\n"
# status: reason, envelope type, envelope code
_ERRORS: dict[int, tuple[str, str, str | None]] = {
    400: ("Bad Request", "invalid_request_error", None),
    401: ("Unauthorized", "invalid_request_error", "invalid_api_key"),
    403: ("Forbidden", "invalid_request_error", "unsupported_country_region_territory"),
    404: ("Not Found", "invalid_request_error", "model_not_found"),
    429: ("Too Many Requests", "requests", "rate_limit_exceeded"),
    503: ("Service Unavailable", "service_unavailable_error", "server_is_overloaded"),
}
_OTHER_ERROR: tuple[str, str, str | None] = ("Error", "server_error", None)


class Head(NamedTuple):
    """What matters of a request's head. `length` is the body's, in bytes; -1 when it comes in chunks.

    `headers` are all of them, by lower-case name. `query` is what follows the path's question mark.
    """

    method: str
    path: str
    length: int
    closes: bool
    auth_last4: str
    request_id: str | None
    headers: Mapping[str, str]
    query: str = ""


class Request(NamedTuple):
    """One request taken from a connection's bytes. `size` is how many of them it took."""

    head: Head
    body: bytes
    size: int


def take_request(buffer: bytes | bytearray) -> Request | int:
    """The first request in `buffer`, or how long the buffer must be before asking is worth while."""
    end = buffer.find(END_OF_HEAD)
    if end < 0:
        return len(buffer) + 1
    head = read_head(bytes(buffer[:end]))
    start = end + len(END_OF_HEAD)
    if head.length < 0:
        return _take_chunked(head, buffer, start)
    size = start + head.length
    if len(buffer) < size:
        return size
    return Request(head, bytes(buffer[start:size]), size)


@lru_cache(maxsize=512)
def read_head(head: bytes) -> Head:
    """Clients send the same head again and again, so it is read once."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    return Head(
        method=method,
        path=target.partition("?")[0],
        length=-1 if chunked else int(headers.get("content-length", 0)),
        closes="close" in headers.get("connection", "").lower(),
        auth_last4=headers.get("authorization", "")[-4:],
        request_id=headers.get("x-request-id") or headers.get("x-client-request-id"),
        headers=headers,
        query=target.partition("?")[2],
    )


def _take_chunked(head: Head, buffer: bytes | bytearray, at: int) -> Request | int:
    """Like `take_request` for a body in chunks, without trailers."""
    body = bytearray()
    while (line_end := buffer.find(b"\r\n", at)) >= 0:
        size = int(bytes(buffer[at:line_end]).partition(b";")[0], 16)
        at = line_end + 2 + size + 2
        if len(buffer) < at:
            return at
        if size == 0:
            return Request(head, bytes(body), at)
        body += buffer[line_end + 2 : at - 2]
    return len(buffer) + 1


def render_error(status: int, *, message: str, error: dict[str, Any] | None = None) -> tuple[bytes, bytes]:
    """The reason phrase and the envelope of an error; fields of `error` replace the usual ones."""
    reason, kind, code = _ERRORS.get(status, _OTHER_ERROR)
    usual = {"message": message, "type": kind, "param": None, "code": code}
    return reason.encode(), orjson.dumps({"error": {**usual, **(error or {})}})


def render_whole(
    body: bytes,
    *,
    status: int = 200,
    reason: bytes = b"OK",
    content_type: bytes = b"application/json",
    answer_id: str = "",
    more: bytes = b"",
) -> bytes:
    """A whole response; `more` is further header lines."""
    values = (status, reason, content_type, len(body), answer_id.encode(), more)
    return _WHOLE_HEAD % values + body


def render_answer(
    status: int, body: dict[str, Any] | str, *, answer_id: str = "", more: bytes = b""
) -> bytes:
    """A whole response: JSON, or plain text for a string."""
    is_text = isinstance(body, str)
    return render_whole(
        body.encode() if isinstance(body, str) else orjson.dumps(body),
        status=status,
        reason=_ERRORS.get(status, _OTHER_ERROR)[0].encode() if status != 200 else b"OK",
        content_type=b"text/plain; charset=utf-8" if is_text else b"application/json",
        answer_id=answer_id,
        more=more,
    )


def render_stream_head(answer_id: str) -> bytes:
    """The head of an event stream, whose body then comes in chunks."""
    return _STREAM_HEAD % answer_id.encode()


def render_chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
