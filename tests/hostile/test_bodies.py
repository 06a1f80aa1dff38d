"""No body of an upstream is taken in beyond the configured limit, however it is sent."""

from __future__ import annotations

import asyncio
import gc
import math
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anthropic
import openai
import pytest

from argo_mw import Argo, ArgoError, BlockingArgo, UpstreamError
from argo_mw_llm import LlmPlugin
from argo_mw_llm.bodies.pieces import BodyTooLarge, pieces_for
from argo_mw_llm.clients.dropin import chain, transport
from argo_mw_market import MarketPlugin
from tests.hostile.growth import HELD
from tests.hostile.wire import (
    MEBIBYTE,
    Hostile,
    endless,
    gzip_bomb,
    hostile_server,
    in_pieces,
    nothing,
    nothing_in_little,
)

LIMIT = MEBIBYTE
MULTIPLE = 12
"""How many times the limit memory grows at most while a body is refused or read."""
KEY = "k" * 20
TRIES = 3


def speakers() -> dict[str, object]:
    """Return the plugins that speak to upstreams."""
    return {"market": MarketPlugin(), "llm": LlmPlugin()}


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as started:
        yield started


@pytest.fixture
async def argo(server: Hostile, tmp_path: Path) -> AsyncIterator[Argo]:
    vendor = {"url": server.url, "key": KEY}
    config = {
        "argo": {"shared": "memory://", "state_dir": str(tmp_path)},
        "operations": {"bars": {"upstreams": ["massive"]}},
        "plugins": {
            "market": {"massive": vendor, "max_decoded_bytes": LIMIT},
            "llm": {"glm": vendor, "claude": vendor, "max_decoded_bytes": LIMIT},
        },
    }
    async with Argo.open(config, plugins=speakers(), installed=False) as opened:
        yield opened


def gzipped() -> Iterator[bytes]:
    yield gzip_bomb(64 * MEBIBYTE, start=b'{"results":[')


KINDS = {
    "endless": (endless, ()),
    "endless digits": (lambda: endless(b"1" * 65_536), ()),
    "a gzip bomb": (gzipped, ("content-encoding: gzip",)),
    "a bomb in a bomb": (
        lambda: iter([gzip_bomb(0, gzip_bomb(64 * MEBIBYTE))]),
        ("content-encoding: gzip, gzip",),
    ),
    "nothing, compressed for ever": (nothing, ("content-encoding: gzip",)),
    "nothing, compressed thrice": (
        lambda: iter([nothing_in_little(64 * MEBIBYTE)]),
        ("content-encoding: gzip, gzip, gzip",),
    ),
}


class Watch:
    """Measures how long the loop's thread computes between two turns, or what memory grows by."""

    def __init__(self, *, memory: bool = False) -> None:
        self._memory = memory

    async def __aenter__(self) -> Watch:
        self.held = 0.0
        gc.collect()
        gc.disable()  # what other tests have left takes long to look through
        if self._memory:
            tracemalloc.start()
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def _beat(self) -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0.001)
            self.held = max(self.held, time.thread_time() - begun)

    async def __aexit__(self, *_: object) -> None:
        if self._memory:
            self.grown = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        self._task.cancel()
        gc.enable()


async def longest_hold(action: Callable[[], Awaitable[object]]) -> float:
    """Return how long *action* holds the loop at once: the least of several tries, in seconds."""
    least = math.inf
    for _ in range(TRIES):
        async with Watch() as watch:
            await action()
        least = min(least, watch.held)
        if least < HELD:
            break
    return least


async def held_while_refused(
    argo: Argo, what: str, error: type[Exception] = ArgoError, match: str | None = None
) -> float:
    """Return for how many seconds the loop is held while a body is refused."""

    async def refused() -> None:
        with pytest.raises(error, match=match):
            await ask(argo, what)

    return await longest_hold(refused)


async def ask(argo: Argo, what: str, subject: str = "AAPL") -> object:
    """Ask one of the doors to the world for an answer."""
    if what == "bars":
        return await argo.options(timeout=20.0).call("bars", symbol=subject, days=5)
    model = "claude-haiku-4-5" if "claude" in what else "glm-5.3"
    stream = "stream" in what
    called = await argo.options(timeout=20.0).call(
        "complete", messages=subject, model=model, stream=stream
    )
    return [piece async for piece in called.read()] if stream else called


async def _warm_up(argo: Argo, server: Hostile, what: str) -> None:
    """Import what the first request imports."""
    server.status, server.body = 401, lambda: iter([b"{}"])
    with pytest.raises(UpstreamError):
        await ask(argo, what, "MSFT")
    server.status = 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["bars", "glm", "claude", "glm stream", "claude stream"])
