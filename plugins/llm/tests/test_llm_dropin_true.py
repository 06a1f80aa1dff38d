"""Clients with the chain in between behave as their SDK does, kind by kind."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import Message

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo, BlockingArgo
from argo_mw.plugin import CallEnded
from argo_mw.testing import FakeClock, capture_events
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import LlmPlugin, chain, instrument, transport
from argo_mw_llm.providers.failures import never_sent

from .conftest import OpenArgo

LAYERS = {"cache": CachePlugin, "coalesce": coalesce}
ASK: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Why?"}],
}
CHAT: dict[str, Any] = {"model": "deepseek-v4-pro", "messages": ASK["messages"]}
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "text", "text": "So."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "deepseek-v4-pro",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "So."}}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
HEADERS = {
    "anthropic-organization-id": "org",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-workspace-id": "wrk",
    "x-ratelimit-remaining-requests": "49",
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "So."}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]
CHUNKS: list[dict[str, Any]] = [
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "deepseek-v4-pro",
        "choices": [{"index": 0, "delta": {"content": "So."}, "finish_reason": None}],
    },
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "deepseek-v4-pro",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    },
]


def events() -> list[bytes]:
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in EVENTS]


def chunks() -> list[bytes]:
    return [*(f"data: {json.dumps(c)}\n\n".encode() for c in CHUNKS), b"data: [DONE]\n\n"]


class Pieces(httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body that comes in pieces, and may break off after them."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error
        self.given = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.given += 1
            yield piece
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


class Server(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """A provider behind a transport: what it was asked, and *answer*, which decides the rest."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response] | None = None) -> None:
        self.asked: list[httpx2.Request] = []
        self.answer = answer or self._whole
        self.go = asyncio.Event()
        self.go.set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        timeout = request.extensions.get("timeout", {}).get("read")
        try:
            await asyncio.wait_for(self.go.wait(), timeout)
        except TimeoutError:
            msg = "nothing came"
            raise httpx2.ReadTimeout(msg, request=request) from None
        return self.answer(request)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return self.answer(request)

    def _whole(self, request: httpx2.Request) -> httpx2.Response:
        body = COMPLETION if "completions" in request.url.path else MESSAGE
        pieces = Pieces([json.dumps(body).encode()])
        return httpx2.Response(
            200, headers={"content-type": "application/json", **HEADERS}, stream=pieces
        )


def streaming(pieces: Pieces) -> httpx2.Response:
    headers = {"content-type": "text/event-stream; charset=utf-8", **HEADERS}
    return httpx2.Response(200, headers=headers, stream=pieces)


def claude(argo: Argo | None, server: Server, **more: Any) -> anthropic.AsyncAnthropic:
    middleware = [] if argo is None else [chain(argo)]
    http = httpx2.AsyncClient(transport=server)
    options = {"api_key": "k", "max_retries": 0, "http_client": http, "middleware": middleware}
    return anthropic.AsyncAnthropic(**{**options, **more})


def chat(argo: Argo | None, server: Server, **more: Any) -> openai.AsyncOpenAI:
    between = server if argo is None else transport(argo, "deepseek", inner=server)
    options = {"api_key": "k", "max_retries": 0, "base_url": "https://deepseek.example/v1"}
    options |= {"http_client": httpx2.AsyncClient(transport=between)}
    return openai.AsyncOpenAI(**{**options, **more})


def messages(argo: Argo | None, server: Server, ask: Any = None, **more: Any) -> Any:
    return claude(argo, server, **more).messages.create(**ASK, **(ask or {}))


def completions(argo: Argo | None, server: Server, ask: Any = None, **more: Any) -> Any:
    return chat(argo, server, **more).chat.completions.create(**CHAT, **(ask or {}))


def by_transport(argo: Argo, server: Server, ask: Any = None, **more: Any) -> Any:
    """Ask Claude with a transport in place of the middleware."""
    http = httpx2.AsyncClient(transport=transport(argo, "claude", inner=server))
    more = {**more, "http_client": http, "middleware": []}
    return claude(None, server, **more).messages.create(**ASK, **(ask or {}))


BOTH = pytest.mark.parametrize("ask", [messages, by_transport, completions])


