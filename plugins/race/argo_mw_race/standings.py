"""Standings: which upstream of an operation is asked first, and how long it is waited for."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from attrs import frozen

from argo_mw.plugin import AnyOperation, Clock, Upstream
from argo_mw_race.budget import Budget
from argo_mw_race.config import RaceConfig
from argo_mw_race.record import Record


@frozen
class Plan:
    """Whom to ask for one call.

    Attributes:
        order: The upstreams, from the first to the last resort.
        patience: Seconds after which the first is late; never unless told.
        probe: Whether the first is asked to find out how it does now.
    """

    order: Sequence[Upstream]
    patience: float = math.inf
    probe: bool = False


class Standings:
    """What is known about the upstreams of one operation.

    Attributes:
        rules: What is configured for the operation.
        budget: What hedges are paid from.
    """

    def __init__(
        self, operation: AnyOperation, config: RaceConfig, clock: Clock, chance: random.Random
    ) -> None:
        self.rules = config.rules(operation)
        self.budget = Budget(config.budget, config.burst)
        self._config = config
        self._clock = clock
        self._chance = chance
        self._records: dict[str, Record] = {}

    def record(self, upstream: Upstream) -> Record:
        """What is known about *upstream*."""
        record = self._records.get(upstream.name)
        if record is None:
            record = self._records[upstream.name] = Record(self._config.quantile)
        return record

    def plan(self, upstreams: Sequence[Upstream]) -> Plan:
        """Whom to ask for a call that *upstreams* may answer; now and then a probe."""
        plan = self.ranked(upstreams)
        if self.rules.order != "learned" or not self.budget.pays:
            return plan
        first, *others = plan.order
        able = [one for one in self.plentiful(others) if not self._refuses(one)]
        probed = self._due(upstreams, first, able)
        if probed is None and able and self._chance.random() < self._config.probes:
            probed = min(able, key=lambda one: self.record(one).heard)
        if probed is None:
            return plan
        order = (probed, *(one for one in plan.order if one is not probed))
        # No more patience than with the upstream whose place it takes.
        return Plan(order, self.patience(first), probe=True)

    def ranked(self, upstreams: Sequence[Upstream]) -> Plan:
        """Whom to ask for a call that *upstreams* may answer, by all that is known."""
        order = self.order(upstreams)
        return Plan(order, self.patience(order[0]))

    def order(self, upstreams: Sequence[Upstream]) -> Sequence[Upstream]:
        """*upstreams* from the best to the last resort, or as they are configured."""
        if self.rules.order != "learned":
            return tuple(upstreams)
        places = sorted(range(len(upstreams)), key=lambda one: self._rank(upstreams[one], one))
        return tuple(upstreams[place] for place in places)

    def plentiful(self, upstreams: Sequence[Upstream]) -> list[Upstream]:
        """Those of *upstreams* that may be asked before others have failed."""
        return [one for one in upstreams if not self.is_scarce(one)]

    def hedge_onto(self, waiting: Sequence[Upstream]) -> Upstream | None:
        """The first of *waiting* that may be hedged onto, paid for; ``None`` if none may."""
        for upstream in waiting:
            if not self.is_scarce(upstream) and not self._refuses(upstream):
                return upstream if self.budget.withdraw() else None
        return None

    def patience(self, upstream: Upstream) -> float:
        """Seconds after which an answer of *upstream* is late."""
        return self.record(upstream).patience(self.rules.cold_start)

    def is_scarce(self, upstream: Upstream) -> bool:
        """Whether the daily quota of *upstream* is too small to spend on speed."""
        per_day = upstream.limits.per_day
        return per_day is not None and per_day <= self._config.scarce_per_day

    def describe(self, upstream: Upstream) -> str:
        """What is known about *upstream*, in a few words."""
        record = self.record(upstream)
        if self.is_scarce(upstream):
            return f"{upstream.name} (a last resort: {upstream.limits.per_day} a day)"
        if self._refuses(upstream):
            return f"{upstream.name} (refused until {record.refused_until:.0f})"
        stuck = ", stuck" if record.stuck else ""
        if record.latency is not None:
            return f"{upstream.name} ({record.latency:.3g} s, {record.errors:.0%} errors{stuck})"
        known = f"no answer, {record.errors:.0%} errors" if record.errors else "not known yet"
        return f"{upstream.name} ({known}{stuck})"

    def _due(
        self, upstreams: Sequence[Upstream], first: Upstream, able: Sequence[Upstream]
    ) -> Upstream | None:
        """One of *able* that might be better than *first* again by now; one call at a time."""
        now, cold_start = self._clock.monotonic(), self.rules.cold_start

        def hope(upstream: Upstream) -> float:
            seconds = self.record(upstream).hoped(cold_start, now)
            return self._cost(upstream, upstreams.index(upstream), seconds)

        best = min([first, *able], key=hope)
        return None if best is first or self.record(best).under_way else best

    def _rank(self, upstream: Upstream, place: int) -> tuple[bool, bool, bool, float]:
        record = self.record(upstream)
        expected = self._cost(upstream, place, record.expected(self.rules.cold_start))
        return self._refuses(upstream), self.is_scarce(upstream), record.stuck, expected

    def _cost(self, upstream: Upstream, place: int, seconds: float) -> float:
        worth = (upstream.price or 0.0) * self._config.dollar_seconds
        return (seconds + worth) * self._config.preference**place

    def _refuses(self, upstream: Upstream) -> bool:
        return self.record(upstream).refused_until > self._clock.time()
