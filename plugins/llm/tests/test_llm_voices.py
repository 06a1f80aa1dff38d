"""Opinions as voices of signals."""

from __future__ import annotations

import pandas as pd
import pytest

from argo_mw import Outcome
from argo_mw.plugin import Upstream, operation
from argo_mw.testing import FakePlugin
from argo_mw_llm import LlmPlugin, Opinion
from argo_mw_llm.views import indicators_of
from argo_mw_sandbox import Sandbox
from argo_mw_signals import Signal, SignalsPlugin

from .conftest import OpenArgo


def frame(rows: int = 60) -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=rows, freq="D", tz="UTC")
    close = pd.Series([100.0 + (n % 7) + n * 0.3 for n in range(rows)], index=index)
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


def market() -> FakePlugin:
    @operation(subject="symbol")
    def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> pd.DataFrame:
        raise NotImplementedError

    @operation(subject="symbol")
    def news(symbol: str, *, days: int = 3) -> list[object]:
        raise NotImplementedError

    async def fetch(call: object) -> Outcome:
        name = call.operation.name  # type: ignore[attr-defined]
        return Outcome(frame() if name == "bars" else [])

    return FakePlugin(operations=[bars, news], upstreams=[Upstream("m", ["bars", "news"], fetch)])


async def test_a_voice_asks_models_about_current_prices(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins={"market": market()}) as argo:
        opinion = await argo.call("voice_panel", symbol="AAPL")
        assert isinstance(opinion, Opinion)
        claude = await argo.call("voice_claude", symbol="AAPL")
        assert isinstance(claude, Opinion)
    assert "claude-sonnet-5-5" == claude.model
    assert 1 == sandbox.counts_of("claude").requests


async def test_signals_hear_the_voices_that_are_configured(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugins = {"market": market(), "signals": SignalsPlugin()}
    async with open_argo(plugins=plugins, voices={"panel": 1.0, "claude": 0.5}) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    assert isinstance(signal, Signal)
    heard = {one.voice: one.weight for one in signal.contributions}
    assert (1.0, 0.5) == (heard["panel"], heard["claude"])


async def test_no_voice_costs_money_unless_configured(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    plugins = {"llm": LlmPlugin(), "market": market(), "signals": SignalsPlugin()}
    async with open_argo(plugins=plugins) as argo:
        await argo.call("signal", symbol="AAPL")
    assert 0 == sum(sandbox.counts_of(n).requests for n in ("claude", "glm", "deepseek", "qwen"))


def test_indicators_need_enough_bars() -> None:
    assert 0 < indicators_of(frame())["rsi"] < 100
    with pytest.raises(ValueError, match="more days"):
        indicators_of(frame(20))