# -- the key -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("client", "request_"),
    [
        ({"base_url": "https://other.example"}, {}),
        ({"base_url": "https://other.example/deployment"}, {}),
        ({"api_key": "another"}, {}),
        ({"default_query": {"api-version": "2"}}, {}),
        ({}, {"extra_query": {"api-version": "2"}}),
        ({"default_headers": {"anthropic-beta": "a"}}, {}),
        ({"default_headers": {"X-Unheard-Of": "eu"}}, {}),
        ({}, {"extra_headers": {"anthropic-beta": "a"}}),
        ({}, {"extra_headers": {"OpenAI-Organization": "o"}}),
        ({}, {"extra_headers": {"Cookie": "session=other"}}),
        ({}, {"extra_headers": {"Host": "other.example"}}),
    ],
    ids=str,
)
async def test_clients_whose_answers_may_differ_share_none(
    ask: Any, client: dict[str, Any], request_: dict[str, Any], open_argo: OpenArgo
) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        for _ in range(2):
            await ask(argo, server)
            await ask(argo, server, request_, **client)
    assert 2 == len(server.asked)


@pytest.mark.parametrize("client", [{"organization": "o"}, {"project": "p"}], ids=str)
async def test_organisation_and_project_divide_clients(
    client: dict[str, Any], open_argo: OpenArgo
) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        for _ in range(2):
            await completions(argo, server)
            await completions(argo, server, **client)
    assert 2 == len(server.asked)


async def test_credentials_that_no_header_shows_divide_clients(open_argo: OpenArgo) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        for _ in range(2):
            for key in ("one", "other"):
                cloud = anthropic.AsyncAnthropicBedrock(
                    aws_region="eu-central-1",
                    api_key=key,
                    http_client=httpx2.AsyncClient(transport=server),
                    middleware=[chain(argo)],
                    max_retries=0,
                )
                await cloud.messages.create(**ASK)
    assert 2 == len(server.asked)


@BOTH
@pytest.mark.parametrize(
    "request_",
    [
        {"extra_headers": {"x-trace-id": "7"}},
        {"extra_headers": {"traceparent": "00-7"}},
        {"extra_headers": {"X-Request-Id": "7"}},
        {"extra_headers": {"Cookie": "__cf_bm=7"}},
        {"timeout": 7},
    ],
    ids=str,
)
async def test_headers_that_decide_nothing_keep_no_clients_apart(
    ask: Any, request_: dict[str, Any], open_argo: OpenArgo
) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        await ask(argo, server)
        await ask(argo, server, request_)
    assert 1 == len(server.asked)


async def test_a_client_that_is_given_another_key_is_another_client(open_argo: OpenArgo) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        client = anthropic.AsyncAnthropic(
            api_key="one",
            http_client=httpx2.AsyncClient(transport=server),
            middleware=[chain(argo)],
            max_retries=0,
        )
        for key in ("one", "other", "one", "other"):
            client.api_key = key
            await client.messages.create(**ASK)
    assert 2 == len(server.asked)


async def test_a_header_that_is_given_twice_divides_by_each(open_argo: OpenArgo) -> None:
    """Requests to one URL are compared with the last one."""
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        client = httpx2.AsyncClient(transport=transport(argo, "deepseek", inner=server))
        for beta in ("a", "b", "a", "b"):
            headers = [("X-Unheard-Of", beta), ("X-Unheard-Of", "c")]
            url = "https://api.example/chat/completions"
            await client.post(url, headers=headers, json=CHAT)
    assert 2 == len(server.asked)


async def test_no_key_of_a_call_shows_a_credential(open_argo: OpenArgo) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        events_ = capture_events(argo)
        await messages(argo, server, api_key="sk-very-secret")
        await completions(argo, server, {"extra_query": {"key": "sk-very-secret"}})
    calls = [ended.call for ended in events_.of(CallEnded)]
    assert 2 == len(calls)
    assert not [call for call in calls if "very-secret" in f"{call.key} {dict(call.parameters)}"]


