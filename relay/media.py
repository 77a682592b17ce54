"""Fetching images and files that a vendor takes inline only, from addresses that customers write.

Customers choose where we connect to, so: a name is looked up once and the connection goes to the address
that was checked; no redirects, cookies, proxies or credentials; sizes, time and their number are bounded;
what something is, its bytes say. Whatever keeps us from fetching reads the same, refused address or dead
server, so that nobody can map a network through us.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from relay.addresses import AddressPolicy, AddressRefused, WebAddress, read_address
from relay.errors import InvalidRequest
from relay.http1 import ConnectFailed, Connection, ConnectionBroken, open_connection
from relay.protocols.openai_chat.media import RemotePart
from relay.transport import make_public_tls

MEDIA_BYTES = 20_000_000
TOTAL_BYTES = 24_000_000  # as base64 the 32 MB that vendors take at the most
MOST_PARTS = 64
DEADLINE_S = 10.0
CONNECT_S = 4.0
MOST_TRIED = 3  # addresses of one name
AT_ONCE_PER_REQUEST = 4
AT_ONCE = 16  # in this process
LOOKUPS_AT_ONCE = 4
REASON = "invalid_image_url"

_HEAD_BYTES = 16  # what telling types apart takes
_NOT_FETCHED = "it could not be fetched"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Media:
    """`media_type` is what the bytes are, whatever the server called them."""

    media_type: str
    data: bytes

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


class MediaUnusable(Exception):
    """Why a part cannot be used, as the end of a sentence that customers read."""


def sniff(head: bytes) -> str | None:
    """The media type of what begins like this; None for everything that no vendor takes."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    return "audio/mpeg" if _is_mp3_frame(head) else None


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}


def _is_mp3_frame(head: bytes) -> bool:
    """Eleven set bits, MPEG layer 3, and a bit rate and sample rate that exist."""
    return (
        len(head) > 2
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[2] & 0xF0 not in {0x00, 0xF0}
        and head[2] & 0x0C != 0x0C
    )


class MediaFetcher:
    """One per process and event loop; close it.

    `policy`, `resolve` (a name's addresses) and `tls` are handed in by tests only.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy | None = None,
        resolve: Resolve | None = None,
        tls: Callable[[], ssl.SSLContext] = make_public_tls,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._policy = policy or AddressPolicy()
        self._resolve = resolve or self._look_up
        self._make_tls = tls
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(AT_ONCE)
        # Of its own: a customer's name server that never answers must not keep vendors' names waiting.
        self._lookups = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="media-lookup")

    def close(self) -> None:
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def fetch_media(self, parts: Sequence[RemotePart]) -> dict[str, Media]:
        """By address. Raises InvalidRequest with `invalid_image_url` for the first that cannot be had."""
        if len(parts) > MOST_PARTS:
            raise _refusal(parts[MOST_PARTS], f"at most {MOST_PARTS} of them are fetched for a request")
        fetching = _Fetching()
        tasks = [asyncio.create_task(self._fetch_part(part, fetching)) for part in parts]
        if not tasks:
            return {}
        try:
            await asyncio.wait(tasks, timeout=self._deadline_s, return_when=asyncio.FIRST_EXCEPTION)
            done = dict(zip(parts, tasks, strict=True))
            _raise_first(done)
            return {part.url: task.result() for part, task in done.items()}
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch_part(self, part: RemotePart, fetching: "_Fetching") -> Media:
        try:
            address = read_address(part.url, self._policy)
            async with fetching.slots, self._slots:
                media = await self._fetch(address, fetching)
        except (AddressRefused, MediaUnusable) as error:
            raise _refusal(part, str(error)) from error
        except (ConnectFailed, ConnectionBroken, OSError) as error:
            raise _refusal(part, _NOT_FETCHED) from error
        if part.is_image and not media.media_type.startswith("image/"):
            raise _refusal(part, "it is not an image")
        return media

    async def _fetch(self, address: WebAddress, fetching: "_Fetching") -> Media:
        connection = await self._connect(address)
        try:
            # `send` ends the head with the length of a body, which is none.
            connection.send(_request_head(address), b"")
            await connection.read_head()
            _check_head(connection)
            return await _read_media(connection, fetching)
        finally:
            connection.close()

    async def _connect(self, address: WebAddress) -> Connection:
        """To an address that was checked: looking the name up again could give another one."""
        found = await self._resolve(address.host, address.port)
        if not found or not all(self._policy.allows(each, address.port) for each in found):
            raise ConnectFailed("not an address of the public web")
        origin = (address.host, address.port, address.is_tls)
        failure = ConnectFailed("no address")
        for each in found[:MOST_TRIED]:
            try:
                tls = self._tls if address.is_tls else None
                return await open_connection(origin, tls=tls, address=each, timeout_s=CONNECT_S)
            except ConnectFailed as error:
                failure = error
        raise failure

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._make_tls()

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._lookups, _addresses_of, host, port)
        return list(dict.fromkeys(found))


class _Fetching:
    """What the parts of one request share: places to wait for, and bytes left."""

    __slots__ = ("_left", "slots")

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(AT_ONCE_PER_REQUEST)
        self._left = TOTAL_BYTES

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise MediaUnusable(f"all of them together are larger than {TOTAL_BYTES // 1_000_000} MB")


def _addresses_of(host: str, port: int) -> list[str]:
    """Blocks. An IP address is its own; `%` and a scope may stand behind a link-local one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed("the name is not known") from error
    return [str(each[4][0]) for each in found]


