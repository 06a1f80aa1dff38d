"""Requests that we and a provider could read differently are refused, before anything is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from argo_mw_llm.relay.relay import Relay
from argo_mw_sandbox import Sandbox

from .conftest import MESSAGE, Start
from .test_gateway_bounds import head, raw, status_of

BODY = json.dumps(MESSAGE).encode()
LENGTH = f"content-length: {len(BODY)}"


class Recorder(httpx2.AsyncBaseTransport):
    """A provider that notes what it gets, and answers with headers of its connection."""

    def __init__(self) -> None:
        self.got: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.got.append(request)
        headers = {"connection": "close, x-hop", "x-hop": "1", "x-end": "2"}
        return httpx2.Response(200, headers=headers, json={})


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(Relay, "_sending", recorder)
    return recorder


@pytest.mark.parametrize(
    "header",
    [
        *("host: localhost", "host: evil.example", "content-type: text/plain"),
        *("x-api-key: sk-other", "anthropic-version: 2023-01-01", "argo-mw-sample: *"),
    ],
)
async def test_a_header_that_decides_and_is_there_twice_is_refused(
    start: Start, provider: Recorder, header: str
) -> None:
    async with start() as running:
        more = ("anthropic-version: 2023-06-01", "argo-mw-sample: 1", "connection: close")
        for lines in ((header, *more), (*more, header)):
            answer = await raw(running, head(running.key(header), *lines, LENGTH) + BODY)
            assert 400 == status_of(answer), answer
            assert b"twice" in answer
    assert [] == provider.got


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json; charset=utf-7"}, BODY),
        (
            {"content-type": 'application/json;Charset = "UTF-16"'},
            json.dumps(MESSAGE).encode("utf-16"),
        ),
        ({"content-type": "application/json"}, json.dumps(MESSAGE).encode("utf-16")),
        ({"content-type": "application/json"}, BODY.replace(b"RSI", b"\xff\xfe")),
        ({"content-encoding": "gzip"}, BODY),
        ({"content-encoding": "identity, br"}, BODY),
    ],
)
async def test_a_question_in_another_encoding_than_it_is_read_in_is_refused(
    start: Start, provider: Recorder, headers: dict[str, str], body: bytes
) -> None:
    async with start() as running, running.client() as client:
        answer = await client.post("/v1/messages", headers=headers, content=body)
    assert 400 == answer.status_code
    assert [] == provider.got


async def test_utf_8_may_be_named_and_marked(start: Start, provider: Recorder) -> None:
    headers = {"content-type": "application/json; charset=UTF-8", "content-encoding": "identity"}
    async with start() as running, running.client() as client:
        for body in (BODY, b"\xef\xbb\xbf" + BODY):
            answer = await client.post("/v1/messages", headers=headers, content=body)
            assert 200 == answer.status_code
    assert BODY == provider.got[0].content


@pytest.mark.parametrize(
    "path",
    [
        *("/claude/v1%2Fmessages", "/claude/v1%2fmessages/", "/claude/v1%252Fmessages"),
        *("/claude/v1/Messages", "/claude/V1/messages;a=b", "/claude/v1%5Cmessages"),
        *("/v1%2Fmessages", "/openai/v1/chat%2Fcompletions", "/claude/v1/messages%20"),
    ],
)
async def test_no_spelling_of_a_questions_path_is_passed_on_unread(
    start: Start, provider: Recorder, path: str
) -> None:
    async with start() as running, running.client() as client:
        for method in ("POST", "PUT"):
            assert (await client.request(method, path, json=MESSAGE)).status_code in (400, 404)
    assert [] == provider.got


@pytest.mark.parametrize(
    "path",
    [
        *("/claude/v1/models/..%2Ffiles", "/claude/v1/models/%252e%252e/files"),
        *("/claude/v1/models/..;/files", "/openai/models%2F..%2Ffiles"),
        *("/openai/v1/files/models/x", "/claude/v1/files/f_1/models"),
    ],
)
async def test_a_key_that_may_list_models_reaches_no_files_with_it(
    start: Start, provider: Recorder, path: str
) -> None:
    async with start() as running, running.client(running.key(unread=False)) as client:
        assert (await client.get("/openai/v1/models/org%2Fmodel")).status_code == 200
        assert (await client.get(path)).status_code in (400, 403)
    assert 1 == len(provider.got)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "claude-haiku-5", "requests": [{"params": {"model": "claude-opus-5-5"}}]},
        {"requests": [{"params": {"model": "claude-haiku-5"}}] * 2},
        {"input_file_id": "f"},
    ],
)
async def test_a_key_for_a_model_asks_no_other_one_in_a_batch(
    start: Start, provider: Recorder, body: dict[str, Any]
) -> None:
    async with start() as running:
        async with running.client(running.key(models=("claude-haiku-*",))) as client:
            answer = await client.post("/claude/v1/messages/batches", json=body)
    assert 403 == answer.status_code
    assert [] == provider.got


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "CONNECT"])
async def test_methods_that_no_api_has_are_not_passed_on(
    start: Start, provider: Recorder, method: str
) -> None:
    async with start() as running:
        asked = head(running.key(), "connection: close", path="/claude/v1/files")
        answer = await raw(running, asked.replace(b"POST", method.encode(), 1))
    assert status_of(answer) in (400, 501)
    assert [] == provider.got


async def test_headers_of_a_connection_end_with_it(start: Start, provider: Recorder) -> None:
    async with start() as running, running.client() as client:
        headers = {"connection": "keep-alive, X-Hop", "x-hop": "1", "x-end": "2"}
        answers = [
            await client.post("/v1/messages", headers=headers, json=MESSAGE),
            await client.get("/claude/v1/files", headers=headers),
        ]
    assert 2 == len(provider.got)
    for came in (*answers, *provider.got):
        assert (None, "2") == (came.headers.get("x-hop"), came.headers.get("x-end"))


async def test_a_body_arrives_though_its_client_offers_another_protocol(
    sandbox: Sandbox, start: Start
) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    async with start() as running:
        host, port = running.url.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(2):
            writer.write(head(running.key(unread=False), *offer, LENGTH) + BODY)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert 200 == status_of(answer), answer
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert b"end_turn" in await reader.readexactly(length)
        writer.close()
    assert 1 == sandbox.counts_of("claude").requests
