"""Bars: the closes in an answer, whatever its form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from math import gcd, inf
from typing import Any, Final, Protocol, cast, runtime_checkable

from attrs import frozen

_TIMES: Final = ("time", "timestamp", "t", "date")
_CLOSES: Final = ("close", "c")
_MAX_BARS: Final = 1000
_MAX_SKEW: Final = 60.0
"""Seconds by which an upstream's clock may be ahead of ours."""
_MINUTE: Final = 60
_HALF_A_DAY: Final = 43_200
_SECONDS: Final = 1e11
_UNITS: Final = ((1e14, 1e3), (1e17, 1e6), (inf, 1e9))
"""The numbers up to which times are milli-, micro- and nanoseconds, and how many make a second."""


@frozen
class Bars:
    """The last closes of one symbol.

    Attributes:
        starts: Epoch seconds at which each bar begins, ascending.
        closes: The last price of each.
        step: Seconds from one bar to the next.
    """

    starts: Sequence[int]
    closes: Sequence[float]
    step: int


@runtime_checkable
class _Frame(Protocol):
    """The part of a pandas DataFrame that is used."""

    @property
    def columns(self) -> Iterable[object]: ...

    @property
    def index(self) -> object: ...

    def __getitem__(self, name: object) -> object: ...


def read_bars(value: object, now: float = inf) -> Bars | None:
    """Return the bars in *value*, a frame or a sequence of mappings; ``None`` if it holds none.

    Times are read from ``time``, ``timestamp``, ``t``, ``date`` or the index, closes
    from ``close`` or ``c``. Only the last 1,000 bars count. If one begins after epoch second *now*,
    none of them is believed.
    """
    if isinstance(value, Bars):
        return value if value.starts else None
    try:
        pairs = _pairs(value)
    except (TypeError, ValueError, OverflowError, AttributeError, StopIteration, RuntimeError):
        return None
    pairs = sorted((t, c) for t, c in pairs if 0.0 < c < inf)
    if not pairs:
        return None
    starts = [t for t, _ in pairs]
    if starts[-1] > now + _MAX_SKEW:
        return None
    return Bars(starts, [c for _, c in pairs], _step(starts))


def _step(starts: Sequence[int]) -> int:
    """Return the length of bars that begin at *starts*, some of which may be missing.

    Of a symbol that is rarely traded, no two bars need be neighbours; but all distances are
    multiples of their length. Days are not: some have 23 hours. Nor is the distance of a bar that
    has just begun, which some vendors date by its last trade.
    """
    steps = [b - a for a, b in pairwise(starts) if b > a]
    whole = [step for step in steps if step % _MINUTE == 0]
    shortest = min(whole or steps, default=_MINUTE)
    return shortest if shortest >= _HALF_A_DAY else gcd(*whole) or shortest


def _pairs(value: object) -> list[tuple[int, float]]:
    if isinstance(value, _Frame):
        return _frame_pairs(value)
    if isinstance(value, Mapping):
        inner = value.get("bars")
        return _pairs(inner) if inner is not None else []
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_pair(bar) for bar in value[-_MAX_BARS:]]
    return []


def _pair(bar: object) -> tuple[int, float]:
    if not isinstance(bar, Mapping):
        msg = "a bar is a mapping"
        raise TypeError(msg)
    time = next(bar[name] for name in _TIMES if name in bar)
    close = next(bar[name] for name in _CLOSES if name in bar)
    return _epoch(time), _number(close)


def _frame_pairs(frame: _Frame) -> list[tuple[int, float]]:
    columns = list(frame.columns)
    close = next((name for name in _CLOSES if name in columns), None)
    if close is None:
        return []
    time = next((name for name in _TIMES if name in columns), None)
    times = frame.index if time is None else frame[time]
    return [(_epoch(t), _number(c)) for t, c in zip(_last(times), _last(frame[close]), strict=True)]


def _last(column: object) -> list[object]:
    """Return the values of the last bars in *column*; of hundreds of thousands only these."""
    rows: Any = getattr(column, "iloc", column)
    return cast("list[object]", rows[-_MAX_BARS:].tolist())


def _number(value: object) -> float:
    return float(cast("float", value))


def _epoch(time: object) -> int:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            msg = "a bar's time has no zone"
            raise ValueError(msg)
        return int(time.timestamp())
    if isinstance(time, str):
        return _epoch(datetime.fromisoformat(time))
    number = _number(time)
    if number < _SECONDS:
        return int(number)
    return int(number / next(parts for end, parts in _UNITS if number < end))
