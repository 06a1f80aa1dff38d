"""The sums of every machine's ledger, side by side in the shared store.

Each machine has a ledger of its own and announces its sums day by day. They are worked out of the
ledger anew each time, so an announcement may be repeated or lost and nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import astuple

from argo_mw.plugin import Context, NotEncodable, SharedUnavailable, TimeLimitExceeded, fail_at
from argo_mw_llm.ledger import Totals, totals

_PREFIX = "argo:llm:sums:"
_DAY = 86_400.0
_KEPT = 400 * _DAY
_EVERY = 10.0
_TIMEOUT = 1.0


class SharedTotals:
    """Announces this machine's sums, and reads those of the others.

    Args:
        context: Where the store is.
        path: This machine's ledger.
    """

    def __init__(self, context: Context, path: Path) -> None:
        self._context = context
        self._path = path
        self._announced = context.clock.monotonic()
        self._behind = False

    async def announce(self) -> None:
        """Tell the sums of today and yesterday, unless that was done a moment ago.

        A store that is away is told the next time.
        """
        self._behind = not self._context.single_process
        if self._behind and self._context.clock.monotonic() >= self._announced + _EVERY:
            await self._announce()

    async def aclose(self) -> None:
        """Tell what has not been told."""
        if self._behind:
            await self._announce()

    async def _announce(self) -> None:
        clock = self._context.clock
        self._announced = clock.monotonic()
        self._behind = False
        try:
            number, found = await asyncio.to_thread(totals, self._path, clock.time() - _DAY)
            code = self._context.shared.set_many(self._encoded(number, found), ttl=_KEPT)
            await fail_at(code, clock.monotonic() + _TIMEOUT, clock)
        except (SharedUnavailable, TimeLimitExceeded):
            return
        except (NotEncodable, OSError, sqlite3.Error) as error:
            self._context.warn_once("llm costs", f"other machines are not told: {error}")

    async def others(self, since: float) -> list[Totals]:
        """What the ledgers of other machines add up to, from the day of *since* on.

        Raises:
            SharedUnavailable: The store is away.
        """
        number, _ = await asyncio.to_thread(totals, self._path, self._context.clock.time())
        first = _day(since)
        keys = [
            key
            for key in await self._context.shared.scan(_PREFIX)
            if (parts := key.removeprefix(_PREFIX).split(":"))[0] >= first and parts[-1] != number
        ]
        found: list[Totals] = []
        for key, data in zip(keys, await self._context.shared.get_many(keys), strict=True):
            told = None if data is None else self._context.codecs.decode(data, key)
            if isinstance(told, list):
                found += [Totals(*row) for row in told]
        return found

    def _encoded(self, number: str, found: Sequence[Totals]) -> dict[str, bytes]:
        days: dict[str, list[list[object]]] = {}
        for one in found:
            days.setdefault(one.day, []).append(list(astuple(one)))
        keys = {f"{_PREFIX}{day}:{number}": rows for day, rows in days.items()}
        return {key: self._context.codecs.encode(rows, key) for key, rows in keys.items()}


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