async def test_a_client_that_cannot_be_found_shares_nothing(open_argo: OpenArgo) -> None:
    """A later version of the SDK may keep it elsewhere."""
    server = Server()

    class Hiding(anthropic.Middleware):
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def handle_async(self, request: Any, call_next: Any) -> Any:
            return await self._inner.handle_async(request, partial(call_next))

    async with open_argo(plugins=LAYERS) as argo:
        for _ in range(2):
            said = await messages(argo, server, middleware=[Hiding(chain(argo))])
            assert "So." == said.content[0].text
    assert 2 == len(server.asked)


async def test_a_client_that_another_middleware_holds_is_not_taken_for_the_one_behind(
    open_argo: OpenArgo,
) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        held = claude(argo, server)

        async def holds(request: Any, call_next: Any) -> Any:
            assert held is not None
            return await call_next(request)

        for key in ("one", "other"):
            await messages(argo, server, api_key=key, middleware=[chain(argo), holds])
    assert 2 == len(server.asked)


# -- failures ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_retry_of_the_sdk_is_sent_while_a_failure_would_be_shared(
    ask: Any, status: int, open_argo: OpenArgo
) -> None:
    server = Server()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if len(server.asked) < 3:
            headers = {"retry-after-ms": "1"}
            return httpx2.Response(status, headers=headers, stream=Pieces([b'{"error": {}}']))
        return server._whole(request)

    server.answer = answer
    async with open_argo(plugins=LAYERS) as argo:
        await ask(argo, server, max_retries=2)
    assert 3 == len(server.asked)


@BOTH
async def test_a_clients_401_is_its_own(ask: Any, open_argo: OpenArgo) -> None:
    server = Server()

    def answer(request: httpx2.Request) -> httpx2.Response:
        bad = "bad" in request.headers.get("x-api-key", request.headers.get("authorization", ""))
        return httpx2.Response(401, stream=Pieces([b"{}"])) if bad else server._whole(request)

    server.answer = answer
    async with open_argo(plugins=LAYERS) as argo:
        server.go.clear()
        asked = [asyncio.ensure_future(ask(argo, server, api_key=key)) for key in ("bad", "good")]
        await until(lambda: len(server.asked) == 2)
        server.go.set()
        refused, answered = await asyncio.gather(*asked, return_exceptions=True)
    assert 401 == refused.status_code  # type: ignore[union-attr]
    assert not isinstance(answered, BaseException)


@BOTH
async def test_a_connection_error_keeps_its_cause(ask: Any, open_argo: OpenArgo) -> None:
    why = OSError("no route")

    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("unreachable", request=request) from why

    async with open_argo(plugins=LAYERS) as argo:
        with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)) as caught:
            await ask(argo, Server(answer))
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    assert why is caught.value.__cause__.__cause__


@pytest.mark.parametrize("layers", [{}, LAYERS])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancellation_that_a_transport_raises_by_itself_reaches_its_caller(
    stream: bool, layers: dict[str, object], open_argo: OpenArgo
) -> None:
    def give_up(_: httpx2.Request) -> httpx2.Response:
        raise asyncio.CancelledError

    async with open_argo(plugins=layers) as argo:
        inner = transport(argo, "deepseek", inner=httpx2.MockTransport(give_up))
        client = openai.AsyncOpenAI(
            api_key="k", http_client=httpx2.AsyncClient(transport=inner), max_retries=0
        )
        with pytest.raises(asyncio.CancelledError):
            await client.chat.completions.create(**CHAT, stream=stream)
        task = asyncio.current_task()
        assert task is not None
        assert 0 == task.cancelling()


def test_causes_that_lead_in_a_circle_are_followed_once() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert not never_sent(one)


# -- timeouts ------------------------------------------------------------------------------------


@BOTH
async def test_a_caller_who_joins_waits_as_long_as_its_own_timeout(
    ask: Any, open_argo: OpenArgo
) -> None:
    server = Server()
    server.go.clear()
    async with open_argo(plugins=LAYERS) as argo:
        patient = asyncio.ensure_future(ask(argo, server, timeout=60))
        await until(lambda: len(server.asked) == 1)
        with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
            await ask(argo, server, timeout=0.05)
        server.go.set()
        await patient
    assert 1 == len(server.asked)


