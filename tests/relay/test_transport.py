"""What a failed connection allows to conclude, against real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from relay.transport import (
    UpstreamBroken,
    UpstreamClient,
    UpstreamNotReached,
)

HEADERS = (("Authorization", "Bearer key"), ("Content-Type", "application/json"))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def vendor(serve: Serve) -> AsyncIterator[str]:
    """A server on loopback that treats each connection with `serve`; yields its address."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


@asynccontextmanager
async def client() -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient()
    try:
        yield made
    finally:
        await made.aclose()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


async def test_a_refused_connection_means_nothing_was_sent() -> None:
    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with vendor(never) as address:
        pass
    async with client() as upstream:
        with pytest.raises(UpstreamNotReached):
            await upstream.post(address, HEADERS, b"{}")


async def test_a_connection_dropped_after_the_request_may_have_run_it() -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.close()

    async with vendor(drop) as address, client() as upstream:
        with pytest.raises(UpstreamBroken):
            await upstream.post(address, HEADERS, b"{}")


async def test_a_body_cut_short_is_broken_not_complete() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.close()

    async with vendor(cut) as address, client() as upstream:
        response = await upstream.post(address, HEADERS, b"{}")
        assert await response.next_piece() == b"hello"
        with pytest.raises(UpstreamBroken):
            await response.next_piece()
        await response.aclose()


async def test_abort_wakes_the_reader() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with vendor(hang) as address, client() as upstream:
        response = await upstream.post(address, HEADERS, b"{}")
        asyncio.get_running_loop().call_later(0.05, response.abort)
        with pytest.raises(UpstreamBroken):
            await asyncio.wait_for(response.next_piece(), 5)


async def test_no_cookie_travels_from_one_answer_to_the_next_request() -> None:
    requests = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            requests.append(await read_request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        writer.close()

    async with vendor(serve) as address, client() as upstream:
        for _ in range(2):
            response = await upstream.post(address, HEADERS, b"{}")
            while await response.next_piece():
                pass
            await response.aclose()
    assert len(requests) == 2  # over one connection, so it was kept as well
    assert not any(b"cookie" in request.lower() for request in requests)


async def test_redirects_are_not_followed() -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with vendor(redirect) as address, client() as upstream:
        response = await upstream.post(address, HEADERS, b"{}")
        assert response.status == 307
        await response.aclose()
