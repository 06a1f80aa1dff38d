"""Bounds on what comes in, and how little is held for clients that are slow or gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve

from argo_mw.plugin import (
    Endpoint,
    WebCall,
    WebCaller,
    WebRequest,
    WebResponse,
    hookimpl,
    plugin_of,
)
from argo_mw.testing.shared import eventually
from argo_mw_gateway import GatewayConfig
from argo_mw_gateway.open_files import allow_files
from argo_mw_gateway.serving import Serving
from argo_mw_sandbox import Fault, Latency, Sandbox

from .conftest import CHAT, MESSAGE, Running, Start


async def raw(running: Running, *parts: bytes, until: float = 60.0, pause: float = 0.0) -> bytes:
    """Send *parts* over a plain connection, and return all that comes back until it is closed."""
    host, port = running.url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(until):
            return await reader.read()
    except (ConnectionError, BrokenPipeError):
        return b""
    finally:
        writer.close()


def head(key: str, *more: str, path: str = "/v1/messages") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        f"x-api-key: {key}",
        "content-type: application/json",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    sandbox: Sandbox, start: Start
) -> None:
    async with start(max_body_bytes=1000) as running:
        declared = await raw(running, head(running.key("a"), "content-length: 1000000"))
        asked = json.dumps({**MESSAGE, "system": "x" * 2000}).encode()
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(asked), asked)
        chunked = head(running.key("b"), "transfer-encoding: chunked", "connection: close")
        streamed = await raw(running, chunked, chunk)
    assert 413 == status_of(declared)
    assert b'"request_too_large"' in declared
    assert 413 == status_of(streamed)
    assert 0 == sandbox.counts_of("claude").requests


async def test_all_bodies_together_are_bounded(start: Start) -> None:
    async with start(max_buffered_bytes=1000) as running, running.client() as client:
        assert 200 == (await client.post("/v1/messages", json=MESSAGE)).status_code
        large = {**MESSAGE, "system": "x" * 2000}
        assert 503 == (await client.post("/v1/messages", json=large)).status_code
        assert 200 == (await client.post("/v1/messages", json=MESSAGE)).status_code


async def test_headers_are_bounded(start: Start) -> None:
    async with start(max_header_bytes=4000) as running:
        huge = await raw(running, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 300_000)
        whole = head(running.key(), "x: " + "x" * 5000, "content-length: 0", "connection: close")
        complete = await raw(running, whole)
    assert status_of(huge) in (400, 431)
    assert 431 == status_of(complete)


def hasty(config: GatewayConfig) -> GatewayConfig:
    return evolve(config, header_timeout=0.1, body_timeout=0.1, idle_timeout=1.0)


async def test_a_client_that_is_slow_with_its_headers_is_let_go(start: Start) -> None:
    async with start(bounds=hasty) as running:
        nothing = await raw(running)
        half = await raw(running, b"GET /healthz HTTP/1.1\r\nhost: loc")
        drips = await raw(running, *[b"GET", b" /", b"he", b"al"], pause=0.04)
    assert 408 == status_of(nothing)
    assert 408 == status_of(half)
    assert status_of(drips) in (0, 408)


async def test_a_client_that_is_slow_with_its_body_is_let_go(start: Start) -> None:
    async with start(body_timeout=0.1) as running:
        answer = await raw(running, head(running.key(), "content-length: 100"), b"{")
    assert 408 == status_of(answer)


async def test_connections_are_bounded(start: Start) -> None:
    def few(config: GatewayConfig) -> GatewayConfig:
        return evolve(config, max_connections=3, header_timeout=60.0)

    async with start(bounds=few) as running:
        host, port = running.url.removeprefix("http://").rsplit(":", 1)
        held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        assert b"" == await raw(running, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        asked = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        serving = plugin_of(running.argo, Serving)
        await eventually(lambda: not serving.connections)
        answer = await raw(running, asked)
    assert 200 == status_of(answer)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_ends_its_request_and_is_booked_by_what_came(
    sandbox: Sandbox, start: Start, streamed: bool
) -> None:
    sandbox.set_latency("claude", Latency(median=2.0))
    async with start() as running:
        body = json.dumps({**MESSAGE, "stream": streamed}).encode()
        host, port = running.url.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(running.key(), f"content-length: {len(body)}") + body)
        if streamed:
            await reader.readuntil(b"content_block_delta")
        else:
            await sandbox.until(lambda: sandbox.counts_of("claude").in_flight == 1)
        writer.close()
        async with asyncio.timeout(60):
            await sandbox.until(lambda: sandbox.counts_of("claude").disconnects == 1)
            await eventually(lambda: not running.gateway.in_flight and bool(running.charges))
    [charge] = running.charges
    assert charge.cost.tokens_in > 0
    assert charge.cost.estimated


async def test_callers_who_ask_the_same_share_one_stream_also_when_one_leaves(
    sandbox: Sandbox, start: Start
) -> None:
    sandbox.set_latency("deepseek", Latency(median=0.5))
    asked = {**CHAT, "stream": True}
    async with start() as running, running.client() as client:

        async def read(stop_after: int | None = None) -> list[bytes]:
            pieces: list[bytes] = []
            async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
                async for piece in response.aiter_raw():
                    pieces.append(piece)
                    if stop_after is not None and len(pieces) >= stop_after:
                        break
            return pieces

        runs = await asyncio.gather(read(), read(2), read())
        kept = await read()
    whole = b"".join(runs[0])
    assert whole == b"".join(runs[2]) == b"".join(kept)
    assert whole.startswith(b"".join(runs[1]))
    assert whole.endswith(b"data: [DONE]\n\n")
    assert 1 == sandbox.counts_of("deepseek").requests
    assert 0 == sandbox.counts_of("deepseek").disconnects


async def test_a_stream_that_breaks_off_is_seen_to_break_off(
    sandbox: Sandbox, start: Start
) -> None:
    sandbox.set_fault("claude", Fault("cut"))
    async with start() as running, running.client() as client:
        asked = {**MESSAGE, "stream": True}
        with pytest.raises(Exception, match="closed|incomplete|chunk|peer"):
            await client.post("/v1/messages", json=asked)
        assert 1 == len(running.charges)


async def test_the_first_piece_does_not_wait_for_the_last(sandbox: Sandbox, start: Start) -> None:
    sandbox.set_latency("claude", Latency(median=1.0))
    loop = asyncio.get_running_loop()
    async with start() as running, running.client() as client:
        asked = {**MESSAGE, "stream": True}
        times: list[float] = []
        async with client.stream("POST", "/v1/messages", json=asked) as response:
            async for _ in response.aiter_raw():
                times.append(loop.time())
    assert times[-1] - times[0] > 0.5


class Endless:
    """An upstream's stream without an end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536