async def test_a_body_without_end_is_refused_while_it_comes_in(
    argo: Argo, server: Hostile, what: str, kind: str
) -> None:
    await _warm_up(argo, server, what)
    body, encoding = KINDS[kind]
    next(body())  # which makes it
    content = "text/event-stream" if "stream" in what else "application/json"
    server.body, server.headers = body, (f"content-type: {content}", *encoding)
    async with Watch(memory=True) as watch:
        with pytest.raises(Exception, match="max_decoded_bytes") as raised:
            await ask(argo, what)
    assert raised.type.__name__ in {
        "InvalidAnswer",
        "ProviderFailed",
        "StreamAborted",
        "AllUpstreamsFailed",
    }
    assert watch.grown < MULTIPLE * LIMIT + 4 * MEBIBYTE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["bars", "glm", "claude", "glm stream", "claude stream"])
async def test_no_body_holds_the_loop_while_it_comes_in(
    argo: Argo, server: Hostile, what: str, kind: str
) -> None:
    await _warm_up(argo, server, what)
    body, encoding = KINDS[kind]
    content = "text/event-stream" if "stream" in what else "application/json"
    server.body, server.headers = body, (f"content-type: {content}", *encoding)
    next(body())  # which makes it
    assert await held_while_refused(argo, what) < HELD


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("what", ["bars", "glm", "claude", "glm stream", "claude stream"])
async def test_no_body_in_tiny_pieces_holds_the_loop(
    argo: Argo, server: Hostile, what: str, encoding: str
) -> None:
    await _warm_up(argo, server, what)
    content = "text/event-stream" if "stream" in what else "application/json"
    server.headers = (
        f"content-type: {content}",
        f"content-encoding: {encoding}",
        "transfer-encoding: chunked",
    )
    noise = Random(19).randbytes(20_000)
    whole = gzip_bomb(0, noise) if encoding == "gzip" else noise
    server.body = lambda: iter([in_pieces(whole)])
    assert await held_while_refused(argo, what) < HELD


def test_many_pieces_of_a_body_are_gathered_and_events_pass_at_once() -> None:
    whole, events = pieces_for("application/json; charset=utf-8"), pieces_for("text/event-stream")
    given = [piece for _ in range(100_000) for piece in whole.add(b"ab")]
    given += whole.rest()
    assert 200_000 == sum(map(len, given))
    assert len(given) < 1010
    assert [b"data: 1\n\n"] == list(events.add(b"data: 1\n\n"))
    assert 3 <= len(list(events.add(b"\n" * 5000)))


@pytest.mark.parametrize("part", [b"x" * 10_000, b"data: 1\n", b"data: 1\r\n", b":\r"])
def test_an_event_that_does_not_end_is_refused(part: bytes) -> None:
    events = pieces_for("text/event-stream")
    with pytest.raises(BodyTooLarge, match="event"):
        for _ in range(10_000):
            list(events.add(part))


EVENTS = {
    "comments": b":\n",
    "blank lines": b"\n",
    "returns": b"\r",
    "events of nothing": b"data: {}\n\n",
    "answers of nothing": b'data: {"choices":[]}\n\n',
    "pings": b'event: ping\ndata: {"type": "ping"}\n\n',
    "lines of one event": b"data: 1\n",
    "one line": b"data: ",
    "events of many values": b'data: {"choices":[' + b"{}," * 9000 + b"{}]}\n\n",
    "pieces of text": b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    "pieces of text by Claude": (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"a"}}\n\n'
    ),
}


