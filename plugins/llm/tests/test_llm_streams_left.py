"""Streams of an SDK that are left: closed while they are read, dropped, cancelled, or never read."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from argo_mw import BlockingArgo
from argo_mw.plugin import LayerActed
from argo_mw.testing import capture_events
from argo_mw_llm import LlmPlugin, chain, transport

from .conftest import OpenArgo
from .test_llm_dropin_true import (
    ASK,
    BOTH,
    CHAT,
    LAYERS,
    Pieces,
    Server,
    chunks,
    completions,
    events,
    streaming,
    until,
)

ALONE_AND_WITH_LAYERS = pytest.mark.parametrize("layers", [{}, LAYERS], ids=["alone", "layers"])
BROKEN = (httpx2.ReadError, openai.APIConnectionError)
"""What the SDKs make of a connection that is closed."""
KINDS = pytest.mark.parametrize("kind", ["claude", "chat"])


class Noticed(Pieces):
    """A body whose end can be waited for in another thread."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces)
        self.ended = threading.Event()

    def close(self) -> None:
        super().close()
        self.ended.set()

    async def aclose(self) -> None:
        self.close()


class Endless(Pieces):
    """A body whose second piece does not come until it is closed."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces)
        self.waiting = threading.Event()
        self.let_go = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self._pieces[0]
        self.waiting.set()
        self.let_go.wait(5)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._pieces[0]
        self.waiting.set()
        await asyncio.Event().wait()

    def close(self) -> None:
        super().close()
        self.let_go.set()


def said(ask: Any) -> list[bytes]:
    return chunks() if ask is completions else events()


def blocking(kind: str, argo: BlockingArgo | None, server: Server) -> Any:
    """Return a stream of a synchronous client."""
    if kind == "claude":
        http = httpx2.Client(transport=server)
        middleware = [] if argo is None else [chain(argo)]
        client = anthropic.Anthropic(
            api_key="k", max_retries=0, http_client=http, middleware=middleware
        )
        return client.messages.create(**ASK, stream=True)
    between = server if argo is None else transport(argo, "deepseek", inner=server)
    asker = openai.OpenAI(
        api_key="k",
        max_retries=0,
        base_url="https://deepseek.example/v1",
        http_client=httpx2.Client(transport=between),
    )
    return asker.chat.completions.create(**CHAT, stream=True)


def opened(layers: dict[str, object]) -> BlockingArgo:
    plenty = {"per_minute": 1_000_000}
    return BlockingArgo(
        {
            "argo": {"shared": "memory://", "strict": True},
            "upstreams": {"claude": plenty, "deepseek": plenty},
        },
        plugins={"llm": LlmPlugin(), **layers},
        installed=False,
    )


# -- closed while it is read -----------------------------------------------------------------------


@BOTH
@ALONE_AND_WITH_LAYERS
async def test_a_stream_can_be_closed_while_another_task_waits_for_its_next_piece(
    ask: Any, layers: dict[str, object], open_argo: OpenArgo
) -> None:
    body = Endless(said(ask))
    async with open_argo(plugins=layers) as argo:
        stream = await ask(argo, Server(lambda _: streaming(body)), {"stream": True})

        async def read() -> None:
            async for _ in stream:
                pass

        reader = asyncio.create_task(read())
        await until(body.waiting.is_set)
        await stream.close()
        assert body.closed
        with pytest.raises(BROKEN):
            await reader


@KINDS
@ALONE_AND_WITH_LAYERS
def test_a_stream_can_be_closed_while_another_thread_waits_for_its_next_piece(
    kind: str, layers: dict[str, object]
) -> None:
    body = Endless(chunks() if kind == "chat" else events())
    raised: list[Exception] = []
    with opened(layers) as argo:
        stream = blocking(kind, argo, Server(lambda _: streaming(body)))

        def read() -> None:
            try:
                for _ in stream:
                    pass
            except Exception as error:
                raised.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        assert body.waiting.wait(5)
        stream.close()
        assert body.closed
        reader.join(5)
    assert not reader.is_alive()
    assert [True] == [isinstance(error, BROKEN) for error in raised]


@BOTH
async def test_a_stream_that_is_closed_after_its_last_event_is_kept_though_it_is_still_read(
    ask: Any, open_argo: OpenArgo
) -> None:
    class Lingering(Pieces):
        """Its connection stays open after the answer."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self:
                yield piece
            await asyncio.Event().wait()

    bodies: list[Lingering] = []

    def answer(_: httpx2.Request) -> httpx2.Response:
        bodies.append(Lingering(said(ask)))
        return streaming(bodies[-1])

    server = Server(answer)
    async with open_argo(plugins=LAYERS) as argo:
        raw = await ask(argo, server, {"stream": True})
        pieces = raw.response.aiter_bytes()
        got = b""

        async def read() -> None:
            nonlocal got
            async for piece in pieces:
                got += piece

        reader = asyncio.create_task(read())
        await until(lambda: got == b"".join(said(ask)))
        await raw.response.aclose()
        await reader
        again = await ask(argo, server, {"stream": True})
        assert b"".join(said(ask)) == b"".join(
            [piece async for piece in again.response.aiter_bytes()]
        )
    assert 1 == len(server.asked)


