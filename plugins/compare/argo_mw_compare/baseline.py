"""The baseline, the original service: a memory cache with a fixed TTL, and a commit per row."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from argo_mw.plugin import Call, Context, Layer, Next, Outcome, hookimpl
from argo_mw_compare.history import INSERT, row

NAME = "baseline"
LATEST = "SELECT * FROM signals WHERE symbol = ? ORDER BY timestamp DESC LIMIT 10"
TTL = 120.0
OFF_HOURS_TTL = 60.0
_OPEN, _CLOSE = timedelta(hours=14, minutes=30), timedelta(hours=21)


class Baseline:
    """The plugin that plays the original service, one for each instance."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: dict[str, tuple[float, Outcome]] = {}
        self._rows: sqlite3.Connection | None = None
        self.write_seconds: list[float] = []

    @hookimpl
    def register_layers(self, context: Context) -> Iterable[Layer]:
        """Return a cache of answers of upstreams, in the cache's slot."""
        self._context = context
        self._rows = sqlite3.connect(self._file)
        return [Layer(NAME, self, slot="cache")]

    async def close(self) -> None:
        """Close the file."""
        if self._rows is not None:
            self._rows.close()

    def find(self, call: Call) -> Outcome | None:
        """Return a kept answer that has not expired."""
        kept = self._kept.get(call.key)
        if kept is None or kept[0] <= self._context.clock.monotonic():
            return None
        return kept[1]

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return a new answer and keep it; write every signal as a row with its own commit."""
        outcome = await call_next(call)
        if call.operation.name == "signal":
            self._insert(call, outcome)
        elif call.operation.kind != "compute":
            ttl = TTL if _is_open(self._context.clock.time()) else OFF_HOURS_TTL
            hit = outcome.shaped_by(NAME).evolve(attempts=(), cost=type(outcome.cost)())
            self._kept[call.key] = (self._context.clock.monotonic() + ttl, hit)
        return outcome

    def _insert(self, call: Call, outcome: Outcome) -> None:
        assert self._rows is not None
        began = time.perf_counter()
        signal: Any = outcome.value
        now = self._context.clock.time()
        self._rows.execute(
            INSERT, row(call.subject, signal.action, signal.confidence, now, signal.price)
        )
        self._rows.commit()
        self.write_seconds.append(time.perf_counter() - began)

    def latest(self, symbol: str) -> Sequence[tuple[object, ...]]:
        """Return the last ten signals of *symbol*, over a new connection, without an index."""
        with closing(sqlite3.connect(self._file)) as fresh:
            return fresh.execute(LATEST, (symbol,)).fetchall()


def _is_open(now: float) -> bool:
    moment = datetime.fromtimestamp(now, UTC)
    since = timedelta(hours=moment.hour, minutes=moment.minute)
    return moment.weekday() < 5 and _OPEN <= since < _CLOSE
