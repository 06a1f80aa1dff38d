"""The ranking: which upstream of an operation is asked first, and which gets a hedge."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from argo_mw.plugin import AnyOperation, Clock, Upstream
from argo_mw_race.budget import HedgingBudget, PaidHedge
from argo_mw_race.config import RaceConfig
from argo_mw_race.gathering import Gathering
from argo_mw_race.stats import UpstreamStats

_MAX_REQUESTS: Final = 10.0
"""The most requests that one is worth; else hundreds of calls would wait for a slow upstream."""


@frozen
class Plan:
    """Which upstreams to ask for one call.

    Attributes:
        order: The upstreams, from the first to the last resort.
        hedge_delay: Seconds after which the answer of the first is late.
        probe: Whether the first is asked to find out how it does now.
    """

    order: Sequence[Upstream]
    hedge_delay: float = math.inf
    probe: bool = False


class Ranking:
    """The upstreams of one operation, ranked by what is known about them.

    Attributes:
        rules: What is configured for the operation.
        budget: What hedges are paid from.
    """

    def __init__(
        self, operation: AnyOperation, config: RaceConfig, clock: Clock, rng: random.Random
    ) -> None:
        self.rules = config.rules(operation)
        self.budget = HedgingBudget(config.hedge_budget, config.hedge_burst)
        self._kind = operation.kind
        self._config = config
        self._clock = clock
        self._rng = rng
        self._stats: dict[str, UpstreamStats] = {}

    @property
    def known(self) -> Mapping[str, UpstreamStats]:
        """What is known, by upstream."""
        return self._stats

    def stats(self, upstream: Upstream) -> UpstreamStats:
        """Return what is known about *upstream*."""
        stats = self._stats.get(upstream.name)
        if stats is None:
            stats = self._stats[upstream.name] = UpstreamStats(self._config.hedge_quantile)
        return stats

    def plan(self, upstreams: Sequence[Upstream]) -> Plan:
        """Plan a call that *upstreams* may answer; now and then a probe."""
        plan = self.plan_without_probe(upstreams)
        if self.rules.order != "learned" or not self.budget.pays:
            return plan
        first, *others = plan.order
        able = [one for one in self.not_scarce(others) if not self._is_refused(one)]
        probed = self._due_for_probe(upstreams, first, able)
        if probed is None and able and self._draws_probe(first):
            probed = min(able, key=lambda one: self.stats(one).observed_at)
        if probed is None:
            return plan
        order = (probed, *(one for one in plan.order if one is not probed))
        # With the hedge delay of the first, so that a probe costs its caller no longer wait.
        return Plan(order, self.hedge_delay(first), probe=True)

    def plan_without_probe(self, upstreams: Sequence[Upstream]) -> Plan:
        """Plan a call that *upstreams* may answer, by all that is known."""
        order = self.ordered(upstreams)
        return Plan(order, self.hedge_delay(order[0]))

    def ordered(self, upstreams: Sequence[Upstream]) -> Sequence[Upstream]:
        """Return *upstreams* from the best to the last resort, or as they are configured."""
        if self.rules.order != "learned":
            return tuple(upstreams)
        now, requests = self._clock.time(), self._gathered
        initial = self.rules.initial_latency
        ranks: list[tuple[bool, bool, bool, float, int]] = []
        for place, upstream in enumerate(upstreams):
            stats = self.stats(upstream)
            cost = self._cost(upstream, place, stats.expected_latency(initial), requests)
            refused = stats.refused_until > now
            ranks.append((refused, self.is_scarce(upstream), stats.stuck, cost, place))
        return tuple(upstreams[rank[-1]] for rank in sorted(ranks))

    def not_scarce(self, upstreams: Sequence[Upstream]) -> list[Upstream]:
        """Return those of *upstreams* that may be asked before others have failed."""
        return [one for one in upstreams if not self.is_scarce(one)]

    def pay_for_hedge(self, remaining: Sequence[Upstream], late: Gathering) -> PaidHedge | None:
        """Return a hedge onto the first of *remaining* that may be, if the budget pays for it.

        What is *late* is hedged as a whole, or not at all.
        """
        for upstream in remaining:
            if not self.is_scarce(upstream) and not self._is_refused(upstream):
                return late.pay_for_hedge(self.budget, upstream)
        return None

    def hedge_delay(self, upstream: Upstream) -> float:
        """Return the seconds after which an answer of *upstream* is late."""
        return self.stats(upstream).hedge_delay(self.rules.initial_latency)

    def is_scarce(self, upstream: Upstream) -> bool:
        """Return whether the daily quota of *upstream* is too small to spend on speed."""
        per_day = upstream.limits.per_day
        return per_day is not None and per_day <= self._config.scarce_per_day

    def describe(self, upstream: Upstream) -> str:
        """Return what is known about *upstream*, in a few words."""
        stats = self.stats(upstream)
        if self.is_scarce(upstream):
            return f"{upstream.name} (a last resort: {upstream.limits.per_day} a day)"
        if self._is_refused(upstream):
            return f"{upstream.name} (refused until {stats.refused_until:.0f})"
        stuck = ", stuck" if stats.stuck else ""
        if stats.latency is not None:
            return f"{upstream.name} ({stats.latency:.3g} s, {stats.error_rate:.0%} errors{stuck})"
        known = f"no answer, {stats.error_rate:.0%} errors" if stats.error_rate else "not known yet"
        return f"{upstream.name} ({known}{stuck})"

    def _draws_probe(self, first: Upstream) -> bool:
        """Return whether a call that *first* would answer probes another one, by chance.

        Not where that takes one more request: now, because calls to *first* share one, or later,
        because an answer of another language model is not an answer of this one.
        """
        if first.batching is not None or self._kind == "llm":
            return False
        return self._rng.random() < self._config.probe_ratio

    def _due_for_probe(
        self, upstreams: Sequence[Upstream], first: Upstream, able: Sequence[Upstream]
    ) -> Upstream | None:
        """Return one of *able* that may be better than *first* again, unless it is being probed.

        Calls that travel together are one probe, as long as the budget can hedge them all.
        """
        now, initial = self._clock.monotonic(), self.rules.initial_latency
        requests = self._gathered

        def optimistic_cost(upstream: Upstream) -> float:
            seconds = self.stats(upstream).optimistic_latency(initial, now)
            return self._cost(upstream, upstreams.index(upstream), seconds, requests)

        best = min([first, *able], key=optimistic_cost)
        if best is first:
            return None
        stats = self.stats(best)
        joining = stats.unsent
        hedges = 1 if first.batching is not None else joining + 1
        alone = stats.in_flight == joining and self.budget.can_pay(hedges)
        return best if alone else None

    def _cost(self, upstream: Upstream, place: int, seconds: float, requests: float) -> float:
        """Return the cost of an answer after *seconds*, in seconds.

        *requests* are needed in place of one, where calls are not gathered.
        """
        if upstream.price:
            seconds += upstream.price * self._config.seconds_per_usd
        if upstream.batching is None:
            seconds *= requests
        return seconds * self._config.min_speedup**place

    @property
    def _gathered(self) -> float:
        """How many requests are needed in place of one, where calls are not gathered."""
        sizes = [stats.calls_per_request for stats in self._stats.values()]
        return min(_MAX_REQUESTS, max(sizes, default=1.0))

    def _is_refused(self, upstream: Upstream) -> bool:
        return self.stats(upstream).refused_until > self._clock.time()
