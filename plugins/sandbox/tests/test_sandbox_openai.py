"""OpenAI's protocol, through its own SDK."""

from collections.abc import AsyncIterator

import openai
import pytest

from argo_mw_sandbox import Quota, Sandbox

MODEL = "gpt-5.6"
ASK = "AAPL: price 430.5, RSI(14) 31.2. Reply in JSON."


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        api_key="key", base_url=sandbox.url("openai") + "/v1", max_retries=0
    ) as made:
        yield made


async def test_a_response_counts_its_tokens(sandbox: Sandbox, client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model=MODEL, input=ASK, instructions="Be brief.")
    counts = sandbox.counts_of("openai")
    assert "buy" in answer.output_text.lower()
    assert (counts.input_tokens, counts.output_tokens) == (
        answer.usage.input_tokens,
        answer.usage.output_tokens,
    )


async def test_a_response_streams_the_reply_that_it_would_give_at_once(
    client: openai.AsyncOpenAI,
) -> None:
    whole = await client.responses.create(model=MODEL, input=ASK)
    async with client.responses.stream(model=MODEL, input=ASK) as stream:
        events = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert whole.output_text == "".join(deltas)
    assert "response.completed" == events[-1].type


async def test_a_response_that_is_cut_off_says_so(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model=MODEL, input=ASK, max_output_tokens=3)
    assert "incomplete" == answer.status
    assert "max_output_tokens" == answer.incomplete_details.reason


async def test_a_response_calls_a_tool(client: openai.AsyncOpenAI) -> None:
    tool = {"type": "function", "name": "trade", "strict": True}
    tool["parameters"] = {"type": "object", "properties": {"note": {"type": "string"}}}
    answer = await client.responses.create(
        model=MODEL, input=ASK, tools=[tool], tool_choice="required"
    )
    assert "trade" == answer.output[0].name


async def test_long_prompts_are_written_to_the_cache_and_read_from_it(
    client: openai.AsyncOpenAI,
) -> None:
    long = "Weigh this. " * 500
    usages = [
        (await client.responses.create(model=MODEL, input=ASK, instructions=long)).usage
        for _ in range(2)
    ]
    assert 0 < usages[0].input_tokens_details.cache_write_tokens
    assert 0 < usages[1].input_tokens_details.cached_tokens


@pytest.mark.parametrize("packed", [True, False])
async def test_a_text_has_one_vector(packed: bool, client: openai.AsyncOpenAI) -> None:
    form = {} if packed else {"encoding_format": "float"}
    ask = {"model": "text-embedding-3-small", "input": ["oil", "gas", "oil"], "dimensions": 8}
    answer = await client.embeddings.create(**ask, **form)
    first, other, again = (one.embedding for one in answer.data)
    assert first == again != other
    assert 8 == len(first)
    assert 1.0 == pytest.approx(sum(number * number for number in first))


async def test_its_quotas_are_told(sandbox: Sandbox, client: openai.AsyncOpenAI) -> None:
    sandbox.set_quota("openai", Quota(per_minute=1))
    raw = await client.responses.with_raw_response.create(model=MODEL, input=ASK)
    assert "0" == raw.headers["x-ratelimit-remaining-requests"]
    with pytest.raises(openai.RateLimitError):
        await client.responses.create(model=MODEL, input=ASK)


async def test_what_is_not_there_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="mistral-1", input=ASK)
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(model=MODEL, input="")
