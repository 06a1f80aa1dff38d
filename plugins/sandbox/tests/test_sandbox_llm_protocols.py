"""The language models' protocols, through the vendors' own SDKs."""

import json
from collections.abc import AsyncIterator

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_sandbox import Fault, Quota, Sandbox
from argo_mw_sandbox.analyst import opine
from argo_mw_sandbox.vendors.language import PromptCache, count_tokens, pieces

BULLISH = "AAPL: price 430.5, SMA20: 401.0, RSI(14) 31.2, momentum +4.2%. Reply in JSON."
BEARISH = "AAPL: price 430.5, SMA20: 461.0, RSI(14) 78.2, momentum -4.2%. Reply in JSON."
MODELS = {"deepseek": "deepseek-flash", "qwen": "qwen3.8-max", "glm": "glm-5.3"}
CLAUDE = "claude-sonnet-5-5"
USER = [{"role": "user", "content": BULLISH}]
TOOL_SCHEMA = {
    "type": "object",
    "properties": {
        "action": {"type": "string", "enum": ["buy", "sell", "hold"]},
        "confidence": {"type": "number"},
        "note": {"type": "string"},
    },
}
CLAUDE_ERRORS = {
    "unauthorized": anthropic.AuthenticationError,
    "bad_request": anthropic.BadRequestError,
    "no_credit": anthropic.BadRequestError,
    "billing": anthropic.APIStatusError,
    "forbidden": anthropic.PermissionDeniedError,
    "not_found": anthropic.NotFoundError,
    "too_large": anthropic.APIStatusError,
    "rate_limit": anthropic.RateLimitError,
    "server_error": anthropic.InternalServerError,
    "timeout": anthropic.APIStatusError,
    "overloaded": anthropic.APIStatusError,
}
CHAT_ERRORS = [
    (vendor, kind) for vendor in MODELS for kind in Sandbox().endpoint(vendor).vendor.errors
]


@pytest.fixture
async def claude(sandbox: Sandbox) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        api_key="key", base_url=sandbox.url("claude"), max_retries=0
    ) as client:
        yield client