@BOTH
async def test_a_callers_timeout_does_not_end_the_wait_of_callers_who_joined_it(
    ask: Any, open_argo: OpenArgo
) -> None:
    clock, server = FakeClock(), Server()
    server.go.clear()
    async with open_argo(plugins=LAYERS, clock=clock) as argo:
        hasty = asyncio.ensure_future(ask(argo, server, timeout=0.1))
        await until(lambda: len(server.asked) == 1)
        patient = asyncio.ensure_future(ask(argo, server, timeout=60))
        await clock.advance(0.2)
        with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
            await hasty
        await until(lambda: len(server.asked) == 2)
        server.go.set()
        await patient
    assert 2 == len(server.asked)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


# -- responses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_raw_response_of_claude_is_the_one_that_came(
    streamed: bool, open_argo: OpenArgo
) -> None:
    server = Server()
    if streamed:
        server.answer = lambda request: streaming(Pieces(events()))
    async with open_argo(plugins=LAYERS) as argo:
        client = claude(argo, server, base_url="https://claude.example/deep")
        raw = [
            await client.messages.with_raw_response.create(**ASK, stream=streamed) for _ in range(2)
        ]
        for one in raw:
            assert "https://claude.example/deep/v1/messages" == str(one.url)
            assert "POST" == one.http_request.method
            parsed = await one.parse()
            if streamed:
                assert [e["type"] for e in EVENTS] == [event.type async for event in parsed]
            assert one.elapsed.total_seconds() >= 0
    assert "49" == raw[0].headers["anthropic-ratelimit-requests-remaining"]
    assert ("org", "wrk") == (raw[0].headers["anthropic-organization-id"], raw[0].workspace_id)
    assert "wrk" == raw[1].workspace_id


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_raw_response_of_openai_is_the_one_that_came(
    streamed: bool, open_argo: OpenArgo
) -> None:
    server = Server()
    if streamed:
        server.answer = lambda request: streaming(Pieces(chunks()))
    async with open_argo(plugins=LAYERS) as argo:
        client = chat(argo, server)
        for number in range(2):
            raw = await client.chat.completions.with_raw_response.create(**CHAT, stream=streamed)
            if streamed:
                assert len(CHUNKS) == len([chunk async for chunk in raw.parse()])
            assert "https://deepseek.example/v1/chat/completions" == str(raw.url)
            assert raw.elapsed.total_seconds() >= 0
            if not number:
                assert "49" == raw.headers["x-ratelimit-remaining-requests"]
    assert 1 == len(server.asked)


