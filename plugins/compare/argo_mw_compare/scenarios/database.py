"""Scenario: signals are written beside readers, over the rows of years.

The original service inserts and commits each signal on its event loop, and looks through the whole
table for the last ten of a symbol. Behind the chain, `persist` writes batches in a thread, and the
operation ``latest`` finds them by an index and keeps them until one is written.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from argo_mw.plugin import (
    Argo,
    ArgoError,
)
from argo_mw_compare.baseline import LATEST
from argo_mw_compare.history import INSERT, TABLE, earlier_signals, row
from argo_mw_compare.scenarios.crash import Killed, killed
from argo_mw_compare.scenarios.given_signals import Desk, GivenSignal, fill
from argo_mw_compare.scenarios.promise import Findings, Promise, Shown, at_most
from argo_mw_compare.scenarios.service import service

_LAYERS: Final = ("cache", "coalesce", "persist", "signals")
_UNTIL: Final = 1_700_000_000.0
_WAL: Final = "PRAGMA journal_mode=WAL"

Write = Callable[[int], Awaitable[None]]
Read = Callable[[str], Awaitable[int]]


@define
class Seen:
    """What was seen of one service.

    Attributes:
        writes: Seconds for which each signal's caller waited, by signals a second.
        unrecorded: The same of calls that record nothing; nothing, where callers wait for the
            write alone.
        reads: Seconds of each question for the last ten signals, by signals a second.
        burst: Seconds until every signal of the burst was safe.
        burst_rows: How many signals that were.
        unrecorded_burst: Seconds that as many calls take which record nothing, where there are any.
        lost_to_lock: Signals that were not kept while another program held the database.
        held: The longest time in seconds for which the event loop was held meanwhile.
        stored: Rows in the file at the end.
        expected: Rows that should be there.
        crash: What a killed process lost.
    """

    writes: dict[int, list[float]] = field(factory=dict)
    unrecorded: dict[int, list[float]] = field(factory=dict)
    reads: dict[int, list[float]] = field(factory=dict)
    burst: float = 0.0
    burst_rows: int = 0
    unrecorded_burst: float = 0.0
    lost_to_lock: int = 0
    held: float = 0.0
    stored: int = 0
    expected: int = 0
    crash: Killed = field(factory=lambda: Killed(0, 0, 0))

    def write_ms(self, *rates: int) -> float:
        """Mean milliseconds that a caller waits for its write, over *rates*; over all by default.

        That is what its call takes beyond one that records nothing.
        """
        with_it, without = (
            _mean_ms([one for rate in rates or self.writes for one in several.get(rate, ())])
            for several in (self.writes, self.unrecorded)
        )
        return max(0.0, with_it - without)

    @property
    def read_ms(self) -> float:
        """Mean milliseconds of a question, over all rates."""
        return _mean_ms([one for several in self.reads.values() for one in several])


@frozen
class Database:
    """Writes at several rates beside readers.

    Attributes:
        rows: Signals in the file at the start.
        rates: Signals a second, one phase for each.
        seconds: Seconds of each phase.
        reads: Questions for a symbol's last ten signals a second.
        symbols: How many symbols there are.
        burst: Signals that are given at once.
        patience: Seconds that the original waits for a held database, sqlite3's default.
        locked: Seconds for which another program holds the database.
        locked_signals: Signals that are given meanwhile, one after the other.
    """

    name: Final[str] = "database"

    rows: int = 1_000_000
    rates: tuple[int, ...] = (1, 50, 1000)
    seconds: float = 4.0
    reads: float = 2.0
    symbols: int = 50
    burst: int = 1000
    patience: float = 5.0
    locked: float = 6.0
    locked_signals: int = 20

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols."""
        return tuple(f"SYN{number:03d}" for number in range(1, self.symbols + 1))

    @property
    def given(self) -> Sequence[str]:
        """Its parameters, each in a sentence."""
        rates = ", ".join(f"{rate:,}" for rate in self.rates)
        return (
            f"SQLite in WAL mode, which the plan has already, with {self.rows:,} signals of "
            f"{self.symbols} symbols; every commit reaches the disk in both.\n"
            f"{rates} signals a second, {self.seconds:g} seconds each, beside {self.reads:g} "
            "questions a second for a symbol's last ten; all times are real.\n"
            "The original commits each signal on its event loop, and its table has no index that "
            "serves the question: the plan's own 50 to 100 ms say so.\n"
            "A write takes what its caller waits for it: the insert and the commit on the loop of "
            "the original; behind the chain what a call takes beyond the same call of an "
            "application that records nothing, at the same rates and beside the same questions. "
            "The whole call stands beside it."
            "\n"
            f"Another program then holds the database for {self.locked:g} seconds, longer than "
            "sqlite3 waits by default."
        ).splitlines()

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original service."""
        path = folder / "signals.db"
        with closing(sqlite3.connect(path, timeout=self.patience)) as rows:
            rows.execute(_WAL)
            with rows:
                rows.execute(TABLE)
                rows.executemany(INSERT, earlier_signals(self.names, self.rows, _UNTIL))
            drawn = random.Random(1)

            async def write(number: int) -> None:
                cells = row(*self.given_signal(number, drawn))
                with rows:
                    rows.execute(INSERT, cells)

            async def read(symbol: str) -> int:
                return len(rows.execute(LATEST, (symbol,)).fetchall())

            async def many(numbers: Iterable[int]) -> None:
                for number in numbers:
                    await write(number)
                    await asyncio.sleep(0)

            seen = await self._run(path, write, read, many, sqlite3.OperationalError)
            [(seen.stored,)] = rows.execute("SELECT count(*) FROM signals").fetchall()
        seen.crash = await asyncio.to_thread(killed, "original", folder / "killed")
        return seen

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain."""
        state, path = folder / "state", folder / "persist.db"
        tables = {"persist": {"url": f"sqlite:///{path}"}}
        async with service(state, _LAYERS, plugins={}, tables=tables):
            pass  # The tables are made.
        fill(path, self.names, self.rows, _UNTIL)
        desk = Desk(self.given_signal)
        async with service(state, _LAYERS, plugins={"desk": desk}, tables=tables) as argo:
            seen = await self._after(argo, path)
        flags = {"persist": "off"}
        desk = Desk(self.given_signal)
        async with service(
            state, _LAYERS, plugins={"desk": desk}, tables=tables, flags=flags
        ) as argo:
            seen.unrecorded, seen.unrecorded_burst = await self._unrecorded(argo)
        seen.crash = await asyncio.to_thread(killed, "chained", folder / "killed")
        return seen

    async def _unrecorded(self, argo: Argo) -> tuple[dict[int, list[float]], float]:
        """Return what callers wait for calls that record nothing, beside as many questions.

        Returns:
            Seconds of each call by signals a second, and those of a burst of calls.
        """
        # Like the recorded calls, whose receipts are awaited.
        caller = argo.options(extensions={"persist.receipts": []})

        async def write(number: int) -> None:
            await caller.call("given_signal", number=number)

        # No write outdates kept answers here, so kept ones are not used.
        reader = argo.options(refresh=True)

        async def read(symbol: str) -> int:
            newest: Any = await reader.call("latest", symbol=symbol)
            return len(newest)

        numbers = iter(range(10 * self.rows + 1_000_000))
        await write(next(numbers))
        await read(self.names[0])
        shorter = evolve(self, seconds=self.seconds / 2)
        found = {}
        for rate in self.rates:
            writing = asyncio.create_task(shorter._write_at(rate, write, numbers))
            await shorter._read_until(writing, read)
            found[rate] = writing.result()
        began = time.perf_counter()
        await asyncio.gather(*(write(next(numbers)) for _ in range(self.burst)))
        return found, time.perf_counter() - began

    async def _after(self, argo: Argo, path: Path) -> Seen:
        receipts: list[Awaitable[str]] = []
        caller = argo.options(extensions={"persist.receipts": receipts})

        async def write(number: int) -> None:
            await caller.call("given_signal", number=number)

        async def read(symbol: str) -> int:
            newest: Any = await argo.call("latest", symbol=symbol)
            return len(newest)

        async def many(numbers: Iterable[int]) -> None:
            given = len(receipts)
            await asyncio.gather(*map(write, numbers))
            await asyncio.gather(*receipts[given:])

        seen = await self._run(path, write, read, many, ArgoError)
        refused = await asyncio.gather(*receipts, return_exceptions=True)
        seen.lost_to_lock += sum(isinstance(one, Exception) for one in refused)
        with closing(sqlite3.connect(path)) as rows:
            [(seen.stored,)] = rows.execute("SELECT count(*) FROM signals").fetchall()
        return seen

    async def _run(
        self,
        path: Path,
        write: Write,
        read: Read,
        many: Callable[[Iterable[int]], Awaitable[None]],
        refused: type[Exception],
    ) -> Seen:
        seen = Seen(burst_rows=self.burst)
        numbers = iter(range(self.rows, 10 * self.rows + 100_000))
        await write(next(numbers))  # The first one also opens connections, so it is not counted.
        await read(self.names[0])
        for rate in self.rates:
            writing = asyncio.create_task(self._write_at(rate, write, numbers))
            seen.reads[rate] = await self._read_until(writing, read)
            seen.writes[rate] = writing.result()
        began = time.perf_counter()
        await many([next(numbers) for _ in range(self.burst)])
        seen.burst = time.perf_counter() - began
        seen.lost_to_lock, seen.held = await self._locked(path, write, numbers, refused)
        written = sum(map(len, seen.writes.values()))
        seen.expected = self.rows + 1 + written + self.burst + self.locked_signals
        return seen

    async def _write_at(self, rate: int, write: Write, numbers: Iterator[int]) -> list[float]:
        began = time.perf_counter()
        taken = []
        for count in range(max(1, round(rate * self.seconds))):
            await asyncio.sleep(max(0.0, began + count / rate - time.perf_counter()))
            started = time.perf_counter()
            await write(next(numbers))
            taken.append(time.perf_counter() - started)
        # A slow rate has few signals, and its readers go on until its time is over.
        await asyncio.sleep(max(0.0, began + self.seconds - time.perf_counter()))
        return taken

    async def _read_until(self, writing: asyncio.Task[list[float]], read: Read) -> list[float]:
        taken: list[float] = []
        while not writing.done():
            started = time.perf_counter()
            await read(self.names[len(taken) % len(self.names)])
            taken.append(time.perf_counter() - started)
            await asyncio.wait([writing], timeout=1 / self.reads)
        return taken

    async def _locked(
        self, path: Path, write: Write, numbers: Iterator[int], refused: type[Exception]
    ) -> tuple[int, float]:
        """Write while another program holds the database: signals that were lost, longest hold."""
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                held.set()
                done.wait(self.locked)
                other.execute("ROLLBACK")

        holder = asyncio.create_task(asyncio.to_thread(hold))
        await asyncio.to_thread(held.wait)
        beat = asyncio.create_task(_longest_pause())
        await asyncio.sleep(0)  # It has begun before the loop is held.
        lost = 0
        try:
            for _ in range(self.locked_signals):
                try:
                    await write(next(numbers))
                except refused:
                    lost += 1
                await asyncio.sleep(0)
        finally:
            await holder
            beat.cancel()
        return lost, await beat

    def given_signal(self, number: int, drawn: random.Random) -> GivenSignal:
        """Return the signal *number*, at the present time."""
        action = drawn.choice(("BUY", "SELL", "HOLD"))
        confidence = round(drawn.uniform(0.3, 0.9), 3)
        symbol = self.names[number % len(self.names)]
        return symbol, action, confidence, time.time(), round(drawn.uniform(20, 400), 2)

    def findings(self, before: Seen, after: Seen) -> Findings:
        """Return what came of the promises."""
        promises = (
            at_most(
                "write_time",
                "what a signal's caller waits for its write, mean of all signals",
                plan="−50 to −70 % write time",
                bar=0.1,
                before=before.write_ms(),
                after=after.write_ms(),
                unit="ms",
            ),
            at_most(
                "safe_time",
                f"until a burst of {self.burst:,} signals is safe on disk",
                plan="−50 to −70 % write time",
                bar=0.5,
                before=1000 * before.burst,
                after=1000 * after.burst,
                unit="ms",
            ),
            at_most(
                "query_time",
                "a symbol's last ten signals, mean of all rates",
                plan="−80 to −90 % query time, 50 to 100 ms → 5 to 15 ms",
                bar=0.1,
                before=before.read_ms,
                after=after.read_ms,
                unit="ms",
            ),
            _none(
                "lost",
                "signals that are not in the file at the end",
                "reduced database locks",
                *(one.expected - one.stored for one in (before, after)),
            ),
            _none(
                "lost_in_crash",
                "acknowledged signals that a killed process loses",
                "-",
                *(one.crash.safe_lost for one in (before, after)),
            ),
        )
        return Findings(self.name, _TITLE, self.given, promises, tuple(_shown(before, after)))


