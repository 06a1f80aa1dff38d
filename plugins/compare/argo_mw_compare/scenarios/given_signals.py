"""Signals that are given, not computed, and recorded beside those of the reference application."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from argo_mw.plugin import (
    AnsweredCall,
    AnyOperation,
    Call,
    Outcome,
    Recording,
    Row,
    TimeOrderedIds,
    Upstream,
    hookimpl,
    operation,
)

GivenSignal = tuple[str, str, float, float, float]
"""Symbol, action, confidence, seconds since the epoch, price."""

_NOT_CLOSED: Final = (None, None, True, None, None, None, None, None)
"""The last cells of an open signal: all that its voices, its detail and its end would fill."""

_OPEN_SIGNAL: Final = (
    "INSERT INTO signals (id, tenant, symbol, action, confidence, timestamp, price, is_active) "
    "VALUES (?, '', ?, ?, ?, ?, ?, TRUE)"
)


class Desk:
    """The plugin whose operation ``given_signal`` answers a signal, which is recorded.

    Args:
        make: Makes the signal of a number.
    """

    def __init__(self, make: Callable[[int, random.Random], GivenSignal]) -> None:
        self._make = make
        self._drawn = random.Random(1)
        self._ids = TimeOrderedIds()

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return the operation."""

        @operation(scope="public", record=Recording("signals", self._rows), ttl=0)
        def given_signal(number: int) -> GivenSignal:
            """A signal."""
            raise AssertionError

        return [given_signal]

    @hookimpl
    def register_upstreams(self) -> Iterable[Upstream]:
        """Return the upstream that makes signals."""
        return [Upstream("desk", ["given_signal"], self._fetch)]

    async def _fetch(self, call: Call) -> Outcome:
        number = call.parameters["number"]
        assert isinstance(number, int)
        return Outcome(self._make(number, self._drawn))

    def _rows(self, answered: AnsweredCall) -> list[Row]:
        assert isinstance(answered.value, tuple)
        symbol, action, confidence, at, price = answered.value
        known = (self._ids(), "", symbol, action, confidence, round(at * 1e6), price)
        return [Row("signals", known + _NOT_CLOSED, (f"signals:{symbol}", "signals"))]


def fill(path: Path, names: Sequence[str], count: int, until: float) -> None:
    """Put *count* signals before *until* into the file that persist made at *path*.

    Args:
        path: The file.
        names: The symbols.
        count: How many signals.
        until: Seconds since the epoch.
    """
    drawn = random.Random(0)
    micros = round(until * 1e6)
    signals = (
        (
            number.to_bytes(16, "big"),
            names[number % len(names)],
            drawn.choice(("BUY", "SELL", "HOLD")),
            round(drawn.uniform(0.3, 0.9), 3),
            micros - 60_000_000 * (1 + (count - number) // len(names)),
            round(drawn.uniform(20, 400), 2),
        )
        for number in range(count)
    )
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.executemany(_OPEN_SIGNAL, signals)
