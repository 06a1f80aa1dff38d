"""The demo: a service as it was and behind the chain, side by side, in half a minute.

A short experiment with everything in it: a calm, a storm, a vendor that fails in its midst and a
restart of each instance, with several callers for each symbol.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from argo_mw.plugin import SLOTS, ConfigError
from argo_mw_compare.experiment import AskedSignal, Observations, installed_plugins
from argo_mw_compare.figures import Figures, baseline_and_all, figures
from argo_mw_compare.run import isolated, make_history, run_side_by_side
from argo_mw_compare.variants import variants
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import INSTANCES, REAL, Step, Workload

FAILING: Final = "alpaca"
"""The vendor that fails in the storm: the first that is asked for prices."""
MINUTES: Final = 5.0
_NEEDED: Final = ("market", "signals")
_SPEED: Final = 5.0
_CALLERS: Final = 3
_MAX_SYMBOLS: Final = 4
_SESSION: Final = 6.5 * 3600
_AFTER_OPEN: Final = 600.0
_HISTORY: Final = 10_000


@frozen
class Script(Workload):
    """The workload of the demo.

    Attributes:
        outage: When the vendor fails and when it is back, in replayed seconds from the start.
        restarts: When each instance is restarted.
    """

    hours: float = MINUTES / 60
    speed: float = _SPEED
    history: int = _HISTORY
    callers: int = _CALLERS
    outage: tuple[float, float] = (172.0, 219.0)
    restarts: tuple[float, ...] = (221.0, 228.0)

    def steps(self) -> list[Step]:
        """Return what happens, in order."""
        rounds = [one for one in super().steps() if one.kind == "round"]
        failing, back = self.outage
        restarts = [Step(at, "restart", number) for number, at in enumerate(self.restarts)]
        return sorted([*rounds, *restarts, Step(failing, "outage"), Step(back, "recovery")])


@frozen
class Column:
    """One of the two services: its figures, and how it went through the outage and a restart.

    Attributes:
        figures: The figures of the whole.
        observed: What was observed.
        in_outage: The signals that were asked for while the vendor failed.
        after_restart: Those of each instance's first round after its restart.
    """

    figures: Figures
    observed: Observations
    in_outage: Sequence[AskedSignal]
    after_restart: Sequence[AskedSignal]


@frozen
class DemoReport:
    """What the demo found.

    Attributes:
        script: What was run.
        prices: Where the prices are from, in words.
        lacking: The layers that are not installed.
        original: The original service.
        chain: The same behind the chain.
        seconds: Real seconds that it took.
    """

    script: Script
    prices: str
    lacking: Sequence[str]
    original: Column
    chain: Column
    seconds: float = field(default=0.0)

    @property
    def agrees(self) -> bool:
        """Whether the sandbox counted what our events say was sent.

        A request that is cancelled, or that times out on a busy machine, may not have left.
        """
        return all(_agrees(one) for one in (self.original, self.chain))


@isolated()
def run(
    symbols: Sequence[str] = (), data: Path | None = None, *, say: Callable[[str], object]
) -> DemoReport:
    """Run the demo for *symbols*, by default five real ones, or those of the folder *data*.

    Raises:
        ConfigError: A plugin is missing, or a symbol, or *data* cannot be used.
    """
    began = time.monotonic()
    lacking = [name for name in _NEEDED if name not in installed_plugins()]
    if lacking:
        wanted = " ".join(f"argo-mw-{name}" for name in lacking)
        msg = f"nothing answers 'signal' here: install {wanted}"
        raise ConfigError(msg)
    script, prices = prepare(symbols, data)
    layers = [name for name in SLOTS if name in installed_plugins()]
    wanted_variants = variants(layers, quick=True)
    say("the same requests to the service as it was, and to the one behind the chain …")
    with tempfile.TemporaryDirectory(prefix="argo-mw-demo-") as folder:
        history = make_history(script, Path(folder))
        found = run_side_by_side(script, wanted_variants, layers, history)
    columns = {one.variant.name: column_of(script, one) for one in found}
    baseline_and_all([one.figures for one in columns.values()])
    return DemoReport(
        script=script,
        prices=prices,
        lacking=[name for name in SLOTS if name not in layers],
        original=columns["baseline"],
        chain=columns["all"],
        seconds=time.monotonic() - began,
    )


def prepare(symbols: Sequence[str], data: Path | None) -> tuple[Script, str]:
    """Return what to run for *symbols*, and where their prices are from.

    Raises:
        ConfigError: There is no such symbol, or *data* cannot be used.
    """
    script = Script(symbols=_MAX_SYMBOLS)
    if data is not None:
        script = evolve(script, data=str(data.absolute()))
    settings = script.sandbox(instant=True)
    if data is not None:
        del settings["now"]  # by default the end of the newest file
    with Vendors(settings) as vendors:
        known = {str(one["symbol"]): one for one in vendors.symbols()}
        now = vendors.now()
    own = [name for name, one in known.items() if one["source"] == "file"]
    wanted = tuple(dict.fromkeys(symbols)) or tuple((own or REAL)[:_MAX_SYMBOLS])
    for name in wanted:
        if name not in known:
            msg = f"the sandbox has no prices of {name!r}; it has {', '.join(own or REAL)}"
            raise ConfigError(msg)
    if data is not None:
        script = evolve(script, begins=now - _SESSION + _AFTER_OPEN)
    sources = sorted({str(known[name]["source"]) for name in wanted})
    return evolve(script, own=wanted, symbols=len(wanted)), " and ".join(sources)


def column_of(script: Script, observed: Observations) -> Column:
    """Return what was *observed* of one service, by the parts of the *script*."""
    failing, back = script.outage
    return Column(
        figures(observed),
        observed,
        in_outage=[one for one in observed.asked if failing <= one.at < back],
        after_restart=[
            one
            for number in range(INSTANCES)
            for one in _first_round(observed.asked, number, script.restarts[number])
        ],
    )


def _first_round(
    asked: Sequence[AskedSignal], instance: int, after: float
) -> Sequence[AskedSignal]:
    of_instance = [one for one in asked if one.instance == instance and one.at >= after]
    first = min((one.at for one in of_instance), default=0.0)
    return [one for one in of_instance if one.at == first]


def _agrees(column: Column) -> bool:
    sent, counted = column.figures.requests_sent, column.figures.requests
    return sent - column.observed.unanswered <= counted <= sent


def counts_of_layers(acts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return what each layer did and how often, by layer."""
    found: dict[str, dict[str, int]] = {}
    for name, number in sorted(acts.items()):
        layer, _, action = name.partition(" ")
        found.setdefault(layer, {})[action] = number
    return found
