"""Clients of the providers' own SDKs, with the chain in between."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo, BlockingArgo, Outcome, ScopeConflict
from argo_mw.plugin import (
    AnyOperation,
    Call,
    RequestSettled,
    Scope,
    Upstream,
    hookimpl,
    operation,
)
from argo_mw.testing import capture_events
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import AnswerStream, LlmPlugin, chain, transport
from argo_mw_llm.costs.cost_file import COSTS, read
from argo_mw_sandbox import Fault, Sandbox, SandboxConfig, SandboxProcess
from argo_mw_similarity import SimilarityPlugin

from .conftest import MODELS, PROVIDERS, OpenArgo

LAYERS = {"cache": CachePlugin, "coalesce": coalesce}
ASK: dict[str, Any] = {
    "model": MODELS["claude"],
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "RSI 30, price 10?"}],
}
CHAT: dict[str, Any] = {
    "model": MODELS["deepseek"],
    "messages": [{"role": "user", "content": "RSI 30, price 10?"}],
}


def claude(argo: Argo, sandbox: Sandbox, **more: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        api_key="k", base_url=sandbox.url("claude"), middleware=[chain(argo)], **more
    )


def chat(argo: Argo, sandbox: Sandbox, **more: Any) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek"))
    return openai.AsyncOpenAI(
        api_key="k", base_url=sandbox.url("deepseek"), http_client=http, **more
    )


async def test_claude_answers_are_the_sdks_own_and_are_kept(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, claude(argo, sandbox) as client:
        first, again = [await client.messages.create(**ASK) for _ in range(2)]
    async with anthropic.AsyncAnthropic(api_key="k", base_url=sandbox.url("claude")) as bare:
        expected = await bare.messages.create(**ASK)
    assert isinstance(first, anthropic.types.Message)
    assert expected == first == again
    assert 2 == sandbox.counts_of("claude").requests


async def test_a_request_that_was_sent_is_answered_with_what_came_headers_and_all(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    """A kept answer has only the headers that hold for everyone: none of a rate limit's."""
    async with open_argo(plugins=LAYERS) as argo:
        async with claude(argo, sandbox) as client, chat(argo, sandbox) as other:
            raw = client.messages.with_raw_response, other.chat.completions.with_raw_response
            for kind, ask in ((raw[0], ASK), (raw[1], CHAT)):
                first, again = [await kind.create(**ask) for _ in range(2)]
                assert "content-length" in first.headers
                assert "date" in first.headers
                assert "date" not in again.headers
                assert await first.http_response.aread() == await again.http_response.aread()


