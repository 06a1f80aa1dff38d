"""An experiment: the workload, run through one variant, and what is observed meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from attrs import define, field

from argo_mw.plugin import (
    Argo,
    ArgoError,
    Event,
    Outcome,
    RequestSent,
    context_of,
    observe,
    observes,
)
from argo_mw_compare.baseline import Baseline
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.history import History
from argo_mw_compare.variants import Variant
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import INSTANCES, LATENCIES, MODELS, Step, Workload, start

_BUSY = ("coalesce:", "batch:", "race:", "refresh:")
_IDLE_TIMEOUT = 10.0
_KEY = "compare"
_BLOCKED = frozenset({"compare", "metrics", "redis"})


@define
class AskedSignal:
    """One signal that was asked for, and what came of it.

    Attributes:
        at: Replayed seconds from the start.
        symbol: Its symbol.
        seconds: Replayed seconds that the caller waited.
        missed: Whether an upstream had to be asked.
        price: The price that it used, or ``None`` when there was no answer.
        truth: The price in the replay at the moment of the answer.
        error: The error, or "".
        answered: When the answer came, in seconds since the epoch, replayed.
    """

    at: float
    symbol: str
    seconds: float
    missed: bool = True
    price: float | None = None
    truth: float | None = None
    error: str = ""
    answered: float = 0.0


@define
class Observations:
    """Everything that is observed in an experiment.

    Attributes:
        variant: The variant that ran.
        asked: Every signal.
        requests: Requests that we sent.
        calls_sent: Calls that these requests were sent for.
        counts: What the sandbox counted.
        writes: Real seconds of each write of a row on a caller's way.
        queries: Real seconds of each question for the last ten signals of a symbol.
        cpu: Our CPU seconds in the rounds that asked an upstream.
        waited: Real seconds of these rounds.
        seconds: Real seconds of the whole experiment.
    """

    variant: Variant
    asked: list[AskedSignal] = field(factory=list)
    requests: int = 0
    calls_sent: int = 0
    counts: dict[str, dict[str, object]] = field(factory=dict)
    writes: list[float] = field(factory=list)
    queries: list[float] = field(factory=list)
    cpu: float = 0.0
    waited: float = 0.0
    seconds: float = 0.0

    @observes(RequestSent)
    def observe(self, event: Event) -> None:
        """Count requests to vendors; operations that the application computes send none."""
        if isinstance(event, RequestSent) and event.upstream in LATENCIES:
            self.requests += 1
            self.calls_sent += event.calls


class Experiment:
    """One run of the workload through one variant.

    Args:
        workload: What happens.
        variant: Which layers are on.
        installed: The layers that are installed.
        folder: A private folder.
        truth: A sandbox that answers at once, for the true prices.
        history: Signals of earlier days.
    """

    def __init__(
        self,
        workload: Workload,
        variant: Variant,
        installed: Sequence[str],
        folder: Path,
        truth: Vendors,
        history: History,
    ) -> None:
        self._workload = workload
        self._variant = variant
        self._installed = installed
        self._folder = folder
        self._truth = truth
        self._history = history
        self._recorded = {"persist", "signals"} <= installed_plugins()
        self._baselines: dict[int, Baseline] = {}
        self._instances: list[Argo] = []
        self._observed = Observations(variant)

    async def run(self) -> Observations:
        """Run it and return what was observed."""
        began = time.monotonic()
        with Vendors(self._workload.sandbox()) as vendors:
            clock = WarpClock(start(), self._workload.speed)
            self._clock, self._vendors = clock, vendors
            self._move()
            try:
                for number in range(INSTANCES):
                    self._instances.append(await self._open(number))
                origin = clock.monotonic()
                for step in self._workload.steps():
                    await clock.skip(origin + step.at, self._move)
                    await self._take(step)
                    await self._idle()
            finally:
                for argo in self._instances:
                    await argo.aclose()
            self._observed.counts = vendors.counts()
        self._observed.seconds = time.monotonic() - began
        return self._observed

    def _move(self) -> None:
        self._vendors.move_to(self._clock.time())

    async def _take(self, step: Step) -> None:
        match step.kind:
            case "round":
                await self._round(self._instances[step.instance], step.at)
                await self._look_back(step.instance)
            case "restart":
                await self._instances[step.instance].aclose()
                self._instances[step.instance] = await self._open(step.instance)
            case "outage":
                self._vendors.change({"faults": {"alpaca": [{"kind": "outage"}]}})
            case "recovery":
                self._vendors.change({"clear_faults": ["alpaca"]})

    async def _round(self, argo: Argo, at: float) -> None:
        began, cpu = time.monotonic(), time.process_time()
        names = self._workload.names
        asked = await asyncio.gather(*(self._ask(argo, name, at) for name in names))
        if any(one.missed for one in asked):
            self._observed.waited += time.monotonic() - began
            self._observed.cpu += time.process_time() - cpu
        for one in asked:
            prices = await asyncio.to_thread(self._truth.prices, [one.symbol], one.answered)
            one.truth = prices.get(one.symbol)
        self._observed.asked += asked

    async def _look_back(self, instance: int) -> None:
        """Ask for the last signals of every symbol, as a page that shows them would."""
        for name in self._workload.names:
            began = time.perf_counter()
            if self._variant.baseline:
                self._baselines[instance].latest(name)
            elif self._recorded:
                await self._instances[instance].call("latest", symbol=name)
            else:
                return
            self._observed.queries.append(time.perf_counter() - began)

    async def _ask(self, argo: Argo, symbol: str, at: float) -> AskedSignal:
        began = self._clock.monotonic()
        try:
            outcome = await argo.outcome("signal", symbol=symbol)
        except ArgoError as error:
            return AskedSignal(at, symbol, self._clock.monotonic() - began, error=str(error))
        answered = _answered(at, symbol, self._clock.monotonic() - began, outcome)
        answered.answered = self._clock.time()
        return answered

    async def _idle(self) -> None:
        """Wait until nothing is under way that a skip of time would make late."""
        end = time.monotonic() + _IDLE_TIMEOUT
        while time.monotonic() < end:
            names = [name for argo in self._instances for name in context_of(argo).tasks.names]
            if not any(name.removeprefix("argo-mw:").startswith(_BUSY) for name in names):
                return
            await asyncio.sleep(0.002)

    async def _open(self, number: int) -> Argo:
        folder = self._folder / f"instance-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        baseline = Baseline(self._history.baseline(folder)) if self._variant.baseline else None
        argo = Argo.open(
            self._config(folder),
            clock=self._clock,
            plugins={"baseline": baseline} if baseline is not None else None,
        )
        await argo.__aenter__()
        observe(argo, self._observed.observe)
        if baseline is not None:
            self._baselines[number] = baseline
            baseline.write_seconds = self._observed.writes
        return argo

    def _config(self, folder: Path) -> dict[str, object]:
        shared = "memory://" if self._variant.baseline else f"sqlite:///{self._folder}/shared.db"
        return {
            "argo": {"state_dir": str(folder), "shared": shared, "block": blocked()},
            # Layers of other plugins would be on in every variant, the baseline included.
            "flags": {
                name: "on" if name in self._variant.layers else "off" for name in self._installed
            },
            "plugins": self._tables(folder),
            # The original service asked for each symbol alone.
            "upstreams": {"alpaca": {"max_batch": 1}} if self._variant.baseline else {},
        }

    def _tables(self, folder: Path) -> dict[str, object]:
        """Return the tables of the installed plugins that need one."""

        def access(vendor: str, **more: str) -> dict[str, str]:
            return {"url": self._vendors.url(vendor), "key": _KEY, **more}

        tables: dict[str, object] = {
            "market": {
                "alpaca": access("alpaca", secret=_KEY),
                "massive": access("massive"),
                "alphavantage": access("alphavantage"),
            }
        }
        if "llm" in installed_plugins():
            models = {name: access(name) for name in MODELS}
            tables["llm"] = {**models, "voices": {"panel": 1.0}}
        recorded = self._history.recorded(folder)
        if recorded is not None:
            tables["persist"] = {"url": f"sqlite:///{recorded}"}
        return tables


def installed_plugins() -> set[str]:
    """Return the names of the installed plugins."""
    return {point.name for point in entry_points(group="argo_mw")}


def blocked() -> list[str]:
    """Return the names of installed plugins that take no part in any variant."""
    return sorted(_BLOCKED & installed_plugins())


def _answered(at: float, symbol: str, seconds: float, outcome: Outcome) -> AskedSignal:
    missed = outcome.cost.requests > 0 or outcome.cost.tokens_in > 0
    price = getattr(outcome.value, "price", None)
    return AskedSignal(at, symbol, seconds, missed, price)
