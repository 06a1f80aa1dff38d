"""What is known about one upstream and one operation."""

from __future__ import annotations

import math
from typing import Literal

from attrs import define

from argo_mw_race.survival import Latencies

Why = Literal["first", "together", "hedge", "probe", "next"]
"""Why a branch was started: as the first, together with others, as a hedge because others were
late, as a probe of how an upstream does now, or as the next after another had failed."""

_ENOUGH = 20
_LEAST_WEIGHT = 0.1
_MEMORY = 60.0
_A_LITTLE_MORE = 1 + 1e-6
_STUCK = 3
_LEAST_CHANCE = 0.01


@define
class Tally:
    """How often what happened to an upstream's branches, and what was wasted.

    Attributes:
        asked: Branches started.
        won: Its answer was taken.
        lost: It answered, but another's answer was taken.
        cancelled: It was cancelled before it answered.
        failed: It failed, or its answer was none.
        refused: A guard refused.
        hedges: Branches that were hedges.
        probes: Branches that were probes.
        wasted_usd: US dollars spent on answers that were not taken; where a branch was
            cancelled, the upstream's typical price.
    """

    asked: int = 0
    won: int = 0
    lost: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    hedges: int = 0
    probes: int = 0
    wasted_usd: float = 0.0


class Record:
    """Latency and reliability of one upstream, learned from its branches.

    The mean is a peak-sensitive moving one, as in Finagle's Peak EWMA: an observation weighs a
    tenth, or more after a silence, so that one probe after an hour counts for much. A cancelled
    branch counts only if it raises the mean; otherwise it has told nothing.

    What was seen last says less and less of an upstream that is not asked any more: in silence,
    what may be hoped for falls from the mean to the median of the last requests, and errors are
    forgotten. So one that was left for a passing trouble is tried again.

    Attributes:
        latency: Mean seconds of an answer, or ``None`` while nothing is known.
        errors: The mean share of failures.
        latencies: The last latencies.
        heard: Monotonic seconds of the last observation.
        refused_until: Seconds since the epoch until which guards refuse, as far as is known.
        under_way: Branches that have not ended.
        overdue: Those of them that were late, as long as none that was sent later is answered.
        tally: What happened, in numbers.
    """

    __slots__ = (
        "_era",
        "_last_late",
        "errors",
        "heard",
        "latencies",
        "latency",
        "overdue",
        "refused_until",
        "tally",
        "under_way",
    )

    def __init__(self, quantile: float) -> None:
        self.latency: float | None = None
        self.errors = 0.0
        self.latencies = Latencies(quantile)
        self.heard = -math.inf
        self.refused_until = 0.0
        self.under_way = 0
        self.overdue = 0
        self._era = 0
        self._last_late = -math.inf
        self.tally = Tally()

    @property
    def stuck(self) -> bool:
        """Whether most requests under way are overdue: it may be dead without saying so."""
        return self.overdue >= _STUCK and 2 * self.overdue > self.under_way

    def start(self, why: Why) -> None:
        """A branch was started."""
        self.under_way += 1
        self.tally.asked += 1
        self.tally.hedges += why == "hedge"
        self.tally.probes += why == "probe"

    def late(self, started: float) -> int:
        """A branch that was *started* then is late; the era in which that was noted."""
        self.overdue += 1
        self._last_late = max(self._last_late, started)
        return self._era

    def end(self, noted_late: int | None) -> None:
        """A branch has ended, which had been noted as late in the given era."""
        self.under_way -= 1
        self.overdue -= noted_late == self._era

    def answered(self, seconds: float, now: float, started: float) -> None:
        """It answered after *seconds* what it was asked at *started*."""
        weight = self._weigh(now)
        self._learn(seconds, weight)
        self.errors -= weight * self.errors
        self.latencies.add(seconds, censored=False)
        if started > self._last_late:
            # It answers newer requests: the late ones no longer say how it does.
            self.overdue = 0
            self._era += 1

    def failed(self, seconds: float, now: float, *, at_fault: bool) -> None:
        """It failed after *seconds*, or said that the question was at fault."""
        self.tally.failed += 1
        weight = self._weigh(now)
        self.errors += weight * (at_fault - self.errors)
        self.latencies.add(seconds, censored=True)
        # How soon it fails says nothing about how soon it would have answered.
        if self.latency is not None and seconds > self.latency:
            self._learn(seconds, weight)

    def cancelled(self, seconds: float, now: float) -> None:
        """It was not waited for any longer after *seconds*."""
        self.tally.cancelled += 1
        self.latencies.add(seconds, censored=True)
        if self.latency is None or seconds > self.latency:
            self._learn(seconds, self._weigh(now))

    def refused(self, until: float | None) -> None:
        """A guard refused, *until* seconds since the epoch if that is known."""
        self.tally.refused += 1
        self.refused_until = until or 0.0

    def patience(self, cold_start: float) -> float:
        """Seconds after which an answer is later than usual."""
        # An answer that takes exactly as long as usual is not late.
        return (
            self.latencies.usual * _A_LITTLE_MORE
            if self.latencies.answers >= _ENOUGH
            else cold_start
        )

    def expected(self, cold_start: float) -> float:
        """Seconds until an answer that is one, should failures be asked again."""
        latency = cold_start if self.latency is None else self.latency
        return latency / max(_LEAST_CHANCE, 1 - self.errors)

    def hoped(self, cold_start: float, now: float) -> float:
        """The same, should what was seen last have passed in the silence since then."""
        recent = math.exp((self.heard - now) / _MEMORY)
        if self.latency is None:
            latency = cold_start
        else:
            usual = min(self.latency, self.latencies.median)
            latency = usual + recent * (self.latency - usual)
        return latency / max(_LEAST_CHANCE, 1 - recent * self.errors)

    def _weigh(self, now: float) -> float:
        silence = now - self.heard
        self.heard = now
        return max(_LEAST_WEIGHT, 1 - math.exp(-silence / _MEMORY))

    def _learn(self, seconds: float, weight: float) -> None:
        if self.latency is None:
            self.latency = seconds
        else:
            self.latency += weight * (seconds - self.latency)
