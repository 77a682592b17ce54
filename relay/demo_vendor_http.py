"""As much HTTP/1.1 as the demo vendor needs: requests read from asyncio streams, answers as bytes.

Every length is bounded: a peer that sends more than it may is refused, one that stalls is dropped.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from relay.demo_vendor_wire import DemoVendorError

MAX_HEAD = 64 * 1024
MAX_BODY = 24 * 1024 * 1024
READ_SECONDS = 60
JSON = {"content-type": "application/json"}
EVENT_STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "transfer-encoding": "chunked",
}
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class HttpRequest:
    """A request's first line and headers; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def keeps_alive(self) -> bool:
        return "close" not in self.headers.get("connection", "").lower()


async def read_head(reader: asyncio.StreamReader) -> HttpRequest | None:
    """The next request's head, None when the peer has left; raises DemoVendorError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise DemoVendorError("The request's headers are too long.", status=431) from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError as error:
        raise DemoVendorError("This is not an HTTP request.") from error
    if version != "HTTP/1.1":
        raise DemoVendorError("This vendor speaks HTTP/1.1.", status=505)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return HttpRequest(method, target.partition("?")[0], headers)


async def read_body(
    request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    """The body of `request`; raises DemoVendorError, TimeoutError, IncompleteReadError."""
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async with asyncio.timeout(READ_SECONDS):
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            return await _read_chunks(reader)
        return await reader.readexactly(_checked_size(request.headers.get("content-length", "0")))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _checked_size(await _read_line(reader), base=16, already=len(body)):
        body += await reader.readexactly(size)
        await _read_line(reader)
    while await _read_line(reader):
        pass  # trailers
    return bytes(body)


async def _read_line(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError as error:
        raise DemoVendorError("The request's body is badly framed.") from error
    return line.decode("latin-1").partition(";")[0].strip()


def _checked_size(text: str, *, base: int = 10, already: int = 0) -> int:
    try:
        size = int(text, base)
    except ValueError as error:
        raise DemoVendorError("The request's body is badly framed.") from error
    if size < 0:
        raise DemoVendorError("The request's body is badly framed.")
    if already + size > MAX_BODY:
        raise DemoVendorError("The request's body is too long.", status=413)
    return size


def render_head(status: int, headers: Mapping[str, str]) -> bytes:
    """A response's head."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += (f"{name}: {value}" for name, value in headers.items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def render_whole(status: int, body: bytes, *, keep_alive: bool) -> bytes:
    """A whole response with a JSON body."""
    headers = {**JSON, "content-length": str(len(body))}
    return render_head(status, _with_connection(headers, keep_alive=keep_alive)) + body


def render_stream_head(*, keep_alive: bool) -> bytes:
    """The head of an event stream, whose body then comes in chunks."""
    return render_head(200, _with_connection(EVENT_STREAM, keep_alive=keep_alive))


def render_chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _with_connection(headers: Mapping[str, str], *, keep_alive: bool) -> dict[str, str]:
    return {**headers} if keep_alive else {**headers, "connection": "close"}
