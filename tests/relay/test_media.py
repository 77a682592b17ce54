"""Fetching what lies elsewhere, from a real server behind names that a test decides about.

The server is on loopback; the fetcher is told by injection that this one address may be connected to.
"""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay import media
from relay.addresses import AddressPolicy
from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.media import Media, MediaFetcher, sniff
from relay.protocols.openai_chat.media import RemotePart, inline_media, remote_parts
from relay.protocols.openai_chat.request import parse_request

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10
PDF = b"%PDF-1.7\n" + b"text " * 10
PARAM = "messages[0].content[0].image_url.url"
NOT_FETCHED = f"Invalid '{PARAM}': the image at this address cannot be used: it could not be fetched."
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Web:
    """A server on loopback, and the addresses its names resolve to, one answer after the other."""

    port: int
    names: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        answers = self.names.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def fetcher(self, *, deadline_s: float = 5.0, **options: Callable[[], ssl.SSLContext]) -> MediaFetcher:
        policy = AddressPolicy(also=frozenset({("127.0.0.1", self.port)}))
        return MediaFetcher(policy=policy, resolve=self.resolve, deadline_s=deadline_s, **options)

    def url(self, host: str = "127.0.0.1", path: str = "/a.png") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def web(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        try:
            running.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await serve(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    running = Web(server.sockets[0].getsockname()[1])
    try:
        yield running
    finally:
        server.close()


def answering(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Serve:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    return serve


def part(url: str, *, is_image: bool = True) -> RemotePart:
    return RemotePart(url, PARAM, is_image=is_image)


async def fetch(fetcher: MediaFetcher, *parts: RemotePart) -> dict[str, Media]:
    try:
        return await fetcher.fetch_media(parts)
    finally:
        fetcher.close()


async def refusal(fetcher: MediaFetcher, *parts: RemotePart) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetch(fetcher, *parts)
    assert caught.value.reason == "invalid_image_url"
    assert caught.value.param == PARAM
    return caught.value.message


async def test_an_image_is_fetched_without_telling_who_asks() -> None:
    async with web(answering(PNG, b"Set-Cookie: a=b", b"Content-Type: text/html")) as running:
        url = running.url(path="/ü.png?a=1")
        fetched = await fetch(running.fetcher(), part(url))
    assert fetched == {url: Media("image/png", PNG)}
    (head,) = running.requests
    assert head.startswith(b"GET /%C3%BC.png?a=1 HTTP/1.1\r\n")
    assert b"Host: 127.0.0.1:%d\r\n" % running.port in head
    assert b"cookie" not in head.lower()
    assert b"authorization" not in head.lower()


async def test_cookies_are_not_kept() -> None:
    async with web(answering(PNG, b"Set-Cookie: a=b")) as running:
        fetcher = running.fetcher()
        await fetcher.fetch_media([part(running.url())])
        await fetch(fetcher, part(running.url()))
    assert len(running.requests) == 2
    assert b"cookie" not in running.requests[1].lower()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with web(answering(PNG)) as running:
        assert await fetch(running.fetcher(), part(running.url()))


async def test_a_name_is_looked_up_once_and_held_to_that_answer() -> None:
    """DNS rebinding: the second answer would have been the metadata service."""
    async with web(answering(PNG)) as running:
        running.names["rebinding.example"] = [["127.0.0.1"], ["169.254.169.254"]]
        url = running.url("rebinding.example")
        assert (await fetch(running.fetcher(), part(url)))[url].data == PNG
    assert running.looked_up == ["rebinding.example"]
    assert b"Host: rebinding.example:%d\r\n" % running.port in running.requests[0]


@pytest.mark.parametrize(
    "found",
    [
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["::1"],
        ["fd00:ec2::254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["fe80::1%lo"],
        ["127.0.0.1", "192.168.0.1"],  # one bad answer spoils the rest
        [],
    ],
)
async def test_a_name_of_a_private_address_is_not_connected_to(found: Sequence[str]) -> None:
    async with web(answering(PNG)) as running:
        running.names["inner.example"] = [found]
        assert await refusal(running.fetcher(), part(running.url("inner.example"))) == NOT_FETCHED
        assert running.connections == 0


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "127.0.0.2", "[fe80::1]", "169.254.169.254"])
async def test_private_literals_are_not_connected_to(host: str) -> None:
    async with web(answering(PNG)) as running:
        assert await refusal(running.fetcher(), part(running.url(host))) == NOT_FETCHED
        assert running.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1"])
async def test_numbers_in_disguise_are_not_looked_up(host: str) -> None:
    async with web(answering(PNG)) as running:
        message = await refusal(running.fetcher(), part(running.url(host)))
        assert message.endswith("the address has no valid host name.")
        assert running.looked_up == []


async def test_loopback_is_refused_unless_it_was_handed_in() -> None:
    async with web(answering(PNG)) as running:
        message = await refusal(MediaFetcher(), part(running.url()))
        assert "usual ports" in message
        assert await refusal(MediaFetcher(), part("http://127.0.0.1/")) == NOT_FETCHED
        assert await refusal(MediaFetcher(), part("http://localhost/")) == NOT_FETCHED
        assert running.connections == 0


async def test_a_refused_address_reads_like_a_dead_one() -> None:
    async with web(answering(PNG)) as gone:
        pass
    refused = await refusal(gone.fetcher(), part("http://10.0.0.1/"))
    assert refused == await refusal(gone.fetcher(), part(gone.url())) == NOT_FETCHED


async def test_a_name_that_nobody_knows_reads_the_same() -> None:
    assert await refusal(MediaFetcher(), part("http://no-such-name.invalid/")) == NOT_FETCHED


async def test_a_redirect_is_not_followed() -> None:
    serve = answering(b"", b"Location: http://169.254.169.254/latest", status=b"302 Found")
    async with web(serve) as running:
        assert "redirects" in await refusal(running.fetcher(), part(running.url()))
        assert running.connections == 1


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Oh", b"206 Partial Content", b"204 No Content"])
async def test_any_other_status_is_told(status: bytes) -> None:
    async with web(answering(PNG, status=status)) as running:
        assert f"status {status[:3].decode()}" in await refusal(running.fetcher(), part(running.url()))


async def test_a_slow_drip_ends_at_the_deadline() -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PNG[:8])
        for _ in range(100):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with web(drip) as running:
        start = time.monotonic()
        assert await refusal(running.fetcher(deadline_s=0.4), part(running.url())) == NOT_FETCHED
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("kept", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_a_server_that_says_nothing_ends_at_the_deadline(kept: bytes) -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(kept)
        await asyncio.sleep(3)

    async with web(hang) as running:
        assert await refusal(running.fetcher(deadline_s=0.3), part(running.url())) == NOT_FETCHED


async def test_too_large_by_its_own_word_is_not_read() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000001\r\n\r\n")
        await asyncio.sleep(3)

    async with web(serve) as running:
        start = time.monotonic()
        assert "larger than 20 MB" in await refusal(running.fetcher(), part(running.url()))
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("chunked", [True, False])
async def test_too_large_without_saying_so_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, *, chunked: bool
) -> None:
    monkeypatch.setattr(media, "MEDIA_BYTES", 1_000_000)
    sent = 0

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        piece = PNG.ljust(65_536, b".")
        encoding = b"Transfer-Encoding: chunked" if chunked else b"Connection: close"
        writer.write(b"HTTP/1.1 200 OK\r\n" + encoding + b"\r\n\r\n")
        for _ in range(500):
            writer.write(b"10000\r\n%b\r\n" % piece if chunked else piece)
            await writer.drain()
            sent += len(piece)

    async with web(serve) as running:
        assert "larger than 1 MB" in await refusal(running.fetcher(), part(running.url()))
    assert sent < 20_000_000


async def test_all_of_them_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "TOTAL_BYTES", 1_000_000)
    async with web(answering(PNG.ljust(300_000))) as running:
        three = [part(running.url(path=f"/{number}")) for number in range(3)]
        assert len(await fetch(running.fetcher(), *three)) == 3
        four = [*three, part(running.url(path="/3"))]
        assert "together are larger than 1 MB" in await refusal(running.fetcher(), *four)