@pytest.mark.parametrize("line", EVENTS)
@pytest.mark.parametrize("what", ["glm stream", "claude stream"])
async def test_no_stream_of_events_holds_the_loop(
    argo: Argo, server: Hostile, what: str, line: str
) -> None:
    await _warm_up(argo, server, what)
    server.headers = ("content-type: text/event-stream",)
    server.body = lambda: endless(EVENTS[line] * max(1, 65_536 // len(EVENTS[line])))
    assert await held_while_refused(argo, what) < HELD


@pytest.mark.parametrize("line", EVENTS)
async def test_an_sdk_that_streams_holds_no_loop(argo: Argo, server: Hostile, line: str) -> None:
    server.headers = ("content-type: text/event-stream",)
    block = EVENTS[line] * max(1, 65_536 // len(EVENTS[line]))
    server.body = lambda: iter([block] * 8)
    client = anthropic.AsyncAnthropic(
        api_key=KEY, base_url=server.url, max_retries=0, middleware=[chain(argo)]
    )
    messages: Any = [{"role": "user", "content": "hi"}]

    async def read() -> None:
        with suppress(Exception):
            stream = await client.messages.create(
                model="claude-haiku-4-5", max_tokens=9, messages=messages, stream=True
            )
            async for _ in stream:
                pass

    async with client:
        assert await longest_hold(read) < HELD


@pytest.mark.parametrize("what", ["bars", "glm", "claude"])
async def test_of_an_endless_error_only_the_beginning_is_read(
    argo: Argo, server: Hostile, what: str
) -> None:
    await _warm_up(argo, server, what)
    server.status = 503
    server.body = lambda: endless(b"<" * 65_536)
    assert await held_while_refused(argo, what, UpstreamError, "503") < HELD


def _bars(size: int) -> bytes:
    bar = b'{"t":%d,"o":1,"h":1,"l":1,"c":1,"v":1}'
    now = int(time.time()) // 60 * 60
    count = size // 60
    rows = b",".join(bar % ((now - 60 * at) * 1000) for at in range(count, 0, -1))
    return b'{"status":"OK","results":[' + rows + b"]}"


def _completion(size: int) -> bytes:
    empty = b",".join([b"[]"] * (size // 4))
    return (
        b'{"id":"x","object":"chat.completion","created":1,"model":"glm-5.3","more":['
        + empty
        + b"]"
        b',"choices":[{"index":0,"message":{"role":"assistant","content":"fine"},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5}}'
    )


@pytest.mark.parametrize(("what", "body"), [("bars", _bars), ("glm", _completion)])
async def test_a_body_as_large_as_allowed_is_read_off_the_loop(
    argo: Argo, server: Hostile, what: str, body: Callable[[int], bytes]
) -> None:
    small, content = body(6000), body(LIMIT)
    server.body = lambda: iter([small])
    await ask(argo, what, "MSFT")  # which imports what the first answer imports
    assert LIMIT * 0.6 < len(content) < LIMIT
    server.body = lambda: iter([content])
    assert await longest_hold(lambda: ask(argo, what)) < HELD


def _sdk_for(argo: Argo, server: Hostile, provider: str) -> Callable[[], Awaitable[object]]:
    if provider == "glm":
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, provider))
        client = openai.AsyncOpenAI(base_url=server.url, api_key=KEY, http_client=http)
        return lambda: client.chat.completions.create(
            model="glm-5.3", messages=[{"role": "user", "content": "hello"}]
        )
    claude = anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY, middleware=[chain(argo)])
    return lambda: claude.messages.create(
        model="claude-haiku-4-5", max_tokens=5, messages=[{"role": "user", "content": "hello"}]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("provider", ["glm", "claude"])
async def test_an_sdk_with_the_chain_in_between_is_refused_once(
    argo: Argo, server: Hostile, provider: str, kind: str
) -> None:
    body, encoding = KINDS[kind]
    next(body())  # which makes it
    server.body, server.headers = body, ("content-type: application/json", *encoding)
    create = _sdk_for(argo, server, provider)
    async with Watch(memory=True) as watch:
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as raised:
            await create()
    assert 502 == raised.value.status_code
    assert "max_decoded_bytes" in str(raised.value)
    assert 1 == server.requests
    assert watch.grown < MULTIPLE * LIMIT + 4 * MEBIBYTE


def _messages(error: BaseException | None) -> Iterator[str]:
    """Yield what *error* and its causes say: OpenAI's SDK says that the connection failed."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("provider", ["glm", "claude"])
async def test_a_stream_without_end_breaks_off(argo: Argo, server: Hostile, provider: str) -> None:
    event = b'data: {"choices":[],"more":"%s"}\n\n' % (b"x" * 1000)
    server.body = lambda: endless(event * 10)
    server.headers = ("content-type: text/event-stream",)
    message = {"role": "user", "content": "hello"}
    if provider == "glm":
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, provider))
        glm = openai.AsyncOpenAI(base_url=server.url, api_key=KEY, http_client=http)
        stream: Any = await glm.chat.completions.create(
            model="glm-5.3", messages=[message], stream=True
        )
    else:
        claude = anthropic.AsyncAnthropic(
            base_url=server.url, api_key=KEY, middleware=[chain(argo)]
        )
        stream = await claude.messages.create(
            model="claude-haiku-4-5", max_tokens=5, messages=[message], stream=True
        )
    with pytest.raises(Exception, match=".") as raised:
        async for _ in stream:
            pass
    assert "max_decoded_bytes" in " ".join(_messages(raised.value))
    assert 1 == server.requests


async def test_a_synchronous_sdk_is_refused_too(tmp_path: Path, server: Hostile) -> None:
    server.body, server.headers = gzipped, ("content-encoding: gzip",)

    def asks() -> None:
        config = {
            "argo": {"shared": "memory://", "state_dir": str(tmp_path)},
            "plugins": {"llm": {"max_decoded_bytes": LIMIT}},
        }
        with BlockingArgo(config, plugins=speakers(), installed=False) as argo:
            http = openai.DefaultHttpxClient(transport=transport(argo, "glm"))
            with openai.OpenAI(base_url=server.url, api_key=KEY, http_client=http) as client:
                client.chat.completions.create(
                    model="glm-5.3", messages=[{"role": "user", "content": "hello"}]
                )

    with pytest.raises(openai.APIStatusError, match="max_decoded_bytes"):
        await asyncio.to_thread(asks)
