"""Scenario: three instances of a service over a trading morning, and a restart of each.

The original service keeps answers in the memory of each instance. Behind the chain, ``cache`` keeps
them in a store that the instances share, for just as long, and ``coalesce`` makes one request of
what two of them ask at the same time.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from attrs import define, field, frozen

from argo_mw.plugin import Argo, Event, RequestSent, observe, observes
from argo_mw_compare.baseline import TTL, Baseline
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.scenarios.promise import Findings, Promise, Shown, at_most
from argo_mw_compare.scenarios.service import market_table, service
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import LATENCIES, REAL

_OPENS: Final = datetime(2013, 2, 25, 14, 30, tzinfo=UTC)
_OPERATIONS: Final = ("bars", "news")
_LAYERS: Final = ("cache", "coalesce")
_USUAL: Final = {name: {"median": LATENCIES[name][0]} for name in ("alpaca", "massive")}
_MEMORY_HITS: Final = 500
_TITLE: Final = "Shared cache: three instances over a trading morning, and a restart of each"

Side = Literal["before", "after"]


@define
class Seen:
    """What was seen of one service.

    Attributes:
        questions: Answers of vendors that the service wanted.
        hits: Those that were there already: no request was sent between question and answer.
        requests: Requests that the vendors counted.
        had: Questions of the first round after each restart that had a fresh answer before it, in
            the instance's memory or in the store.
        asked_again: Those of them that sent a request all the same.
        first_ms: Milliseconds that each of them took.
        memory_us: Microseconds of a question whose answer the instance has in memory.
        stored: Bytes of the shared store at the end; 0 without one.
        resident: Bytes of memory of the process, with all instances in it, after the first round of
            each and at the end; nothing where the system does not say.
    """

    questions: int = 0
    hits: int = 0
    requests: int = 0
    had: int = 0
    asked_again: int = 0
    first_ms: list[float] = field(factory=list)
    memory_us: float = 0.0
    stored: int = 0
    resident: list[int] = field(factory=list)

    @property
    def hit_rate(self) -> float:
        """The share of questions that were hits."""
        return self.hits / self.questions

    @property
    def asked_again_share(self) -> float | None:
        """The share of what was at hand before a restart that was asked of a vendor again."""
        return self.asked_again / self.had if self.had else None


@frozen
class SharedCache:
    """A trading morning.

    Attributes:
        symbols: The symbols.
        instances: How many instances there are.
        hours: Hours from the open on.
        every: Seconds from one round of an instance to its next, on average.
        seed: The seed of the moments of rounds, and of latencies.
    """

    name: Final[str] = "shared_cache"

    symbols: tuple[str, ...] = REAL
    instances: int = 3
    hours: float = 2.5
    every: float = 60.0
    seed: int = 0

    @property
    def given(self) -> Sequence[str]:
        """Its parameters, each in a sentence."""
        return (
            f"{self.instances} instances ask for the prices and the news of {len(self.symbols)} "
            f"symbols every {self.every:g} seconds on average, one instance after the other, for "
            f"{self.hours:g} hours from the open of {_OPENS:%d %B %Y}; idle times are skipped.\n"
            "Each instance is restarted once, before one of its rounds, and at the end all of them "
            "at once, as a deployment does.\n"
            f"Answers live for {TTL:g} seconds in both, so that only sharing makes a difference; "
            "the shared store is a SQLite file.\n"
            "A question is a vendor's answer that an instance wants, and a hit is one for which no "
            "request was sent: what the original's cache counted, in both.\n"
            "Vendors are the sandbox, which answers at its assumed median latencies in the rounds "
            "after a restart, and at once in the others; times are real."
        ).splitlines()

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original service."""
        return await self._run(folder, "before")

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain."""
        return await self._run(folder, "after")

    async def _run(self, folder: Path, side: Side) -> Seen:
        with Vendors({"now": _OPENS.isoformat(), "speed": 0.0, "seed": self.seed}) as vendors:
            morning = _Morning(self, folder, side, vendors)
            return await morning.run()

    def findings(self, before: Seen, after: Seen) -> Findings:
        """Return what came of the promises."""
        promises = (
            Promise(
                name="hit_rate",
                title="questions for which no request was sent",
                plan="40 % → 70 % and more",
                unit="",
                before=before.hit_rate,
                after=after.hit_rate,
                ours=after.hit_rate,
                bar=0.75,
                at_least=True,
            ),
            at_most(
                "requests_after_restart",
                "share of what was at hand before a restart, and is fresh, that is asked again",
                plan="persistent across deployments",
                bar=0.05,
                before=before.asked_again_share,
                after=after.asked_again_share,
            ),
            at_most(
                "time_after_restart",
                "a question after a restart whose answer was at hand before, median",
                plan="10 to 100 times faster",
                bar=0.1,
                before=_median(before.first_ms),
                after=_median(after.first_ms),
                unit="ms",
            ),
        )
        return Findings(self.name, _TITLE, self.given, promises, tuple(_shown(before, after)))


class _Morning:
    """One run of the morning."""

    def __init__(self, scenario: SharedCache, folder: Path, side: Side, vendors: Vendors) -> None:
        self._scenario = scenario
        self._folder = folder
        self._side = side
        self._vendors = vendors
        self._clock = WarpClock(_OPENS.timestamp(), 1.0)
        self._seen = Seen()
        self._argos: dict[int, Argo] = {}
        self._baselines: dict[int, Baseline] = {}
        self._sent = 0
        self._fetched: dict[tuple[int, str, str], float] = {}

    async def run(self) -> Seen:
        """Run it and return what was seen."""
        scenario, seen = self._scenario, self._seen
        length = scenario.hours * 3600
        step = scenario.every / scenario.instances
        restarts = {
            number: length * (number + 1) / (scenario.instances + 2)
            for number in range(scenario.instances)
        }
        drawn = random.Random(scenario.seed)
        try:
            for number in range(scenario.instances):
                await self._open(number)
            began = self._clock.monotonic()
            for turn in range(round(length / step)):
                number, at = turn % scenario.instances, (turn + drawn.random()) * step
                restarted = at >= restarts.get(number, length)
                if restarted:
                    del restarts[number]
                    await self._restart(number)
                await self._clock.skip(began + at, lambda: None)
                await self._round(number, restarted=restarted)
                if turn == scenario.instances - 1:
                    seen.resident += _resident()
            seen.resident += _resident()
            await asyncio.gather(*map(self._restart, range(scenario.instances)))
            for number in range(scenario.instances):
                await self._round(number, restarted=True)
            await self._time_memory()
        finally:
            for number in [*self._argos]:
                await self._close(number)
        seen.requests = sum(int(str(one["requests"])) for one in self._vendors.counts().values())
        store = self._folder / "shared.db"
        seen.stored = store.stat().st_size if store.exists() else 0
        return seen

    async def _round(self, number: int, *, restarted: bool) -> None:
        self._vendors.move_to(self._clock.time())
        if restarted:
            self._vendors.change({"latency": _USUAL})
        # One after the other, so that each request is the question's for which it was sent.
        for symbol in self._scenario.symbols:
            for operation in _OPERATIONS:
                await self._ask(number, operation, symbol, restarted=restarted)
        if restarted:
            self._vendors.change({"latency": {name: {"median": 0.0} for name in _USUAL}})

    async def _ask(self, number: int, operation: str, symbol: str, *, restarted: bool) -> None:
        seen, now, sent = self._seen, self._clock.monotonic(), self._sent
        had = restarted and self._had(number, operation, symbol, now)
        began = time.perf_counter()
        await self._argos[number].call(operation, symbol=symbol)
        taken = time.perf_counter() - began
        asked = self._sent > sent
        seen.questions += 1
        seen.hits += not asked
        if asked:
            self._fetched[self._owner(number), operation, symbol] = now
        if had:
            seen.had += 1
            seen.asked_again += asked
            seen.first_ms.append(1000 * taken)

    def _had(self, number: int, operation: str, symbol: str, now: float) -> bool:
        """Return whether the answer was at hand before the restart, and is fresh still."""
        fetched = self._fetched.get((self._owner(number), operation, symbol))
        return fetched is not None and now - fetched < TTL - 1

    def _owner(self, number: int) -> int:
        """Return whose answers instance *number* has at hand: its own, or those of all."""
        return number if self._side == "before" else -1

    async def _time_memory(self) -> None:
        argo, symbol = self._argos[0], self._scenario.symbols[0]
        began = time.perf_counter()
        for _ in range(_MEMORY_HITS):
            await argo.call("bars", symbol=symbol)
        self._seen.memory_us = 1e6 * (time.perf_counter() - began) / _MEMORY_HITS

    async def _restart(self, number: int) -> None:
        await self._close(number)
        await self._open(number)

    async def _open(self, number: int) -> None:
        folder = self._folder / f"instance-{number}"
        plugins: dict[str, object] = {}
        takes_part: tuple[str, ...] = ("market",)
        tables: dict[str, object] = {"market": market_table(self._vendors)}
        shared = "memory://"
        more: Mapping[str, object] = {}
        if self._side == "before":
            folder.mkdir(exist_ok=True)
            self._baselines[number] = Baseline(folder / "signals.db")
            plugins["baseline"] = self._baselines[number]
            more = {"upstreams": {"alpaca": {"max_batch": 1}}}
        else:
            takes_part += _LAYERS
            tables["cache"] = {"ttl": TTL}
            shared = f"sqlite:///{self._folder}/shared.db"
        argo = service(
            folder,
            takes_part,
            plugins=plugins,
            tables=tables,
            shared=shared,
            clock=self._clock,
            **more,
        )
        await argo.__aenter__()
        observe(argo, self._observe)
        self._argos[number] = argo

    async def _close(self, number: int) -> None:
        await self._argos.pop(number).aclose()
        if number in self._baselines:
            await self._baselines.pop(number).close()

    @observes(RequestSent)
    def _observe(self, event: Event) -> None:
        if isinstance(event, RequestSent):
            self._sent += 1


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    both = (before, after)
    yield Shown("the morning", "questions", *(f"{one.questions:,}" for one in both))
    yield Shown("the morning", "requests, by the vendors' counts", *(str(o.requests) for o in both))
    yield Shown(
        "after restarts", "questions whose answer was at hand before", *(str(o.had) for o in both)
    )
    yield Shown("after restarts", "of those, asked again", *(str(o.asked_again) for o in both))
    yield Shown("a hit in memory", "time", *(f"{one.memory_us:.1f} µs" for one in both))
    if all(len(one.resident) > 1 for one in both):
        grown = (one.resident[-1] - one.resident[0] for one in both)
        yield Shown(
            "memory",
            "growth of the process with all instances, from the first round to the last",
            *(f"{one / 2**20:+.1f} MB".replace("-", "−") for one in grown),
        )
    yield Shown("the shared store", "size", *(f"{one.stored / 1024:.0f} kB" for one in both))


def _resident() -> list[int]:
    """Return the bytes of memory of this process, where Linux says so."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return []
    return [pages * os.sysconf("SC_PAGE_SIZE")]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
