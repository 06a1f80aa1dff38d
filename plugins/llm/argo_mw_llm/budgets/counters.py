"""Counters: the spending of one scope in one period, each dollar counted once.

Several budgets may count the same spending: one that warns before another refuses, one for each
tenant beside one for a certain tenant. They share a counter, to which a call adds once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from attrs import frozen

from argo_mw_llm.config import Budget
from argo_mw_llm.costs.families import family_of

PREFIX = "argo:llm:{budget}:"
"""The prefix of budget counters in the shared store; the braces put all of them in one place."""

OWN = "@"
"""The next part of the name, for counters of budgets that calls carry."""

NANO = 1_000_000_000
"""Units of a counter in a US dollar."""

DAY = 86_400.0
_MAX_NANOS = 2**52


@frozen
class OwnBudget(Budget):
    """A budget that calls carry, such as that of a client's key, for all models.

    Attributes:
        name: The name that calls of one budget share.
    """

    name: str = ""


@frozen
class Period:
    """The period of a budget in which a call is asked.

    Attributes:
        key: The counter in the shared store.
        began: When it began, in seconds since the epoch; 0.0 for one that never ends.
        ends: When the budget begins again, or ``None``.
        ttl: Seconds for which the counter is kept, or ``None``.
    """

    key: str
    began: float
    ends: float | None
    ttl: float | None


@frozen
class Counter:
    """A counter in the shared store.

    Attributes:
        period: Its period, with its key.
        refusing: The smallest of the budgets that refuse, or ``None``.
        warning: The budgets that only warn.
    """

    period: Period
    refusing: Budget | None
    warning: Sequence[Budget]

    @property
    def budgets(self) -> Sequence[Budget]:
        """The budgets that it counts for; the one that refuses comes first."""
        return self.warning if self.refusing is None else (self.refusing, *self.warning)

    @property
    def limit(self) -> int | None:
        """The largest value that it may have, or ``None``."""
        return None if self.refusing is None else limit_of(self.refusing)


def counters_of(budgets: Iterable[Budget], tenant: str, model: str, time: float) -> list[Counter]:
    """Return the counters of *budgets* for a call of *model* by *tenant* at *time*.

    Args:
        budgets: The budgets that apply to the call.
        tenant: The tenant of the call.
        model: The model that is asked.
        time: The time, in seconds since the epoch.
    """
    found: dict[str, tuple[Period, list[Budget]]] = {}
    for budget in budgets:
        period = period_of(budget, tenant, model, time)
        found.setdefault(period.key, (period, []))[1].append(budget)
    return [_counter(period, sharing) for period, sharing in found.values()]


def period_of(budget: Budget, tenant: str, model: str, time: float) -> Period:
    """Return the period of *budget* in which *tenant* asks *model* at *time*."""
    now = datetime.fromtimestamp(time, UTC)
    whose = tenant if budget.tenant == "*" else budget.tenant
    which = family_of(model if budget.model == "*" else budget.model)
    # With lengths, since tenants' names may contain separators.
    key = f"{PREFIX}{len(whose)}:{whose}:{which}"
    if isinstance(budget, OwnBudget):
        key = f"{PREFIX}{OWN}{len(budget.name)}:{budget.name}:"
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if budget.per == "day":
        began, ends, key = day, day + timedelta(days=1), f"{key}:{now:%Y-%m-%d}"
    elif budget.per == "month":
        began, key = day.replace(day=1), f"{key}:{now:%Y-%m}"
        ends = (began + timedelta(days=32)).replace(day=1)
    else:
        return Period(f"{key}:ever", 0.0, None, None)
    end = ends.timestamp()
    return Period(key, began.timestamp(), end, end - time + DAY)


def limit_of(budget: Budget) -> int:
    """Return the largest value that the counter of *budget* may have."""
    return round(budget.usd * NANO)


def nanos_of(usd: float) -> int:
    """Return *usd* in billionths, rounded up."""
    return min(_MAX_NANOS, math.ceil(round(usd * NANO, 3)))


def _counter(period: Period, sharing: Sequence[Budget]) -> Counter:
    refusing = [one for one in sharing if one.then == "refuse"]
    smallest = min(refusing, key=limit_of, default=None)
    return Counter(period, smallest, tuple(one for one in sharing if one.then == "warn"))
