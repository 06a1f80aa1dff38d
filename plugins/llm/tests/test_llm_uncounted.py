"""What a budget covers but nothing can account for is refused, or booked as unknown."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from argo_mw import Argo
from argo_mw.plugin import Trouble
from argo_mw.testing import capture_events
from argo_mw_llm import chain, transport
from argo_mw_sandbox import Sandbox

from .conftest import MODELS, OpenArgo

NONE = [{"usd": 0.0}]
MUCH = [{"usd": 1_000.0}]


def openai_client(argo: Argo, sandbox: Sandbox) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "openai"))
    url = sandbox.url("openai") + "/v1"
    return openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http, max_retries=0)


def claude_client(argo: Argo, sandbox: Sandbox) -> anthropic.AsyncAnthropic:
    url = sandbox.url("claude")
    return anthropic.AsyncAnthropic(
        api_key="k", base_url=url, middleware=[chain(argo)], max_retries=0
    )


BATCH: dict[str, Any] = {
    "input_file_id": "file_1",
    "endpoint": "/v1/responses",
    "completion_window": "24h",
}
CLAUDE_BATCH: list[Any] = [
    {
        "custom_id": "one",
        "params": {
            "model": MODELS["claude"],
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "?"}],
        },
    }
]


@pytest.mark.parametrize("budgets", [NONE, MUCH])
async def test_what_cannot_be_counted_is_refused_under_a_budget(
    budgets: list[dict[str, object]], sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=budgets) as argo:
        async with openai_client(argo, sandbox) as client:
            with pytest.raises(openai.APIStatusError, match="batches"):
                await client.batches.create(**BATCH)
            with pytest.raises(openai.APIStatusError, match="generations"):
                await client.images.generate(prompt="A bull.")
        async with claude_client(argo, sandbox) as other:
            with pytest.raises(Exception, match="batches"):
                await other.messages.batches.create(requests=CLAUDE_BATCH)
    assert 0 == sandbox.counts_of("openai").requests
    assert 0 == sandbox.counts_of("claude").requests


async def test_older_completions_are_counted(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(budgets=NONE) as argo, openai_client(argo, sandbox) as client:
        with pytest.raises(openai.APIStatusError, match="budget"):
            await client.completions.create(model="gpt-5.6", prompt="Oil", max_tokens=9)
        with pytest.raises(openai.APIStatusError, match="max_tokens"):
            await client.completions.create(model="gpt-5.6", prompt="Oil")
    assert 0 == sandbox.counts_of("openai").requests


async def test_what_costs_nothing_goes_straight_on(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(budgets=NONE) as argo:
        async with openai_client(argo, sandbox) as client:
            with pytest.raises(openai.NotFoundError):
                await client.models.list()
        async with claude_client(argo, sandbox) as other:
            counted = await other.messages.count_tokens(
                model=MODELS["claude"], messages=[{"role": "user", "content": "?"}]
            )
    assert counted.input_tokens
    assert 1 == sandbox.counts_of("openai").requests


async def test_a_budget_of_another_provider_is_no_obstacle(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    budgets = [{"usd": 1.0, "model": "claude"}, {"usd": 1.0, "tenant": "another"}]
    async with open_argo(budgets=budgets) as argo, openai_client(argo, sandbox) as client:
        assert "batch_01" == (await client.batches.create(**BATCH)).id


async def test_a_budget_for_a_model_of_the_provider_is_one(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    budgets = [{"usd": 1.0, "model": MODELS["openai"]}]
    async with open_argo(budgets=budgets) as argo, openai_client(argo, sandbox) as client:
        with pytest.raises(openai.APIStatusError, match="batches"):
            await client.batches.create(**BATCH)


async def test_a_budget_that_only_warns_warns_of_what_it_cannot_count(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 1.0, "then": "warn"}]) as argo:
        events = capture_events(argo)
        async with openai_client(argo, sandbox) as client:
            assert "batch_01" == (await client.batches.create(**BATCH)).id
    troubles = [one.what for one in events.of(Trouble)]
    assert any("batches" in what for what in troubles)
    assert 1 == sandbox.counts_of("openai").requests


async def test_without_a_budget_all_of_it_goes_straight_on(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo() as argo, openai_client(argo, sandbox) as client:
        assert "batch_01" == (await client.batches.create(**BATCH)).id
