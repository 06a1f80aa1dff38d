"""All trials, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from attrs import evolve

from argo_mw import Argo, ConfigError
from argo_mw_compare.figures import MOST_CPU, figures
from argo_mw_compare.past import Past
from argo_mw_compare.trial import Seen, Trial
from argo_mw_compare.variants import Variant, variants
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import Workload

_PILOT_HOURS = 0.05
_MARGIN = 0.8
_SLOWEST, _FASTEST = 1.0, 10.0


async def run(workload: Workload, *, quick: bool, say: Callable[[str], object]) -> list[Seen]:
    """What every variant saw; one whose layers cannot be without another is left out, aloud."""
    seen: list[Seen] = []
    layers = await installed_layers()
    with (
        Vendors(workload.sandbox(instant=True)) as truth,
        tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as made,
    ):
        past = make_past(workload, Path(made))
        await _warm_up(workload, layers, truth, past)
        for variant in variants(layers, quick=quick):
            with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
                trial = Trial(workload, variant, layers, Path(folder), truth, past)
                try:
                    seen.append(await trial.run())
                except ConfigError as error:
                    say(f"{variant.name}: left out: {error}")
                else:
                    say(f"{variant.name}: {seen[-1].seconds:.0f} s")
    return seen


async def paced(workload: Workload, *, say: Callable[[str], object]) -> Workload:
    """*workload*, as fast as leaves our CPU time below its share of the time of misses.

    A pilot with all layers on shows what that share is.
    """
    layers = await installed_layers()
    short = evolve(workload, hours=_PILOT_HOURS, past=0)
    with (
        Vendors(workload.sandbox(instant=True)) as truth,
        tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as made,
    ):
        past = make_past(short, Path(made))
        await _warm_up(short, layers, truth, past)
        with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
            pilot = await Trial(
                short, Variant("all", tuple(layers)), layers, Path(folder), truth, past
            ).run()
    share = figures(pilot).cpu_pct or MOST_CPU
    speed = min(_FASTEST, max(_SLOWEST, workload.speed * _MARGIN * MOST_CPU / share))
    say(f"pilot: our CPU takes {share:.1f} % at speed {workload.speed:g}: speed {speed:.1f}")
    return evolve(workload, speed=round(speed, 1))


def make_past(workload: Workload, folder: Path) -> Past:
    """The signals of earlier days, for the plugins that are installed."""
    recorded = "persist" in {point.name for point in entry_points(group="argo_mw")}
    return Past(folder, workload.names, rows=workload.past, recorded=recorded)


async def _warm_up(workload: Workload, layers: Sequence[str], truth: Vendors, past: Past) -> None:
    """Have everything imported, so that the first variant does not pay for it."""
    short = evolve(workload, symbols=2, hours=0.02)
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        everything = Variant("all", tuple(layers))
        await Trial(short, everything, layers, Path(folder), truth, past).run()


async def installed_layers() -> list[str]:
    """The names of the layers that are installed."""
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        config = {"argo": {"shared": "memory://", "state_dir": folder}}
        async with Argo.open(config) as argo:
            return [n for n, parts in argo.engine.build.parts.items() if parts.layer is not None]
