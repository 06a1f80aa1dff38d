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
from argo_mw_compare.scenarios.promise import Findings, Shown, at_most
from argo_mw_compare.scenarios.service import KEY, market_table, service
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import LATENCIES, START

_MODELS: Final = {"glm": "glm-5.3", "deepseek": "deepseek-v4-pro", "qwen": "qwen3.8-max"}
_SILENT: Final = "deepseek"
_FAILING: Final = "alpaca"
_LAYERS: Final = ("cache", "coalesce", "race")
_FOR_EACH: Final = 2 + len(_MODELS)
"""Requests that one signal needs: prices, news, and each model."""
_Ask = Callable[[Argo, str], Awaitable[bool]]
_TITLE: Final = "Parallel fetching: signals that must ask, and bursts of callers"


@define
class Seen:
    """What was seen of one service.

    Attributes:
        seconds: Real seconds of each signal that had to ask, by phase.
        failed: Signals without prices or without any opinion.
        burst_requests: Requests that the vendors counted in the bursts.
        burst_seconds: Real seconds that each caller of a burst waited.
    """

    seconds: dict[str, list[float]] = field(factory=dict)
    failed: int = 0
    burst_requests: int = 0
    burst_seconds: list[float] = field(factory=list)

    @property
    def mean(self) -> float:
        """Mean seconds of a signal, over all phases."""
        return statistics.fmean(one for several in self.seconds.values() for one in several)


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
            "Vendors are the sandbox with its assumed latencies, slow tails included; all times "
            "are real."
        ).splitlines()

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original service."""
        with self._vendors() as vendors:
            async with AsyncExitStack() as stack:
                instances = [
                    await stack.enter_async_context(self._original(folder, number, vendors))
                    for number in range(self.instances)
                ]
                return await _Run(self, vendors, instances, self._in_turn).run()

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain."""
        with self._vendors() as vendors:
            async with AsyncExitStack() as stack:
                instances = [
                    await stack.enter_async_context(self._chained(folder, number, vendors))
                    for number in range(self.instances)
                ]
                return await _Run(self, vendors, instances, self._at_once).run()

    async def _in_turn(self, argo: Argo, symbol: str) -> bool:
        """Ask as the original does; return whether there is a signal."""
        asking = argo.options(timeout=self.patience / self.speed)
        priced = await _answered(argo.call("bars", symbol=symbol))
        await _answered(argo.call("news", symbol=symbol))
        heard = [
            await _answered(asking.call("complete", messages=_prompt(symbol), model=model))
            for model in _MODELS.values()
        ]
        return priced and any(heard)

    async def _at_once(self, argo: Argo, symbol: str) -> bool:
        """Ask as a program behind the chain can; return whether there is a signal."""
        priced = await _answered(argo.call("bars", symbol=symbol))
        _, heard = await asyncio.gather(
            _answered(argo.call("news", symbol=symbol)),
            _answered(argo.call("complete", messages=_prompt(symbol))),
        )
        return priced and heard

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
    async def _original(self, folder: Path, number: int, vendors: Vendors) -> AsyncIterator[Argo]:
        state = folder / f"instance-{number}"
        state.mkdir()
        old = Baseline(state / "signals.db")
        tables = {"market": market_table(vendors), "llm": _llm_table(vendors)}
        async with service(
            state,
            ("llm", "market"),
            plugins={"baseline": old},
            tables=tables,
            clock=WarpClock(START.timestamp(), 1.0),
            upstreams={"alpaca": {"max_batch": 1}},
        ) as argo:
            yield argo
        await old.close()

    @asynccontextmanager
    async def _chained(self, folder: Path, number: int, vendors: Vendors) -> AsyncIterator[Argo]:
        tables = {
            "market": market_table(vendors),
            "llm": _llm_table(vendors),
            "race": {"operations": {"complete": {"strategy": "race"}}},
        }
        async with service(
            folder / f"instance-{number}",
            ("llm", "market", *_LAYERS),
            plugins={},
            tables=tables,
            shared=f"sqlite:///{folder}/shared.db",
            clock=WarpClock(START.timestamp(), 1.0),
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
        )
        return Findings(self.name, _TITLE, self.given, promises, tuple(_shown(before, after)))

    def _redundant(self, seen: Seen) -> int:
        return max(0, seen.burst_requests - _FOR_EACH * self.burst_symbols)


class _Run:
    """One run of the phases and the bursts."""

    def __init__(
        self, scenario: ParallelFetching, vendors: Vendors, instances: Sequence[Argo], ask: _Ask
    ) -> None:
        self._scenario = scenario
        self._vendors = vendors
        self._instances = instances
        self._ask = ask
        self._names = (f"SYN{number:03d}" for number in range(1, 199))
        self._seen = Seen()

    async def run(self) -> Seen:
        """Run it and return what was seen."""
        await self._signal(self._instances[0], next(self._names))  # What the first one opens.
        await self._phase("all is well", {}, ())
        failing = {"faults": {_FAILING: [{"kind": "outage"}]}}
        await self._phase(f"{_FAILING} fails", failing, (_FAILING,))
        silent = {"faults": {_SILENT: [{"kind": "stall"}]}}
        await self._phase(f"{_SILENT} is silent", silent, (_SILENT,))
        await self._bursts()
        return self._seen

    async def _phase(self, name: str, change: Mapping[str, object], cleared: Sequence[str]) -> None:
        symbols = [next(self._names) for _ in range(self._scenario.symbols)]
        if change:
            await asyncio.to_thread(self._vendors.change, change)
        asking = (self._signal(self._instances[0], symbol) for symbol in symbols)
        self._seen.seconds[name] = list(await asyncio.gather(*asking))
        if cleared:
            await asyncio.to_thread(self._vendors.change, {"clear_faults": [*cleared]})

    async def _bursts(self) -> None:
        before = await self._requests()
        for _ in range(self._scenario.burst_symbols):
            symbol = next(self._names)
            asking = (
                self._signal(self._instances[number % len(self._instances)], symbol)
                for number in range(self._scenario.callers)
            )
            self._seen.burst_seconds += await asyncio.gather(*asking)
        self._seen.burst_requests = await self._requests() - before

    async def _signal(self, argo: Argo, symbol: str) -> float:
        began = time.perf_counter()
        self._seen.failed += not await self._ask(argo, symbol)
        return time.perf_counter() - began

    async def _requests(self) -> int:
        counts = await asyncio.to_thread(self._vendors.counts)
        return sum(int(str(one["requests"])) for one in counts.values())


async def _answered(call: Awaitable[object]) -> bool:
    """Return whether *call* is answered."""
    try:
        await call
    except ArgoError:
        return False
    return True


def _prompt(symbol: str) -> str:
    day = datetime.fromtimestamp(START.timestamp(), UTC).date()
    return f"Is {symbol} a buy, a sell or a hold on {day}, with an RSI of 61 and momentum +1.2%?"


def _llm_table(vendors: Vendors) -> Mapping[str, object]:
    return {name: {"url": vendors.url(name), "key": KEY} for name in _MODELS}


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    both = (before, after)
    for phase in before.seconds:
        yield Shown(
            phase,
            "a signal, mean and longest",
            *(
                f"{statistics.fmean(one.seconds[phase]):.2f} s, {max(one.seconds[phase]):.1f} s"
                for one in both
            ),
        )
    yield Shown("bursts", "requests", *(str(one.burst_requests) for one in both))
    yield Shown(
        "bursts",
        "a caller, mean",
        *(f"{statistics.fmean(one.burst_seconds):.2f} s" for one in both),
    )
    yield Shown("all", "signals without an answer", *(str(one.failed) for one in both))
