"""What a request may take at most, and what is done about requests without such a bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from argo_mw import Argo, BudgetExceeded
from argo_mw.model.call import make_call
from argo_mw.plugin import (
    Call,
    CallEnded,
    LayerActed,
    Outcome,
    PluginError,
    Trouble,
    context_of,
)
from argo_mw.testing import capture_events
from argo_mw_llm import LlmPlugin, chain, transport
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.scope import BudgetScope
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.bounds import MAX_IMAGE, MIN_OUTPUT, Bound
from argo_mw_llm.costs.call_bounds import bound_of
from argo_mw_llm.costs.families import family_of
from argo_mw_llm.costs.prices import Price, Prices, load_prices
from argo_mw_llm.operations import operations
from argo_mw_llm.wires import MESSAGES
from argo_mw_llm.wires.chat import usage_of as chat_usage
from argo_mw_llm.wires.messages import usage_of as claude_usage
from argo_mw_sandbox import Sandbox

from .conftest import MODELS, OpenArgo

PROFILES = LlmConfig().profiles
OPERATIONS = {one.name: one for one in operations(LlmConfig())}
EVER = [{"usd": 1.0, "per": "ever"}]
KEY = "argo:llm:{budget}:0:::ever"


def exchanged(provider: str, **body: object) -> Bound:
    given = {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 100, **body}
    profile = PROFILES[provider]
    path = MESSAGES.path if profile.wire is MESSAGES else "/chat/completions"
    asked = {"model": "m", "body": given, "endpoint": path, "account": ""}
    return bound_of(profile, call_of(f"{provider}_exchange", **asked))


def call_of(operation: str, **parameters: object) -> Call:
    return make_call(OPERATIONS[operation], parameters, tenant="t")


# -- the bound ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 100),
        ({"n": 3}, 300),
        ({"n": 8.0}, 800),
        ({"max_completion_tokens": 900}, 900),
        ({"max_tokens": 100.0, "max_completion_tokens": 7}, 100),
        ({"n": None, "max_completion_tokens": None}, 100),
    ],
)
def test_an_answer_is_bounded_by_the_largest_limit_for_every_choice(
    body: dict[str, object], expected: int
) -> None:
    assert expected == exchanged("glm", **body).answer


def test_thinking_counts_where_the_limit_does_not_include_it() -> None:
    thinking = {"type": "enabled", "budget_tokens": 5_000}
    assert 5_100 == exchanged("claude", thinking=thinking).answer
    assert 700 == exchanged("qwen", thinking_budget=600).answer
    assert 100 == exchanged("qwen", enable_thinking=False).answer
    unlimited = exchanged("qwen").limited(1)
    assert {"thinking_budget": 4_096} == unlimited.inserted
    assert 4_196 == unlimited.answer


def test_a_limit_that_not_every_provider_knows_is_given_by_its_older_name_too() -> None:
    bound = exchanged("deepseek", max_tokens=None, max_completion_tokens=900)
    assert (900, {"max_tokens": 900}) == (bound.output, bound.inserted)


@pytest.mark.parametrize(
    "text",
    [
        "3" * 4_000,
        "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 900,
        "\N{PILE OF POO}" * 700,
        "\ud800" * 40,
        "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 100,
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"system": text},
        lambda text: {"messages": [{"role": "user", "content": text}]},
        lambda text: {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
        lambda text: {"tools": [{"name": "t", "description": text}]},
        lambda text: {"tools": [{"name": "t", "input_schema": {text: [text]}}]},
        lambda text: {"messages": [{"role": "assistant", "tool_calls": [{"arguments": text}]}]},
    ],
    ids=["system", "content", "block", "tool", "schema", "arguments"],
)
def test_a_prompt_has_at_most_one_token_a_byte_wherever_its_text_stands(
    text: str, place: Any
) -> None:
    bound = exchanged("claude", **place(text))
    assert not bound.unbounded
    assert bound.prompt > len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("schema", [None, {"type": "object", "title": '"' * 500}])
def test_everything_that_complete_sends_is_counted(schema: object) -> None:
    long = {"messages": "x" * 999, "system": "y" * 999, "schema": schema}
    tools = [{"name": "z" * 999, "parameters": {}}]
    bound = bound_of(PROFILES["glm"], call_of("complete", **long, tools=tools, max_tokens=7))
    assert bound.prompt > 2_997 + 2 * len(json.dumps(schema))
    assert 7 == bound.answer


@pytest.mark.parametrize(
    ("body", "cached"),
    [
        ({}, ""),
        ({"cache_control": {"type": "ephemeral"}}, "5m"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
        ({"system": [{"type": "text", "text": "s", "cache_control": {"ttl": "1h"}}]}, "1h"),
        ({"tools": [{"name": "t", "cache_control": {"ttl": "7d"}}]}, "1h"),
    ],
)
def test_cache_writes_are_held_at_their_dearest_price(body: dict[str, Any], cached: str) -> None:
    assert cached == exchanged("claude", **body).cached
    price = load_prices().of("claude-opus-5")
    assert price is not None
    each = {"": 6.25, "5m": 6.25, "1h": 10.0}[cached]
    assert pytest.approx(each + 25.0) == price.most(1_000_000, 1_000_000, cached)  # type: ignore[arg-type]


def test_an_image_that_is_sent_along_counts_as_the_largest() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "QUJD" * 100_000}}
    bound = exchanged("claude", messages=[{"role": "user", "content": [image, image]}])
    assert 2 * MAX_IMAGE < bound.prompt < 2 * MAX_IMAGE + 1_000


def in_message(block: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [block]}]}


@pytest.mark.parametrize(
    "body",
    [
        in_message({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
        in_message({"type": "image", "source": {"type": "file", "file_id": "f"}}),
        in_message({"type": "document", "source": {"type": "base64", "data": "QUJD"}}),
        in_message({"type": "image_url", "image_url": {"url": "https://a/b.png"}}),
        in_message({"type": "image_url", "image_url": "https://a/b.png"}),
        in_message({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,QUJD"}}),
        in_message({"type": "input_audio", "input_audio": {"data": "QUJD"}}),
        in_message(
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url"}}]}
        ),
        in_message({"type": "container_upload", "file_id": "f"}),
        in_message({"image_url": {"url": "https://a/b.png"}}),
        in_message({"type": "text", "text": "t", "video": "https://a/b.mp4"}),
        in_message({"type": "tool_result", "content": "t", "file_id": "f"}),
        in_message({"type": ["text"], "text": "t"}),
        in_message({"type": {"text": 1}, "text": "t"}),
        {"tools": [{"type": "bash_code_execution_20250825", "name": "b"}]},
        {"tools": [{"type": "text_editor_code_execution_20250825", "name": "e"}]},
        {"tools": [{"type": "function", "web_search": {"enable": True}}]},
        {"tools": [{"retrieval": {"knowledge_id": "1"}}]},
        {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"mcp_servers": [{"url": "https://a"}]},
        {"service_tier": "priority"},
        {"speed": "fast"},
        {"inference_geo": "us"},
        {"a_field_of_tomorrow": 1},
    ],
    ids=lambda body: str(body)[:60],
)
def test_what_has_no_bound_is_refused(body: dict[str, object]) -> None:
    assert exchanged("claude", **body).unbounded


@pytest.mark.parametrize(
    "body",
    [
        {"n": "8"},
        {"n": 2.5},
        {"n": -1},
        {"n": True},
        {"max_tokens": -1},
        {"max_tokens": 0},
        {"max_tokens": float("inf")},
        {"max_tokens": float("nan")},
        {"max_tokens": "4096"},
        {"enable_search": True},
        {"web_search_options": {}},
        {"prediction": {"type": "content", "content": "x"}},
        {"best_of": 5},
        {"modalities": ["text", "audio"]},
        {"tools": [{"type": "web_search", "web_search": {"enable": True}}]},
        {"messages": "Why?"},
    ],
    ids=str,
)
def test_what_is_no_number_or_unknown_has_no_bound(body: dict[str, object]) -> None:
    assert exchanged("glm", **body).unbounded


def test_what_costs_nothing_more_is_let_pass() -> None:
    harmless = {"modalities": ["text"], "service_tier": "auto", "enable_search": False, "seed": 7}
    assert not exchanged("qwen", **harmless, audio=None).unbounded


# -- names -------------------------------------------------------------------------------------

HAIKU = (
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "Claude-Haiku-4-5-latest",
    "anthropic/claude-haiku-4-5",
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "claude-haiku-4-5@20251001",
    "claude-haiku-4-5[1m]",
    "vertex_ai/claude-haiku-4-5@default",
)


@pytest.mark.parametrize("name", HAIKU)
def test_a_model_has_one_family_whatever_it_is_called(name: str) -> None:
    assert HAIKU[0] == family_of(name)
    assert load_prices().of(HAIKU[0]) == load_prices().of(name)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("zai-org/GLM-5.3", "glm-5.3"),
        ("glm-5.3-flash", "glm-5.3-flash"),
        ("qwen3.8-max-2026-11-20", "qwen3.8-max"),
        ("deepseek-v4-pro-0813", "deepseek-v4-pro"),
        ("deepseek-v4-pro", "deepseek-v4-pro"),
        ("global.zai.glm-5.3", "glm-5.3"),
        ("claude-opus-5-5-fast", "claude-opus-5-5-fast"),
    ],
)
def test_other_models_stay_apart(name: str, family: str) -> None:
    assert family == family_of(name)


@pytest.mark.parametrize("name", ["claude-haiku-4-5-20251001", "claude-haiku-4-5"])
async def test_a_dated_name_is_within_the_budget_of_its_family(
    name: str, open_argo: OpenArgo
) -> None:
    for budget in (HAIKU[0], "anthropic/claude-haiku-4-5-20251001", "*"):
        plugins = {"llm": LlmPlugin()}
        async with open_argo(
            plugins=plugins, budgets=[{"usd": 0.0, "per": "ever", "model": budget}]
        ) as argo:
            with pytest.raises(BudgetExceeded):
                await argo.call("complete", messages="Why?", model=name)


async def test_a_name_that_is_not_known_cannot_slip_past_its_family_s_budget(
    open_argo: OpenArgo,
) -> None:
    async with open_argo(budgets=[{"usd": 5.0, "model": "claude-haiku-4-5"}]) as argo:
        with pytest.raises(BudgetExceeded, match="not known"):
            await argo.call("complete", messages="Why?", model="claude-haiku-newest")
        await argo.call("complete", messages="Why?", model=MODELS["claude"])


# -- counts of providers -----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1, 1.5, "7", True, 10**30, None, float("nan"), []])
@pytest.mark.parametrize("place", [0, 1])
def test_a_count_that_cannot_be_is_no_count(wrong: object, place: int) -> None:
    given = [20, 30]
    assert claude_usage({"input_tokens": 20, "output_tokens": 30})
    assert chat_usage({"prompt_tokens": 20.0, "completion_tokens": 30})
    given[place] = wrong  # type: ignore[call-overload]
    assert claude_usage(dict(zip(("input_tokens", "output_tokens"), given, strict=True))) is None
    assert chat_usage(dict(zip(("prompt_tokens", "completion_tokens"), given, strict=True))) is None


# -- through the chain -------------------------------------------------------------------------


class Provider(httpx2.AsyncBaseTransport):
    """A provider that bills what the test says, and remembers what it was sent."""

    def __init__(self, usage: object, model: str = MODELS["glm"]) -> None:
        self.usage = usage
        self.model = model
        self.bodies: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(json.loads(await request.aread()))
        message = {"role": "assistant", "content": "ok"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        head = {"id": "c", "created": 1, "object": "chat.completion", "model": self.model}
        return httpx2.Response(200, json={**head, "choices": choices, "usage": self.usage})


async def ask(argo: Any, provider: Provider, number: int = 0, **more: Any) -> Any:
    http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "glm", inner=provider))
    client = openai.AsyncOpenAI(api_key="k", base_url="http://x/v4", http_client=http)
    messages = [{"role": "user", "content": f"Why {number}?"}]
    return await client.with_options(max_retries=0).chat.completions.create(
        model=MODELS["glm"],
        messages=messages,  # type: ignore[arg-type]
        **more,
    )


HONEST = {"prompt_tokens": 20, "completion_tokens": 30, "total_tokens": 50}


async def test_an_answer_without_a_limit_gets_one_only_where_a_budget_needs_it(
    open_argo: OpenArgo,
) -> None:
    provider = Provider(HONEST)
    async with open_argo() as argo:
        await ask(argo, provider)
    assert "max_tokens" not in provider.bodies[-1]
    for usd, expected in ((100.0, 128_000), (0.2, 22_500), (0.1, MIN_OUTPUT)):
        async with open_argo(
            plugins={"llm": LlmPlugin()}, budgets=[{"usd": usd, "per": "ever"}]
        ) as argo:
            await ask(argo, provider)
            assert pytest.approx(expected, rel=0.02) == provider.bodies[-1]["max_tokens"]
    # Less than an answer usually takes is not a limit to insert: the caller must choose it.
    async with open_argo(plugins={"llm": LlmPlugin()}, budgets=[{"usd": 0.05}]) as argo:
        with pytest.raises(openai.APIStatusError, match="give max_tokens"):
            await ask(argo, provider)
        await ask(argo, provider, max_tokens=10)
    assert 10 == provider.bodies[-1]["max_tokens"]


async def test_what_was_inserted_is_no_part_of_the_key_and_is_noted(open_argo: OpenArgo) -> None:
    async with open_argo(budgets=EVER) as argo:
        seen = capture_events(argo)
        await ask(argo, Provider(HONEST))
        (ended,) = seen.of(CallEnded)
        assert isinstance(ended.outcome, Outcome)
        assert "max_tokens" not in ended.call.parameters["body"]  # type: ignore[operator]
        (note,) = ended.outcome.notes
        assert note.text.startswith("budget: asked with max_tokens = ")


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 20, "completion_tokens": -50_000_000, "total_tokens": 0},
        {"prompt_tokens": 10**30, "completion_tokens": 10**30, "total_tokens": 1},
        {"prompt_tokens": "many", "completion_tokens": [], "total_tokens": 1},
        {},
        None,
        "nothing",
    ],
    ids=str,
)
async def test_nonsense_costs_as_much_as_was_held_and_loses_no_answer(
    usage: object, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=EVER) as argo:
        seen = capture_events(argo)
        answer = await ask(argo, Provider(usage), max_tokens=1_000)
        assert "ok" == answer.choices[0].message.content
        shared = context_of(argo).shared
        booked = (await shared.add(KEY, 0)).value
        assert 1_000 * 4_400 < booked < 1_600 * 4_400
        acts = [event.action for event in seen.of(LayerActed)]
        assert "miscounted" in acts
        assert await shared.get(KEY + STOPPED) is None


async def test_a_bill_above_what_was_held_stops_the_budget_until_it_is_lifted(
    open_argo: OpenArgo,
) -> None:
    provider = Provider({"prompt_tokens": 20, "completion_tokens": 5_000, "total_tokens": 5_020})
    async with open_argo(budgets=EVER) as argo:
        seen = capture_events(argo)
        assert "ok" == (await ask(argo, provider, max_tokens=100)).choices[0].message.content
        shared = context_of(argo).shared
        booked = (await shared.add(KEY, 0)).value
        assert 20 * 1_400 + 5_000 * 4_400 == booked
        with pytest.raises(openai.APIStatusError, match="is stopped"):
            await ask(argo, provider, 1, max_tokens=100)
        assert booked == (await shared.add(KEY, 0)).value
        assert 1 == len(provider.bodies)
        (overrun,) = [e for e in seen.of(LayerActed) if e.action == "overrun"]
        assert "more than its upper bound" in overrun.detail
        assert any("is stopped" in trouble.what for trouble in seen.of(Trouble))
        await shared.delete([KEY + STOPPED])
        provider.usage = HONEST
        await ask(argo, provider, 2, max_tokens=100)


@pytest.mark.parametrize("named", ["glm-5.3-flash", "glm-5.3-20261101", MODELS["glm"]])
async def test_naming_a_cheaper_model_than_the_one_that_was_asked_is_no_discount(
    named: str, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=EVER) as argo:
        await ask(argo, Provider(HONEST, named), max_tokens=100)
        booked = (await context_of(argo).shared.add(KEY, 0)).value
        assert 20 * 1_400 + 30 * 4_400 == booked


async def test_claude_is_not_asked_for_what_lies_elsewhere_under_a_budget(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    source = {"type": "url", "url": "https://example.com/a.pdf"}
    content = [{"type": "document", "source": source}, {"type": "text", "text": "Sum up."}]
    async with (
        open_argo(budgets=EVER) as argo,
        anthropic.AsyncAnthropic(
            api_key="k", base_url=sandbox.url("claude"), middleware=[chain(argo)]
        ) as client,
    ):
        with pytest.raises(BudgetExceeded, match="no bound"):
            await client.messages.create(
                model=MODELS["claude"],
                max_tokens=10,
                messages=[{"role": "user", "content": content}],  # type: ignore[typeddict-item]
            )
    assert 0 == sandbox.counts_of("claude").requests


@pytest.mark.parametrize("model", ["claude-sonet-5-5", "sonnet", "GLM 5"])
async def test_a_budget_for_a_model_that_is_not_known_is_reported_and_refused_when_strict(
    model: str, tmp_path: Path
) -> None:
    def opened(*, strict: bool) -> Argo:
        budgets = [{"usd": 0.0, "model": model}]
        argo = {"shared": "memory://", "strict": strict, "state_dir": str(tmp_path)}
        settings = {"argo": argo, "plugins": {"llm": {"budgets": budgets}}}
        return Argo.open(settings, plugins={"llm": LlmPlugin()}, installed=False)

    async with opened(strict=False) as argo:
        (fault,) = [one.error for one in argo.broken]
        assert repr(model) in fault
    with pytest.raises(PluginError, match=model):
        async with opened(strict=True):
            pass


@pytest.mark.parametrize("model", ["claude", "glm", "glm-5.3", "z-ai/glm-5.3-20261101", "*", ""])
async def test_models_and_vendors_of_the_price_table_are_known(
    model: str, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 1.0, "model": model}]) as argo:
        assert [] == [one.error for one in argo.broken if one.stage == "startup"]


@pytest.mark.parametrize("usd", [float("inf"), 1e18, float("nan"), -1.0])
def test_a_budget_is_an_amount_that_can_be_counted(usd: float) -> None:
    with pytest.raises(ValueError, match="usd"):
        Budget(usd=usd)


@pytest.mark.parametrize("budget", ["gpt-4.1", "gpt", "openai", "*"])
def test_a_tuned_model_is_within_the_budget_of_what_it_was_tuned_from(budget: str) -> None:
    tuned = "ft:gpt-4.1-2025-04-14:acme::id"
    known = Prices("", "", {**load_prices().models, tuned: Price(3.0, 12.0)})
    scope = BudgetScope([Budget(usd=1.0, model=budget)], known, PROFILES)
    call = call_of("complete", messages="hi")
    assert [budget] == [one.model for one in scope.of(call, "openai", tuned)]
    other = BudgetScope([Budget(usd=1.0, model="gpt-4o")], known, PROFILES)
    assert [] == other.of(call, "openai", tuned)


def test_a_snapshot_that_is_dearer_than_its_family_is_held_at_its_own_price() -> None:
    old, family = (load_prices().of(name) for name in ("gpt-4o-2024-05-13", "gpt-4o"))
    assert old is not None
    assert family is not None
    assert old.most(1000, 1000) > family.most(1000, 1000)
    assert load_prices().of("gpt-4o-2024-11-20") == family
