"""Prices, budgets, and what is recorded of costs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import argo_mw_coalesce.plugin as coalesce
from argo_mw import ArgoError, BadParameter, BudgetExceeded, ConfigError, SharedUnavailable
from argo_mw.app.application import engine_of
from argo_mw.plugin import Charge, Cost, CostTotals, Tasks, context_of, hookimpl
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import AnswerStream, LlmPlugin, Usage
from argo_mw_llm.costs.cost_file import COSTS, CostFile, _File, read
from argo_mw_llm.costs.estimate import Estimator, rough_prompt, rough_tokens
from argo_mw_llm.costs.prices import load_prices
from argo_mw_llm.providers.provider import TTL
from argo_mw_sandbox import Fault, Sandbox

from .conftest import MODELS, OpenArgo

PEAK = datetime(2026, 11, 23, 2, tzinfo=UTC).timestamp()
WEEKEND = datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "usage", "at", "usd"),
    [
        ("claude-opus-5-5", Usage(input=MILLION, output=MILLION), PEAK, 24.0),
        ("claude-opus-5-5-20261101", Usage(write_5m=MILLION, write_1h=MILLION), PEAK, 13.0),
        ("claude-opus-5-5", Usage(read=MILLION), PEAK, 0.2),
        ("claude-haiku-5-5", Usage(input=100_000), PEAK, 0.01),
        ("claude-haiku-5-5", Usage(input=200_000, output=MILLION), PEAK, 0.1 + 2.5),
        ("deepseek-v4-pro", Usage(input=MILLION), PEAK, 1.32),
        ("deepseek-v4-pro", Usage(input=MILLION), WEEKEND, 0.66),
        ("qwen3.7-plus", Usage(input=300_000), PEAK, 0.36),
    ],
)
def test_tokens_cost_what_the_table_says(model: str, usage: Usage, at: float, usd: float) -> None:
    assert pytest.approx(usd) == load_prices().usd(model, usage, at)


def test_an_unknown_model_costs_unknown_and_never_nothing() -> None:
    assert load_prices().usd("claude-none", Usage(input=1), PEAK) is None


def test_batches_cost_half() -> None:
    price = load_prices().of("claude-opus-5")
    assert price is not None
    assert 2.5 == price.usd(Usage(input=MILLION), PEAK, batch=True)


def test_the_table_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('as_of = "x"\nsource = "y"\n[models.m]\ninput = 1.0\noutput = 2.0\n')
    assert 2.0 == load_prices(path).usd("m", Usage(output=MILLION), PEAK)
    path.write_text('as_of = "x"\nsource = "y"\n[models.m]\ninput = 1.0\noutputs = 2.0\n')
    with pytest.raises(ConfigError, match="outputs"):
        load_prices(path)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 1), ("word" * 10, 11), ("市场" * 3, 5), ("word" * 10 + "市场" * 3, 15), ("\ud800é", 2)],
)
def test_four_plain_characters_are_about_a_token_and_one_and_a_half_others(
    text: str, tokens: int
) -> None:
    assert tokens == rough_tokens(text)


@pytest.mark.parametrize("text", ["plain", "市场 “rose”\n", "half a pair: \ud800"])
def test_a_prompt_in_blocks_is_estimated_by_its_json(text: str) -> None:
    system = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    tools = [{"name": text, "input_schema": {"type": "object", "maxProperties": 2.5}}, object]
    told = [json.dumps(part, ensure_ascii=False, default=str) for part in (system, tools)]
    assert 8 + sum(map(rough_tokens, told)) == rough_prompt({"system": system, "tools": tools})


def test_estimates_learn_and_know_their_error() -> None:
    estimator = Estimator()
    assert 100 == estimator.prompt("m", 100)
    for _ in range(50):
        estimator.learn("m", rough=100, prompt=130, answer=40)
    assert 130 == estimator.prompt("m", 100)
    assert 40 == estimator.answer("m", 1_000)
    error = estimator.error("m")
    assert error is not None
    assert error < 0.05


def charges(tmp_path: Path) -> list[Charge]:
    return read(tmp_path / COSTS)


def uncached(charge: Charge) -> int:
    cost = charge.cost
    return cost.tokens_in - cost.tokens_cached - cost.tokens_written


async def test_what_is_booked_is_what_the_provider_counted(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    async with open_argo() as argo:
        for model in MODELS.values():
            await argo.call("complete", messages="RSI 30?", model=model)
            stream = await argo.call("complete", messages="RSI 31?", model=model, stream=True)
            assert isinstance(stream, AnswerStream)
            assert [piece async for piece in stream.read()]
    booked = charges(tmp_path)
    assert 2 * len(MODELS) == len(booked)
    for name in MODELS:
        counts = sandbox.counts_of(name)
        own = [one for one in booked if one.upstream == name]
        assert counts.input_tokens == sum(map(uncached, own))
        assert counts.output_tokens == sum(one.cost.tokens_out for one in own)
        assert not any(one.cost.estimated for one in own)
    assert 0o600 == (tmp_path / COSTS).stat().st_mode & 0o777


async def test_a_cancelled_call_is_booked_as_an_estimate(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    sandbox.set_fault("glm", Fault("stall"))
    async with open_argo() as argo:
        asking = asyncio.create_task(argo.call("complete", messages="Why?", model="glm-5.3"))
        await sandbox.until(lambda: sandbox.counts_of("glm").in_flight == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    (charge,) = charges(tmp_path)
    assert (True, "cancelled") == (charge.cost.estimated, charge.status)
    assert charge.cost.usd is not None
    assert charge.cost.usd > 0


async def test_an_aborted_stream_is_booked_as_an_estimate(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    sandbox.set_fault("claude", Fault("trickle", pace=0.001))
    async with open_argo() as argo:
        stream = await argo.call("complete", messages="Why?", model=MODELS["claude"], stream=True)
        assert isinstance(stream, AnswerStream)
        reader = stream.read()
        await anext(reader)
        await reader.aclose()  # type: ignore[attr-defined]
        assert not stream.complete
    (charge,) = charges(tmp_path)
    assert (True, "aborted") == (charge.cost.estimated, charge.status)


async def test_an_error_costs_nothing(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    sandbox.set_fault("glm", Fault("arrears"))
    async with open_argo(operations={"complete": {"upstreams": ["glm"]}}) as argo:
        with pytest.raises(ArgoError):
            await argo.call("complete", messages="Why?")
    (charge,) = charges(tmp_path)
    assert ("failed", Cost(0.0, requests=1.0, model=MODELS["glm"])) == (
        charge.status,
        evolve(charge.cost, tokens_expected=0),
    )


async def test_savings_are_booked_by_layer(
    sandbox: Sandbox, open_argo: OpenArgo, tmp_path: Path
) -> None:
    async with open_argo(plugins={"cache": CachePlugin, "coalesce": coalesce}) as argo:
        ask = {"messages": "RSI 30?", "model": MODELS["glm"]}
        await asyncio.gather(*(argo.call("complete", **ask) for _ in range(3)))
        await argo.call("complete", **ask)
        totals = await engine_of(argo).costs.totals(0.0)
    assert 1 == sandbox.counts_of("glm").requests
    by_layer = {one.layer: one for one in totals}
    sent = by_layer.pop("")
    assert (1, MODELS["glm"]) == (sent.calls, sent.model)
    assert {"coalesce": pytest.approx(2 * sent.usd), "cache": pytest.approx(sent.usd)} == {
        layer: one.usd for layer, one in by_layer.items()
    }


async def test_truncated_answers_are_never_kept(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    sandbox.set_fault("glm", Fault("truncated"))
    async with open_argo(plugins={"cache": CachePlugin}) as argo:
        for _ in range(2):
            await argo.call("complete", messages="RSI 30?", model=MODELS["glm"])
            stream = await argo.call(
                "complete", messages="RSI 30?", model=MODELS["glm"], stream=True
            )
            assert isinstance(stream, AnswerStream)
            assert [piece async for piece in stream.read()]
    assert 4 == sandbox.counts_of("glm").requests


async def test_tool_calls_are_kept_only_when_allowed(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    tool = {"name": "sell", "description": "", "parameters": {"type": "object"}}
    ask = {"messages": "Sell?", "model": MODELS["claude"], "tools": [tool], "tool_choice": "any"}
    async with open_argo(plugins={"cache": CachePlugin}) as argo:
        for _ in range(2):
            answer = await argo.call("complete", **ask)
            assert "sell" == answer.tool_calls[0].name  # type: ignore[attr-defined]
        assert 2 == sandbox.counts_of("claude").requests
        for _ in range(2):
            await argo.call("complete", **ask, keep_tool_calls=True)
        assert 3 == sandbox.counts_of("claude").requests


async def test_a_stream_of_text_loses_no_tool_calls(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    tool = {"name": "sell", "description": "", "parameters": {"type": "object"}}
    ask = {"messages": "RSI 30?", "model": MODELS["claude"], "tools": [tool], "stream": True}
    async with open_argo() as argo:
        with pytest.raises(BadParameter, match="leave out stream"):
            await argo.call("complete", **ask)
        assert 0 == sandbox.counts_of("claude").requests
        stream = await argo.call("complete", **ask, tool_choice="none")
        assert isinstance(stream, AnswerStream)
        assert "".join([piece async for piece in stream.read()]).startswith("My view is")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "glm-5.2"},
        {"system": "Be brief."},
        {"messages": "RSI 31?"},
        {"tools": [{"name": "t", "parameters": {"type": "object"}}]},
        {"tool_choice": "none"},
        {"schema": {"type": "object"}},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"max_tokens": 99},
        {"thinking": True},
        {"epoch": "2026-11-23T00:00"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_whatever_changes_the_answer_changes_the_key(
    change: dict[str, object], open_argo: OpenArgo
) -> None:
    base: dict[str, object] = {"messages": "RSI 30?", "model": "glm-5.3"}
    async with open_argo() as argo:
        build = engine_of(argo).pipeline
        keys = {build.calls.get("complete", "t", {**base, **c})[0].key for c in ({}, change)}
        assert 2 == len(keys)
        other, _ = build.calls.get("complete", "another", base)
        assert other.key not in keys


async def test_a_default_model_is_part_of_the_key(open_argo: OpenArgo) -> None:
    keys = set()
    for model in ("glm-5.3", "glm-5.2"):
        async with open_argo(plugins={"llm": LlmPlugin()}, glm={"model": model}) as argo:
            keys.add(engine_of(argo).pipeline.calls.get("complete", "t", {"messages": "?"})[0].key)
    assert 2 == len(keys)


async def test_a_stream_is_kept_for_as_long_as_its_caller_says(open_argo: OpenArgo) -> None:
    async with open_argo() as argo:
        caller = argo.options(extensions={TTL: 3600.0})
        outcome = await caller.outcome(
            "complete", messages="RSI 30?", model=MODELS["glm"], stream=True
        )
        assert outcome.as_of is not None
        assert pytest.approx(outcome.as_of + 3600.0, abs=60.0) == outcome.expires_at


# -- Budgets -----------------------------------------------------------------------------------


async def test_a_used_up_budget_refuses_before_anything_is_sent(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    budget = {"usd": 0.003, "per": "day"}
    async with open_argo(budgets=[budget]) as argo:
        ask = {"model": MODELS["claude"], "max_tokens": 200}
        with pytest.raises(BudgetExceeded) as caught:
            for number in range(100):
                await argo.call("complete", messages=f"RSI {number}?", **ask)
    assert caught.value.retry_at is not None
    assert "per day" in str(caught.value)
    assert 0 < sandbox.counts_of("claude").requests < 10


@pytest.mark.parametrize(
    ("budget", "shared"),
    [({"tenant": "*"}, False), ({"tenant": ""}, True), ({"tenant": "other"}, False)],
)
async def test_budgets_are_each_tenants_or_everybodys(
    budget: dict[str, object], shared: bool, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 0.004, **budget}]) as argo:
        ask = {"model": MODELS["claude"], "max_tokens": 300}
        with pytest.raises(BudgetExceeded):
            for number in range(100):
                await argo.options(tenant="other").call("complete", messages=f"{number}?", **ask)
        mine = argo.options(tenant="mine").call("complete", messages="RSI?", **ask)
        if shared:
            with pytest.raises(BudgetExceeded):
                await mine
        else:
            await mine


async def test_an_unknown_price_cannot_be_within_a_budget(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 100.0}]) as argo:
        with pytest.raises(BudgetExceeded, match="not known"):
            await argo.call("complete", messages="RSI?", model="glm-99")
    assert 0 == sandbox.counts_of("glm").requests


async def test_a_warning_budget_lets_pass(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(budgets=[{"usd": 0.0, "then": "warn"}]) as argo:
        await argo.call("complete", messages="RSI?", model=MODELS["glm"])
    assert 1 == sandbox.counts_of("glm").requests


async def test_without_the_shared_store_there_is_no_budget_and_no_call(
    sandbox: Sandbox, open_argo: OpenArgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        msg = "the store is away"
        raise SharedUnavailable(msg)

    async with open_argo(budgets=[{"usd": 1.0}]) as argo:
        monkeypatch.setattr(context_of(argo).shared, "add", away)
        with pytest.raises(ArgoError):
            await argo.call("complete", messages="RSI?", model=MODELS["glm"])
    assert 0 == sandbox.counts_of("glm").requests


async def test_a_cancelled_call_keeps_what_it_held_of_the_budget(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 1.0, "per": "ever"}]) as argo:
        shared = context_of(argo).shared
        sandbox.set_fault("glm", Fault("stall"))
        asking = asyncio.create_task(argo.call("complete", messages="Why?", model="glm-5.3"))
        await sandbox.until(lambda: sandbox.counts_of("glm").in_flight == 1)
        (key,) = await shared.scan("argo:llm:{budget}:")
        held = (await shared.add(key, 0)).value
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        spent = (await shared.add(key, 0)).value
        assert 0 < held == spent  # the provider may go on and bill all of it


# -- The file of costs -------------------------------------------------------------------------


def _remove(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    path.rename(path.with_name("before"))
    path.touch()


def _remove_the_log(path: Path) -> None:
    Path(f"{path}-wal").unlink(missing_ok=True)
    Path(f"{path}-shm").unlink(missing_ok=True)


@pytest.mark.parametrize("change", [_remove, _replace, _remove_the_log])
async def test_what_is_recorded_after_its_file_has_changed_is_there(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / COSTS
    costs = CostFile(path, Tasks(), lambda warning: None)
    costs.record(_charge(0.0))
    await costs.flush()
    for number in range(1, 3):
        change(path)
        costs.record(_charge(float(number)))
        await costs.flush()
        found = [charge.at for charge in read(path)]
        assert [float(number)] == found if change is not _remove_the_log else 0.0 in found
        assert found.count(float(number)) == 1
    await costs.aclose()


async def test_what_is_recorded_after_the_end_is_written_too(tmp_path: Path) -> None:
    costs = CostFile(tmp_path / COSTS, Tasks(), lambda warning: None)
    costs.record(_charge(0.0))
    await costs.aclose()
    costs.record(_charge(1.0))
    assert [0.0, 1.0] == [charge.at for charge in read(tmp_path / COSTS)]


async def test_what_is_recorded_after_the_end_waits_for_no_other_program(tmp_path: Path) -> None:
    """The event loop would wait with it, once for each call that the end cuts off."""
    costs = CostFile(tmp_path / COSTS, Tasks(), lambda warning: None)
    costs.record(_charge(0.0))
    await costs.aclose()
    with closing(sqlite3.connect(tmp_path / COSTS, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for _ in range(4):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                costs.record(_charge(1.0))
        assert time.monotonic() - began < 8.0
    costs.record(_charge(2.0))
    assert [0.0, 2.0] == [charge.at for charge in read(tmp_path / COSTS)]


class Held:
    """Writing that waits for the test, and fails the first time if it is to.

    Attributes:
        begun: Set once it has begun.
        go: Lets it go on.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        errors = [sqlite3.OperationalError("database is locked")] if fails else []
        write = _File.write

        def held(file: _File, *charges: Any, **more: Any) -> None:
            self.begun.set()
            assert self.go.wait(10.0)
            if errors:
                raise errors.pop()
            write(file, *charges, **more)

        monkeypatch.setattr(_File, "write", held)


