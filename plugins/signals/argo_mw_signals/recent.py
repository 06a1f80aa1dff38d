"""The newest signals, kept in memory for people who look, with the prices that they came from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from argo_mw.plugin import Column, Line, Panel, Plot, Tone, View
from argo_mw_signals.signal import Signal

if TYPE_CHECKING:
    import pandas as pd

MAX_SYMBOLS = 1_000
"""Symbols whose newest signal is kept."""

_PRICES = 120
_PLOTTED = 4
_TONES: dict[str, Tone] = {"BUY": "good", "SELL": "bad"}


@frozen
class _Made:
    """A signal, when it was made, and the last closes that it came from."""

    at: float
    signal: Signal
    times: Sequence[float]
    closes: Sequence[float]


class RecentSignals:
    """The newest signal of each symbol that this program has made."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, _Made] = OrderedDict()

    def add(self, signal: Signal, bars: pd.DataFrame, at: float) -> None:
        """Keep *signal*, which was made of *bars* at *at*, in place of the one before."""
        last = bars.iloc[-_PRICES:]
        times = [moment.timestamp() for moment in last.index]
        self._made[signal.symbol] = _Made(at, signal, times, last["close"].tolist())
        self._made.move_to_end(signal.symbol)
        if len(self._made) > MAX_SYMBOLS:
            self._made.popitem(last=False)

    def panel(self) -> Panel:
        """Return the panel that shows them, the newest first, with the prices of the newest."""
        columns = (
            Column("made", "time"),
            "symbol",
            "signal",
            Column("confidence", "share"),
            "price",
            "why",
            "not heard",
        )
        return Panel("signals", "Newest signals", columns, self._view)

    def _view(self) -> View:
        newest = list(reversed(self._made.values()))
        plots = [
            Plot(f"{one.signal.symbol}, price", tuple(zip(one.times, one.closes, strict=True)))
            for one in newest[:_PLOTTED]
        ]
        return View([_line(one) for one in newest], plots)


def _line(made: _Made) -> Line:
    signal = made.signal
    why = signal.contributions[0].reason if signal.contributions else ""
    missing = ", ".join(one.voice for one in signal.missing)
    cells = (made.at, signal.symbol, signal.action, signal.confidence, signal.price, why, missing)
    return Line(cells, tone=_TONES.get(signal.action, ""))