class Chats:
    """A client of each provider that is asked."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._clients: dict[str, openai.AsyncOpenAI] = {}

    async def ask(self, vendor: str, **parameters: object) -> openai.types.chat.ChatCompletion:
        if vendor not in self._clients:
            url = self._sandbox.url(vendor)
            self._clients[vendor] = openai.AsyncOpenAI(api_key="key", base_url=url, max_retries=0)
        request = {"model": MODELS[vendor], "messages": USER, **parameters}
        return await self._clients[vendor].chat.completions.create(**request)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


@pytest.fixture
async def chats(sandbox: Sandbox) -> AsyncIterator[Chats]:
    made = Chats(sandbox)
    yield made
    await made.close()


def test_the_analyst_reads_the_numbers() -> None:
    assert opine(BULLISH, CLAUDE).action == "buy"
    assert opine(BEARISH, CLAUDE).action == "sell"
    assert opine("Say hello.", CLAUDE).action == "hold"


@given(st.text(max_size=200), st.sampled_from(list(MODELS.values())))
def test_the_analyst_has_an_answer_to_everything(text: str, model: str) -> None:
    opinion = opine(text, model)
    assert 0.5 <= opinion.confidence <= 1
    assert opinion.action in ("buy", "sell", "hold")
    assert opinion == opine(text, model)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("macd 1.2, sentiment 0.4", "buy"),
        ("macd: -1.2; z_score 1.9", "sell"),
        ('{"close": 430.47, "rsi_14": 71.2, "sma_20": 451.3}', "sell"),
        ("RSI 14: 31\nprice 100 EMA(50): 97", "buy"),
        ("Q3 2024 revenue on 2013-02-28 was 12.5", "hold"),
    ],
)
def test_the_analyst_reads_many_hands(text: str, action: str) -> None:
    assert opine(text, "glm-5.3").action == action


def test_models_differ_in_their_confidence() -> None:
    assert len({opine(BULLISH, model).confidence for model in MODELS.values()}) > 1


def test_the_action_is_written_as_the_prompt_writes_it() -> None:
    shouted = BULLISH + " Say BUY, SELL or HOLD."
    assert json.loads(opine(shouted, CLAUDE).as_json(shouted))["action"] == "BUY"
    assert json.loads(opine(BULLISH, CLAUDE).as_json(BULLISH))["action"] == "buy"


@given(st.text(max_size=300))
def test_streamed_pieces_make_up_the_text(text: str) -> None:
    assert text == "".join(pieces(text))


async def test_claude_answers_in_json_and_counts_its_tokens(
    sandbox: Sandbox, claude: anthropic.AsyncAnthropic
) -> None:
    message = await claude.messages.create(model=CLAUDE, max_tokens=500, messages=USER)
    assert json.loads(message.content[0].text)["action"] == "buy"
    assert message.stop_reason == "end_turn"
    counts = sandbox.counts_of("claude")
    assert count_tokens(BULLISH) == message.usage.input_tokens == counts.input_tokens
    assert message.usage.output_tokens == counts.output_tokens
    assert dict(counts.symbols) == {CLAUDE: 1}
    estimate = await claude.messages.count_tokens(model=CLAUDE, messages=USER)
    assert message.usage.input_tokens == estimate.input_tokens


async def test_claude_streams_the_reply_that_it_would_give_at_once(
    sandbox: Sandbox, claude: anthropic.AsyncAnthropic
) -> None:
    whole = await claude.messages.create(model=CLAUDE, max_tokens=500, messages=USER)
    async with claude.messages.stream(model=CLAUDE, max_tokens=500, messages=USER) as stream:
        text = "".join([part async for part in stream.text_stream])
        final = await stream.get_final_message()
    assert whole.content[0].text == text
    assert whole.usage == final.usage
    assert whole.stop_reason == final.stop_reason
    assert 2 * whole.usage.output_tokens == sandbox.counts_of("claude").output_tokens


async def test_claude_thinks_and_calls_tools(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(
        model=CLAUDE,
        max_tokens=2000,
        messages=USER,
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        thought = await stream.get_final_message()
    assert [block.type for block in thought.content] == ["thinking", "text"]
    tools = [{"name": "decide", "input_schema": TOOL_SCHEMA}]
    choice = {"type": "tool", "name": "decide"}
    async with claude.messages.stream(
        model=CLAUDE, max_tokens=500, messages=USER, tools=tools, tool_choice=choice
    ) as stream:
        called = await stream.get_final_message()
    assert called.stop_reason == "tool_use"
    assert called.content[0].input["action"] == "buy"


async def test_claude_caches_marked_prompts(
    sandbox: Sandbox, claude: anthropic.AsyncAnthropic
) -> None:
    system = [{"type": "text", "text": "x" * 4000, "cache_control": {"type": "ephemeral"}}]
    usages = []
    for text in ("RSI 30", "RSI 70"):
        message = await claude.messages.create(
            model=CLAUDE,
            max_tokens=500,
            system=system,
            messages=[{"role": "user", "content": text}],
        )
        usages.append(message.usage)
    assert [usage.cache_creation_input_tokens for usage in usages] == [1000, 0]
    assert [usage.cache_read_input_tokens for usage in usages] == [0, 1000]
    assert [usage.input_tokens for usage in usages] == [2, 2]
    counts = sandbox.counts_of("claude")
    assert (counts.cache_write_tokens, counts.cache_read_tokens) == (1000, 1000)


async def test_claude_caches_the_whole_prompt_with_cache_control_at_the_top(
    claude: anthropic.AsyncAnthropic,
) -> None:
    messages = [{"role": "user", "content": "y" * 4000}]
    usages = []
    for _ in range(2):
        message = await claude.messages.create(
            model=CLAUDE, max_tokens=500, messages=messages, cache_control={"type": "ephemeral"}
        )
        usages.append(message.usage)
    assert [usage.cache_creation_input_tokens for usage in usages] == [1000, 0]
    assert [usage.cache_read_input_tokens for usage in usages] == [0, 1000]


def test_small_prompts_and_expired_ones_are_not_cached() -> None:
    now = [0.0]
    cache = PromptCache(now=lambda: now[0])
    assert cache.use("m", ["small"], 1, 512, 300).written == 0
    large = ["z" * 4000]
    assert cache.use("m", large, 1, 512, 300).written == 1000
    assert cache.use("m", large, 1, 512, 300).read == 1000
    assert cache.use("other", large, 1, 512, 300).read == 0
    now[0] = 301
    assert cache.use("m", large, 1, 512, 300).read == 0


@pytest.mark.parametrize(("kind", "error"), CLAUDE_ERRORS.items())
async def test_claudes_errors_are_the_sdks_own(
    sandbox: Sandbox,
    claude: anthropic.AsyncAnthropic,
    kind: str,
    error: type[anthropic.APIStatusError],
) -> None:
    sandbox.set_fault("claude", kind)
    with pytest.raises(error) as caught:
        await claude.messages.create(model=CLAUDE, max_tokens=500, messages=USER)
    assert sandbox.endpoint("claude").vendor.errors[kind].status == caught.value.status_code
    assert caught.value.body["type"] == "error"


async def test_an_error_in_the_middle_of_a_stream_is_one(
    sandbox: Sandbox, claude: anthropic.AsyncAnthropic
) -> None:
    sandbox.set_fault("claude", "stream_error")
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        async with claude.messages.stream(model=CLAUDE, max_tokens=500, messages=USER) as stream:
            await stream.get_final_message()


async def test_claude_tells_its_quotas(sandbox: Sandbox, claude: anthropic.AsyncAnthropic) -> None:
    sandbox.set_quota("claude", Quota(per_minute=1))
    raw = await claude.messages.with_raw_response.create(
        model=CLAUDE, max_tokens=500, messages=USER
    )
    assert tuple(
        raw.headers[f"anthropic-ratelimit-requests-{name}"] for name in ("limit", "remaining")
    ) == ("1", "0")
    assert raw.headers["anthropic-ratelimit-output-tokens-reset"].endswith("Z")
    with pytest.raises(anthropic.RateLimitError) as caught:
        await claude.messages.create(model=CLAUDE, max_tokens=500, messages=USER)
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("twist", "reason"),
    [("refusal", "refusal"), ("truncated", "max_tokens"), ("empty", "end_turn")],
)
async def test_claude_can_be_useless(
    sandbox: Sandbox, claude: anthropic.AsyncAnthropic, twist: str, reason: str
) -> None:
    sandbox.set_fault("claude", twist)
    message = await claude.messages.create(model=CLAUDE, max_tokens=500, messages=USER)
    assert reason == message.stop_reason
    assert twist != "empty" or not message.content


async def test_claude_refuses_what_is_malformed(claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: gpt-5"):
        await claude.messages.create(model="gpt-5", max_tokens=500, messages=USER)
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await claude.messages.create(model=CLAUDE, max_tokens=500, messages=[])


@pytest.mark.parametrize("vendor", MODELS)
async def test_chat_models_answer_and_count_their_tokens(
    sandbox: Sandbox, chats: Chats, vendor: str
) -> None:
    completion = await chats.ask(vendor)
    assert json.loads(completion.choices[0].message.content)["action"] == "buy"
    counts = sandbox.counts_of(vendor)
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (
        counts.input_tokens,
        counts.output_tokens,
    )
    assert (vendor == "deepseek") == hasattr(completion.usage, "prompt_cache_miss_tokens")


@pytest.mark.parametrize("vendor", MODELS)
async def test_chat_models_refuse_what_is_malformed(chats: Chats, vendor: str) -> None:
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)) as unknown:
        await chats.ask(vendor, model="gpt-5")
    assert "odel" in str(unknown.value)
    with pytest.raises(openai.BadRequestError):
        await chats.ask(vendor, messages=[])


async def test_a_days_quota_has_a_code_of_its_own(sandbox: Sandbox, chats: Chats) -> None:
    sandbox.set_quota("glm", Quota(per_day=1))
    await chats.ask("glm")
    with pytest.raises(openai.RateLimitError) as caught:
        await chats.ask("glm")
    assert caught.value.body["code"] == "1304"


@pytest.mark.parametrize("vendor", MODELS)
async def test_chat_models_stream_the_reply_that_they_would_give_at_once(
    chats: Chats, vendor: str
) -> None:
    whole = await chats.ask(vendor)
    stream = await chats.ask(vendor, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert whole.choices[0].message.content == text
    assert whole.usage == chunks[-1].usage


@pytest.mark.parametrize("vendor", MODELS)
async def test_chat_models_call_tools_and_reason(chats: Chats, vendor: str) -> None:
    tools = [{"type": "function", "function": {"name": "decide", "parameters": TOOL_SCHEMA}}]
    called = await chats.ask(vendor, tools=tools, tool_choice="required")
    call = called.choices[0].message.tool_calls[0]
    assert (call.function.name, called.choices[0].finish_reason) == ("decide", "tool_calls")
    assert {"action", "confidence", "note"} == set(json.loads(call.function.arguments))
    thought = await chats.ask(vendor, extra_body={"thinking": {"type": "enabled"}})
    assert thought.choices[0].message.reasoning_content


async def test_repeated_prefixes_are_read_from_the_providers_cache(chats: Chats) -> None:
    messages = [{"role": "system", "content": "w" * 4000}, *USER]
    first = await chats.ask("deepseek", messages=messages)
    second = await chats.ask("deepseek", messages=messages)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens == second.usage.prompt_tokens_details.cached_tokens
    assert first.usage.prompt_tokens == second.usage.prompt_tokens


@pytest.mark.parametrize(("vendor", "kind"), CHAT_ERRORS)
async def test_chat_errors_are_the_providers_own(
    sandbox: Sandbox, chats: Chats, vendor: str, kind: str
) -> None:
    sandbox.set_fault(vendor, kind)
    wanted = sandbox.endpoint(vendor).vendor.errors[kind]
    if wanted.status == 200:
        with pytest.raises((openai.APIError, json.JSONDecodeError)):
            async for _ in await chats.ask(vendor, stream=kind == "stream_error"):
                pass
        return
    with pytest.raises(openai.APIStatusError) as caught:
        await chats.ask(vendor)
    assert wanted.status == caught.value.status_code
    assert json.loads(wanted.body)["error"] == caught.value.body


@pytest.mark.parametrize("vendor", MODELS)
@pytest.mark.parametrize(
    ("twist", "reason"), [("refusal", "content_filter"), ("truncated", "length"), ("empty", "stop")]
)
async def test_chat_models_can_be_useless(
    sandbox: Sandbox, chats: Chats, vendor: str, twist: str, reason: str
) -> None:
    sandbox.set_fault(vendor, twist)
    choice = (await chats.ask(vendor)).choices[0]
    assert reason == choice.finish_reason
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice.message.content)


async def test_a_malformed_reply_is_no_json(sandbox: Sandbox, chats: Chats) -> None:
    sandbox.set_fault("glm", "malformed")
    choice = (await chats.ask("glm")).choices[0]
    assert choice.finish_reason == "stop"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice.message.content)


@pytest.mark.parametrize("stream", [False, True])
async def test_keepalive_lines_are_part_of_the_protocol(
    sandbox: Sandbox, chats: Chats, stream: bool
) -> None:
    sandbox.set_fault("deepseek", Fault("keepalive", pace=0.001, hold=0.005))
    reply = await chats.ask("deepseek", stream=stream)
    if stream:
        assert len([chunk async for chunk in reply]) > 3
    else:
        assert json.loads(reply.choices[0].message.content)["action"] == "buy"


async def test_a_reader_who_leaves_a_stream_is_counted(sandbox: Sandbox, chats: Chats) -> None:
    sandbox.set_fault("glm", Fault("trickle", pace=3600))
    stream = await chats.ask("glm", stream=True)
    await stream.close()
    await sandbox.idle()
    counts = sandbox.counts_of("glm")
    assert (counts.disconnects, counts.answered) == (1, 0)
    assert counts.output_tokens == 0
