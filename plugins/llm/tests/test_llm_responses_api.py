"""OpenAI's Responses API through the drop-in: unchanged, counted, held by budgets, kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo, BlockingArgo
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import LlmPlugin, chain, transport
from argo_mw_llm.costs.cost_file import COSTS, read
from argo_mw_sandbox import Fault, Sandbox

from .conftest import MODELS, OpenArgo

LAYERS = {"cache": CachePlugin, "coalesce": coalesce}
ASK: dict[str, Any] = {"model": MODELS["openai"], "input": "RSI 30, price 10?"}
TOOL = {
    "type": "function",
    "name": "trade",
    "strict": True,
    "parameters": {"type": "object", "properties": {"action": {"type": "string"}}},
}


def client_of(argo: Argo, sandbox: Sandbox, **more: Any) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "openai"))
    return openai.AsyncOpenAI(
        api_key="k", base_url=sandbox.url("openai") + "/v1", http_client=http, **more
    )


async def test_a_response_is_the_sdks_own_and_is_kept(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, client_of(argo, sandbox) as client:
        first, again = [await client.responses.create(**ASK) for _ in range(2)]
    url = sandbox.url("openai") + "/v1"
    async with openai.AsyncOpenAI(api_key="k", base_url=url) as bare:
        expected = await bare.responses.create(**ASK)
    assert expected == first == again
    assert first.output_text
    assert 2 == sandbox.counts_of("openai").requests


async def test_a_streamed_response_replays_with_the_sdks_own_events(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, client_of(argo, sandbox) as client:
        runs = []
        for _ in range(2):
            async with client.responses.stream(**ASK) as stream:
                runs.append([event async for event in stream])
    assert runs[0] == runs[1]
    assert "response.completed" == runs[0][-1].type
    assert 1 == sandbox.counts_of("openai").requests


async def test_equal_responses_at_the_same_time_are_one_request(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, client_of(argo, sandbox) as client:
        answers = await asyncio.gather(*(client.responses.create(**ASK) for _ in range(5)))
    assert 1 == len({answer.id for answer in answers})
    assert 1 == sandbox.counts_of("openai").requests


@pytest.mark.parametrize(
    "stored",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
    ids=lambda one: next(iter(one)),
)
async def test_what_goes_on_from_a_stored_conversation_is_never_shared(
    stored: dict[str, Any], sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo, client_of(argo, sandbox) as client:
        ask = {**ASK, **stored}
        await asyncio.gather(*(client.responses.create(**ask) for _ in range(3)))
        await client.responses.create(**ask)
        for _ in range(2):
            events = await client.responses.create(**ask, stream=True)
            assert [event async for event in events]
    assert 6 == sandbox.counts_of("openai").requests


async def test_messages_in_a_container_are_never_shared(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    ask: dict[str, Any] = {"model": MODELS["claude"], "max_tokens": 99, "container": "container_1"}
    ask["messages"] = [{"role": "user", "content": "RSI 30?"}]
    async with open_argo(plugins=LAYERS) as argo:
        async with anthropic.AsyncAnthropic(
            api_key="k", base_url=sandbox.url("claude"), middleware=[chain(argo)]
        ) as client:
            await asyncio.gather(*(client.messages.create(**ask) for _ in range(2)))
            await client.messages.create(**ask)
    assert 3 == sandbox.counts_of("claude").requests


async def test_a_call_of_a_tool_is_not_kept(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    ask = {**ASK, "tools": [TOOL], "tool_choice": {"type": "function", "name": "trade"}}
    async with open_argo(plugins=LAYERS) as argo, client_of(argo, sandbox) as client:
        for _ in range(2):
            answer = await client.responses.create(**ask)
            assert "function_call" == answer.output[0].type
    assert 2 == sandbox.counts_of("openai").requests


@pytest.mark.parametrize("stream", [False, True])
async def test_every_token_is_in_the_ledger(
    stream: bool, sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    long = "Weigh this. " * 600  # so much is cached
    async with open_argo() as argo:
        async with client_of(argo, sandbox) as client:
            for question in ("RSI 30?", "RSI 31?"):
                ask = {**ASK, "instructions": long, "input": question}
                answer = await client.responses.create(**ask, stream=stream)
                if stream:
                    assert [event async for event in answer]
    charges = read(tmp_path / COSTS)
    counts = sandbox.counts_of("openai")
    sent = counts.input_tokens + counts.cache_read_tokens + counts.cache_write_tokens
    assert sent == sum(one.cost.tokens_in for one in charges)
    assert counts.output_tokens == sum(one.cost.tokens_out for one in charges)
    assert counts.cache_read_tokens == sum(one.cost.tokens_cached for one in charges) > 0
    assert counts.cache_write_tokens == sum(one.cost.tokens_written for one in charges) > 0
    assert all(one.cost.usd and not one.cost.estimated for one in charges)


async def test_a_budget_inserts_a_limit_and_is_corrected_by_the_bill(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    budgets = [{"usd": 5.0, "per": "ever"}]
    sent: list[dict[str, Any]] = []
    async with open_argo(budgets=budgets) as argo:
        client = client_of(argo, sandbox)
        async with client:
            raw = await client.responses.with_raw_response.create(**ASK)
            sent.append(raw.parse().to_dict())
        key = "argo:llm:{budget}:0:::ever"
        held = int((await _shared(argo).get(key)) or 0) / 1e9
    assert 0.0 < held < 0.01
    assert sent


def _shared(argo: Argo) -> Any:
    from argo_mw.plugin import context_of

    return context_of(argo).shared


@pytest.mark.parametrize(
    "ask",
    [
        ASK,
        {**ASK, "previous_response_id": "resp_1"},
        {**ASK, "tools": [{"type": "web_search"}]},
        {**ASK, "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {**ASK, "model": "gpt-that-nobody-knows"},
    ],
)
async def test_a_budget_without_money_lets_no_response_pass(
    ask: dict[str, Any], sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 0.0}]) as argo, client_of(argo, sandbox) as client:
        with pytest.raises(openai.APIStatusError, match="budget"):
            await client.responses.create(**ask)
    assert 0 == sandbox.counts_of("openai").requests


async def test_what_has_no_bound_is_refused_and_says_what(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 100.0}]) as argo, client_of(argo, sandbox) as client:
        with pytest.raises(openai.APIStatusError, match="continues from"):
            await client.responses.create(**ASK, previous_response_id="resp_1")
        with pytest.raises(openai.APIStatusError, match="web_search"):
            await client.responses.create(**ASK, tools=[{"type": "web_search"}])
        assert (await client.responses.create(**ASK)).output_text
    assert 1 == sandbox.counts_of("openai").requests


async def test_errors_are_the_sdks_own(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    sandbox.set_fault("openai", Fault("rate_limit"))
    async with open_argo() as argo, client_of(argo, sandbox, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError):
            await client.responses.create(**ASK)


async def test_a_synchronous_client_has_the_same(sandbox: Sandbox) -> None:
    config = {"argo": {"shared": "memory://"}}

    plugins = {"llm": LlmPlugin, **LAYERS}

    def run() -> list[str]:
        with BlockingArgo(config, plugins=plugins, installed=False) as argo:
            http = openai.DefaultHttpxClient(transport=transport(argo, "openai"))
            url = sandbox.url("openai") + "/v1"
            with openai.OpenAI(api_key="k", base_url=url, http_client=http) as client:
                return [client.responses.create(**ASK).output_text for _ in range(2)]

    first, again = await asyncio.to_thread(run)
    assert first == again
    assert 1 == sandbox.counts_of("openai").requests
