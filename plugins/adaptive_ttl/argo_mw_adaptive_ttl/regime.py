"""Regimes: what kind of market it is, decided with hysteresis so that it does not flicker."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from attrs import define, frozen


class Regime(Enum):
    """A kind of market."""

    TRENDING = "trending"
    VOLATILE = "volatile"
    CONSOLIDATION = "consolidation"
    UNKNOWN = "unknown"


class Detector(Protocol):
    """Detects which regime one symbol is in; one instance for each symbol, of fixed size.

    With the methods of :class:`PersistentDetector` its regime survives a restart.
    """

    @property
    def regime(self) -> Regime:
        """Return the current regime."""

    def learn(self, move: float, expected: float, trend: float) -> None:
        """Learn from a minute of trading with a *move* in bp.

        *expected* is one sigma of such a minute, in bp; *trend* is the sigma of the last
        minutes over that of the last days.
        """


@runtime_checkable
class PersistentDetector(Protocol):
    """A detector whose regime survives a restart."""

    def dump(self) -> Mapping[str, float | str]:
        """Return what it has learned."""

    def restore(self, learned: Mapping[str, float | str]) -> None:
        """Continue from what :meth:`dump` returned.

        Raises:
            KeyError: *learned* comes from another detector; also ``TypeError``, ``ValueError``.
        """


@frozen
class Thresholds:
    """Where a regime begins and, further back, where it ends.

    Attributes:
        volatile: Recent sigma over usual sigma, above which a market is volatile.
        calm: Recent sigma over usual sigma, below which it may consolidate.
        trending: Efficiency (the net move over the path), above which it trends.
        slack: By which factor a regime outlives its threshold.
        minutes: Half-life of the efficiency, and for how long the regime is unknown at first.
    """

    volatile: float = 1.5
    calm: float = 0.7
    trending: float = 0.5
    slack: float = 1.25
    minutes: float = 30.0


DEFAULTS: Final = Thresholds()


@define
class Efficiency:
    """The detector that comes with the plugin.

    Volatile when sigma has risen; trending when the net move is a large part of the path (Kaufman's
    efficiency ratio, exponentially weighted); consolidation when neither, and sigma has fallen.

    Attributes:
        thresholds: Where the regimes part.
        regime: What it is now.
        seen: Minutes learned from.
        net: The weighted sum of moves, in bp.
        path: The weighted sum of their sizes, in bp.
    """

    thresholds: Thresholds = DEFAULTS
    regime: Regime = Regime.UNKNOWN
    seen: int = 0
    net: float = 0.0
    path: float = 0.0

    def learn(self, move: float, expected: float, trend: float) -> None:
        """Learn from a minute of trading; see :meth:`Detector.learn`."""
        self.seen += 1
        decay = 0.5 ** (1.0 / self.thresholds.minutes)
        self.net = self.net * decay + move
        self.path = self.path * decay + abs(move)
        if self.seen >= self.thresholds.minutes:
            self.regime = self._judge(trend)

    def dump(self) -> Mapping[str, float | str]:
        """Return what it has learned; see :meth:`PersistentDetector.dump`."""
        return {
            "regime": self.regime.value,
            "seen": self.seen,
            "net": self.net,
            "path": self.path,
        }

    def restore(self, learned: Mapping[str, float | str]) -> None:
        """Continue from what :meth:`dump` returned; see :meth:`PersistentDetector.restore`."""
        regime, seen = Regime(learned["regime"]), int(learned["seen"])
        net, path = float(learned["net"]), float(learned["path"])
        self.regime, self.seen, self.net, self.path = regime, seen, net, path

    def _judge(self, trend: float) -> Regime:
        limits, now = self.thresholds, self.regime
        efficiency = abs(self.net) / self.path if self.path > 0.0 else 0.0
        if trend > limits.volatile / (limits.slack if now is Regime.VOLATILE else 1.0):
            return Regime.VOLATILE
        if efficiency > limits.trending / (limits.slack if now is Regime.TRENDING else 1.0):
            return Regime.TRENDING
        if trend < limits.calm * (limits.slack if now is Regime.CONSOLIDATION else 1.0):
            return Regime.CONSOLIDATION
        return Regime.UNKNOWN