@pytest.mark.parametrize("whole", [b"x" * 2**25, b""], ids=["whole", "in pieces"])
async def test_a_client_that_takes_nothing_is_let_go(
    start: Start, sandbox: Sandbox, whole: bytes
) -> None:
    """Its connection and its stream end, and what it was to read is kept no longer."""
    closed = asyncio.Event()

    class Stream(Endless):
        async def aclose(self) -> None:
            closed.set()

    class Plugin:
        @hookimpl
        def register_endpoints(self) -> Any:
            async def read(request: WebRequest) -> WebCall:
                async def answer(caller: WebCaller) -> WebResponse:
                    return WebResponse(200, body=whole or Stream())

                return WebCall("endless", answer, spending="none")

            return [Endpoint("/endless", read)]

    async with start(plugins={"endless": Plugin()}, write_timeout=0.2) as running:
        host, port = running.url.removeprefix("http://").rsplit(":", 1)
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(head(running.key(), "content-length: 0", path="/endless"))
        serving = plugin_of(running.argo, Serving)
        await eventually(lambda: bool(serving.answered))
        await eventually(lambda: not serving.connections)
        if not whole:
            async with asyncio.timeout(60):
                await closed.wait()
        writer.close()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((256, 4096), 2256), ((256, 1024), 1024), ((256, -1), 2256), ((9000, 9000), None)],
)
def test_as_many_files_may_be_open_as_connections_need(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], expected: int | None
) -> None:
    resource = pytest.importorskip("resource")
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: asked.append(given))
    allow_files(1000)
    assert ([] if expected is None else [(expected, limits[1])]) == asked
