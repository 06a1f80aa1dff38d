"""The contract of operations, for signals, voices and reads of recorded signals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from attrs import frozen

from argo_mw.plugin import Clock, SystemClock, hookimpl, operation
from argo_mw.testing import FakePlugin, OperationConformance, Scripted
from argo_mw_persist import PersistPlugin
from argo_mw_signals import SignalsPlugin


@operation(subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> pd.DataFrame:
    """Prices, as another plugin offers them."""
    raise AssertionError


@operation(subject="symbol")
def news(symbol: str, *, days: int = 3) -> tuple[object, ...]:
    """News, as another plugin offers them."""
    raise AssertionError


@operation(kind="llm", subject="symbol")
def opinion(symbol: str) -> object:
    """A model's opinion."""
    raise AssertionError


@frozen
class Article:
    title: str = ""
    published: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    sentiment: float | None = 0.8
    relevance: float = 1.0


def frame() -> pd.DataFrame:
    close = 100.0 + np.sin(np.arange(80) / 5.0)
    index = pd.date_range("2025-01-01", periods=80, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


class Models(FakePlugin):
    """A plugin that adds a language model as a voice."""

    def __init__(self) -> None:
        model = Scripted("model", ["opinion"], {"score": 0.5, "confidence": 1.0, "reason": "so"})
        super().__init__(operations=[opinion], upstreams=[model])

    @hookimpl(optionalhook=True)
    def register_voices(self) -> Iterable[Mapping[str, object]]:
        return [{"name": "model", "operation": "opinion"}]


VOICES = tuple(f"voice_{n}" for n in ("trend", "momentum", "mean_reversion", "volume", "news"))
READS: Mapping[str, Mapping[str, object]] = {
    "latest": {"symbol": "AAPL"},
    "latest_of_many": {"symbols": ["AAPL", "MSFT"]},
    "strongest": {"symbol": "AAPL"},
    "history": {},
    "performance": {},
}


class TestOperations(OperationConformance):
    name = "signals"
    plugin = SignalsPlugin
    parameters = {name: {"symbol": "AAPL"} for name in ("signal", *VOICES)} | READS
    public = ("signal", *VOICES)
    asked = (bars, news)
    answers = {"bars": frame(), "news": (Article(),)}  # noqa: RUF012
    config = {"quorum": 0.0}  # noqa: RUF012
    plugins = {"persist": PersistPlugin}  # noqa: RUF012

    def clock(self) -> Clock:
        return SystemClock()


class TestOperationsWithAModelAsVoice(TestOperations):
    public = VOICES
    plugins = {"persist": PersistPlugin, "models": Models()}  # noqa: RUF012
