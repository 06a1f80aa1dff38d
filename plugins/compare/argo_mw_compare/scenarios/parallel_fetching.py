"""Scenario: signals that must ask, while vendors have slow tails, one fails and a model is silent.

The original service asks for prices, for news and for the opinion of each of three models, one
after the other. Behind the chain, ``race`` takes the first of the models that answers, and
``coalesce`` makes one request of what many ask for at once, over three instances.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from argo_mw.plugin import Argo, ArgoError
from argo_mw_compare.baseline import Baseline
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.scenarios.promise import Findings, Promise, Shown, at_most
from argo_mw_compare.scenarios.service import KEY, market_table, service
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import LATENCIES, START

_MODELS: Final = {"glm": "glm-5.3", "deepseek": "deepseek-v4-pro", "qwen": "qwen3.8-max"}
_SILENT: Final = "deepseek"
_FAILING: Final = "alpaca"
_LAYERS: Final = ("cache", "coalesce", "race")
_FOR_EACH: Final = 2 + len(_MODELS)
"""Requests that one signal needs: prices, news, and each model."""
_Ask = Callable[[Argo, str], Awaitable[str]]
"""Asks for the signal of a symbol; returns why there is none, or "" where there is one."""
_BURSTS: Final = "bursts"
_BETWEEN: Final = 90.0
"""Seconds between phases: longer than the minute of a quota, and than a breaker is open."""
_TITLE: Final = "Parallel fetching: signals that must ask, and bursts of callers"


@define
class Seen:
    """What was seen of one service.

    Attributes:
        seconds: Real seconds of each signal that had to ask and was answered, by phase.
        failed: Why signals got no prices or no opinion, by phase; each signal once.
        burst_requests: Requests that the vendors counted in the bursts.
        burst_seconds: Real seconds that each caller of a burst waited who got an answer.
        without: What was seen of the chain without one of its layers, by layer.
    """

    seconds: dict[str, list[float]] = field(factory=dict)
    failed: dict[str, list[str]] = field(factory=dict)
    burst_requests: int = 0
    burst_seconds: list[float] = field(factory=list)
    without: dict[str, Seen] = field(factory=dict)

    @property
    def mean(self) -> float | None:
        """Mean seconds of a signal that was answered, over all phases."""
        known = [one for several in self.seconds.values() for one in several]
        return statistics.fmean(known) if known else None

    @property
    def unanswered(self) -> list[str]:
        """Why signals got no answer, over all phases and the bursts."""
        return [why for several in self.failed.values() for why in several]


@frozen
class ParallelFetching:
    """Cold signals in three phases, then bursts; all times are real.

    Attributes:
        symbols: Symbols of each phase, which are asked for at once.
        burst_symbols: Symbols of the bursts, one after the other.
        callers: Callers of each burst, over all instances.
        instances: How many instances there are.
        patience: Seconds after which the original gives a model up.
        speed: How much faster than assumed the vendors answer.
        seed: The seed of latencies.
    """

    name: Final[str] = "parallel_fetching"

    symbols: int = 8
    burst_symbols: int = 4
    callers: int = 20
    instances: int = 3
    patience: float = 5.0
    speed: float = 1.0
    seed: int = 0

    @property
    def given(self) -> Sequence[str]:
        """Its parameters, each in a sentence."""
        return (
            f"{self.symbols} symbols that nothing is known of are asked for at once, in each of "
            "three phases: all is well, the first vendor of prices fails, one model of three "
            "is silent.\n"
            "A signal needs prices, then news and the opinion of a model. The original asks one "
            "after the other, the three models too, as the plan says; the chain asks for news and "
            "opinion at once, and the models by the strategy `race`: the first that answers is "
            "taken, where the original waits for all three.\n"
            f"The original gives a model up after {self.patience:g} seconds.\n"
            f"Then {self.callers} callers over {self.instances} instances ask for the same symbol "
            f"at once, for {self.burst_symbols} symbols one after the other. Requests beyond "
            f"{_FOR_EACH} a symbol are redundant, by the vendors' counts.\n"
            "Vendors are the sandbox with its assumed latencies, slow tails included, and their "
            f"quotas; all times are real, but that {_BETWEEN:g} seconds are skipped between phases."
        ).splitlines()

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original service."""
        clock = _clock()
        with self._vendors() as vendors:
            async with AsyncExitStack() as stack:
                instances = [
                    await stack.enter_async_context(self._original(folder, number, vendors, clock))
                    for number in range(self.instances)
                ]
                run = _Run(self, vendors, clock, instances, self._in_turn)
                return await run.run(phases=True, bursts=True)

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain, and without each of two layers."""
        seen = await self._after(folder / "all", _LAYERS, phases=True, bursts=True)
        for left_out, phases in (("race", True), ("coalesce", False)):
            layers = [one for one in _LAYERS if one != left_out]
            own = folder / f"without-{left_out}"
            seen.without[left_out] = await self._after(
                own, layers, phases=phases, bursts=not phases
            )
        return seen

    async def _after(
        self, folder: Path, layers: Sequence[str], *, phases: bool, bursts: bool
    ) -> Seen:
        folder.mkdir(mode=0o700)
        clock = _clock()
        with self._vendors() as vendors:
            async with AsyncExitStack() as stack:
                chained = (
                    self._chained(folder, number, vendors, clock, layers)
                    for number in range(self.instances)
                )
                instances = [await stack.enter_async_context(one) for one in chained]
                run = _Run(self, vendors, clock, instances, self._at_once)
                return await run.run(phases=phases, bursts=bursts)

    async def _in_turn(self, argo: Argo, symbol: str) -> str:
        """Ask as the original does."""
        asking = argo.options(timeout=self.patience / self.speed)
        unpriced = await _failure(argo.call("bars", symbol=symbol))
        await _failure(argo.call("news", symbol=symbol))
        unheard = [
            await _failure(asking.call("complete", messages=_prompt(symbol), model=model))
            for model in _MODELS.values()
        ]
        return unpriced or (unheard[0] if all(unheard) else "")

    async def _at_once(self, argo: Argo, symbol: str) -> str:
        """Ask as a program behind the chain can."""
        unpriced = await _failure(argo.call("bars", symbol=symbol))
        _, unheard = await asyncio.gather(
            _failure(argo.call("news", symbol=symbol)),
            _failure(argo.call("complete", messages=_prompt(symbol))),
        )
        return unpriced or unheard

    def _vendors(self) -> Vendors:
        latency = {
            name: {
                "median": LATENCIES[name][0] / self.speed,
                "sigma": LATENCIES[name][1],
                "stall_share": LATENCIES[name][2],
                "stall": LATENCIES[name][3] / self.speed,
            }
            for name in ("alpaca", "massive", *_MODELS)
        }
        now = START.isoformat()
        return Vendors({"now": now, "speed": 1.0, "seed": self.seed, "latency": latency})

    @asynccontextmanager
    async def _original(
        self, folder: Path, number: int, vendors: Vendors, clock: WarpClock
    ) -> AsyncIterator[Argo]:
        state = folder / f"instance-{number}"
        state.mkdir()
        old = Baseline(state / "signals.db")
        tables = {"market": market_table(vendors), "llm": _llm_table(vendors)}
        async with service(
            state,
            ("llm", "market"),
            plugins={"baseline": old},
            tables=tables,
            clock=clock,
            upstreams={"alpaca": {"max_batch": 1}},
        ) as argo:
            yield argo
        await old.close()

    @asynccontextmanager
    async def _chained(
        self,
        folder: Path,
        number: int,
        vendors: Vendors,
        clock: WarpClock,
        layers: Sequence[str],
    ) -> AsyncIterator[Argo]:
        tables: dict[str, object] = {
            "market": market_table(vendors),
            "llm": _llm_table(vendors),
        }
        if "race" in layers:
            tables["race"] = {"operations": {"complete": {"strategy": "race"}}}
        async with service(
            folder / f"instance-{number}",
            ("llm", "market", *layers),
            plugins={},
            tables=tables,
            shared=f"sqlite:///{folder}/shared.db",
            clock=clock,
        ) as argo:
            yield argo

    def findings(self, before: Seen, after: Seen) -> Findings:
        """Return what came of the promises."""
        promises = (
            at_most(
                "fetch_time",
                "a signal that must ask, mean of all phases",
                plan="−60 to −70 % fetch time, 2 to 4 s → 0.8 to 1.5 s",
                bar=0.3,
                before=before.mean,
                after=after.mean,
                unit="s",
            ),
            at_most(
                "redundant_requests",
                "requests of the bursts beyond what each symbol needs",
                plan="−50 % redundant calls",
                bar=0.1,
                before=self._redundant(before),
                after=self._redundant(after),
            ),
            Promise(
                name="unanswered",
                title="signals without an answer, no more than the original's",
                plan="-",
                unit="",
                before=len(before.unanswered),
                after=len(after.unanswered),
                ours=len(after.unanswered),
                bar=len(before.unanswered),
            ),
        )
        shown, said = tuple(_shown(before, after)), tuple(self._said(before, after))
        return Findings(self.name, _TITLE, self.given, promises, shown, said=said)

    def _redundant(self, seen: Seen) -> int:
        return max(0, seen.burst_requests - self._needed)

    @property
    def _needed(self) -> int:
        return _FOR_EACH * self.burst_symbols

    def _said(self, before: Seen, after: Seen) -> Iterator[str]:
        """Yield what the layers bring here, and what the figures leave out."""
        race, coalesce = after.without.get("race"), after.without.get("coalesce")
        if race is not None and race.mean and after.mean:
            yield (
                f"Without `race` a signal takes {race.mean:.2f} s instead of {after.mean:.2f} s, "
                "the mean of all phases."
            )
        if coalesce is not None:
            yield (
                f"Without `coalesce` the bursts send {coalesce.burst_requests} requests instead "
                f"of {after.burst_requests}."
            )
        if after.burst_requests < self._needed:
            yield (
                f"The bursts need fewer than {self._needed} requests behind the chain, which "
                "counts as none redundant: a model is not asked once another has answered."
            )
        for side, seen in (("the original", before), ("the chain", after)):
            if seen.unanswered:
                yield (
                    f"Signals of {side} that got no answer, and are in no mean: "
                    f"{len(seen.unanswered)}; the first because of {seen.unanswered[0]}."
                )


class _Run:
    """One run of the phases and the bursts."""

    def __init__(
        self,
        scenario: ParallelFetching,
        vendors: Vendors,
        clock: WarpClock,
        instances: Sequence[Argo],
        ask: _Ask,
    ) -> None:
        self._scenario = scenario
        self._vendors = vendors
        self._clock = clock
        self._instances = instances
        self._ask = ask
        self._names = (f"SYN{number:03d}" for number in range(1, 199))
        self._seen = Seen()

    async def run(self, *, phases: bool, bursts: bool) -> Seen:
        """Run it and return what was seen."""
        # What the first one opens is not what each one takes.
        await self._ask(self._instances[0], next(self._names))
        if phases:
            await self._phases()
        if bursts:
            await self._bursts()
        return self._seen

    async def _phases(self) -> None:
        await self._phase("all is well", {}, ())
        failing = {"faults": {_FAILING: [{"kind": "outage"}]}}
        await self._phase(f"{_FAILING} fails", failing, (_FAILING,))
        silent = {"faults": {_SILENT: [{"kind": "stall"}]}}
        await self._phase(f"{_SILENT} is silent", silent, (_SILENT,))

    async def _phase(self, name: str, change: Mapping[str, object], cleared: Sequence[str]) -> None:
        symbols = [next(self._names) for _ in range(self._scenario.symbols)]
        await self._let_time_pass()
        if change:
            await asyncio.to_thread(self._vendors.change, change)
        taken = self._seen.seconds[name] = []
        asking = (self._signal(self._instances[0], symbol, name, taken) for symbol in symbols)
        await asyncio.gather(*asking)
        if cleared:
            await asyncio.to_thread(self._vendors.change, {"clear_faults": [*cleared]})

    async def _let_time_pass(self) -> None:
        """Skip a while, so that a phase begins with quotas and breakers that know no other."""
        await self._clock.skip(self._clock.monotonic() + _BETWEEN, lambda: None)
        await asyncio.to_thread(self._vendors.move_to, self._clock.time())

    async def _bursts(self) -> None:
        await self._let_time_pass()
        before = await self._requests()
        for _ in range(self._scenario.burst_symbols):
            symbol = next(self._names)
            asking = (
                self._signal(
                    self._instances[number % len(self._instances)],
                    symbol,
                    _BURSTS,
                    self._seen.burst_seconds,
                )
                for number in range(self._scenario.callers)
            )
            await asyncio.gather(*asking)
        self._seen.burst_requests = await self._requests() - before

    async def _signal(self, argo: Argo, symbol: str, phase: str, taken: list[float]) -> None:
        began = time.perf_counter()
        why = await self._ask(argo, symbol)
        if why:
            self._seen.failed.setdefault(phase, []).append(why)
        else:
            taken.append(time.perf_counter() - began)

    async def _requests(self) -> int:
        counts = await asyncio.to_thread(self._vendors.counts)
        return sum(int(str(one["requests"])) for one in counts.values())


async def _failure(call: Awaitable[object]) -> str:
    """Return why *call* is not answered; "" where it is."""
    try:
        await call
    except ArgoError as error:
        return f"{type(error).__name__}: {error}".rstrip(".")
    return ""


def _prompt(symbol: str) -> str:
    day = datetime.fromtimestamp(START.timestamp(), UTC).date()
    return f"Is {symbol} a buy, a sell or a hold on {day}, with an RSI of 61 and momentum +1.2%?"


def _clock() -> WarpClock:
    return WarpClock(START.timestamp(), 1.0)


def _llm_table(vendors: Vendors) -> Mapping[str, object]:
    return {name: {"url": vendors.url(name), "key": KEY} for name in _MODELS}


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    both = (before, after)
    for phase in before.seconds:
        times = (_mean_and_longest(one.seconds[phase]) for one in both)
        yield Shown(phase, "a signal, mean and longest", *times)
        yield Shown(phase, "signals without an answer", *(_failed(one, phase) for one in both))
    yield Shown(_BURSTS, "requests", *(str(one.burst_requests) for one in both))
    times = (_mean_and_longest(one.burst_seconds) for one in both)
    yield Shown(_BURSTS, "a caller, mean and longest", *times)
    yield Shown(_BURSTS, "callers without an answer", *(_failed(one, _BURSTS) for one in both))


def _mean_and_longest(seconds: Sequence[float]) -> str:
    return f"{statistics.fmean(seconds):.2f} s, {max(seconds):.1f} s" if seconds else "-"


def _failed(seen: Seen, phase: str) -> str:
    return str(len(seen.failed.get(phase, ())))
