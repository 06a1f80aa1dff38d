"""Signals as a table for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from argo_mw.plugin import Outcome
from argo_mw_signals.signal import Signal

_COLOURS = {"BUY": "bold green", "SELL": "bold red", "HOLD": "dim"}
_MAX_REASONS = 2


def table_of(answers: Mapping[str, Outcome | Exception], now: float) -> Table:
    """Return one row for each symbol of *answers*, at *now* in seconds since the epoch."""
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "action", "confidence", "price", "age", "why", "not heard"):
        right = name in ("confidence", "price", "age")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "why")
    for symbol, answer in answers.items():
        signal = answer.value if isinstance(answer, Outcome) else None
        if isinstance(signal, Signal):
            table.add_row(*_cells(signal, now))
        else:
            table.add_row(symbol, Text("-", "dim"), "", "", "", Text(str(answer), "yellow"), "")
    return table


def _cells(signal: Signal, now: float) -> tuple[str | Text, ...]:
    ranked = sorted(signal.contributions, key=lambda c: -abs(c.weight * c.confidence * c.score))
    return (
        signal.symbol,
        Text(signal.action, _COLOURS[signal.action]),
        f"{signal.confidence:.0%}",
        f"{signal.price:,.2f}",
        age_text(signal.age(now)),
        "; ".join(f"{c.voice} {c.score:+.2f}: {c.reason}" for c in ranked[:_MAX_REASONS]),
        Text(", ".join(one.voice for one in signal.missing), "yellow"),
    )


def age_text(seconds: float) -> str:
    """Return an age in its largest fitting unit: ``42 s``, ``7 min``, ``3 h``, ``2 d``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
