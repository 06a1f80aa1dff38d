"""Rates: how fast the counters of running programs grow, over the last few seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field, frozen

from argo_mw.counters.counts import Counts, InstanceCounts, total

WINDOW: Final = 15.0
"""Seconds over which rates are taken."""

_LEAST: Final = 0.1

_OFF: Final = 5.0
"""Seconds by which publications may be late; beyond that, an instance's clock was set back."""


@frozen
class _Reading:
    """What an instance had counted, and when it was read, in monotonic seconds of the reader."""

    counts: InstanceCounts
    read: float

    def seconds_since(self, before: _Reading) -> float:
        """Return how long the instance has counted since *before*.

        Its own clock is exact, unless it was put back meanwhile; the reader's is off by the pauses
        between publications. A clock that was put forward looks like a long pause: rates are
        too low until a window has passed.
        """
        by_its_clock = self.counts.at - before.counts.at
        by_ours = self.read - before.read
        put_back = by_its_clock <= max(0.0, by_ours - _OFF)
        return max(_LEAST, by_ours if put_back else by_its_clock)


@define
class _Readings:
    """What was read of one instance: the newest, and those of the window before it."""

    kept: deque[_Reading] = field(factory=deque)

    def add(self, counts: InstanceCounts, now: float) -> None:
        if self.kept and counts.at == self.kept[-1].counts.at:
            return  # it has published nothing new
        newest = _Reading(counts, now)
        self.kept.append(newest)
        # One that is older than the window stays: there is always something to compare with.
        while len(self.kept) > 2 and newest.seconds_since(self.kept[1]) >= WINDOW:
            self.kept.popleft()

    def grown(self, now: float) -> tuple[InstanceCounts, float]:
        """Return what was counted in the window, and its length; since the start if it is new."""
        newest = self.kept[-1]
        silent = now - newest.read > WINDOW
        if len(self.kept) == 1 and not silent:
            since_start = newest.counts.at - newest.counts.started
            if since_start > 0:
                return newest.counts, max(_LEAST, since_start)
            silent = True  # its clock was set back since: how long it has counted is not known
        before = newest if silent else self.kept[0]
        return newest.counts.since(before.counts), newest.seconds_since(before)


@define
class Growth:
    """What was counted in a window, and how fast.

    Attributes:
        seconds: The length of the longest window.
        counts: What was counted in all instances, by operation.
        calls: Calls a second, by instance.
        acts: Acts a second, by layer and act.
    """

    seconds: float = 0.0
    counts: dict[str, Counts] = field(factory=dict)
    calls: dict[str, float] = field(factory=dict)
    acts: dict[str, dict[str, float]] = field(factory=dict)
    _scaled: dict[str, Counts] = field(factory=dict)

    def per_second(self, operation: str) -> Counts:
        """Return the counts of *operation*, each divided by the seconds it was counted in."""
        return self._scaled.get(operation) or Counts(operation)

    def add(self, instance: str, grown: InstanceCounts, seconds: float) -> None:
        """Count what *instance* has counted in *seconds*."""
        self.seconds = max(self.seconds, seconds)
        self.calls[instance] = sum(one.calls for one in grown.counts) / seconds
        for one in total(grown.counts, by_arm=False):
            self.counts.setdefault(one.operation, Counts(one.operation)).add(one)
            scaled = self._scaled.setdefault(one.operation, Counts(one.operation))
            _add_scaled(scaled, one, 1.0 / seconds)
        for layer, acts in grown.acts.items():
            known = self.acts.setdefault(layer, {})
            for act, count in acts.items():
                known[act] = known.get(act, 0.0) + count / seconds


class Rates:
    """Remembers what was read, to tell how fast it grows."""

    def __init__(self) -> None:
        self._readings: dict[str, _Readings] = {}

    def read(self, found: Iterable[InstanceCounts], now: float) -> Growth:
        """Take in what was *found* at *now*, in monotonic seconds, and return how it grows."""
        growth = Growth()
        kept: dict[str, _Readings] = {}
        for counts in found:
            readings = self._readings.get(counts.instance) or _Readings()
            readings.add(counts, now)
            kept[counts.instance] = readings
            growth.add(counts.instance, *readings.grown(now))
        self._readings = kept
        return growth


_SCALED: Final = ("loads", "tokens_in", "tokens_out", "usd", "unpriced")
_SCALED_BY_NAME: Final = ("hits", "errors", "requests_to")


def _add_scaled(to: Counts, one: Counts, factor: float) -> None:
    for name in _SCALED:
        setattr(to, name, getattr(to, name) + getattr(one, name) * factor)
    for name in _SCALED_BY_NAME:
        mine: dict[str, float] = getattr(to, name)
        theirs: Mapping[str, float] = getattr(one, name)
        for key, count in theirs.items():
            mine[key] = mine.get(key, 0.0) + count * factor