def _request_head(address: WebAddress) -> bytes:
    lines = (
        f"GET {address.target} HTTP/1.1",
        f"Host: {address.host_header}",
        "User-Agent: farebox",
        "Accept: image/*, application/pdf, audio/*",
        "Accept-Encoding: identity",
        "Connection: close",
        "",
    )
    return "\r\n".join(lines).encode("ascii")


def _check_head(connection: Connection) -> None:
    headers = {name.lower(): value for name, value in connection.headers}
    if 300 <= connection.status < 400:
        raise MediaUnusable("the server redirects elsewhere, which is not followed")
    if connection.status != 200:
        raise MediaUnusable(f"the server answered with the status {connection.status}")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise MediaUnusable("the server sends it compressed")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > MEDIA_BYTES:
        raise _too_large()


async def _read_media(connection: Connection, fetching: _Fetching) -> Media:
    data = bytearray()
    media_type = None
    while piece := await connection.read():
        data += piece
        fetching.take(len(piece))
        if len(data) > MEDIA_BYTES:
            raise _too_large()
        if media_type is None and len(data) >= _HEAD_BYTES:
            media_type = _sniff_known(data)  # early: no reason to read on if it is something else
    return Media(media_type or _sniff_known(data), bytes(data))


def _sniff_known(data: bytearray) -> str:
    media_type = sniff(bytes(data[:_HEAD_BYTES]))
    if media_type is None:
        raise MediaUnusable("it is no PNG, JPEG, GIF or WebP image, and no PDF, WAV or MP3")
    return media_type


def _too_large() -> MediaUnusable:
    return MediaUnusable(f"it is larger than {MEDIA_BYTES // 1_000_000} MB")


def _raise_first(tasks: dict[RemotePart, asyncio.Task[Media]]) -> None:
    """What went wrong first in the order of the request; else what is not there yet is late."""
    for task in tasks.values():
        if task.done():
            task.result()
    for part, task in tasks.items():
        if not task.done():
            raise _refusal(part, _NOT_FETCHED)


def _refusal(part: RemotePart, problem: str) -> InvalidRequest:
    kind = "image" if part.is_image else "file"
    return InvalidRequest(
        f"Invalid '{part.param}': the {kind} at this address cannot be used: {problem}.",
        param=part.param,
        reason=REASON,
    )
