"""The panel of the newest signals, with the prices that they came from."""

from __future__ import annotations

import pandas as pd

from argo_mw.plugin import View
from argo_mw_signals.recent import MAX_SYMBOLS, RecentSignals
from argo_mw_signals.signal import Contribution, Missing, Signal


def signal(symbol: str, action: str = "BUY") -> Signal:
    contributions = (Contribution("trend", 0.5, 0.8, 1.0, "it rises"),)
    missing = (Missing("news", 1.0, "late"),)
    return Signal(symbol, action, 0.75, 0.5, 187.2, 0.0, 0.0, contributions, missing)  # type: ignore[arg-type]


def frame(closes: int = 200) -> pd.DataFrame:
    index = pd.date_range("2026-01-05", periods=closes, freq="D", tz="UTC")
    return pd.DataFrame({"close": [100.0 + n for n in range(closes)]}, index=index)


def shown(recent: RecentSignals) -> View:
    view = recent.panel().read()
    assert isinstance(view, View)
    return view


def test_the_newest_signal_of_each_symbol_is_shown_with_its_prices() -> None:
    recent = RecentSignals()
    for at, symbol in enumerate(("AAPL", "MSFT", "AAPL")):
        recent.add(signal(symbol, "SELL" if symbol == "MSFT" else "BUY"), frame(), float(at))
    view = shown(recent)
    assert [line.cells for line in view.lines] == [
        (2.0, "AAPL", "BUY", 0.75, 187.2, "it rises", "news"),
        (1.0, "MSFT", "SELL", 0.75, 187.2, "it rises", "news"),
    ]
    assert [line.tone for line in view.lines] == ["good", "bad"]
    assert [plot.title for plot in view.plots] == ["AAPL, price", "MSFT, price"]
    points = view.plots[0].points
    assert len(points) == 120
    assert points[-1] == (pd.Timestamp("2026-07-23", tz="UTC").timestamp(), 299.0)


def test_symbols_are_bounded() -> None:
    recent = RecentSignals()
    bars = frame(3)
    for n in range(MAX_SYMBOLS + 5):
        recent.add(signal(f"S{n}"), bars, float(n))
    lines = shown(recent).lines
    assert len(lines) == MAX_SYMBOLS
    assert lines[0].cells[1] == f"S{MAX_SYMBOLS + 4}"
