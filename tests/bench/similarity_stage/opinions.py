"""Templated opinions: one trading day of prices, asked about once a minute."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from argo_mw import Argo, Outcome
from argo_mw.testing import FakeClock
from argo_mw_llm import LlmPlugin, Opinion
from argo_mw_llm.views import indicators_of
from argo_mw_sandbox import Sandbox, SandboxConfig
from argo_mw_similarity import SimilarityPlugin
from tests.bench.similarity_stage.cases import wilson

SEEN = 90
"""Minutes of prices behind each opinion."""


async def templated(directory: Path, names: Sequence[str] = ()) -> dict[str, object]:
    """One trading day, the operation ``opinion`` once a minute for each symbol.

    Opinions are of the indicators *names*, or of all that a voice of signals is formed from.

    The sandbox's analyst answers from the numbers in the prompt, so what a fresh opinion would
    have been is known for each that was served.
    """
    asked = calls = served = otherwise = 0
    off: list[float] = []
    async with Sandbox(SandboxConfig(speed=0.0)) as sandbox:
        clock = FakeClock()
        async with _opinions(sandbox, clock, "on") as argo, _opinions(sandbox, clock, "off") as new:
            for path in sorted(directory.glob("*.csv.gz")):
                symbol, closes = path.name.split("_")[0], _trading_day(path)
                for now in range(30, len(closes)):
                    indicators = indicators_of({"close": closes[max(0, now - SEEN) : now + 1]})
                    if names:
                        indicators = {name: indicators[name] for name in names}
                    told = {"symbol": symbol, "indicators": indicators, "epoch": str(now)}
                    before = sandbox.counts_of("glm").requests
                    outcome: Outcome = await argo.outcome("opinion", **told)
                    calls += sandbox.counts_of("glm").requests - before
                    asked += 1
                    if "similarity" in outcome.via:
                        served += 1
                        view, fresh = outcome.value, await new.call("opinion", **told)
                        assert isinstance(view, Opinion)
                        assert isinstance(fresh, Opinion)
                        otherwise += view.action != fresh.action
                        off.append(abs(view.confidence - fresh.confidence))
                    await clock.advance(60.0)
    return {
        "asked": asked,
        "model_calls": calls,
        "saved": round(1 - calls / asked, 4) if asked else 0.0,
        "served_that_differ": round(otherwise / served, 4) if served else 0.0,
        "interval_95": wilson(otherwise, served),
        "confidence_off_mean": round(sum(off) / len(off), 4) if off else 0.0,
    }


def _opinions(sandbox: Sandbox, clock: FakeClock, flag: str) -> Argo:
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "flags": {"similarity": flag},
        "plugins": {
            "llm": {"glm": {"url": sandbox.url("glm"), "key": "any"}},
            "similarity": {"embedder": "none", "max_audited": 0},
        },
        "operations": {"opinion": {"upstreams": ["glm"]}},
        "upstreams": {"glm": {"per_minute": 1_000_000}},
    }
    plugins = {"similarity": SimilarityPlugin, "llm": LlmPlugin}
    return Argo.open(config, plugins=plugins, installed=False, clock=clock)


def _trading_day(path: Path) -> list[float]:
    """The closes of the last day in *path* with a full session of bars."""
    days: dict[str, list[float]] = defaultdict(list)
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            days[row["time"][:10]].append(float(row["close"]))
    full = [day for day, closes in days.items() if len(closes) >= 300]
    return days[max(full)] if full else []