async def test_claude_streams_replay_with_the_sdks_own_events(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, claude(argo, sandbox) as client:
        runs = []
        for _ in range(2):
            async with client.messages.stream(**ASK) as stream:
                runs.append([event async for event in stream])
    assert [e.type for e in runs[0]] == [e.type for e in runs[1]]
    assert runs[0] == runs[1]
    assert 1 == sandbox.counts_of("claude").requests


async def test_chat_streams_replay_with_the_sdks_own_chunks(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, chat(argo, sandbox) as client:
        runs = []
        for _ in range(2):
            chunks = await client.chat.completions.create(**CHAT, stream=True)
            runs.append([chunk async for chunk in chunks])
    assert runs[0] == runs[1]
    assert len(runs[0]) > 3
    assert 1 == sandbox.counts_of("deepseek").requests


async def test_a_streams_usage_is_only_sent_to_clients_that_ask_for_it(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    """The chunk with the usage has no choices, which scripts that did not ask for it stumble on."""
    async with open_argo(plugins=LAYERS) as argo, chat(argo, sandbox) as client:

        async def has_usage(**more: Any) -> bool:
            chunks = await client.chat.completions.create(**CHAT, stream=True, **more)
            return any([chunk.usage is not None async for chunk in chunks])

        asked = {"stream_options": {"include_usage": True}}
        for _ in range(2):
            assert not await has_usage()
            assert await has_usage(**asked)
    assert 2 == sandbox.counts_of("deepseek").requests


@pytest.mark.parametrize(
    ("change", "requests"),
    [
        ({"model": "deepseek-v4-flash"}, 2),
        ({"messages": [{"role": "user", "content": "RSI 31?"}]}, 2),
        ({"temperature": 0.5}, 2),
        ({"stop": ["."]}, 2),
        ({"seed": 7}, 2),
        ({"max_tokens": 99}, 2),
        ({"response_format": {"type": "json_object"}}, 2),
        ({"extra_body": {"thinking": {"type": "disabled"}}}, 2),
        ({"user": "someone"}, 1),
        ({"metadata": {"run": "7"}}, 1),
        ({"extra_body": {"request_id": "r-7", "user_id": "u-7"}}, 1),
        ({"extra_headers": {"x-trace": "7"}}, 1),
    ],
    ids=lambda change: str(change)[:40],
)
async def test_requests_are_equal_when_all_that_shapes_the_answer_is(
    change: dict[str, Any], requests: int, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, chat(argo, sandbox) as client:
        await client.chat.completions.create(**CHAT)
        await client.chat.completions.create(**{**CHAT, **change})
    assert requests == sandbox.counts_of("deepseek").requests


@pytest.mark.parametrize(
    ("change", "requests"),
    [
        ({"system": "Be brief."}, 2),
        ({"stop_sequences": ["."]}, 2),
        ({"extra_body": {"temperature": 0.5}}, 2),
        ({"thinking": {"type": "disabled"}}, 2),
        ({"extra_headers": {"anthropic-beta": "context-1m-2025-08-07"}}, 2),
        ({"metadata": {"user_id": "u-7"}}, 1),
        ({"extra_headers": {"x-trace": "7"}}, 1),
    ],
    ids=lambda change: str(change)[:40],
)
async def test_the_same_with_claude(
    change: dict[str, Any], requests: int, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, claude(argo, sandbox) as client:
        await client.messages.create(**ASK)
        await client.messages.create(**ASK, **change)
    assert requests == sandbox.counts_of("claude").requests


async def test_coalesced_callers_read_one_stream(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(plugins=LAYERS) as argo, chat(argo, sandbox) as client:

        async def read() -> str:
            chunks = await client.chat.completions.create(**CHAT, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in chunks])

        texts = await asyncio.gather(*(read() for _ in range(5)))
    assert 1 == len(set(texts))
    assert texts[0]
    assert 1 == sandbox.counts_of("deepseek").requests


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_work_as_ever_and_their_calls_are_never_replayed(
    sandbox: Sandbox, open_argo: OpenArgo, streamed: bool
) -> None:
    """What a tool does may have side effects, so each request is sent."""
    schema = {"type": "object", "properties": {"action": {"type": "string"}}}
    own = {"name": "trade", "description": "Trade.", "input_schema": schema}
    tool = {"name": "trade", "description": "Trade.", "parameters": schema}
    async with open_argo(plugins=LAYERS) as argo:
        async with claude(argo, sandbox) as client, chat(argo, sandbox) as other:
            for _ in range(2):
                forced = {"tools": [own], "tool_choice": {"type": "any"}}
                if streamed:
                    async with client.messages.stream(**ASK, **forced) as stream:
                        message = await stream.get_final_message()
                else:
                    message = await client.messages.create(**ASK, **forced)
                assert ["trade"] == [b.name for b in message.content if b.type == "tool_use"]
                asked = {"tools": [{"type": "function", "function": tool}]}
                asked |= {"tool_choice": "required"}
                if streamed:
                    chunks = await other.chat.completions.create(**CHAT, **asked, stream=True)
                    deltas = [c.choices[0].delta async for c in chunks if c.choices]
                    calls = [call for delta in deltas for call in delta.tool_calls or ()]
                else:
                    said = await other.chat.completions.create(**CHAT, **asked)
                    calls = said.choices[0].message.tool_calls
                assert ["trade"] == [call.function.name for call in calls]
    assert (2, 2) == tuple(sandbox.counts_of(n).requests for n in ("claude", "deepseek"))


async def test_an_aborted_stream_is_never_kept(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(plugins=LAYERS) as argo, chat(argo, sandbox) as client:
        sandbox.set_fault("deepseek", Fault("trickle", pace=0.001, times=1))
        chunks = await client.chat.completions.create(**CHAT, stream=True)
        await anext(aiter(chunks))
        await chunks.close()
        whole = await client.chat.completions.create(**CHAT, stream=True)
        assert "stop" == [c async for c in whole][-1].choices[0].finish_reason
    assert 2 == sandbox.counts_of("deepseek").requests


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("overloaded", anthropic.InternalServerError),
        ("rate_limit", anthropic.RateLimitError),
        ("unauthorized", anthropic.AuthenticationError),
        ("bad_request", anthropic.BadRequestError),
    ],
)
async def test_errors_stay_the_sdks_own(
    fault: str, error: type[Exception], sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault("claude", Fault(fault))
    async with open_argo(plugins=LAYERS) as argo:
        async with claude(argo, sandbox, max_retries=0) as client:
            with pytest.raises(error):
                await client.messages.create(**ASK)
    assert 1 == sandbox.counts_of("claude").requests


async def test_errors_keep_all_of_their_headers(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    """Scripts read from them when to come back."""
    sandbox.set_fault("claude", Fault("rate_limit"))
    sandbox.set_fault("deepseek", Fault("rate_limit"))
    async with open_argo(plugins=LAYERS) as argo:
        async with claude(argo, sandbox, max_retries=0) as client:
            with pytest.raises(anthropic.RateLimitError) as caught:
                await client.messages.create(**ASK)
        assert "anthropic-ratelimit-requests-remaining" in caught.value.response.headers
        async with chat(argo, sandbox, max_retries=0) as other:
            with pytest.raises(openai.RateLimitError) as seen:
                await other.chat.completions.create(**CHAT)
        assert "date" in seen.value.response.headers


async def test_a_timeout_of_the_sdk_ends_the_request(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    """No request goes on for a client that has given it up, as it would for other callers."""
    for name in ("claude", "deepseek"):
        sandbox.set_fault(name, "stall")
    options: dict[str, Any] = {"timeout": 0.3, "max_retries": 0}
    async with open_argo(plugins=LAYERS) as argo:
        async with claude(argo, sandbox, **options) as client:
            with pytest.raises(anthropic.APITimeoutError):
                await client.messages.create(**ASK)
        async with chat(argo, sandbox, **options) as other:
            with pytest.raises(openai.APITimeoutError):
                await other.chat.completions.create(**CHAT)
        for name in ("claude", "deepseek"):
            await sandbox.until(lambda name=name: sandbox.counts_of(name).disconnects == 1)


@pytest.mark.parametrize(
    "limits",
    [
        {"operations": {f"{name}_exchange": {"timeout": 0.2} for name in ("claude", "deepseek")}},
        {"upstreams": {name: {"timeout": 0.2} for name in ("claude", "deepseek")}},
    ],
    ids=lambda limits: next(iter(limits)),
)
async def test_a_deadline_is_the_sdks_own_timeout(
    limits: dict[str, Any], sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault("claude", Fault("stall"))
    sandbox.set_fault("deepseek", Fault("stall"))
    async with open_argo(plugins=LAYERS, **limits) as argo:
        async with claude(argo, sandbox, max_retries=0) as client:
            with pytest.raises(anthropic.APITimeoutError):
                await client.messages.create(**ASK)
        async with chat(argo, sandbox, max_retries=0) as other:
            with pytest.raises(openai.APITimeoutError):
                await other.chat.completions.create(**CHAT)


async def test_clients_of_tenants_share_no_answers(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    async with open_argo(plugins=LAYERS) as argo:
        for tenant in ("one", "other", "one"):
            async with anthropic.AsyncAnthropic(
                api_key="k",
                base_url=sandbox.url("claude"),
                middleware=[chain(argo, tenant=tenant)],
            ) as client:
                await client.messages.create(**ASK)
            own = transport(argo, "deepseek", tenant=tenant)
            async with openai.AsyncOpenAI(
                api_key="k",
                base_url=sandbox.url("deepseek"),
                http_client=openai.DefaultAsyncHttpxClient(transport=own),
            ) as other:
                await other.chat.completions.create(**CHAT)
    assert (2, 2) == counts(sandbox)
    booked = [charge.tenant for charge in read(tmp_path / COSTS) if not charge.layer]
    assert ["one", "one", "other", "other"] == sorted(booked)


async def test_the_sdk_retries_as_it_always_did(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    sandbox.set_fault("deepseek", Fault("overloaded", times=1))
    tables = {"coalesce": {"failure_ttl": 0.0}}
    async with open_argo(plugins=LAYERS, tables=tables) as argo:
        async with chat(argo, sandbox, max_retries=1) as client:
            said = await client.chat.completions.create(**CHAT)
    assert said.choices[0].message.content
    assert 2 == sandbox.counts_of("deepseek").requests


async def test_a_budget_reaches_the_sdks_caller_as_a_clear_error(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS, budgets=[{"usd": 0.0}]) as argo:
        async with chat(argo, sandbox) as client:
            with pytest.raises(openai.APIStatusError, match="budget") as caught:
                await client.chat.completions.create(**CHAT)
    assert 402 == caught.value.status_code
    assert 0 == sandbox.counts_of("deepseek").requests


async def test_an_unreachable_provider_is_the_sdks_own_connection_error(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault("deepseek", Fault("outage"))
    async with open_argo(plugins=LAYERS) as argo:
        async with chat(argo, sandbox, max_retries=0) as client:
            with pytest.raises(openai.APIConnectionError):
                await client.chat.completions.create(**CHAT)


async def test_a_request_that_never_left_costs_nothing(open_argo: OpenArgo, tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        async with open_argo(plugins=LAYERS) as argo:
            http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek"))
            with pytest.raises(openai.APIConnectionError):
                async with openai.AsyncOpenAI(
                    api_key="k", base_url=url, http_client=http, max_retries=0
                ) as client:
                    await client.chat.completions.create(**CHAT)
            with pytest.raises(anthropic.APIConnectionError):
                async with anthropic.AsyncAnthropic(
                    api_key="k", base_url=url, middleware=[chain(argo)], max_retries=0
                ) as other:
                    await other.messages.create(**ASK)
    booked = read(tmp_path / COSTS)
    assert [("failed", False, 0.0)] * 2 == [
        (one.status, one.cost.estimated, one.cost.usd) for one in booked
    ]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("content", [gzip.compress(json.dumps(CHAT).encode()), b'["model"]'])
async def test_a_request_for_an_answer_that_cannot_be_read_is_not_sent(
    sandbox: Sandbox, open_argo: OpenArgo, content: bytes, blocking: bool, slash: str
) -> None:
    request = httpx2.Request(
        "POST", f"{sandbox.url('deepseek')}/chat/completions{slash}", content=content
    )
    async with open_argo() as argo:
        if blocking:
            closed = BlockingArgo({"argo": {"shared": "memory://"}}, installed=False)
            response = transport(closed, "deepseek").handle_request(request)
            response.read()
        else:
            response = await transport(argo, "deepseek").handle_async_request(request)
            await response.aread()
    assert (400, "unreadable") == (response.status_code, response.json()["error"]["code"])
    assert 0 == sandbox.counts_of("deepseek").requests


async def test_other_requests_go_straight_on(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(plugins=LAYERS) as argo, claude(argo, sandbox) as client:
        for _ in range(2):
            counted = await client.messages.count_tokens(
                model=ASK["model"], messages=ASK["messages"]
            )
    assert counted.input_tokens > 0
    assert 2 == sandbox.counts_of("claude").requests


def test_synchronous_clients_gain_the_chain_too() -> None:
    with SandboxProcess(SandboxConfig()) as sandbox:
        own = {name: {"url": sandbox.url(name), "key": "any"} for name in PROVIDERS}
        config = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"llm": {"providers": own}},
        }
        plugins = {"llm": LlmPlugin(), **LAYERS}
        with BlockingArgo(config, plugins=plugins, installed=False) as argo:
            with anthropic.Anthropic(
                api_key="k", base_url=sandbox.url("claude"), middleware=[chain(argo)]
            ) as claude_client:
                first, again = [
                    claude_client.messages.with_raw_response.create(**ASK) for _ in range(2)
                ]
                assert first.parse() == again.parse()
                assert ("date" in first.headers, "date" in again.headers) == (True, False)
                streamed = []
                for _ in range(2):
                    with claude_client.messages.stream(**ASK) as stream:
                        streamed.append([event.type for event in stream])
                assert streamed[0] == streamed[1]
            http = openai.DefaultHttpxClient(transport=transport(argo, "deepseek"))
            with openai.OpenAI(
                api_key="k", base_url=sandbox.url("deepseek"), http_client=http
            ) as client:
                said, same = [client.chat.completions.create(**CHAT) for _ in range(2)]
                assert said == same
                for _ in range(2):
                    assert list(client.chat.completions.create(**CHAT, stream=True))
        counts = sandbox.counts()
    assert 2 == counts["claude"]["requests"]  # type: ignore[index,call-overload]
    assert 2 == counts["deepseek"]["requests"]  # type: ignore[index,call-overload]


async def test_an_unknown_provider_is_refused(open_argo: OpenArgo) -> None:
    async with open_argo() as argo:
        for make in (lambda: transport(argo, "gpt"), lambda: chain(argo, provider="gpt")):
            with pytest.raises(ValueError, match="one of glm, deepseek"):
                make()


async def test_a_streamed_answer_is_replayed_by_another_process(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Two applications that have nothing in common but the store."""

    def opened() -> Argo:
        tables = {n: {"url": sandbox.url(n), "key": "any"} for n in PROVIDERS}
        return Argo.open(
            {
                "argo": {"shared": f"sqlite:///{tmp_path}/shared.db", "strict": True},
                "plugins": {"llm": {"providers": tables}},
            },
            plugins={"llm": LlmPlugin(), **LAYERS},
            installed=False,
        )

    async def streamed(argo: Argo) -> tuple[list[object], list[object], list[str]]:
        async with claude(argo, sandbox) as first, chat(argo, sandbox) as second:
            async with first.messages.stream(**ASK) as events:
                heard: list[object] = [event async for event in events]
            chunks = await second.chat.completions.create(**CHAT, stream=True)
            chunks_heard: list[object] = [chunk async for chunk in chunks]
        answer = await argo.call("complete", messages="RSI 30?", model=MODELS["glm"], stream=True)
        assert isinstance(answer, AnswerStream)
        return heard, chunks_heard, [piece async for piece in answer.read()]

    async with opened() as argo:
        expected = await streamed(argo)
    async with opened() as argo:
        again = await streamed(argo)
        replayed = await argo.outcome(
            "complete", messages="RSI 30?", model=MODELS["glm"], stream=True
        )
    assert expected == again
    assert "cache" in replayed.via
    assert isinstance(replayed.value, AnswerStream)
    assert "".join(expected[2]) == replayed.value.text
    assert replayed.value.ending.usage is not None
    for name in ("claude", "deepseek", "glm"):
        assert 1 == sandbox.counts_of(name).requests


async def test_similarity_serves_requests_of_the_sdks(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugins = {"similarity": SimilarityPlugin()}
    tables = {"similarity": {"embedder": "none"}}
    async with open_argo(plugins=plugins, tables=tables) as argo:
        async with claude(argo, sandbox) as first, chat(argo, sandbox) as second:

            async def ask(content: str, **more: Any) -> list[str]:
                request = {"messages": [{"role": "user", "content": content}], **more}
                message = await first.messages.create(**{**ASK, **request})
                completion = await second.chat.completions.create(**{**CHAT, **request})
                block = message.content[0]
                assert isinstance(block, anthropic.types.TextBlock)
                return [block.text, str(completion.choices[0].message.content)]

            expected = await ask("RSI 30, price 10?")
            assert expected == await ask("RSI 30,  price 10? ")
            assert (1, 1) == counts(sandbox)
            await ask("RSI 31, price 10?")
            assert (2, 2) == counts(sandbox)
            await ask("RSI 30, price 10?", max_tokens=77)
            assert (3, 3) == counts(sandbox)
            sandbox.set_fault("claude", Fault("refusal"))
            sandbox.set_fault("deepseek", Fault("refusal"))
            for _ in range(2):
                await ask("RSI 32, price 10?")
            assert (5, 5) == counts(sandbox)


def counts(sandbox: Sandbox) -> tuple[int, int]:
    return sandbox.counts_of("claude").requests, sandbox.counts_of("deepseek").requests


@pytest.mark.parametrize("odd", [b'"\\ud800"', b"NaN", b"1e999"])
async def test_whatever_an_sdk_can_write_goes_through_the_chain(
    sandbox: Sandbox, open_argo: OpenArgo, odd: bytes
) -> None:
    """Half a surrogate pair or NaN must not slip past the budget."""
    body = b'{"model": "deepseek-v4-pro", "messages": [], "odd": %b}' % odd
    async with open_argo(budgets=[{"usd": 0.0}]) as argo:
        async with httpx2.AsyncClient(transport=transport(argo, "deepseek")) as client:
            url = f"{sandbox.url('deepseek')}/chat/completions"
            response = await client.post(url, content=body)
    assert 402 == response.status_code
    assert 0 == sandbox.counts_of("deepseek").requests


class Asks:
    """A plugin whose operation ``view`` asks a provider with a client of its SDK."""

    client: openai.AsyncOpenAI

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @hookimpl
    def register_operations(self) -> list[AnyOperation]:
        @operation(name="view", subject="symbol", scope=self._scope)
        def view(symbol: str) -> str:
            raise AssertionError

        return [view]

    @hookimpl
    def register_upstreams(self) -> list[Upstream]:
        return [Upstream("views", {"view"}, self._fetch)]

    async def _fetch(self, call: Call) -> Outcome:
        said = await self.client.chat.completions.create(**CHAT)
        return Outcome(said.choices[0].message.content)


async def test_a_client_in_an_upstream_asks_and_pays_for_the_tenant_that_it_answers(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugin = Asks("tenant")
    async with open_argo(plugins={**LAYERS, "asks": plugin}) as argo, chat(argo, sandbox) as client:
        plugin.client = client
        events = capture_events(argo)
        for tenant in ("desk-7", "desk-8"):
            await argo.options(tenant=tenant).call("view", symbol="x")
    paid = [charge for settled in events.of(RequestSettled) for charge in settled.charges]
    assert ["desk-7", "desk-8"] == [one.tenant for one in paid if one.upstream == "deepseek"]
    assert 2 == sandbox.counts_of("deepseek").requests


async def test_a_client_in_a_public_upstream_is_refused_before_anything_is_asked(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugin = Asks("public")
    async with open_argo(plugins={**LAYERS, "asks": plugin}) as argo, chat(argo, sandbox) as client:
        plugin.client = client
        with pytest.raises(ScopeConflict, match="view is public"):
            await argo.call("view", symbol="x")
    assert 0 == sandbox.counts_of("deepseek").requests
