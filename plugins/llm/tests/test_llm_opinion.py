"""Opinions of several models, raced."""

from __future__ import annotations

import pytest

import argo_mw_race.plugin as race
from argo_mw import AllUpstreamsFailed
from argo_mw_llm import Completion, LlmPlugin, Opinion, Usage
from argo_mw_llm.values import Malformed
from argo_mw_llm.views import read_opinion
from argo_mw_sandbox import Fault, Latency, Sandbox

from .conftest import OpenArgo

PANEL = ("glm", "deepseek", "qwen")
INDICATORS = {"price": 110.0, "rsi": 31.0, "sma20": 104.0, "momentum": 0.04}
BEST = {"race": {"operations": {"opinion": {"strategy": "best", "wait": 2.0}}}}


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
    tables = {"race": {"operations": {"opinion": {"strategy": "best", "wait": 0.3}}}}
    async with open_argo(plugins=_race(), tables=tables) as argo:
        outcome = await argo.options(timeout=5.0).outcome(
            "opinion", symbol="AAPL", indicators=INDICATORS
        )
    assert isinstance(outcome.value, Opinion)
    assert outcome.upstream in set(PANEL) - {down}


async def test_a_late_model_is_not_waited_for(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    sandbox.set_latency("qwen", Latency(median=30.0, sigma=0.0))
    tables = {"race": {"operations": {"opinion": {"strategy": "best", "wait": 0.3}}}}
    async with open_argo(plugins=_race(), tables=tables) as argo:
        outcome = await argo.options(timeout=5.0).outcome(
            "opinion", symbol="AAPL", indicators=INDICATORS
        )
    assert outcome.upstream in {"glm", "deepseek"}


async def test_when_no_model_gives_an_opinion_every_reason_is_told(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    for name in PANEL:
        sandbox.set_fault(name, Fault("malformed"))
    async with open_argo() as argo:
        with pytest.raises(AllUpstreamsFailed) as caught:
            await argo.call("opinion", symbol="AAPL", indicators=INDICATORS)
    assert len(caught.value.causes) == 3


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
