"""Scenario: a week of prices, with a calm session, a stormy one, nights and a week-end.

The original service keeps a price for 120 seconds while the market is open and for 60 while it is
closed. Behind the chain, ``adaptive_ttl`` keeps it for as long as its expected error allows.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from argo_mw.plugin import AnyOperation, Argo, Call, Outcome, Upstream, hookimpl, operation
from argo_mw_compare.baseline import TTL, Baseline
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.scenarios.fixed_life import error_at, life_for
from argo_mw_compare.scenarios.prices import Prices, read_prices
from argo_mw_compare.scenarios.promise import Findings, Shown, at_most
from argo_mw_compare.scenarios.service import service
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import REAL

if TYPE_CHECKING:
    import pandas as pd

_MONDAY: Final = datetime(2013, 2, 25, tzinfo=UTC)
_OPENS: Final = timedelta(hours=14, minutes=30)
_CLOSES: Final = timedelta(hours=21)
_DAY: Final = 86_400.0
_LAYERS: Final = ("adaptive_ttl", "cache", "coalesce")
_STILL: Final = 1e-6
"""The speed of the clock: real seconds hardly count, and a week passes by skips."""
_TITLE: Final = "Adaptive life: what prices cost over a week, and how old they are"


@define
class Tally:
    """What came of one phase.

    Attributes:
        requests: Requests that the vendor received.
        squares: The squared error of each read, in basis points.
    """

    requests: int = 0
    squares: list[float] = field(factory=list)

    @property
    def error_bp(self) -> float:
        """The root mean square error of its reads, in basis points."""
        return math.sqrt(math.fsum(self.squares) / len(self.squares)) if self.squares else 0.0


@define
class Seen:
    """What was seen of one service.

    Attributes:
        phases: What came of each phase.
        prices: The prices of the week.
    """

    phases: Mapping[str, Tally]
    prices: Sequence[Prices]

    @property
    def total(self) -> Tally:
        """All phases together."""
        several = self.phases.values()
        return Tally(
            sum(one.requests for one in several), [two for one in several for two in one.squares]
        )


@frozen
class AdaptiveLife:
    """A week of reads on a simulated clock.

    Attributes:
        symbols: The symbols.
        days: Days from Monday on; the last two of a week are the week-end.
        every: Seconds from one read of a symbol to the next.
        seed: The seed of the moments at which symbols are read, and of drawn minutes.
    """

    name: Final[str] = "adaptive_life"

    symbols: tuple[str, ...] = REAL
    days: int = 7
    every: float = 60.0
    seed: int = 0

    @property
    def given(self) -> Sequence[str]:
        """Its parameters, each in a sentence."""
        return (
            f"{len(self.symbols)} symbols, each read every {self.every:g} seconds, for "
            f"{self.days} days from Monday, {_MONDAY:%d %B %Y}, on a simulated clock.\n"
            "Prices are the sandbox's, real days with drawn minutes, which a vendor in the process "
            "answers: each fetch is one request in both.\n"
            "The original keeps a price for 120 seconds, and for 60 off hours. `adaptive_ttl` "
            "starts with nothing learned; its `error_bp` is the error that 120 seconds have in the "
            "sessions, so that it aims at prices that are no staler.\n"
            "The calm session is the one of the five in which prices ranged least, the storm the "
            "one in which they ranged most.\n"
            "The error is that of every price that was read, against the newest complete minute, "
            "root mean square; while the market is closed it is near zero in both."
        ).splitlines()

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original service."""
        old = Baseline(folder / "signals.db")
        prices = await asyncio.to_thread(self._prices)
        seen = await self._run(folder, prices, (), {"baseline": old}, {})
        await old.close()
        return seen

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain."""
        prices = await asyncio.to_thread(self._prices)
        budget = round(error_at(self._session_reads(prices), TTL), 1)
        tables = {"adaptive_ttl": {"error_budget": {"error_bp": budget}}}
        return await self._run(folder, prices, _LAYERS, {}, tables)

    async def _run(
        self,
        folder: Path,
        prices: Sequence[Prices],
        takes_part: Sequence[str],
        plugins: Mapping[str, object],
        tables: Mapping[str, object],
    ) -> Seen:
        clock = WarpClock(_MONDAY.timestamp(), _STILL)
        phases: defaultdict[str, Tally] = defaultdict(Tally)
        names = self._phase_names(prices)
        vendor = _Vendor(clock, prices, lambda: phases[names.at(clock.time())])
        own = {**plugins, "vendor": vendor}
        argo = service(folder / "state", takes_part, plugins=own, tables=tables, clock=clock)
        async with argo:
            for at, one in self._reads(prices):
                await clock.skip(clock.monotonic() + at - clock.time(), lambda: None)
                await self._read(argo, clock, one, phases[names.at(at)])
        return Seen(dict(phases), prices)

    async def _read(self, argo: Argo, clock: WarpClock, prices: Prices, tally: Tally) -> None:
        frame: Any = await argo.call("closes", symbol=prices.symbol)
        error = 10_000 * (float(frame["close"].iat[-1]) / prices.at(clock.time()) - 1)
        tally.squares.append(error * error)

    def _prices(self) -> list[Prices]:
        end = _MONDAY.timestamp() + self.days * _DAY
        now = datetime.fromtimestamp(end, UTC).isoformat()
        with Vendors({"now": now, "speed": 0.0, "seed": self.seed}) as vendors:
            start = (_MONDAY - timedelta(days=5)).timestamp()
            return read_prices(vendors, self.symbols, start, end)

    def _reads(self, prices: Sequence[Prices]) -> list[tuple[float, Prices]]:
        drawn = random.Random(self.seed)
        count = round(self.days * _DAY / self.every)
        reads = [
            (_MONDAY.timestamp() + (turn + drawn.random()) * self.every, one)
            for turn in range(count)
            for one in prices
        ]
        return sorted(reads, key=lambda read: read[0])

    def _phase_names(self, prices: Sequence[Prices]) -> _PhaseNames:
        ranges = {
            session: math.fsum(one.day_range(*session) for one in prices)
            for session in _sessions(self.days)
        }
        calm, storm = min(ranges, key=ranges.__getitem__), max(ranges, key=ranges.__getitem__)
        return _PhaseNames(tuple(ranges), calm, storm)

    def findings(self, before: Seen, after: Seen) -> Findings:
        """Return what came of the promises."""
        old, new = before.total, after.total
        promises = (
            at_most(
                "requests",
                "requests, the whole week",
                plan="−70 to −85 % API calls",
                bar=0.2,
                before=old.requests,
                after=new.requests,
            ),
            at_most(
                "error",
                "error of the prices read, the whole week",
                plan="better freshness in high volatility",
                bar=1.0,
                before=old.error_bp,
                after=new.error_bp,
                unit="bp",
            ),
            at_most(
                "error_at_equal_requests",
                "error in the sessions, against a fixed life that asks as often",
                plan="-",
                bar=1.0,
                before=self._fixed_error(after),
                after=_sessions_of(after).error_bp,
                unit="bp",
            ),
        )
        shown, said = tuple(_shown(before, after)), tuple(_said(before, after))
        return Findings(self.name, _TITLE, self.given, promises, shown, said=said)

    def _fixed_error(self, after: Seen) -> float:
        """Return the error in bp of a fixed life with as many requests in the sessions."""
        reads = self._session_reads(after.prices)
        return error_at(reads, life_for(reads, _sessions_of(after).requests))

    def _session_reads(self, prices: Sequence[Prices]) -> list[tuple[float, Prices]]:
        sessions = _sessions(self.days)
        return [
            (at, one)
            for at, one in self._reads(prices)
            if any(start <= at < end for start, end in sessions)
        ]


@frozen
class _PhaseNames:
    """The phase that a moment belongs to."""

    sessions: Sequence[tuple[float, float]]
    calm: tuple[float, float]
    storm: tuple[float, float]

    def at(self, now: float) -> str:
        if datetime.fromtimestamp(now, UTC).weekday() >= 5 or now >= self._friday:
            return "week-end"
        session = next((one for one in self.sessions if one[0] <= now < one[1]), None)
        if session is None:
            return "closed market"
        if session == self.calm:
            return "calm session"
        return "storm" if session == self.storm else "other sessions"

    @property
    def _friday(self) -> float:
        return (_MONDAY + timedelta(days=4) + _CLOSES).timestamp()


_OPEN_PHASES = ("calm session", "other sessions", "storm")


class _Vendor:
    """The plugin that answers prices, and counts what it is asked."""

    def __init__(
        self, clock: WarpClock, prices: Sequence[Prices], tally: Callable[[], Tally]
    ) -> None:
        self._clock = clock
        self._prices = {one.symbol: one for one in prices}
        self._tally = tally

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """Return the data type of prices."""
        return ["market_data"]

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return the operation."""

        @operation(data_type="market_data", subject="symbol")
        def closes(symbol: str) -> pd.DataFrame:
            """The last minutes of a symbol."""
            raise AssertionError

        return [closes]

    @hookimpl
    def register_upstreams(self) -> Iterable[Upstream]:
        """Return the vendor."""
        return [Upstream("vendor", ["closes"], self._fetch)]

    async def _fetch(self, call: Call) -> Outcome:
        self._tally().requests += 1
        return Outcome(self._prices[call.subject].answer(self._clock.time()))


