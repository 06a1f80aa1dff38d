"""What HTTP itself asks of a server: versions, targets, framing, and what refusals say."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from argo_mw.plugin import Endpoint, WebCall, WebRequest, hookimpl
from argo_mw.testing.shared import eventually
from argo_mw_llm.relay.relay import Relay
from argo_mw_sandbox import Latency, Sandbox

from .conftest import MESSAGE, Running, Start
from .test_gateway_ambiguous import Recorder
from .test_gateway_bounds import raw, status_of

BODY = json.dumps(MESSAGE).encode()
_CYCLES = ("RequestResponseCycle", "_UntilClosed")
"""What uvicorn holds of a request that waits or is answered."""
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture(params=["httptools", "h11"])
def parser(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What reads requests: httptools, and h11 where that is not installed."""
    if request.param == "h11":
        monkeypatch.setitem(sys.modules, "argo_mw_gateway.httptools_protocol", None)
    name: str = request.param
    return name


pytestmark = pytest.mark.usefixtures("parser")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(Relay, "_sending", recorder)
    return recorder


def request_of(
    running: Running,
    body: bytes = BODY,
    *headers: str,
    line: str = "POST /v1/messages HTTP/1.1",
    host: str | None = "localhost",
    length: int | None = len(BODY),
) -> bytes:
    lines = [line, f"x-api-key: {running.key()}", "content-type: application/json"]
    lines += [f"host: {host}"] * (host is not None) + ["connection: close"]
    lines += [f"content-length: {length}"] * (length is not None)
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


async def test_a_stream_ends_with_the_connection_where_its_client_speaks_http_1_0(
    start: Start,
) -> None:
    body = json.dumps({**MESSAGE, "stream": True}).encode()
    async with start() as running, running.client() as client:
        line = "POST /v1/messages HTTP/1.0"
        asked = request_of(running, body, line=line, length=len(body))
        head, _, content = (await raw(running, asked)).partition(b"\r\n\r\n")
        expected = await client.post("/v1/messages", content=body)
    assert 200 == status_of(head)
    assert b"transfer-encoding" not in head.lower()
    assert expected.content == content


async def test_a_whole_answer_and_one_without_a_body_go_to_clients_of_http_1_0(
    start: Start,
) -> None:
    async with start() as running:
        whole = await raw(running, request_of(running, line="POST /v1/messages HTTP/1.0"))
        asked = request_of(running, b"", line="HEAD /healthz HTTP/1.0", length=None)
        empty = await raw(running, asked)
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["type"] == "message"
    assert (200, b"") == (status_of(empty), empty.partition(b"\r\n\r\n")[2])


async def test_a_client_of_http_1_0_is_not_told_to_continue(start: Start) -> None:
    async with start() as running:
        line = "POST /v1/messages HTTP/1.0"
        answer = await raw(running, request_of(running, BODY, "expect: 100-continue", line=line))
    assert 200 == status_of(answer), answer


async def test_a_host_is_needed_from_http_1_1_on(start: Start) -> None:
    async with start() as running:
        found = [
            status_of(await raw(running, request_of(running, line=line, host=None)))
            for line in ("POST /v1/messages HTTP/1.0", "POST /v1/messages HTTP/1.1")
        ]
    assert [200, 400] == found


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("http://localhost/v1/messages", "localhost", 200),
        ("HTTPS://LOCALHOST:4280/v1/messages?beta=true", "localhost", 200),
        ("http://localhost/v1/messages", "evil.example", 200),
        ("http://evil.example/v1/messages", "localhost", 421),
        ("http://localhost", "localhost", 404),
        ("http://localhost?/v1/messages", "localhost", 404),
        ("http://me@localhost/v1/messages", "localhost", 400),
        ("http://localhost@evil.example/v1/messages", "localhost", 400),
        ("ftp://localhost/v1/messages", "localhost", 400),
        ("http://localhost//v1/messages", "localhost", 400),
        ("/v1/messages#part", "localhost", 400),
    ],
)
async def test_the_host_that_a_target_names_counts_and_not_that_of_the_header(
    start: Start, provider: Recorder, target: str, host: str, expected: int
) -> None:
    async with start() as running:
        asked = request_of(running, line=f"POST {target} HTTP/1.1", host=host)
        answer = await raw(running, asked)
    assert expected == status_of(answer), answer
    assert (1 if expected == 200 else 0) == len(provider.got)
    assert all(request.url.raw_path.endswith(b"?beta=true") for request in provider.got) or (
        "?" not in target
    )