async def test_their_number_is_bounded() -> None:
    parts = [part(f"http://example.com/{number}") for number in range(media.MOST_PARTS + 1)]
    assert "at most 64" in await refusal(MediaFetcher(), *parts)


async def test_few_are_fetched_at_once() -> None:
    now = most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        await answering(PNG)(reader, writer)
        now -= 1

    async with web(serve) as running:
        parts = [part(running.url(path=f"/{number}")) for number in range(12)]
        assert len(await fetch(running.fetcher(), *parts)) == 12
    assert most == media.AT_ONCE_PER_REQUEST


async def test_the_first_failure_ends_the_others() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/bad" in running.requests[-1]:
            await answering(b"", status=b"404 Not Found")(reader, writer)
        else:
            await asyncio.sleep(5)

    async with web(serve) as running:
        start = time.monotonic()
        slow, bad = part(running.url(path="/slow")), part(running.url(path="/bad"))
        assert "status 404" in await refusal(running.fetcher(), slow, bad)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "body",
    [b"<!DOCTYPE html><html>", b"\x1f\x8b\x08gzipped", b"<svg xmlns='http://", b"MZ\x90", b"", b"\xff"],
)
async def test_what_no_vendor_takes_is_refused_whatever_it_is_called(body: bytes) -> None:
    async with web(answering(body, b"Content-Type: image/png")) as running:
        assert "it is no PNG" in await refusal(running.fetcher(), part(running.url()))