def _sessions(days: int) -> list[tuple[float, float]]:
    """Return when each session of the week opens and closes, in seconds since the epoch."""
    mondays = [_MONDAY + timedelta(days=day) for day in range(min(days, 5))]
    return [((day + _OPENS).timestamp(), (day + _CLOSES).timestamp()) for day in mondays]


def _sessions_of(seen: Seen) -> Tally:
    several = [seen.phases[name] for name in _OPEN_PHASES if name in seen.phases]
    return Seen({str(number): one for number, one in enumerate(several)}, ()).total


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    for phase in (*_OPEN_PHASES, "closed market", "week-end"):
        sides = [seen.phases.get(phase) for seen in (before, after)]
        if None in sides:
            continue
        tallies = [one for one in sides if one is not None]
        yield from _requests_and_error(phase, tallies)
    yield from _requests_and_error("all sessions", [_sessions_of(one) for one in (before, after)])


def _requests_and_error(phase: str, tallies: Sequence[Tally]) -> Iterator[Shown]:
    yield Shown(phase, "requests", *(f"{one.requests:,}" for one in tallies))
    yield Shown(phase, "error", *(f"{one.error_bp:.2f} bp" for one in tallies))


def _said(before: Seen, after: Seen) -> Iterator[str]:
    """Yield where requests are saved, and where prices are staler than the original's."""
    old, new = _sessions_of(before), _sessions_of(after)
    if not old.requests:
        return
    requests, error = new.requests / old.requests, new.error_bp / old.error_bp
    closed = before.total.requests - old.requests, after.total.requests - new.requests
    yield (
        f"In the sessions together: {requests:.2f} × the requests at {error:.2f} × the error. "
        f"While the market is closed, which is most of a week: {closed[1]:,} requests instead of "
        f"{closed[0]:,}."
    )
    for phase in _OPEN_PHASES:
        sides = [seen.phases[phase].error_bp for seen in (before, after) if phase in seen.phases]
        if len(sides) == 2 and sides[1] > sides[0]:
            errors = f"{sides[1]:.2f} bp instead of {sides[0]:.2f}"
            yield f"Staler than the original's: {phase}, {errors}."
