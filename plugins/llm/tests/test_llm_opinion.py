"""Opinions of several models, raced."""

from __future__ import annotations

import numpy as np
import pytest

import argo_mw_race.plugin as race
from argo_mw import AllUpstreamsFailed, Argo, Outcome
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import Completion, LlmPlugin, Opinion, Usage
from argo_mw_llm.answers import Malformed
from argo_mw_llm.views import read_opinion
from argo_mw_sandbox import Fault, Latency, Sandbox
from argo_mw_similarity import SimilarityPlugin

from .conftest import OpenArgo

PANEL = ("glm", "deepseek", "qwen")
INDICATORS = {"price": 110.0, "rsi": 31.0, "sma20": 104.0, "momentum": 0.04}
BEST = {"race": {"operations": {"opinion": {"strategy": "best", "best_timeout": 60.0}}}}


def _race() -> dict[str, object]:
    plugin = getattr(race, "RacePlugin", None)
    return {"race": plugin() if plugin is not None else race}


async def test_the_highest_confidence_by_the_deadline_wins(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    alone: dict[str, Opinion] = {}
    for name in PANEL:
        own = {"llm": LlmPlugin()}
        only = {"opinion": {"upstreams": [name]}}
        async with open_argo(plugins=own, operations=only) as argo:
            said = await argo.call("opinion", symbol="AAPL", indicators=INDICATORS)
            assert isinstance(said, Opinion)
            alone[name] = said
    assert len({one.confidence for one in alone.values()}) > 1
    async with open_argo(plugins=_race(), tables=BEST) as argo:
        outcome = await argo.outcome("opinion", symbol="AAPL", indicators=INDICATORS)
    assert isinstance(outcome.value, Opinion)
    assert max(one.confidence for one in alone.values()) == outcome.value.confidence


@pytest.mark.parametrize("kind", ["outage", "stall", "malformed", "truncated", "refusal"])
@pytest.mark.parametrize("down", PANEL)
async def test_with_one_model_down_or_silent_the_answer_still_comes(
    down: str, kind: str, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault(down, Fault(kind))
    tables = {"race": {"operations": {"opinion": {"strategy": "best", "best_timeout": 0.3}}}}
    async with open_argo(plugins=_race(), tables=tables) as argo:
        outcome = await argo.options(timeout=20.0).outcome(
            "opinion", symbol="AAPL", indicators=INDICATORS
        )
    assert isinstance(outcome.value, Opinion)
    assert outcome.upstream in set(PANEL) - {down}


async def test_a_late_model_is_not_waited_for(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    sandbox.set_latency("qwen", Latency(median=30.0, sigma=0.0))
    tables = {"race": {"operations": {"opinion": {"strategy": "best", "best_timeout": 0.3}}}}
    async with open_argo(plugins=_race(), tables=tables) as argo:
        outcome = await argo.options(timeout=20.0).outcome(
            "opinion", symbol="AAPL", indicators=INDICATORS
        )
    assert outcome.upstream in {"glm", "deepseek"}


async def test_when_no_model_gives_an_opinion_the_error_names_every_reason(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    for name in PANEL:
        sandbox.set_fault(name, Fault("malformed"))
    async with open_argo() as argo:
        with pytest.raises(AllUpstreamsFailed) as caught:
            await argo.call("opinion", symbol="AAPL", indicators=INDICATORS)
    assert len(caught.value.causes) == 3


SERVING = {"similarity": {"embedder": "none"}}
WHOLE = {**INDICATORS, "macd": 0.8, "volatility": 0.012}
NEWS = ["Apple recalls a charger"]


async def _asked(argo: Argo, sandbox: Sandbox, **parameters: object) -> tuple[Outcome, int]:
    """The outcome, and how many requests it took."""
    before = sum(sandbox.counts_of(name).requests for name in PANEL)
    outcome = await argo.outcome("opinion", symbol="AAPL", **parameters)
    return outcome, sum(sandbox.counts_of(name).requests for name in PANEL) - before


@pytest.mark.parametrize(
    ("moved", "requests"),
    [
        ({"price": 110.0 * 1.0005}, 0),
        ({"price": 110.0 * 1.002}, 1),
        ({"rsi": 31.9}, 0),
        ({"rsi": 32.1}, 1),
        ({"macd": -0.8}, 1),
        ({"sma20": 104.0 * 1.0005, "momentum": 0.0405, "volatility": 0.0121}, 0),
        ({"mood": 1.0}, 1),
    ],
    ids=str,
)
async def test_an_opinion_of_indicators_within_their_tolerances_is_not_formed_anew(
    moved: dict[str, float], requests: int, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugins = {"similarity": SimilarityPlugin()}
    async with open_argo(plugins=plugins, tables=SERVING) as argo:
        first, asked = await _asked(argo, sandbox, indicators=WHOLE, news=NEWS, epoch="10:00")
        assert (asked, "similarity" in first.via) == (1, False)
        later = {**WHOLE, **moved}
        second, again = await _asked(argo, sandbox, indicators=later, news=NEWS, epoch="10:01")
    assert requests == again
    if not requests:
        assert "similarity" in second.via
        assert first.value == second.value
        assert first.as_of in (None, second.as_of)


async def test_an_opinion_of_other_news_or_of_another_tenant_is_formed_anew(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugins = {"similarity": SimilarityPlugin()}
    async with open_argo(plugins=plugins, tables=SERVING) as argo:
        await _asked(argo, sandbox, indicators=WHOLE, news=NEWS)
        for news in ([], ["Apple recalls a charger."], [*NEWS, "Rates rise"]):
            assert (await _asked(argo, sandbox, indicators=WHOLE, news=news))[1] == 1
        before = sandbox.counts_of("glm").requests
        other = argo.options(tenant="other")
        await other.call("opinion", symbol="AAPL", indicators=WHOLE, news=NEWS)
        assert before + 1 == sandbox.counts_of("glm").requests


async def test_the_cache_still_tells_opinions_of_other_moments_apart(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    """Tolerances are similarity's: the exact key holds every number, and the epoch."""
    plugins = {"cache": CachePlugin}
    async with open_argo(plugins=plugins) as argo:
        for changed in ({}, {"epoch": "10:01"}, {"indicators": {**WHOLE, "price": 110.01}}):
            changed_parameters = {"indicators": WHOLE, "epoch": "10:00", **changed}
            assert (await _asked(argo, sandbox, **changed_parameters))[1] == 1
            assert (await _asked(argo, sandbox, **changed_parameters))[1] == 0


async def test_a_house_sets_its_own_tolerances(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    slots = {"opinion": {"indicators.price": "exact", "indicators.mood": "any"}}
    tables = {"similarity": {"embedder": "none", "slots": slots}}
    async with open_argo(plugins={"similarity": SimilarityPlugin()}, tables=tables) as argo:
        told = {**WHOLE, "mood": 1.0}
        await _asked(argo, sandbox, indicators=told)
        assert (await _asked(argo, sandbox, indicators={**told, "mood": 2.0}))[1] == 0
        assert (await _asked(argo, sandbox, indicators={**told, "price": 110.01}))[1] == 1


async def test_numbers_of_a_frame_are_numbers(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo() as argo:
        told = {"price": np.float64(110.0), "rsi": np.float32(31.0), "volume": np.int64(7)}
        said = await argo.call("opinion", symbol="AAPL", indicators=told)
    assert isinstance(said, Opinion)


def _said(text: str, stop: str = "end") -> Completion:
    return Completion(text, "m", stop, Usage())


def test_an_opinion_is_read_from_strict_json() -> None:
    said = '```json\n{"action": "SELL", "confidence": 0.7, "reason": "too\\n dear"}\n```'
    opinion = read_opinion(_said(said))
    assert isinstance(opinion, Opinion)
    assert (
        opinion.action,
        opinion.confidence,
        opinion.reason,
        opinion.score,
    ) == ("SELL", 0.7, "too dear", -1.0)


@pytest.mark.parametrize(
    "text",
    [
        "Buy!",
        "{}",
        "[]",
        '{"action": "buy it", "confidence": 0.5, "reason": ""}',
        '{"action": "BUY", "confidence": 1.5, "reason": ""}',
        '{"action": "BUY", "confidence": NaN, "reason": ""}',
        '{"action": "BUY", "confidence": true, "reason": ""}',
        '{"action": "BUY", "confidence": "0.5", "reason": ""}',
        '{"action": "BUY", "confidence": 0.5}',
        '{"action": "BUY", "confidence": 0.5, "reason": "", "more": 1}',
        'Sure: {"action": "BUY", "confidence": 0.5, "reason": ""}',
    ],
)
def test_a_malformed_reply_is_no_opinion(text: str) -> None:
    assert isinstance(read_opinion(_said(text)), Malformed)


def test_a_truncated_reply_is_no_opinion() -> None:
    whole = '{"action": "BUY", "confidence": 0.5, "reason": ""}'
    assert isinstance(read_opinion(_said(whole, "length")), Malformed)
