"""The demo: signals from real prices over real HTTP, and what the chain did for them.

It names operations and configuration tables only: whichever installed plugins answer ``signal``
and ``bars`` are the ones that are shown.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import Factory, define, frozen

from argo_mw.plugin import (
    Argo,
    CallEnded,
    ConfigError,
    Event,
    LayerActed,
    Outcome,
    RequestSent,
    UnknownOperation,
    context_of,
    layers_of,
    observe,
)
from argo_mw_sandbox.clock import ReplayClock
from argo_mw_sandbox.config import SandboxConfig
from argo_mw_sandbox.latency import TYPICAL
from argo_mw_sandbox.server import Sandbox

CALLERS = 20
"""How many callers ask for every symbol at once."""

VENDORS = ("alpaca", "massive", "alphavantage")
_KEY = "demo"


@define
class Tally:
    """Counts of what the chain announced.

    Attributes:
        calls: Signals that were asked for.
        served: How many of them each layer served or joined to another.
        sent: Requests sent, by upstream; only those of the sandbox's vendors count.
    """

    calls: int = 0
    served: Counter[str] = Factory(Counter)
    sent: Counter[str] = Factory(Counter)

    def __call__(self, event: Event) -> None:
        match event:
            case CallEnded(call=call) if call.operation.name == "signal":
                self.calls += 1
            case LayerActed(layer=layer, action=("hit" | "joined") as action, call=call) if (
                call is not None and call.operation.name == "signal"
            ):
                self.served[f"{layer} {action}"] += 1
            case RequestSent(upstream=upstream) if upstream in VENDORS:
                self.sent[upstream] += 1


@frozen
class Round:
    """One round of asking for every symbol.

    Attributes:
        title: What it shows.
        outcomes: The signal or the error for each symbol.
        latencies: Seconds that each caller waited.
        requests: Requests that went to vendors meanwhile.
    """

    title: str
    outcomes: Mapping[str, Outcome | Exception]
    latencies: Sequence[float]
    requests: int

    def percentile(self, share: float) -> float:
        """Return the latency in milliseconds that *share* of the callers did not exceed."""
        ordered = sorted(self.latencies)
        return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        """The median latency in milliseconds."""
        return 1e3 * statistics.median(self.latencies)


@frozen
class Report:
    """The results that the demo shows.

    Attributes:
        now: The replayed now, as text.
        rounds: The rounds, in order.
        tally: What the chain announced.
        counted: What the sandbox counted, by vendor.
        chain: The layers, from the caller inwards.
    """

    now: str
    rounds: Sequence[Round]
    tally: Tally
    counted: Mapping[str, int]
    chain: Sequence[str]

    @property
    def agrees(self) -> bool:
        """Whether the sandbox counted the requests that the chain says it sent."""
        return {v: n for v, n in self.counted.items() if n} == dict(self.tally.sent)


async def run(data: Path | None = None, symbols: Sequence[str] = ()) -> Report:
    """Start a sandbox, ask for signals in a burst and again, and report what happened.

    Args:
        data: A folder with the user's own bars, instead of the built-in real symbols.
        symbols: The symbols, by default all real ones.

    Raises:
        ConfigError: No installed plugin answers ``signal``, or *data* cannot be used.
    """
    async with open_sandbox(data) as sandbox:
        wanted = list(symbols) or real_symbols(sandbox)
        async with Argo.open(settings(sandbox), clock=sandbox.clock) as argo:
            check_signals(argo)
            tally = Tally()
            observe(argo, tally)
            rounds = [
                await burst(argo, tally, wanted, 1, "first asked"),
                await burst(argo, tally, wanted, CALLERS, f"{CALLERS} callers each, later"),
            ]
            await argo.invalidate(*(f"subject:{symbol}" for symbol in wanted))
            rounds.append(
                await burst(argo, tally, wanted, CALLERS, f"{CALLERS} callers each, cache emptied")
            )
            chain = [layer.name for layer in layers_of(argo)]
        counted = {vendor: sandbox.counts_of(vendor).requests for vendor in VENDORS}
        return Report(f"{sandbox.clock.now():%Y-%m-%d %H:%M} UTC", rounds, tally, counted, chain)


def open_sandbox(data: Path | None) -> Sandbox:
    """Return a sandbox of the user's bars, re-dated to end on one day, or of the built-in ones."""
    try:
        return Sandbox(SandboxConfig(data=data, align=data is not None, latency=TYPICAL))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def settings(sandbox: Sandbox) -> dict[str, object]:
    """Return a configuration that leads to *sandbox* and leaves nothing behind."""
    keys = {"key": _KEY}
    return {
        "argo": {"shared": "memory://"},
        "plugins": {
            "market": {
                "alpaca": {"url": sandbox.url("alpaca"), "secret": _KEY, **keys},
                "massive": {"url": sandbox.url("massive"), **keys},
                "alphavantage": {"url": sandbox.url("alphavantage"), **keys},
            }
        },
    }


def real_symbols(sandbox: Sandbox) -> list[str]:
    """Return the symbols with real prices."""
    return [str(s["symbol"]) for s in sandbox.symbols() if s["source"] != "synthetic"]


async def burst(
    argo: Argo, tally: Tally, symbols: Sequence[str], callers: int, title: str
) -> Round:
    """Have *callers* callers ask for each of *symbols* at the same time."""
    before = tally.sent.total()
    latencies: list[float] = []

    async def ask(symbol: str) -> tuple[str, Outcome | Exception]:
        start = time.perf_counter()
        try:
            answer: Outcome | Exception = await argo.outcome("signal", symbol=symbol)
        except Exception as error:
            answer = error
        latencies.append(time.perf_counter() - start)
        return symbol, answer

    asked = [ask(symbol) for symbol in symbols for _ in range(callers)]
    outcomes = dict(await asyncio.gather(*asked))
    return Round(title, outcomes, latencies, tally.sent.total() - before)


def check_signals(argo: Argo) -> None:
    """Check that something answers ``signal``.

    Raises:
        ConfigError: Nothing does.
    """
    try:
        context_of(argo).operation("signal")
    except UnknownOperation:
        msg = (
            "nothing answers 'signal'; install the plugins with "
            "`pip install argo-mw-market argo-mw-signals`"
        )
        raise ConfigError(msg) from None


__all__ = ["CALLERS", "ReplayClock", "Report", "Round", "Tally", "run"]
