"""Requests and answers that are damaged in every way: the right status, no hang, no leak."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from attrs import evolve, field, frozen

from argo_mw.plugin import context_of
from argo_mw.testing.shared import eventually
from argo_mw_gateway import GatewayConfig
from argo_mw_llm.relay.relay import Relay

from .conftest import Running, Start

TENANTS = ("desk-1", "desk-2", "desk-3")
PATIENCE = 20.0
"""Seconds after which a request hangs: all bounds below are a second or less."""


@frozen
class Sent:
    """A request as it goes over the wire.

    Attributes:
        data: Its bytes.
        allowed: The statuses that answer it rightly; 0 is a connection that is closed.
        ends: Whether its client closes its half of the connection behind it.
    """

    data: bytes = field(repr=False)
    allowed: frozenset[int]
    ends: bool = False


def question(tenant: str, number: int, **more: Any) -> dict[str, Any]:
    content = f"from {tenant}: {number % 5}"
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": content}],
        **more,
    }


def framed(key: str, body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [
        b"POST /v1/messages HTTP/1.1",
        b"host: localhost",
        b"x-api-key: " + key.encode(),
        b"content-type: application/json",
        b"connection: close",
        b"content-length: %d" % size,
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


ODD = (204, 301, 400, 418, 500, 529)
"""Statuses that the provider answers with now and then."""
ANSWERS = frozenset([200, 402, 429, 502, 504, *ODD])
"""What a readable question may be answered with, whatever its provider sends back."""
BAD = frozenset([400, 401, 404, 405, 408, 411, 413, 421, 431, 501])


def truncated(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    data = framed(key, json.dumps(asked).encode())
    return Sent(data[: random.randrange(1, len(data))], BAD | {0}, ends=random.random() < 0.5)


def wrong_length(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    body = json.dumps(asked).encode()
    length = random.choice([0, 1, len(body) - 1, len(body) + 1, len(body) * 2, 10**12, -1])
    return Sent(framed(key, body, length=length), BAD | {0}, ends=random.random() < 0.3)


def huge_headers(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    many = [b"x-%d: %s" % (at, b"y" * 100) for at in range(random.choice([200, 2000]))]
    large = [b"x-large: " + b"z" * random.choice([20_000, 400_000])]
    return Sent(
        framed(key, json.dumps(asked).encode(), *random.choice([many, large])),
        frozenset([0, 400, 408, 431]),
    )


def damaged_json(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    body = bytearray(json.dumps(asked).encode())
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(body))
        body[at : at + random.randrange(2)] = random.randbytes(random.randrange(3))
    return Sent(framed(key, bytes(body)), BAD | ANSWERS)


def not_utf8(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    body = json.dumps(asked).encode().replace(b"from", b"\xff\xfe" + random.randbytes(4))
    return Sent(framed(key, body), BAD | ANSWERS)


def strange_types(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    values = [None, [], {}, 0, -1, 1e308, True, "", "x" * 5000, ["a"], {"a": {"b": []}}, "\ud800"]
    name = random.choice(["model", "max_tokens", "messages", "stream", "tools", "system"])
    body = json.dumps({**asked, name: random.choice(values)}).encode()
    return Sent(framed(key, body), BAD | ANSWERS)


def deep(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    depth = random.choice([100, 2_000, 50_000])
    body = b'{"model": "claude-x", "messages": ' + b"[" * depth + b"]" * depth + b"}"
    return Sent(framed(key, body), BAD | ANSWERS)


def chunks(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    head = framed(key, b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    body = json.dumps(asked).encode()
    broken = [b"zz\r\n", b"5\r\nab", b"ffffffffffffffff\r\n", b"-1\r\n", b"2\r\nabc\r\n"]
    whole = b"%x\r\n%s\r\n" % (len(body), body)
    return Sent(head + random.choice([whole, b""]) + random.choice(broken), BAD | {0})


def smuggled(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    second = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    body = json.dumps(asked).encode()
    twice = [b"transfer-encoding: chunked", b"content-length: 3", b"host: evil.example"]
    return Sent(framed(key, body, random.choice(twice)) + second, BAD | ANSWERS | {0})


def strange_paths(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    paths = [
        b"/v1/%6dessages",
        b"/v1//messages",
        b"/claude/../claude/v1/messages",
        b"/v1/messages/",
        b"/v1/messages%00",
        b"http://evil.example/v1/messages",
        b"*",
        b"/" + b"a" * 30_000,
        b"/\xff\xfe",
    ]
    data = framed(key, json.dumps(asked).encode())
    return Sent(data.replace(b"/v1/messages", random.choice(paths), 1), BAD | ANSWERS | {0, 403})


def noise(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    return Sent(random.randbytes(random.randrange(1, 3000)), BAD | {0}, ends=True)


def wrong_key(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    at = random.randrange(len(key))
    changed = key[:at] + random.choice("ab_-~ ") + key[at + 1 :]
    allowed = frozenset([400, 401]) if changed != key else ANSWERS
    return Sent(framed(changed, json.dumps(asked).encode()), allowed)


def good(random: random.Random, key: str, asked: dict[str, Any]) -> Sent:
    return Sent(framed(key, json.dumps(asked).encode()), ANSWERS | {0})


Mutation = Callable[[random.Random, str, dict[str, Any]], Sent]
MUTATIONS: tuple[Mutation, ...] = (
    truncated,
    wrong_length,
    huge_headers,
    damaged_json,
    not_utf8,
    strange_types,
    deep,
    chunks,
    smuggled,
    strange_paths,
    noise,
    wrong_key,
    *(good,) * 6,
)


class Parrot(httpx2.AsyncBaseTransport):
    """A provider that repeats its question, mostly in a damaged answer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = (await request.aread()).decode("utf-8", "replace")
        asked = content if "from desk" in content else ""
        text = {"type": "text", "text": asked}
        usage = {"input_tokens": 3, "output_tokens": 4}
        message = {"type": "message", "model": "claude-sonnet-5-5", "content": [text]}
        whole = {**message, "stop_reason": "end_turn", "usage": usage}
        if '"stream": true' in content:
            kind = "text/event-stream"
            body = f"event: message_start\ndata: {json.dumps({'message': whole})}\n\n".encode()
            body += b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
        else:
            kind, body = "application/json", json.dumps(whole).encode()
        return self._damaged(kind, body)

    def _damaged(self, kind: str, body: bytes) -> httpx2.Response:
        dice, headers = self._random.randrange(12), {"content-type": kind}
        if dice == 0:
            body = body[: self._random.randrange(len(body))]
        elif dice == 1:
            body = body.replace(b"text", b"\xff\xfe")
        elif dice == 2:
            headers["content-encoding"] = "gzip"
            body = self._random.choice([body, gzip.compress(b"0" * 3_000_000)])
        elif dice == 3:
            headers |= {f"x-{at}": "y" * 1000 for at in range(50)}
        elif dice == 4:
            return httpx2.Response(200, headers=headers, stream=Pieces(endless()))
        elif dice == 5:
            return httpx2.Response(self._random.choice(ODD))
        elif dice == 6:
            msg = "it is gone"
            raise self._random.choice([httpx2.ConnectError, httpx2.ReadTimeout])(msg)
        elif dice == 7:
            return httpx2.Response(200, headers=headers, stream=Pieces(broken(body)))
        return httpx2.Response(200, headers=headers, stream=Pieces(cut(body, 13)))


class Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
            await asyncio.sleep(0)


def endless() -> Iterator[bytes]:
    while True:
        yield b"event: ping\ndata: {}\n\n" * 500


def cut(body: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def broken(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    msg = "the peer closed the connection"
    raise httpx2.RemoteProtocolError(msg)


async def answered(running: Running, sent: Sent) -> bytes:
    host, port = running.url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent.data)
        if sent.ends:
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def hasty(config: GatewayConfig) -> GatewayConfig:
    return evolve(config, header_timeout=1.0, idle_timeout=1.0)


def left_over(running: Running, before: set[asyncio.Task[Any]]) -> list[str]:
    """The tasks of requests that still run."""
    ours = [task.get_name() for task in asyncio.all_tasks() - before]
    streams = [name for name in context_of(running.argo).tasks.names if "stream" in name]
    return streams + [name for name in ours if name.startswith("gateway:")]


async def bombard(start: Start, monkeypatch: pytest.MonkeyPatch, count: int, seed: int) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(Relay, "_sending", Parrot(seed))
    async with start(
        bounds=hasty,
        llm={"max_decoded_bytes": 1_000_000},
        body_timeout=1.0,
        write_timeout=1.0,
        max_header_bytes=16_000,
    ) as running:
        keys = {tenant: running.key(tenant, tenant=tenant) for tenant in TENANTS}
        before = set(asyncio.all_tasks())
        gate = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            tenant = dice.choice(TENANTS)
            more = {"stream": True} if dice.random() < 0.4 else {}
            mutation = dice.choice(MUTATIONS)
            sent = mutation(dice, keys[tenant], question(tenant, number, **more))
            answer = b"0 0 a hang"
            with contextlib.suppress(TimeoutError):
                async with gate, asyncio.timeout(PATIENCE):
                    answer = await answered(running, sent)
            status = int(answer.split(b" ", 2)[1]) if answer else 0
            described = (mutation.__name__, sent.data[:600], sent.ends, answer[:300])
            assert b"a hang" not in answer, described
            assert status in sent.allowed, described
            for other in TENANTS:
                assert other == tenant or other.encode() not in answer, described
            assert not any(key.encode() in answer for key in keys.values()), described

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
        await eventually(
            lambda: not running.gateway.in_flight and not left_over(running, before), PATIENCE
        )
        setting = running.gateway._current()
        assert setting is not None
        assert (0, 0) == (running.gateway.in_flight, setting.buffers.taken)


@pytest.mark.parametrize("seed", range(3))
async def test_damaged_requests_and_answers_get_the_right_status_and_leave_nothing_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    await bombard(start, monkeypatch, 120, seed)


@pytest.mark.soak
async def test_five_thousand_damaged_requests_leave_nothing_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bombard(start, monkeypatch, 5_000, 99)
