"""The contracts of operations and upstreams, and what is special about this one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from argo_mw import Argo, ArgoError, NotFound
from argo_mw.testing import FakeClock, FakeService, OperationConformance, UpstreamConformance

from argo_mw_finnhub.plugin import NAME, Plugin

Answer = Callable[[str], Awaitable[tuple[int, object]]]
"""What the server answers to a request's head: a status and a body."""


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server on the loopback interface that speaks enough HTTP; gives its URL."""
    serving_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            # A client that hangs up ends the answer, as in a real server.
            answering = asyncio.ensure_future(answer(head))
            hung_up = asyncio.ensure_future(reader.read())
            await asyncio.wait({answering, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            for task in (answering, hung_up):
                task.cancel()
            await asyncio.wait({answering, hung_up})
            if not answering.cancelled():
                status, body = answering.result()
                content = json.dumps(body).encode()
                lines = f"HTTP/1.1 {status} -\r\ncontent-length: {len(content)}\r\n"
                writer.write(f"{lines}connection: close\r\n\r\n".encode() + content)
                await writer.drain()
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        serving_now.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}/api/v1"
    finally:
        server.close()
        if serving_now:
            await asyncio.wait(serving_now)


class TestOperations(OperationConformance):
    name = NAME
    plugin = Plugin
    parameters = {f"{NAME}.quote": {"symbol": "AAPL"}}  # noqa: RUF012
    public = (f"{NAME}.quote",)
    answers = {f"{NAME}.quote": 190.5}  # noqa: RUF012


class TestContract(UpstreamConformance):
    name = NAME
    operation = f"{NAME}.quote"
    parameters = {"symbol": "AAPL"}  # noqa: RUF012
    secrets = ("k-very-secret",)

    @asynccontextmanager
    async def opened(self, service: FakeService) -> AsyncIterator[Argo]:
        async def answer(head: str) -> tuple[int, object]:
            if not await service.visit():
                return 503, {}
            return 200, {"c": 190.5, "t": 1_750_000_000}

        async with serving(answer) as url:
            self.config = {"key": "k-very-secret", "url": url}
            async with super().opened(service) as argo:
                yield argo

    def plugin(self, service: FakeService) -> object:
        return Plugin


@asynccontextmanager
async def asking(status: int, body: object, key: str = "k") -> AsyncIterator[Argo]:
    async def answer(head: str) -> tuple[int, object]:
        assert head.startswith("GET /api/v1/quote?symbol=AAPL HTTP/1.1")
        assert f"x-finnhub-token: {key}" in head.lower()
        return status, body

    async with serving(answer) as url:
        config = {"key": key, "url": url}
        settings = {
            "argo": {"shared": "memory://"},
            "plugins": {NAME: config},
            "upstreams": {NAME: {"retries": 0}},
        }
        plugins = {NAME: Plugin}
        async with Argo.open(settings, plugins=plugins, installed=False, clock=FakeClock()) as argo:
            yield argo


async def test_a_quote_is_a_number_and_has_its_time() -> None:
    async with asking(200, {"c": 190.5, "t": 1_749_999_990}) as argo:
        outcome = await argo.outcome(f"{NAME}.quote", symbol="AAPL")
    assert (outcome.value, outcome.as_of) == (190.5, 1_749_999_990)


async def test_zeros_mean_that_the_symbol_is_unknown() -> None:
    async with asking(200, {"c": 0, "t": 0}) as argo:
        with pytest.raises(NotFound, match="finnhub does not know AAPL"):
            await argo.call(f"{NAME}.quote", symbol="AAPL")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"error": "Invalid API key"}, "check key in"),
        (429, {"error": "API limit reached"}, "overloaded or down"),
        (200, {"c": None}, "without a price"),
        (200, [], "without a price"),
    ],
)
async def test_an_error_says_what_to_do(status: int, body: object, message: str) -> None:
    async with asking(status, body) as argo:
        with pytest.raises(ArgoError, match=message):
            await argo.call(f"{NAME}.quote", symbol="AAPL")


async def test_without_a_key_the_service_is_not_asked() -> None:
    async with asking(500, {}, key="") as argo:
        with pytest.raises(ArgoError, match="no key"):
            await argo.call(f"{NAME}.quote", symbol="AAPL")
