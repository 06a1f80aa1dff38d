"""Providers are data: a table adds one, changes one, and is all that names one."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path

import pytest

import argo_mw_llm
from argo_mw import AllUpstreamsFailed, Argo, ConfigError, QuotaExceeded, UpstreamError
from argo_mw.plugin import Action, Trouble, Upstream
from argo_mw.testing import capture_events
from argo_mw_llm import LlmPlugin
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.providers.failures import from_status
from argo_mw_llm.providers.profiles import shipped
from argo_mw_sandbox import Sandbox

from .conftest import MODELS, PROVIDERS, OpenArgo

HOUSE = {"complete": {"upstreams": ["house"]}}
ASK = "RSI 30, price 10?"


def house(sandbox: Sandbox, **more: object) -> dict[str, object]:
    """Four lines that add a provider."""
    table = {
        "wire": "chat",
        "url": sandbox.url("deepseek"),
        "key": "any",
        "model": "deepseek-house",
    }
    return {"house": {**table, **more}}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_each_that_comes_with_the_plugin_answers_and_is_booked_to_the_token(
    provider: str, stream: bool, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo() as argo:
        asked = {"messages": ASK, "model": MODELS[provider], "stream": stream}
        outcome = await argo.outcome("complete", **asked)
        if stream:
            assert "".join([piece async for piece in outcome.value.read()])
            cost = outcome.value.cost
        else:
            assert outcome.value.text
            cost = outcome.cost
    counts = sandbox.counts_of(provider)
    assert provider == outcome.upstream
    assert (counts.input_tokens, counts.output_tokens) == (cost.tokens_in, cost.tokens_out)
    assert not cost.estimated
    assert cost.usd


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_calls_tools_and_takes_what_they_answer(
    provider: str, open_argo: OpenArgo
) -> None:
    tool = {"name": "trade", "parameters": {"type": "object", "properties": {}}}
    asked = {"model": MODELS[provider], "tools": [tool]}
    async with open_argo() as argo:
        first = await argo.call("complete", messages=ASK, tool_choice="trade", **asked)
        call = first.tool_calls[0]
        assert ("trade", "tool") == (call.name, first.stop)
        conversation = [
            {"role": "user", "content": ASK},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": call.id, "name": call.name, "arguments": call.arguments}],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "done"},
        ]
        second = await argo.call("complete", messages=conversation, **asked)
    assert "end" == second.stop
    assert second.text


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_answers_by_a_schema_and_says_when_it_was_cut_off(
    provider: str, open_argo: OpenArgo
) -> None:
    schema = {"type": "object", "properties": {"action": {"type": "string"}}}
    async with open_argo() as argo:
        asked = {"messages": ASK, "model": MODELS[provider]}
        answer = await argo.call("complete", schema=schema, system="Be brief.", **asked)
        assert "action" in json.loads(answer.text)
        cut = await argo.call("complete", max_tokens=2, **asked)
    assert "length" == cut.stop


async def test_limits_of_the_table_hold_unless_the_upstream_has_its_own(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    table = house(sandbox, limits={"per_day": 1})
    asked = {"model": "deepseek-house"}
    async with open_argo(providers=table, operations=HOUSE) as argo:
        await argo.call("complete", messages="RSI 30?", **asked)
        with pytest.raises(QuotaExceeded, match="1 per day"):
            await argo.call("complete", messages="RSI 31?", **asked)
    more = {"house": {"per_day": 5}}
    async with open_argo(providers=table, operations=HOUSE, upstreams=more) as argo:
        for number in range(2):
            await argo.call("complete", messages=f"RSI {number}?", **asked)


async def test_four_lines_add_a_provider(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(providers=house(sandbox), operations=HOUSE) as argo:
        outcome = await argo.outcome("complete", messages=ASK, model="deepseek-house")
    assert "house" == outcome.upstream
    assert 1 == sandbox.counts_of("deepseek").requests


async def test_the_table_of_the_readme_adds_a_provider() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    block = readme.read_text("utf-8").split("```toml\n")[1].split("```")[0]
    lines = [line for line in block.splitlines() if "=" in line]
    assert 4 == len(lines)
    written = tomllib.loads(block) | {"argo": {"shared": "memory://", "strict": True}}
    async with Argo.open(written, plugins={"llm": LlmPlugin}, installed=False) as argo:
        with pytest.raises(AllUpstreamsFailed, match="OPENROUTER_API_KEY"):
            await argo.call("complete", messages=ASK, model="meta-llama/llama-4-maverick")


async def test_prices_of_a_provider_s_own_table_hold_for_it_alone(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    prices = {"*": {"input": 1.0, "output": 0.0}}
    order = {"complete": {"upstreams": ["house", "deepseek"]}}
    async with open_argo(providers=house(sandbox, prices=prices), operations=order) as argo:
        own = await argo.outcome("complete", messages=ASK, model="deepseek-house")
        other = await argo.outcome("complete", messages=ASK, model=MODELS["deepseek"])
    assert own.cost.tokens_in / 1e6 == own.cost.usd
    assert "deepseek" == other.upstream
    assert other.cost.tokens_in / 1e6 != other.cost.usd


async def test_an_unknown_price_is_unknown_and_is_said_once(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(providers=house(sandbox), operations=HOUSE) as argo:
        events = capture_events(argo)
        for question in ("RSI 30?", "RSI 31?"):
            outcome = await argo.outcome("complete", messages=question, model="deepseek-house")
            assert outcome.cost.usd is None
    troubles = [one.what for one in events.of(Trouble)]
    assert 1 == len([what for what in troubles if "'deepseek-house' is not known" in what])


async def test_a_provider_without_a_key_is_asked_without_one(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(providers=house(sandbox, key=None), operations=HOUSE) as argo:
        outcome = await argo.outcome("complete", messages=ASK, model="deepseek-house")
    assert "house" == outcome.upstream


async def test_the_key_comes_from_the_environment(
    sandbox: Sandbox, open_argo: OpenArgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = house(sandbox, key=None, key_from=["HOUSE_KEY", "OTHER_KEY"])
    asked = {"messages": ASK, "model": "deepseek-house"}
    async with open_argo(providers=table, operations=HOUSE) as argo:
        with pytest.raises(UpstreamError, match="HOUSE_KEY"):
            await argo.call("complete", **asked)
        monkeypatch.setenv("OTHER_KEY", "k-1")
        assert "house" == (await argo.outcome("complete", **asked)).upstream


LIMITS = ("per_second", "per_minute", "per_day", "concurrency")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"wire": "chat", "url": "https://example.com"}, "'new' lacks model"),
        ({"wire": "chat", "url": "http://example.com", "model": "m"}, "in the clear"),
        ({"wire": "telex", "url": "https://example.com", "model": "m"}, "telex"),
        ({"wire": "chat", "url": "https://example.com", "model": "m", "colour": 1}, "colour"),
        *(({"limits": {name: -1}}, f"limits: '{name}' must be > 0") for name in LIMITS),
    ],
)
async def test_a_table_that_cannot_be_used_says_why(table: dict[str, object], why: str) -> None:
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"llm": {"providers": {"new": table}}},
    }
    with pytest.raises(ConfigError, match=why):
        async with Argo.open(config, plugins={"llm": LlmPlugin}, installed=False):
            pass


def test_a_server_without_a_key_may_be_asked_in_the_clear() -> None:
    table = {"wire": "chat", "url": "http://10.0.0.5:8000/v1", "model": "m", "key_from": ()}
    made = LlmConfig(providers={"vllm": argo_mw_llm.ProviderTable(**table)})
    assert not made.profiles["vllm"].needs_key


async def test_the_older_place_of_a_table_goes_on_to_count(
    sandbox: Sandbox,
) -> None:
    older = {"url": sandbox.url("glm"), "key": "any"}
    config = {"argo": {"shared": "memory://"}, "plugins": {"llm": {"glm": older}}}
    async with Argo.open(config, plugins={"llm": LlmPlugin}, installed=False) as argo:
        outcome = await argo.outcome("complete", messages=ASK, model=MODELS["glm"])
    assert "glm" == outcome.upstream


def test_what_an_error_means_is_data_too() -> None:
    profile = LlmConfig().profiles["glm"]
    arrears = {"error": {"code": "1113", "message": "Recharge."}}
    assert Action.RETRY is from_status("glm", 429, arrears, {}).action
    assert Action.SWITCH is from_status("glm", 429, arrears, {}, profile.errors).action


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({"stop": ("1113",)}, Action.STOP),
        ({"retry": ("busy now",)}, Action.RETRY),
        ({"switch": ("busy_now",)}, Action.SWITCH),
        ({"switch": ("3",)}, Action.STOP),
    ],
)
def test_an_error_is_known_by_its_code_or_a_part_of_its_message(
    errors: dict[str, tuple[str, ...]], expected: Action
) -> None:
    body = {"error": {"code": "1113", "message": "Busy Now: 3"}}
    made = argo_mw_llm.Errors(**errors)
    assert expected is from_status("x", 400, body, {}, made).action


def test_only_the_table_names_a_provider() -> None:
    names = shipped().keys() - {"default"}
    folder = Path(argo_mw_llm.__file__).parent
    found = {
        f"{path.relative_to(folder)}: {node.value}"
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    older = {f"config.py: {name}" for name in names}
    # The middleware of Anthropic's SDK is for Anthropic unless its caller says otherwise, and `ask`
    # asks Claude where its key is there and the configuration names no other.
    named = {
        "clients/dropin.py: claude",
        "clients/dropin_anthropic.py: claude",
        "ask_model.py: claude",
    }
    assert set() == found - older - named


async def test_upstreams_are_called_like_their_providers(
    plugin: LlmPlugin, open_argo: OpenArgo
) -> None:
    async with open_argo():
        made = [provider.upstream() for provider in plugin.providers.values()]
    assert sorted(PROVIDERS) == sorted(one.name for one in made)
    assert all(isinstance(one, Upstream) for one in made)
