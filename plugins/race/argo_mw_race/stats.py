"""Statistics of one upstream for one operation: latencies, failures, and the hedge delay."""

from __future__ import annotations

import math
from typing import Final, Literal
from weakref import WeakKeyDictionary

from attrs import define

from argo_mw.plugin import Request
from argo_mw_race.gathering import Gathering
from argo_mw_race.latency_window import LatencyWindow

Reason = Literal["first", "together", "hedge", "probe", "next"]
"""Why a branch was started: as the first, together with others, as a hedge because others were
late, as a probe of how an upstream does now, or as the next after another had failed."""

_MIN_ANSWERS: Final = 20
"""Answers from which on the hedge delay is estimated rather than assumed."""
_MIN_WEIGHT: Final = 0.1
_MEMORY: Final = 60.0
"""Seconds of silence after which the last observations keep 1/e of their weight."""
_MARGIN: Final = 1 + 1e-6
"""An answer that takes exactly as long as usual is not late."""
_MIN_OVERDUE: Final = 3
_MIN_SUCCESS_RATE: Final = 0.01


@define
class Tally:
    """How the branches of an upstream ended, in numbers, and what was wasted.

    Attributes:
        asked: Branches started.
        won: Its answer was taken.
        lost: It answered, but another's answer was taken.
        cancelled: It was cancelled before it answered.
        failed: It failed, or its answer was not acceptable.
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


class UpstreamStats:
    """Latency and reliability of one upstream, learned from its branches.

    The mean is a peak-sensitive moving one, as in Finagle's Peak EWMA: an observation weighs a
    tenth, or more after a silence, so that one probe after an hour counts for much. A cancelled
    branch counts only if it raises the mean; otherwise it has shown nothing.

    The last observations mean less and less while an upstream is not asked: in silence, the
    optimistic latency falls from the mean to the median of the last requests, and errors are
    forgotten. So an upstream that was avoided for a passing trouble is tried again.

    Attributes:
        latency: Mean seconds of an answer, or ``None`` while nothing is known.
        error_rate: The mean share of failures.
        latencies: The last latencies.
        observed_at: Monotonic seconds of the last observation.
        refused_until: Seconds since the epoch until which guards refuse, as far as is known.
        in_flight: Branches that have not ended.
        unsent: Those of them whose calls may still travel with others, in a request to come.
        overdue: Branches in flight that were late, unless a branch started later was answered.
        calls_per_request: The mean number of calls that travel in one request to it.
        tally: What happened, in numbers.
    """

    __slots__ = (
        "_epoch",
        "_gatherings",
        "_last_late",
        "_requests",
        "calls_per_request",
        "error_rate",
        "in_flight",
        "latencies",
        "latency",
        "observed_at",
        "overdue",
        "refused_until",
        "tally",
        "unsent",
    )

    def __init__(self, quantile: float) -> None:
        self.latency: float | None = None
        self.error_rate = 0.0
        self.latencies = LatencyWindow(quantile)
        self.observed_at = -math.inf
        self.refused_until = 0.0
        self.in_flight = 0
        self.unsent = 0
        self.overdue = 0
        self.calls_per_request = 1.0
        self._gatherings: WeakKeyDictionary[Request, Gathering] = WeakKeyDictionary()
        self._requests = 0
        self._epoch = 0
        self._last_late = -math.inf
        self.tally = Tally()

    @property
    def stuck(self) -> bool:
        """Whether most requests in flight are overdue: the upstream may hang."""
        return self.overdue >= _MIN_OVERDUE and 2 * self.overdue > self.in_flight

    def start(self, reason: Reason) -> None:
        """Count a branch that was started."""
        self.in_flight += 1
        self.tally.asked += 1
        self.tally.hedges += reason == "hedge"
        self.tally.probes += reason == "probe"

    def gather(self, request: Request, own: Gathering) -> Gathering:
        """Return the gathering that travels in *request*: *own*, if it is the first there."""
        known = self._gatherings.get(request)
        if known is None:
            self._gatherings[request] = own
            self._requests += 1
            # Of all at first: beginning at one, a few requests of six would count as nearly single.
            weight = max(_MIN_WEIGHT, 1 / self._requests)
            self.calls_per_request += weight * (len(request.calls) - self.calls_per_request)
            return own
        known.add()
        self.in_flight -= 1
        return known

    def mark_late(self, started: float) -> int:
        """Count a late branch that was *started* then; return the epoch, to be given to `end`."""
        self.overdue += 1
        self._last_late = max(self._last_late, started)
        return self._epoch

    def end(self, late_epoch: int | None) -> None:
        """Count a branch that has ended, and the epoch in which it was marked late, if it was."""
        self.in_flight -= 1
        self.overdue -= late_epoch == self._epoch

    def answered(self, seconds: float, now: float, started: float) -> None:
        """Learn from an answer that took *seconds* to a request *started* then."""
        weight = self._weigh(now)
        self._learn(seconds, weight)
        self.error_rate -= weight * self.error_rate
        self.latencies.add(seconds, censored=False)
        if started > self._last_late:
            # It answers newer requests: the late ones no longer show how it does.
            self.overdue = 0
            self._epoch += 1

    def failed(self, seconds: float, now: float, *, at_fault: bool) -> None:
        """Learn from a failure after *seconds*; the upstream is *at_fault*, or the question is."""
        weight = self._weigh(now)
        self.error_rate += weight * (at_fault - self.error_rate)
        self.latencies.add(seconds, censored=True)
        # How soon it fails does not show how soon it would have answered.
        if self.latency is not None and seconds > self.latency:
            self._learn(seconds, weight)

    def cancelled(self, seconds: float, now: float) -> None:
        """Learn from a request that was cancelled after *seconds*."""
        self.latencies.add(seconds, censored=True)
        if self.latency is None or seconds > self.latency:
            self._learn(seconds, self._weigh(now))

    def refused(self, until: float | None) -> None:
        """Note that a guard refused, *until* seconds since the epoch if that is known."""
        self.tally.refused += 1
        self.refused_until = until or 0.0

    def hedge_delay(self, initial_latency: float) -> float:
        """Return the seconds after which an answer is late."""
        if self.latencies.answers < _MIN_ANSWERS:
            return initial_latency
        return self.latencies.at_quantile * _MARGIN

    def expected_latency(self, initial_latency: float) -> float:
        """Return the seconds until an acceptable answer, if failures were asked again."""
        latency = initial_latency if self.latency is None else self.latency
        return latency / max(_MIN_SUCCESS_RATE, 1 - self.error_rate)

    def optimistic_latency(self, initial_latency: float, now: float) -> float:
        """Return the expected latency, if the last trouble has passed in the silence since then."""
        recent = math.exp((self.observed_at - now) / _MEMORY)
        if self.latency is None:
            latency = initial_latency
        else:
            usual = min(self.latency, self.latencies.median)
            latency = usual + recent * (self.latency - usual)
        return latency / max(_MIN_SUCCESS_RATE, 1 - recent * self.error_rate)

    def _weigh(self, now: float) -> float:
        silence = now - self.observed_at
        self.observed_at = now
        return max(_MIN_WEIGHT, 1 - math.exp(-silence / _MEMORY))

    def _learn(self, seconds: float, weight: float) -> None:
        if self.latency is None:
            self.latency = seconds
        else:
            self.latency += weight * (seconds - self.latency)
