"""An experiment: the workload, run through one variant, and what is observed meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from attrs import define, field

from argo_mw.plugin import (
    SLOTS,
    Argo,
    ArgoError,
    Event,
    LayerActed,
    Outcome,
    RequestSent,
    RequestSettled,
    context_of,
    observe,
    observes,
)
from argo_mw_compare.baseline import Baseline
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.history import History
from argo_mw_compare.variants import Variant
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import INSTANCES, LATENCIES, MODELS, Step, Workload

_BUSY = ("coalesce:", "batch:", "race:", "refresh:")
_IDLE_TIMEOUT = 10.0
_KEY = "compare"
_UNANSWERED = frozenset({"cancelled", "failed"})
_TAKES_PART = frozenset({*SLOTS, "llm", "market", "sandbox", "signals"})


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
        instance: The instance that was asked.
        signal: What was answered: the action, the confidence and the voices that were heard.
        life: Replayed seconds for which a new answer is kept, or ``None`` where none says so.
    """

    at: float
    symbol: str
    seconds: float
    missed: bool = True
    price: float | None = None
    truth: float | None = None
    error: str = ""
    answered: float = 0.0
    instance: int = 0
    signal: tuple[str, float, tuple[str, ...]] | None = None
    life: float | None = None


@define
class Observations:
    """Everything that is observed in an experiment.

    Attributes:
        variant: The variant that ran.
        asked: Every signal.
        requests: Requests that we sent.
        calls_sent: Calls that these requests were sent for.
        unanswered: Those of the requests that were cancelled, or failed.
        counts: What the sandbox counted.
        writes: Real seconds of each write of a row on a caller's way.
        queries: Real seconds of each question for the last ten signals of a symbol.
        cpu: Our CPU seconds in the rounds that asked an upstream.
        waited: Real seconds of these rounds.
        seconds: Real seconds of the whole experiment.
        acts: What layers announced, such as ``cache hit``, and how often; where it was watched.
    """

    variant: Variant
    asked: list[AskedSignal] = field(factory=list)
    requests: int = 0
    calls_sent: int = 0
    unanswered: int = 0
    counts: dict[str, dict[str, object]] = field(factory=dict)
    writes: list[float] = field(factory=list)
    queries: list[float] = field(factory=list)
    cpu: float = 0.0
    waited: float = 0.0
    seconds: float = 0.0
    acts: Counter[str] = field(factory=Counter)

    @observes(RequestSent, RequestSettled)
    def observe(self, event: Event) -> None:
        """Count requests to vendors; operations that the application computes send none."""
        match event:
            case RequestSent(upstream=upstream) if upstream in LATENCIES:
                self.requests += 1
                self.calls_sent += event.calls
            case RequestSettled(upstream=upstream) if upstream in LATENCIES:
                self.unanswered += any(one.status in _UNANSWERED for one in event.charges)

    @observes(LayerActed)
    def watch(self, event: Event) -> None:
        """Count what layers do."""
        if isinstance(event, LayerActed):
            self.acts[f"{event.layer} {event.action}"] += 1


class Experiment:
    """One run of the workload through one variant.

    Args:
        workload: What happens.
        variant: Which layers are on.
        installed: The layers that are installed.
        folder: A private folder.
        truth: A sandbox that answers at once, for the true prices.
        history: Signals of earlier days.
        watched: Whether what layers do is watched.
    """

    def __init__(
        self,
        workload: Workload,
        variant: Variant,
        installed: Sequence[str],
        folder: Path,
        truth: Vendors,
        history: History,
        *,
        watched: bool = False,
    ) -> None:
        self._watched = watched
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
            clock = WarpClock(self._workload.begins, self._workload.speed)
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
                await self._round(step.instance, step.at)
                await self._look_back(step.instance)
            case "restart":
                await self._instances[step.instance].aclose()
                self._instances[step.instance] = await self._open(step.instance)
            case "outage":
                self._vendors.change({"faults": {"alpaca": [{"kind": "outage"}]}})
            case "recovery":
                self._vendors.change({"clear_faults": ["alpaca"]})

    async def _round(self, instance: int, at: float) -> None:
        began, cpu = time.monotonic(), time.process_time()
        names = self._workload.names * self._workload.callers
        asked = await asyncio.gather(*(self._ask(instance, name, at) for name in names))
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

    async def _ask(self, instance: int, symbol: str, at: float) -> AskedSignal:
        began = self._clock.monotonic()
        try:
            outcome = await self._instances[instance].outcome("signal", symbol=symbol)
        except ArgoError as error:
            seconds = self._clock.monotonic() - began
            return AskedSignal(at, symbol, seconds, error=str(error), instance=instance)
        answered = _answered(at, symbol, self._clock.monotonic() - began, outcome)
        answered.answered = self._clock.time()
        answered.instance = instance
        if answered.missed and outcome.expires_at is not None:
            answered.life = outcome.expires_at - answered.answered
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
        if self._watched:
            observe(argo, self._observed.watch)
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
    return sorted(installed_plugins() - _TAKES_PART)


def _answered(at: float, symbol: str, seconds: float, outcome: Outcome) -> AskedSignal:
    missed = outcome.cost.requests > 0 or outcome.cost.tokens_in > 0
    signal: Any = outcome.value
    heard = tuple(one.voice for one in signal.contributions)
    found = (signal.action, signal.confidence, heard)
    return AskedSignal(at, symbol, seconds, missed, signal.price, signal=found)
