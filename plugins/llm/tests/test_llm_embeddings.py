"""Embeddings: an operation that is kept and gathered, and a request of the SDK that is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import BadParameter, BudgetExceeded, UpstreamError
from argo_mw.plugin import context_of
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import Embedding, transport
from argo_mw_llm.costs.cost_file import COSTS, read
from argo_mw_sandbox import Fault, Sandbox
from argo_mw_sandbox.vendors.embeddings import vector

from .conftest import OpenArgo

LAYERS = {"cache": CachePlugin, "coalesce": coalesce}
ONE = {"embed": {"upstreams": ["openai_embeddings"]}}


async def test_a_text_becomes_a_vector_and_is_kept(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(plugins=LAYERS, operations=ONE) as argo:
        first, again = [await argo.call("embed", text="oil") for _ in range(2)]
    assert isinstance(first, Embedding)
    assert tuple(vector("oil", 64)) == pytest.approx(first.vector)
    assert first == again
    assert 1 == sandbox.counts_of("openai").requests


async def test_texts_of_one_moment_share_a_request_and_its_bill(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    texts = [f"text {'long ' * number}" for number in range(20)]
    async with open_argo(plugins=LAYERS, operations=ONE) as argo:
        outcomes = await asyncio.gather(*(argo.outcome("embed", text=text) for text in texts))
    counts = sandbox.counts_of("openai")
    assert 1 == counts.requests
    for text, outcome in zip(texts, outcomes, strict=True):
        assert tuple(vector(text, 64)) == pytest.approx(outcome.value.vector)
    assert counts.input_tokens == sum(one.cost.tokens_in for one in outcomes)
    assert 0 == sum(one.cost.tokens_out for one in outcomes)
    assert 1.0 == pytest.approx(sum(one.cost.requests for one in outcomes))
    assert all(one.cost.usd for one in outcomes)


async def test_texts_beyond_what_a_request_takes_are_several_requests(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    only = {"embed": {"upstreams": ["qwen_embeddings"]}}
    upstreams = {"qwen_embeddings": {"per_minute": 1_000}}
    async with open_argo(operations=only, upstreams=upstreams) as argo:
        await asyncio.gather(*(argo.call("embed", text=f"text {n}") for n in range(25)))
    assert 3 == sandbox.counts_of("qwen").requests


async def test_models_and_lengths_are_asked_apart(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    asked = [{"dimensions": 8}, {"dimensions": 16}, {"model": "text-embedding-3-large"}]
    async with open_argo(operations=ONE) as argo:
        answers = await asyncio.gather(*(argo.call("embed", text="oil", **one) for one in asked))
    assert [8, 16, 64] == [len(one.vector) for one in answers]
    assert 3 == sandbox.counts_of("openai").requests


@pytest.mark.parametrize("wrong", [{"text": ""}, {"text": 7}, {"text": "x", "dimensions": -1}])
async def test_what_is_no_text_is_refused(wrong: dict[str, Any], open_argo: OpenArgo) -> None:
    async with open_argo() as argo:
        with pytest.raises(BadParameter):
            await argo.call("embed", **wrong)


async def test_each_text_of_a_failed_request_gets_its_error(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault("openai", Fault("unauthorized"))
    async with open_argo(operations=ONE) as argo:
        answers = await asyncio.gather(
            *(argo.call("embed", text=text) for text in "ab"), return_exceptions=True
        )
    assert all(isinstance(one, UpstreamError) for one in answers)
    assert 1 == sandbox.counts_of("openai").requests


async def test_a_budget_holds_embeddings_too(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(operations=ONE, budgets=[{"usd": 0.0}]) as argo:
        with pytest.raises(BudgetExceeded):
            await argo.call("embed", text="oil")
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "openai"))
        url = sandbox.url("openai") + "/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http) as client:
            with pytest.raises(openai.APIStatusError, match="budget"):
                await client.embeddings.create(model="text-embedding-3-small", input="oil")
    assert 0 == sandbox.counts_of("openai").requests


async def test_the_sdk_s_own_embeddings_are_kept(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(plugins=LAYERS) as argo:
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "openai"))
        url = sandbox.url("openai") + "/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http) as client:
            ask = {"model": "text-embedding-3-small", "input": ["oil", "gas"]}
            first, again = [await client.embeddings.create(**ask) for _ in range(2)]
    assert first == again
    assert vector("gas", 64) == pytest.approx(first.data[1].embedding, abs=1e-6)
    assert 1 == sandbox.counts_of("openai").requests


async def test_what_the_cache_saved_is_priced_by_the_provider_s_own_table(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    prices = {"*": {"input": 3.0, "output": 0.0}}
    table = {"prices": prices, "embedding_model": "text-embedding-own"}
    async with open_argo(plugins=LAYERS, operations=ONE, openai=table) as argo:
        for _ in range(2):
            await argo.call("embed", text="oil")
    asked, saved = read(tmp_path / COSTS)
    assert ("ok", "saved") == (asked.status, saved.status)
    assert asked.cost.usd == saved.cost.usd == asked.cost.tokens_in * 3.0 / 1e6


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("/embeddings", "embeddings"),
        ("/completions", "text_completion"),
        ("/chat/completions", ""),
        ("/responses", ""),
        ("/images/generations", "other"),
    ],
)
async def test_metrics_count_a_request_of_an_sdk_by_what_it_asks(
    path: str, task: str, open_argo: OpenArgo
) -> None:
    """Behind a budget that warns, requests that cannot be counted pass the chain too."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        usage = {"prompt_tokens": 7, "input_tokens": 7, "total_tokens": 7}
        return httpx2.Response(200, json={"model": "m", "usage": usage, "choices": []})

    server = httpx2.MockTransport(answer)
    async with open_argo(budgets=[{"usd": 9.0, "then": "warn"}]) as argo:
        between = transport(argo, "openai", inner=server)
        body = {"model": "m", "input": "oil", "prompt": "oil", "messages": []}
        async with httpx2.AsyncClient(transport=between) as client:
            await client.post(f"https://openai.example/v1{path}", json=body)
        (one,) = context_of(argo).counters.here().counts
    counts = one.upstreams["openai"]
    by_task = {task: sum(len(m.durations) for m in ms.values()) for task, ms in counts.by_task()}
    assert {"": 0, task: 1} == by_task