async def test_a_compressed_answer_reaches_its_caller_as_it_came(open_argo: OpenArgo) -> None:
    server = Server()

    def answer(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        content = gzip.compress(json.dumps(MESSAGE).encode())
        return httpx2.Response(200, headers=headers, stream=Pieces([content[:9], content[9:]]))

    server.answer = answer
    async with open_argo(plugins=LAYERS) as argo:
        raw = await claude(argo, server).messages.with_raw_response.create(**ASK)
        assert "gzip" == raw.headers["content-encoding"]
        assert "So." == (await raw.parse()).content[0].text  # type: ignore[union-attr]
        assert "So." == (await messages(argo, server)).content[0].text
    assert 1 == len(server.asked)


async def test_a_caller_who_reads_the_body_itself_reads_it_as_it_comes(
    open_argo: OpenArgo,
) -> None:
    raw = json.dumps(MESSAGE).encode()
    bodies: list[Pieces] = []

    def answer(_: httpx2.Request) -> httpx2.Response:
        bodies.append(Pieces([raw[:9], raw[9:]]))
        headers = {"content-type": "application/json"}
        return httpx2.Response(200, headers=headers, stream=bodies[-1])

    async with open_argo(plugins=LAYERS) as argo:
        client = claude(argo, Server(answer))
        async with client.messages.with_streaming_response.create(**ASK) as response:
            assert 0 == bodies[0].given
            pieces = response.iter_bytes()
            assert raw[:9] == await anext(pieces)
            assert 1 == bodies[0].given
            assert raw[9:] == await anext(pieces)
            assert not [piece async for piece in pieces]
        for _ in range(2):
            async with client.messages.with_streaming_response.create(**ASK) as response:
                assert "So." == (await response.parse()).content[0].text  # type: ignore[union-attr]
    assert 1 == len(bodies)
    assert bodies[0].closed


async def test_a_response_of_httpx_is_what_a_caller_gets_who_asks_for_one(
    open_argo: OpenArgo,
) -> None:
    server = Server()
    async with open_argo(plugins=LAYERS) as argo:
        client = claude(argo, server)
        for _ in range(2):
            response = await client.post("/v1/messages", body=ASK, cast_to=httpx2.Response)
            assert isinstance(response, httpx2.Response)
            assert MESSAGE == response.json()
    assert 1 == len(server.asked)


async def test_a_strict_client_checks_a_kept_answer_too(open_argo: OpenArgo) -> None:
    body = json.dumps({**MESSAGE, "content": "no list"}).encode()

    def answer(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "application/json"}
        return httpx2.Response(200, headers=headers, stream=Pieces([body]))

    server = Server(answer)
    async with open_argo(plugins=LAYERS) as argo:
        for _ in range(2):
            with pytest.raises(anthropic.APIResponseValidationError):
                await messages(argo, server, _strict_response_validation=True)
        assert isinstance(await messages(argo, server), Message)
    assert 1 == len(server.asked)


# -- streams -------------------------------------------------------------------------------------


async def test_events_after_the_last_one_of_an_answer_reach_the_caller(
    open_argo: OpenArgo,
) -> None:
    late = b'event: message_delta\ndata: {"type": "message_delta", "late": true}\n\n'
    server = Server(lambda request: streaming(Pieces([*events(), late])))
    async with open_argo(plugins=LAYERS) as argo:
        for _ in range(2):
            stream = await messages(argo, server, {"stream": True})
            types = [event.type async for event in stream]
            assert [*(event["type"] for event in EVENTS), "message_delta"] == types
    assert 1 == len(server.asked)


async def test_a_stream_is_read_no_further_than_its_caller_reads(open_argo: OpenArgo) -> None:
    bodies: list[Pieces] = []

    def answer(_: httpx2.Request) -> httpx2.Response:
        bodies.append(Pieces(events()))
        return streaming(bodies[-1])

    async with open_argo(plugins=LAYERS) as argo:
        stream = await messages(argo, Server(answer), {"stream": True})
        assert 0 == bodies[0].given
        await anext(aiter(stream))
        await asyncio.sleep(0)
        assert 1 == bodies[0].given
        await stream.close()
        await until(lambda: bodies[0].closed)


async def test_a_stream_that_is_closed_unread_closes_its_connection(open_argo: OpenArgo) -> None:
    body = Pieces(events())
    async with open_argo(plugins=LAYERS) as argo:
        stream = await messages(argo, Server(lambda _: streaming(body)), {"stream": True})
        await stream.close()
        await until(lambda: body.closed)


async def test_a_stream_that_breaks_off_raises_what_it_does_without_the_chain(
    open_argo: OpenArgo,
) -> None:
    def broken(pieces: list[bytes]) -> Server:
        return Server(lambda _: streaming(Pieces(pieces, httpx2.ReadError("lost"))))

    async def error_of(asked: Any) -> BaseException:
        with pytest.raises(Exception) as caught:
            async for _ in await asked:
                pass
        return caught.value

    streamed = {"stream": True}
    async with open_argo(plugins=LAYERS) as argo:
        for ask, pieces in ((messages, events()[:2]), (completions, chunks()[:1])):
            bare = await error_of(ask(None, broken(pieces), streamed))
            through = await error_of(ask(argo, broken(pieces), streamed))
            assert (type(bare), str(bare)) == (type(through), str(through))
            assert type(bare.__cause__) is type(through.__cause__)


# -- requests ------------------------------------------------------------------------------------


async def test_an_upload_is_not_read_before_its_path_is_looked_at(open_argo: OpenArgo) -> None:
    upload = Pieces([b"x"] * 40)
    seen: list[int] = []

    def answer(_: httpx2.Request) -> httpx2.Response:
        seen.append(upload.given)
        return httpx2.Response(200)

    async with open_argo(plugins=LAYERS) as argo:
        between = transport(argo, "deepseek", inner=Server(answer))
        request = httpx2.Request("POST", "https://x.example/v1/files", content=upload)
        await between.handle_async_request(request)
    assert [0] == seen


async def test_a_transport_for_both_kinds_of_clients_may_send(open_argo: OpenArgo) -> None:
    mock = httpx2.MockTransport(lambda _: httpx2.Response(200, json=COMPLETION))
    async with open_argo(plugins=LAYERS) as argo:
        http = httpx2.AsyncClient(transport=transport(argo, "deepseek", inner=mock))
        client = openai.AsyncOpenAI(api_key="k", http_client=http)
        for _ in range(2):
            said = await client.chat.completions.create(**CHAT)
            assert "So." == said.choices[0].message.content
    config = {"argo": {"shared": "memory://", "strict": True}}
    with BlockingArgo(config, plugins={"llm": LlmPlugin()}, installed=False) as blocking:
        http_ = httpx2.Client(transport=transport(blocking, "deepseek", inner=mock))
        with openai.OpenAI(api_key="k", http_client=http_) as closed:
            assert "So." == closed.chat.completions.create(**CHAT).choices[0].message.content


async def test_a_transport_of_the_other_kind_is_refused(open_argo: OpenArgo) -> None:
    async with open_argo() as argo:
        with pytest.raises(TypeError, match="inner is synchronous"):
            transport(argo, "deepseek", inner=httpx2.HTTPTransport())  # type: ignore[call-overload]


async def test_a_message_whose_body_cannot_be_read_passes_no_budget(open_argo: OpenArgo) -> None:
    server = Server()
    async with open_argo(budgets=[{"usd": 0.0}]) as argo:
        client = claude(argo, server)
        with pytest.raises(anthropic.BadRequestError, match="cannot read"):
            await client.post("/v1/messages", content=b"\x1f\x8b", cast_to=Message)
    assert not server.asked


@pytest.mark.parametrize(
    "path",
    [
        "/model/anthropic.claude-sonnet-5-5/invoke",
        "/model/anthropic.claude-sonnet-5-5/invoke-with-response-stream",
        "/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-5-5:rawPredict",
    ],
)
async def test_a_message_to_a_cloud_passes_no_budget_either(path: str, open_argo: OpenArgo) -> None:
    server = Server()
    asked = {name: value for name, value in ASK.items() if name != "model"}
    async with open_argo(budgets=[{"usd": 0.0}]) as argo:
        between = transport(argo, "claude", inner=server)
        async with httpx2.AsyncClient(transport=between) as client:
            response = await client.post(f"https://cloud.example{path}", json=asked)
    assert 402 == response.status_code
    assert not server.asked


# -- clients that a library makes ----------------------------------------------------------------


async def test_clients_that_a_library_makes_gain_the_chain_until_it_is_ended(
    open_argo: OpenArgo,
) -> None:
    server = Server()
    made = partial(claude, None, server)
    async with open_argo(plugins=LAYERS) as argo:
        end = instrument(argo)
        try:
            for client in (made(), made(), made().with_options(timeout=3)):
                assert "So." == (await client.messages.create(**ASK)).content[0].text  # type: ignore[union-attr]
                assert 1 == len(client.middleware)
            assert 1 == len(server.asked)
        finally:
            end()
        assert not made().middleware


async def test_clients_of_openai_gain_it_too_where_a_provider_is_named(
    open_argo: OpenArgo,
) -> None:
    async with open_argo(plugins=LAYERS) as argo:
        end, again = instrument(argo, openai="deepseek"), instrument(argo, openai="glm")
        end()
        again()
        plain = openai.AsyncOpenAI.__init__
        end = instrument(argo, openai="deepseek")
        try:
            client = openai.AsyncOpenAI(api_key="k")
            transports = [type(client._client._transport).__name__]
            given = httpx2.AsyncClient()
            assert given is openai.AsyncOpenAI(api_key="k", http_client=given)._client
        finally:
            end()
        assert plain is openai.AsyncOpenAI.__init__
        assert ["ChainTransport"] == transports
        await client.close()
        await given.aclose()
