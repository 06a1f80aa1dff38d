"""Without a scrape, a call executes for metrics what it executes without the plugin: nothing."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from types import CodeType, FrameType
from urllib.request import urlopen

import pytest

from argo_mw import Argo
from argo_mw.plugin import context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache.plugin import CachePlugin
from argo_mw_metrics import MetricsPlugin

Steps = Counter[tuple[CodeType, str]]


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


def opened(plugin: MetricsPlugin | None, *, spans: str = "off") -> Argo:
    flags = {} if plugin is None else {"metrics": spans}
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True, "counters_every": 0},
            "plugins": {} if plugin is None else {"metrics": {"port": 0}},
            "flags": flags,
        },
        clock=FakeClock(),
        plugins={
            **({} if plugin is None else {"metrics": plugin}),
            "cache": CachePlugin,
            "asked": FakePlugin(operations=[bars], upstreams=[Scripted("a", {"bars"})]),
        },
        installed=False,
    )


async def executed(argo: Argo, symbol: str) -> Steps:
    """Return how often each line runs while *symbol* is asked for, of the code of the packages."""
    steps: Steps = Counter()

    def trace(frame: FrameType, event: str, _: object) -> object:
        if "argo_mw" not in frame.f_code.co_filename:
            return None
        steps[frame.f_code, f"{event} {frame.f_lineno}"] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        await argo.call("bars", symbol=symbol)
    finally:
        sys.settrace(before)
    return steps


async def steps_of(plugin: MetricsPlugin | None, *, hit: bool, spans: str = "off") -> Steps:
    async with opened(plugin, spans=spans) as argo:
        cell = context_of(argo).counters.tallies
        await argo.call("bars", symbol="AAPL")
        await settle()
        if plugin is not None:  # a scrape leaves nothing behind
            url = f"http://127.0.0.1:{plugin.port}/metrics"
            await asyncio.to_thread(lambda: urlopen(url).read())
        for tally in cell._tallies.values():
            for one in tally._cells.values():
                one.left = 1_000  # none of the sample
        return await executed(argo, "AAPL" if hit else "IBM")


@pytest.fixture(autouse=True)
def no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of answers that took waiting, look at none at random."""
    monkeypatch.setattr("argo_mw.counters.accumulators.random.random", lambda: 1.0)


@pytest.mark.parametrize("hit", [True, False], ids=["a hit", "a miss"])
async def test_with_metrics_a_call_runs_the_same_lines_as_without(hit: bool) -> None:
    await steps_of(None, hit=hit)  # fills what the process remembers, such as of fingerprints
    without = await steps_of(None, hit=hit)
    with_metrics = await steps_of(MetricsPlugin(), hit=hit)
    assert without
    assert without == with_metrics


async def test_a_hit_runs_the_same_lines_with_spans_too() -> None:
    without = await steps_of(None, hit=True)
    assert without == await steps_of(MetricsPlugin(), hit=True, spans="on")
