"""The providers' own SDKs, with nothing changed but the base URL and the key."""

from __future__ import annotations

from typing import Any

import anthropic
import openai

from argo_mw_sandbox import Sandbox

from .conftest import CHAT, MESSAGE, Running, Start


def claude(running: Running, **more: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key=running.key("claude"), base_url=running.url, **more)


def chat(running: Running, path: str = "/v1", **more: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=running.key("openai"), base_url=running.url + path, **more)


def tokens_of(running: Running) -> tuple[int, int]:
    """What was booked: tokens sent and received."""
    return (
        sum(charge.cost.tokens_in for charge in running.charges),
        sum(charge.cost.tokens_out for charge in running.charges),
    )


def counted(sandbox: Sandbox, *vendors: str) -> tuple[int, int]:
    """What the sandbox counted: tokens received and sent."""
    counts = [sandbox.counts_of(vendor) for vendor in vendors]
    return (
        sum(c.input_tokens + c.cache_read_tokens + c.cache_write_tokens for c in counts),
        sum(c.output_tokens for c in counts),
    )


async def test_anthropics_sdk_gets_its_own_answers_and_a_second_equal_call_costs_nothing(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running, claude(running) as client:
        first, again = [await client.messages.create(**MESSAGE) for _ in range(2)]
    async with anthropic.AsyncAnthropic(api_key="k", base_url=sandbox.url("claude")) as bare:
        expected = await bare.messages.create(**MESSAGE)
    assert isinstance(first, anthropic.types.Message)
    assert expected == first == again
    assert 2 == sandbox.counts_of("claude").requests


async def test_anthropics_streams_have_the_events_that_came_and_are_replayed(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running, claude(running) as client:
        runs = []
        for _ in range(2):
            async with client.messages.stream(**MESSAGE) as stream:
                runs.append([event async for event in stream])
        assert tokens_of(running) == counted(sandbox, "claude")
    assert runs[0] == runs[1]
    assert len(runs[0]) > 5
    assert 1 == sandbox.counts_of("claude").requests


async def test_openais_sdk_gets_its_own_answers_of_any_provider_that_has_the_model(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running, chat(running) as client:
        for vendor, model in (("deepseek", "deepseek-v4-pro"), ("glm", "glm-5.3")):
            asked = {**CHAT, "model": model}
            first, again = [await client.chat.completions.create(**asked) for _ in range(2)]
            assert first == again
            assert model == first.model
            assert 1 == sandbox.counts_of(vendor).requests
        assert tokens_of(running) == counted(sandbox, "deepseek", "glm")


async def test_a_provider_is_named_by_the_base_url_too(sandbox: Sandbox, start: Start) -> None:
    async with start() as running:
        for path in ("/qwen", "/qwen/v1"):
            async with chat(running, path) as client:
                answer = await client.chat.completions.create(**{**CHAT, "model": "qwen3.8-max"})
            assert "qwen3.8-max" == answer.model
    assert 1 == sandbox.counts_of("qwen").requests


async def test_a_chat_stream_is_booked_to_the_token_and_shows_no_usage_unless_asked(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running, chat(running) as client:

        async def read(**more: Any) -> list[Any]:
            chunks = await client.chat.completions.create(**CHAT, stream=True, **more)
            return [chunk async for chunk in chunks]

        plain, again = await read(), await read()
        assert plain == again
        assert not any(chunk.usage for chunk in plain)
        assert all(chunk.choices for chunk in plain)
        assert tokens_of(running) == counted(sandbox, "deepseek")
        assert not any(charge.cost.estimated for charge in running.charges)
        asked = await read(stream_options={"include_usage": True})
        assert asked[-1].usage is not None
        assert tokens_of(running) == counted(sandbox, "deepseek")
    assert 2 == sandbox.counts_of("deepseek").requests


async def test_responses_and_embeddings_pass_with_their_usage(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running, chat(running) as client:
        for _ in range(2):
            made = await client.responses.create(model="gpt-5.6", input="RSI 30, price 10?")
            assert made.output_text
            async with client.responses.stream(model="gpt-5.6", input="RSI 31?") as stream:
                kinds = [event.type async for event in stream]
            assert "response.completed" == kinds[-1]
            await client.embeddings.create(model="text-embedding-3-small", input="RSI 30")
        assert tokens_of(running) == counted(sandbox, "openai")
    assert 3 == sandbox.counts_of("openai").requests


async def test_tokens_are_counted_by_the_provider_and_cost_nothing(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running, claude(running) as client:
        asked = {name: value for name, value in MESSAGE.items() if name != "max_tokens"}
        counts = await client.messages.count_tokens(**asked)
        assert [] == running.charges
    assert counts.input_tokens > 0


async def test_an_error_of_the_provider_is_the_sdks_own(sandbox: Sandbox, start: Start) -> None:
    sandbox.set_fault("claude", "overloaded")
    async with start() as running, claude(running, max_retries=0) as client:
        try:
            await client.messages.create(**MESSAGE)
        except anthropic.APIStatusError as error:
            status, body = error.status_code, error.body
    assert 529 == status
    assert isinstance(body, dict)
    assert "overloaded_error" == body["error"]["type"]