# -- dropped -------------------------------------------------------------------------------------


@BOTH
@ALONE_AND_WITH_LAYERS
@pytest.mark.parametrize("reads", [0, 1], ids=["never read", "read in part"])
async def test_a_stream_that_is_dropped_closes_its_connection(
    ask: Any, layers: dict[str, object], reads: int, open_argo: OpenArgo
) -> None:
    body = Pieces(said(ask))
    async with open_argo(plugins=layers) as argo:
        stream = await ask(argo, Server(lambda _: streaming(body)), {"stream": True})
        for _ in range(reads):
            await anext(stream)
        del stream
        gc.collect()
        await until(lambda: body.closed)


@KINDS
@ALONE_AND_WITH_LAYERS
@pytest.mark.parametrize("reads", [0, 1], ids=["never read", "read in part"])
def test_a_stream_of_a_synchronous_client_that_is_dropped_closes_its_connection(
    kind: str, layers: dict[str, object], reads: int
) -> None:
    body = Noticed(chunks() if kind == "chat" else events())
    with opened(layers) as argo:
        stream = blocking(kind, argo, Server(lambda _: streaming(body)))
        for _ in range(reads):
            next(stream)
        del stream
        gc.collect()
        assert body.ended.wait(5)


@KINDS
def test_a_stream_that_is_collected_on_the_loop_of_the_application_closes_its_connection(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = Noticed(chunks() if kind == "chat" else events())
    with opened({}) as argo:
        stream = blocking(kind, argo, Server(lambda _: streaming(body)))
        next(stream)
        gc.disable()
        try:
            del stream

            async def collect(_: object) -> None:
                gc.collect()

            argo.run(collect)
        finally:
            gc.enable()
        assert body.ended.wait(5)
    assert "" == capsys.readouterr().err


# -- several callers of one answer ------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("way", ["closed unread", "closed", "cancelled", "dropped"])
async def test_a_caller_that_leaves_takes_nothing_from_one_that_has_yet_to_read(
    ask: Any, way: str, open_argo: OpenArgo
) -> None:
    class Slow(Pieces):
        """Its second piece waits."""

        def __init__(self, pieces: list[bytes]) -> None:
            super().__init__(pieces)
            self.go = asyncio.Event()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self._pieces[0]
            await self.go.wait()
            for piece in self._pieces[1:]:
                yield piece

    body = Slow(said(ask))
    server = Server(lambda _: streaming(body))
    server.go.clear()
    async with open_argo(plugins=LAYERS) as argo:
        seen = capture_events(argo)
        asked = [asyncio.create_task(ask(argo, server, {"stream": True})) for _ in range(2)]
        await until(lambda: any("joined" == act.action for act in seen.of(LayerActed)))
        server.go.set()
        one, other = [await task for task in asked]
        del asked
        if way != "closed unread":
            await anext(one)
        if way == "cancelled":
            waiting = asyncio.create_task(anext(one))
            for _ in range(5):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        elif way == "dropped":
            del one
            gc.collect()
        else:
            await one.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not body.closed
        body.go.set()
        kinds = [item async for item in other]
        assert kinds
        await until(lambda: body.closed)
    assert 1 == len(server.asked)
