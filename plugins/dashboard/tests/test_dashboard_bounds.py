"""A program that shows the dashboard loses neither descriptors nor memory to its connections."""

from __future__ import annotations

import asyncio
import socket

import pytest

from argo_mw.plugin import Line
from argo_mw.testing import FakeClock
from argo_mw.testing.shared import eventually
from argo_mw_dashboard import bounded_protocol

from .conftest import Showing, client_of, open_argo, shown_by, token_of


class Raw:
    """Connections without HTTP of their own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[socket.socket] = []

    async def connect(self, sent: bytes = b"", *, buffer: int | None = None) -> socket.socket:
        made = socket.socket()
        if buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.setblocking(False)
        self._open.append(made)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(made, ("127.0.0.1", self._port))
        await loop.sock_sendall(made, sent)
        return made

    def close(self) -> None:
        for one in self._open:
            one.close()


async def ended(connection: socket.socket) -> bool:
    """Whether the server has ended *connection*, once it has done so or sent something."""
    try:
        return await asyncio.get_running_loop().sock_recv(connection, 65_536) == b""
    except ConnectionError:
        return True


@pytest.fixture
async def raw():
    made: list[Raw] = []

    def to(argo: object) -> Raw:
        port = int(shown_by(argo).address.rpartition(":")[2].strip("/"))
        made.append(Raw(port))
        return made[-1]

    yield to
    for one in made:
        one.close()


async def test_so_many_connections_are_kept_and_others_are_closed_at_once(
    raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "MAX_CONNECTIONS", 3)
    async with asyncio.timeout(30), open_argo() as argo:
        silent = raw(argo)
        for _ in range(3):
            await silent.connect()
        assert await ended(await silent.connect())
        silent.close()
        server = shown_by(argo)._server.server_state
        await eventually(lambda: not server.connections)
        async with client_of(argo) as client:
            assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_a_connection_that_sends_no_whole_request_is_ended(
    raw, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "HEADER_TIMEOUT", 0.05)
    async with asyncio.timeout(30), open_argo() as argo:
        assert await ended(await raw(argo).connect(sent))


async def test_a_second_request_that_is_never_whole_is_ended(
    raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(30), open_argo() as argo:
        connection = await raw(argo).connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not await ended(connection)
        monkeypatch.setattr(bounded_protocol, "HEADER_TIMEOUT", 0.05)
        await asyncio.get_running_loop().sock_sendall(connection, b"GET / HT")
        while not await ended(connection):
            pass


async def test_a_page_that_takes_nothing_is_sent_nothing_more_and_counts_as_closed(
    raw, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of a laptop that sleeps, behind a tunnel that does not notice."""
    monkeypatch.setattr(bounded_protocol, "WRITE_TIMEOUT", 0.2)
    lines = [Line(("x" * 500, "y" * 500)) for _ in range(1_000)]
    async with asyncio.timeout(30), open_argo(clock, showing=Showing(lines=lines)) as argo:
        await argo.call("bars", symbol="AAPL")
        site = shown_by(argo).site
        request = f"GET /api/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token_of(argo)}\r\n\r\n"
        await raw(argo).connect(request.encode(), buffer=4_096)
        await eventually(lambda: site.viewers == 1)
        while site.viewers:
            await clock.advance(2.0)
            await asyncio.sleep(0)


async def test_an_open_page_that_takes_what_it_is_sent_is_never_ended(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "HEADER_TIMEOUT", 0.01)
    monkeypatch.setattr(bounded_protocol, "WRITE_TIMEOUT", 0.01)
    async with asyncio.timeout(30), open_argo(clock) as argo, client_of(argo) as client:
        await argo.call("bars", symbol="AAPL")
        async with client.stream("GET", "/api/live") as response:
            parts = response.aiter_bytes()
            await anext(parts)
            limits_are_over = asyncio.get_running_loop().time() + 0.05
            await eventually(lambda: asyncio.get_running_loop().time() > limits_are_over)
            for _ in range(3):
                await clock.advance(2.0)
                assert b"snapshot" in await anext(parts)


async def test_feeds_of_programs_that_nobody_looks_at_any_more_are_forgotten(
    clock: FakeClock,
) -> None:
    async with open_argo(clock) as argo, client_of(argo) as client:
        site = shown_by(argo).site
        for number in range(20):
            url = f"/api/live?instance=program-{number}"
            async with client.stream("GET", url) as response:
                await anext(response.aiter_bytes())
        await eventually(lambda: site.viewers == 0)
        await clock.advance(2.0)
        await eventually(lambda: not site._feeds)
