"""Readings of budgets: what is left of them, as this process last saw it, for metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define, field

from argo_mw.plugin import Left
from argo_mw_llm.budgets.counters import NANO, Counter, OwnBudget
from argo_mw_llm.config import Budget

MAX_COUNTERS: Final = 1_000
"""The most counters that are remembered: a budget for each tenant has a counter for each."""


@define
class _Found:
    counter: Counter
    nanos: int
    providers: set[str] = field(factory=set)
    stopped: bool = False

    def is_over(self, time: float) -> bool:
        ends = self.counter.period.ends
        return ends is not None and ends <= time


class BudgetReadings:
    """The value of each budget counter when this process last asked for it."""

    def __init__(self) -> None:
        self._found: dict[str, _Found] = {}

    def note(self, counter: Counter, nanos: int, provider: str, time: float) -> None:
        """Remember that *counter* held *nanos* at *time*, for a request to *provider*."""
        found = self._found.get(counter.period.key)
        if found is None:
            if len(self._found) >= MAX_COUNTERS:
                self._forget(time)
            found = self._found[counter.period.key] = _Found(counter, nanos)
        found.nanos = nanos
        found.providers.add(provider)

    def correct(self, key: str, nanos: int) -> None:
        """Remember that the counter at *key* holds *nanos*, after a cost was settled."""
        if (found := self._found.get(key)) is not None:
            found.nanos = nanos

    def note_stop(self, key: str, stopped: bool) -> None:
        """Remember whether the budgets of the counter at *key* are stopped."""
        if (found := self._found.get(key)) is not None:
            found.stopped = stopped

    def left(self, provider: str, time: float) -> Mapping[str, Left]:
        """Return what is left of the budgets that applied to calls of *provider*, by name.

        Of budgets with one name, such as those of several tenants, the one with the least share
        left counts. A budget whose period has ended since is full again.
        """
        least: dict[str, Left] = {}
        for found in self._of(provider):
            nanos = 0 if found.is_over(time) else found.nanos
            for budget in found.counter.budgets:
                name, left = name_of(budget), max(0.0, budget.usd - nanos / NANO)
                one = Left(left, budget.usd)
                if name not in least or _share(one) < _share(least[name]):
                    least[name] = one
        return least

    def any_stopped(self, provider: str, time: float) -> bool:
        """Return whether a budget that applied to calls of *provider* is stopped."""
        return any(one.stopped and not one.is_over(time) for one in self._of(provider))

    def _of(self, provider: str) -> Iterator[_Found]:
        return (one for one in self._found.values() if provider in one.providers)

    def _forget(self, time: float) -> None:
        """Make room: forget counters whose period has ended, or else the oldest tenth."""
        over = [key for key, found in self._found.items() if found.is_over(time)]
        for key in over or list(self._found)[: MAX_COUNTERS // 10]:
            del self._found[key]


def name_of(budget: Budget) -> str:
    """Return the name of *budget* in metrics, without tenant and client."""
    parts = [f"USD per {budget.per}" if budget.per != "ever" else "USD ever"]
    if isinstance(budget, OwnBudget):
        parts.append("a client")
    elif budget.tenant:
        parts.append("a tenant")
    if budget.model:
        parts.append("a model" if budget.model == "*" else budget.model)
    if budget.then == "warn":
        parts.append("warns")
    return ", ".join(parts)


def _share(left: Left) -> float:
    return left.left / left.limit if left.limit else 0.0