_TITLE = "Database: what a write and a question for the last signals take"


def _none(name: str, title: str, plan: str, before: float, after: float) -> Promise:
    """Return a promise that nothing is lost."""
    counts = {"before": float(before), "after": float(after), "ours": float(after), "bar": 0.0}
    return Promise(name=name, title=title, plan=plan, unit="", at_least=False, **counts)


async def _longest_pause() -> float:
    """Return, once cancelled, the longest pause of the event loop in seconds."""
    longest, last = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return max(longest, time.perf_counter() - last)


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    for rate in before.writes:
        phase = f"{rate:,} signals a second"
        yield Shown(phase, "a write", *(f"{s.write_ms(rate):.3f} ms" for s in (before, after)))
        medians = (f"{_median_write_ms(s, rate):.3f} ms" for s in (before, after))
        yield Shown(phase, "a write, by medians", *medians)
        yield Shown(
            phase,
            "the whole call, mean",
            *(f"{_mean_ms(s.writes[rate]):.3f} ms" for s in (before, after)),
        )
        yield Shown(
            phase,
            "the whole call, 99th percentile",
            *(f"{_p99_ms(s.writes[rate]):.2f} ms" for s in (before, after)),
        )
        yield Shown(
            phase, "a question", *(f"{_mean_ms(s.reads[rate]):.2f} ms" for s in (before, after))
        )
    taken = f"{1000 * after.unrecorded_burst:.0f} ms"
    yield Shown("a burst", "the same calls, which record nothing", "-", taken)
    yield Shown("a held database", "signals lost", *(str(s.lost_to_lock) for s in (before, after)))
    yield Shown(
        "a held database", "longest hold of the loop", *(f"{s.held:.2f} s" for s in (before, after))
    )
    for title, name in (
        ("signals that callers had", "given"),
        ("of those, not in the file", "lost"),
    ):
        yield Shown(
            "a killed process", title, *(str(getattr(s.crash, name)) for s in (before, after))
        )


def _median_write_ms(seen: Seen, rate: int) -> float:
    """Return what a write adds to a call by the medians, which no pause of the machine moves."""
    with_it, without = seen.writes[rate], seen.unrecorded.get(rate) or [0.0]
    return 1000 * max(0.0, statistics.median(with_it) - statistics.median(without))


def _mean_ms(seconds: Sequence[float]) -> float:
    return 1000 * statistics.fmean(seconds) if seconds else 0.0


def _p99_ms(seconds: Sequence[float]) -> float:
    return 1000 * sorted(seconds)[int(0.99 * (len(seconds) - 1))] if seconds else 0.0
