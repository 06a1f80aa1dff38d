"""Statistics: what was served, refused and found wrong, counted for the fleet by UTC day."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from argo_mw.plugin import Context
from argo_mw_similarity.shared_counts import SharedCounts

_PREFIX = "similarity:stats:"
_TTL = 90 * 86400.0
_MAX_NAME = 100
RIGHT, WRONG = "right:", "wrong:"
"""Prefixes of the names under which checked answers are counted; what made the two prompts
equivalent follows."""
NANO = 1e9
"""Counters hold whole numbers: US dollars are counted in billionths."""


class Stats:
    """Counts events under names such as ``served:the same text``, by day.

    Args:
        context: Where the store and the time come from.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts = SharedCounts(context, self._key, ttl=_TTL)
        self.close = self._counts.close

    def count(self, name: str, amount: int = 1) -> None:
        """Count *amount* more under *name*, today."""
        self._counts.count(name[:_MAX_NAME], amount)

    async def totals(self, days: int) -> Mapping[str, int]:
        """Return the counts of the fleet of today and the *days* before, by name.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        await self._counts.flush()
        wanted = set(self._days(days))
        keys = [
            key
            for key in await self._context.shared.scan(_PREFIX)
            if key.removeprefix(_PREFIX).partition(":")[0] in wanted
        ]
        return await self._sums(keys)

    async def sums(self, names: Iterable[str], days: int) -> Mapping[str, int]:
        """Return the same of *names* alone, without looking at every key of the store.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        await self._counts.flush()
        return await self._sums(
            [f"{_PREFIX}{day}:{name}" for name in names for day in self._days(days)]
        )

    async def _sums(self, keys: Sequence[str]) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for key, value in zip(keys, await self._context.shared.get_many(keys), strict=True):
            name = key.removeprefix(_PREFIX).partition(":")[2]
            with suppress(ValueError):
                found[name] += int(value or 0)
        return found

    def _days(self, days: int) -> list[str]:
        now = self._context.clock.time()
        return [_day(now - back * 86400.0) for back in range(days + 1)]

    def _key(self, name: str) -> str:
        return f"{_PREFIX}{_day(self._context.clock.time())}:{name}"


def _day(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d")
