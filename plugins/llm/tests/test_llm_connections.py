"""The connections over which a gateway's requests are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from argo_mw.testing import FakeClock, settle
from argo_mw_llm.relay.connections import KEPT, Connections

HERE, THERE = "https://here.example/v1", "https://there.example/v1"


class Body(httpx2.AsyncByteStream):
    def __init__(self) -> None:
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"answer"

    async def aclose(self) -> None:
        self.closed += 1


class Single(httpx2.AsyncBaseTransport):
    """A transport for one connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self.raises: BaseException | None = None
        self.held: asyncio.Event | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.held is not None:
            await self.held.wait()
        if self.raises is not None:
            raise self.raises
        return httpx2.Response(200, headers={"over": self.name}, stream=Body())

    async def aclose(self) -> None:
        self.closed = True


class Opened:
    """Opens transports, and remembers them."""

    def __init__(self) -> None:
        self.all: list[Single] = []

    async def __call__(self) -> httpx2.AsyncBaseTransport:
        self.all.append(Single(str(len(self.all))))
        return self.all[-1]

    @property
    def closed(self) -> list[str]:
        return [one.name for one in self.all if one.closed]


def request(url: str = HERE, patience: float | None = None) -> httpx2.Request:
    return httpx2.Request("POST", url, extensions={"timeout": {"pool": patience}})


async def ask(connections: Connections, url: str = HERE) -> httpx2.Response:
    return await connections.handle_async_request(request(url))


async def test_the_connection_that_was_used_last_is_used_next() -> None:
    connections = Connections(FakeClock(), 10, Opened())
    first, second, third = [await ask(connections) for _ in range(3)]
    for response in (second, first, third):
        await response.aclose()
    over = [(await ask(connections)).headers["over"] for _ in range(4)]
    assert ["2", "0", "1", "3"] == over


async def test_a_connection_is_kept_for_requests_to_the_same_server_alone() -> None:
    connections = Connections(FakeClock(), 10, Opened())
    await (await ask(connections)).aclose()
    others = [THERE, "http://here.example/v1", "https://here.example:8443/v1"]
    assert ["1", "2", "3"] == [(await ask(connections, url)).headers["over"] for url in others]
    assert "0" == (await ask(connections, HERE)).headers["over"]


async def test_what_a_burst_has_left_behind_is_closed_when_it_was_idle_for_long() -> None:
    clock, opened = FakeClock(), Opened()
    connections = Connections(clock, 10, opened)
    for response in [await ask(connections) for _ in range(3)]:
        await response.aclose()
    await clock.advance(KEPT - 1)
    await (await ask(connections)).aclose()
    assert [] == opened.closed
    await clock.advance(1)
    assert "2" == (await ask(connections, HERE)).headers["over"]
    assert ["0", "1"] == opened.closed


async def test_there_are_never_more_than_allowed_the_idle_ones_included() -> None:
    opened = Opened()
    connections = Connections(FakeClock(), 2, opened)
    for response in [await ask(connections), await ask(connections)]:
        await response.aclose()
    await ask(connections, THERE)
    assert ["0"] == opened.closed
    await ask(connections, THERE)
    assert ["0", "1"] == opened.closed


async def test_requests_beyond_the_limit_wait_for_a_connection() -> None:
    connections = Connections(FakeClock(), 1, Opened())
    first = await ask(connections)
    waiting = asyncio.create_task(ask(connections))
    await settle()
    assert not waiting.done()
    await first.aclose()
    assert "0" == (await waiting).headers["over"]


async def test_a_request_that_waits_longer_than_it_may_raises_that() -> None:
    connections = Connections(FakeClock(), 1, Opened())
    first = await ask(connections)
    with pytest.raises(httpx2.PoolTimeout, match="all 1 connections"):
        await connections.handle_async_request(request(patience=0))
    await first.aclose()
    await ask(connections)


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_connection() -> None:
    connections = Connections(FakeClock(), 1, Opened())
    first = await ask(connections)
    waiting = asyncio.create_task(ask(connections))
    await settle()
    waiting.cancel()
    await asyncio.wait([waiting])
    await first.aclose()
    assert "0" == (await ask(connections)).headers["over"]


@pytest.mark.parametrize("raised", [httpx2.ReadError("broken"), asyncio.CancelledError()])
async def test_a_connection_whose_request_failed_is_not_used_again(raised: BaseException) -> None:
    opened = Opened()
    connections = Connections(FakeClock(), 1, opened)
    await (await ask(connections)).aclose()
    opened.all[0].raises = raised
    with pytest.raises(type(raised)):
        await ask(connections)
    assert "1" == (await ask(connections)).headers["over"]


async def test_a_connection_that_cannot_be_opened_leaves_its_place_to_others() -> None:
    opened = Opened()

    async def fails_once() -> httpx2.AsyncBaseTransport:
        if not opened.all:
            await opened()
            raise httpx2.ConnectError("no authorities")
        return await opened()

    connections = Connections(FakeClock(), 1, fails_once)
    with pytest.raises(httpx2.ConnectError):
        await ask(connections)
    assert "1" == (await ask(connections)).headers["over"]


async def test_a_body_that_is_closed_twice_gives_its_connection_back_once() -> None:
    connections = Connections(FakeClock(), 2, Opened())
    first = await ask(connections)
    stream = first.stream
    assert isinstance(stream, httpx2.AsyncByteStream)
    await stream.aclose()
    await stream.aclose()
    over = [(await ask(connections)).headers["over"] for _ in range(2)]
    assert ["0", "1"] == over


async def test_all_connections_close_at_the_end_and_none_comes_back() -> None:
    opened = Opened()
    connections = Connections(FakeClock(), 10, opened)
    idle, busy = await ask(connections), await ask(connections)
    await idle.aclose()
    await connections.aclose()
    assert ["0", "1"] == opened.closed
    await busy.aclose()
    assert "2" == (await ask(connections)).headers["over"]


async def test_real_connections_are_kept_and_one_that_the_server_has_closed_is_replaced() -> None:
    served: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(writers)
        writers.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            served.append(number)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    connections = Connections(FakeClock(), 10)

    async def read() -> bytes:
        response = await connections.handle_async_request(httpx2.Request("GET", url))
        try:
            return await response.aread()
        finally:
            await response.aclose()

    assert [b"ok", b"ok"] == [await read(), await read()]
    writers[0].close()
    await writers[0].wait_closed()
    assert b"ok" == await read()
    assert [0, 0, 1] == served
    await connections.aclose()
    server.close()
    writers[1].close()
    await writers[1].wait_closed()