async def test_a_file_has_a_name_as_soon_as_anything_was_recorded(tmp_path: Path) -> None:
    """A program that ends at once shares what it has recorded first, under that name."""
    costs = CostFile(tmp_path / COSTS, Tasks(), lambda warning: None)
    assert "" == await costs.identity()
    costs.record(_charge(0.0))
    assert await costs.identity()
    await costs.aclose()


async def test_what_is_being_written_counts_in_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, fails=False)
    costs = CostFile(tmp_path / COSTS, Tasks(), lambda warning: None)
    costs.record(_charge(0.0))
    writing = asyncio.create_task(costs.flush())
    await asyncio.to_thread(held.begun.wait)
    reading = asyncio.create_task(costs.totals(0.0))
    await asyncio.sleep(0)
    await asyncio.to_thread(int)  # threads take what waits for them in order: reading comes first
    held.go.set()
    assert [1] == [one.calls for one in await reading]
    await writing
    await costs.aclose()


async def test_what_cannot_be_written_while_the_file_closes_is_written_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, fails=True)
    costs = CostFile(tmp_path / COSTS, Tasks(), lambda warning: None)
    costs.record(_charge(0.0))
    writing = asyncio.create_task(costs.flush())
    await asyncio.to_thread(held.begun.wait)
    ending = asyncio.create_task(costs.aclose())
    for _ in range(100):
        await asyncio.sleep(0)
    held.go.set()
    await asyncio.gather(writing, ending)
    assert [0.0] == [charge.at for charge in read(tmp_path / COSTS)]


async def test_another_plugin_s_table_is_preferred_and_older_costs_still_count(
    open_argo: OpenArgo, tmp_path: Path
) -> None:
    taken: list[Charge] = []

    class Other:
        stand_in = False

        @hookimpl
        def register_cost_table(self) -> object:
            return self

        def record(self, charge: Charge) -> None:
            taken.append(charge)

        async def totals(self, since: float) -> list[CostTotals]:
            return []

        async def identity(self) -> str:
            return ""

    ask = {"messages": "RSI 30?", "model": MODELS["glm"]}
    async with open_argo() as argo:
        await argo.call("complete", **ask)
    async with open_argo(plugins={"llm": LlmPlugin(), "other": Other()}) as argo:
        await argo.call("complete", **ask)
        found = await engine_of(argo).costs.totals(0.0)
    assert ([1], 1, 1) == ([one.calls for one in found], len(taken), len(charges(tmp_path)))


def _charge(at: float) -> Charge:
    cost = Cost(0.5, 6, 1, 1.0, True, "glm-5.3", 2, 3, 5)
    return Charge(at, "t", "complete", "", "glm", "ok", cost, 0.25, "")