async def test_trailers_of_a_body_are_no_headers(start: Start, provider: Recorder) -> None:
    trailers = b"0\r\nhost: evil.example\r\nanthropic-beta: other\r\nx-trail: 1\r\n\r\n"
    body = CHUNKED.replace(b"0\r\n\r\n", trailers)
    async with start() as running:
        asked = request_of(running, body, "transfer-encoding: chunked", length=None)
        assert 200 == status_of(await raw(running, asked))
    [sent] = provider.got
    assert not {"x-trail", "anthropic-beta"} & set(sent.headers)


@pytest.mark.parametrize(
    ("coding", "length"),
    [("gzip, chunked", None), ("identity", None), ("chunked, chunked", None), ("chunked", 3)],
)
async def test_a_body_that_could_be_framed_in_two_ways_is_refused(
    start: Start, provider: Recorder, coding: str, length: int | None
) -> None:
    async with start() as running:
        header = f"transfer-encoding: {coding}"
        answer = await raw(running, request_of(running, CHUNKED, header, length=length))
    assert status_of(answer) in (400, 501), answer
    assert [] == provider.got


async def test_bytes_of_a_header_reach_the_provider_as_they_came(
    start: Start, provider: Recorder
) -> None:
    async with start() as running:
        header = "x-user: Jörg".encode().decode("latin-1")
        asked = [
            request_of(running, BODY, header, "x-latin: J\xf6rg"),
            request_of(running, b"", header, line="GET /claude/v1/files HTTP/1.1", length=None),
        ]
        assert [200, 200] == [status_of(await raw(running, one)) for one in asked]
    for sent in provider.got:
        assert (b"x-user", "Jörg".encode()) in sent.headers.raw
    assert (b"x-latin", b"J\xf6rg") in provider.got[0].headers.raw


async def test_a_body_is_asked_for_only_where_it_will_be_read(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running:
        asked = request_of(running, BODY, "expect: 100-continue")
        read = await raw(running, asked)
        without_body = asked.replace(b"x-api-key: argo-", b"x-api-key: none-")[: -len(BODY)]
        refused = await raw(running, without_body)
    assert read.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert 401 == status_of(refused), refused
    assert b"connection: close" in refused.lower()
    assert 1 == sandbox.counts_of("claude").requests


class Posts:
    """A plugin whose path takes one method."""

    @hookimpl
    def register_endpoints(self) -> Iterable[Endpoint]:
        async def read(_: WebRequest) -> WebCall:
            raise AssertionError

        return [Endpoint("/signals", read, frozenset(["POST"]))]


async def test_refusals_say_what_would_be_taken(start: Start) -> None:
    async with start(plugins={"posts": Posts()}) as running:
        async with running.client("") as stranger, running.client() as client:
            unknown = await stranger.post("/v1/messages", json=MESSAGE)
            other = await client.get("/signals")
    assert (401, "Bearer") == (unknown.status_code, unknown.headers["www-authenticate"])
    assert (405, "POST") == (other.status_code, other.headers["allow"])


HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def test_requests_on_one_connection_are_answered_one_after_the_other(start: Start) -> None:
    async with start() as running:
        last = request_of(running)
        answer = await raw(running, HEALTH * 20 + last)
    assert 21 == answer.count(b"HTTP/1.1 200 OK")
    assert answer.rindex(b'{"status": "ok"}') < answer.index(b'"type": "message"')


async def test_few_requests_wait_for_others_on_their_connection(start: Start) -> None:
    """Anyone may send them without a key, thousands in a packet, and read slowly."""
    async with start() as running:
        host, port = running.url.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(HEALTH * 2000)
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                await reader.read(1)
        alive = sum(type(one).__name__ in _CYCLES for one in gc.get_objects())
        writer.close()
    assert alive < 200


async def test_a_client_that_leaves_ends_its_first_request_though_others_wait_for_it(
    start: Start, sandbox: Sandbox
) -> None:
    sandbox.set_latency("claude", Latency(median=3600.0))
    async with start() as running:
        host, port = running.url.removeprefix("http://").rsplit(":", 1)
        _, writer = await asyncio.open_connection(host, int(port))
        asked = request_of(running).replace(b"connection: close\r\n", b"")
        writer.write(asked + HEALTH * 2)
        await eventually(lambda: sandbox.counts_of("claude").in_flight == 1)
        writer.close()
        await eventually(lambda: running.gateway.in_flight == 0)
        await eventually(lambda: sandbox.counts_of("claude").disconnects == 1)