async def test_a_document_is_no_image_but_a_file() -> None:
    async with web(answering(PDF, b"Content-Type: image/png")) as running:
        assert "it is not an image" in await refusal(running.fetcher(), part(running.url()))
        url = running.url()
        fetched = await fetch(running.fetcher(), part(url, is_image=False))
    assert fetched[url].media_type == "application/pdf"


async def test_compressed_bodies_are_not_unpacked() -> None:
    async with web(answering(PNG, b"Content-Encoding: gzip")) as running:
        assert "compressed" in await refusal(running.fetcher(), part(running.url()))


async def test_a_broken_answer_reads_like_a_dead_server() -> None:
    async with web(answering(PNG[:30], b"Content-Length: 30")) as running:
        assert await refusal(running.fetcher(), part(running.url())) == NOT_FETCHED


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\x10\0\0\0AVI LIST", None),
        (b"%PDF-1.4", "application/pdf"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xfb\xf0\x64", None),
        (b"\xff\xff\xff\xff", None),
        (b"BM", None),
    ],
)
def test_bytes_say_what_they_are(head: bytes, expected: str | None) -> None:
    assert sniff(head) == expected


async def test_what_was_fetched_stands_in_the_request_with_its_real_type() -> None:
    async with web(answering(PNG)) as running:
        image = {"type": "image_url", "image_url": {"url": running.url()}}
        chat = parse_request(orjson.dumps({"model": "m", "messages": [{"role": "user", "content": [image]}]}))
        parts = remote_parts(chat, ModelTraits(image_url_schemes=()))
        fetched = await fetch(running.fetcher(), *parts)
    inlined = inline_media(chat, {url: each.data_url for url, each in fetched.items()})
    (sent,) = inlined.body["messages"][0]["content"]
    assert sent["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert inlined.attachments.image_size == len(sent["image_url"]["url"])


# TLS: the certificate must be the name's, though the connection goes to the address.


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    is_address = name[0].isdigit()
    named = x509.IPAddress(ip_address(name)) if is_address else x509.DNSName(name)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([named]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=path)


@pytest.mark.parametrize("name", ["pictures.example", "127.0.0.1"])
async def test_the_certificate_must_be_the_names(tmp_path: Path, name: str) -> None:
    server, client = certificate_for(name, tmp_path)
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, asked_for, _context: asked.append(asked_for)
    async with web(answering(PNG), tls=server) as running:
        running.names = {host: [["127.0.0.1"]] for host in (name, "other.example")}
        url = f"https://{name}:{running.port}/a.png"
        assert (await fetch(running.fetcher(tls=lambda: client), part(url)))[url].data == PNG
        assert asked == ["pictures.example" if name != "127.0.0.1" else None]
        other = f"https://other.example:{running.port}/a.png"
        assert await refusal(running.fetcher(tls=lambda: client), part(other)) == NOT_FETCHED
        assert len(running.requests) == 1


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    server, _ = certificate_for("pictures.example", tmp_path)
    async with web(answering(PNG), tls=server) as running:
        running.names["pictures.example"] = [["127.0.0.1"]]
        url = f"https://pictures.example:{running.port}/a.png"
        assert await refusal(running.fetcher(), part(url)) == NOT_FETCHED
        assert running.requests == []
