"""All trials, each in a process of its own, a few of them at a time.

A trial mostly waits for vendors, so that some can wait side by side without taking CPU time from
one another; how much of its time a trial's own CPU took is measured in each.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
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

AT_ONCE = 3
_PILOT_HOURS = 0.1
_MARGIN = 0.8
_SLOWEST, _FASTEST = 0.5, 10.0


def run(workload: Workload, *, quick: bool, say: Callable[[str], object]) -> list[Seen]:
    """What every variant saw; one whose layers cannot be without another is left out, aloud."""
    layers = asyncio.run(installed_layers())
    wanted = variants(layers, quick=quick)
    found: list[Seen] = []
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as made:
        past = make_past(workload, Path(made))
        with _workers(min(AT_ONCE, len(wanted))) as workers:
            trials = [workers.submit(_try, workload, one, layers, past) for one in wanted]
            for variant, trial in zip(wanted, trials, strict=True):
                try:
                    found.append(trial.result())
                except ConfigError as error:
                    say(f"{variant.name}: left out: {error}")
                else:
                    say(f"{variant.name}: {found[-1].seconds:.0f} s")
    return found


def paced(workload: Workload, *, say: Callable[[str], object]) -> Workload:
    """*workload*, as fast as leaves our CPU time below its share of the time of misses.

    A pilot with all layers on shows what that share is.
    """
    layers = asyncio.run(installed_layers())
    short = evolve(workload, hours=_PILOT_HOURS, past=0)
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as made, _workers(1) as workers:
        past = make_past(short, Path(made))
        everything = Variant("all", tuple(layers))
        pilot = figures(workers.submit(_try, short, everything, layers, past).result())
    share = pilot.cpu_pct or MOST_CPU
    speed = min(_FASTEST, max(_SLOWEST, workload.speed * _MARGIN * MOST_CPU / share))
    say(f"pilot: our CPU takes {share:.1f} % at speed {workload.speed:g}: speed {speed:.1f}")
    return evolve(workload, speed=round(speed, 1))


def make_past(workload: Workload, folder: Path) -> Past:
    """The signals of earlier days, for the plugins that are installed."""
    recorded = "persist" in {point.name for point in entry_points(group="argo_mw")}
    return Past(folder, workload.names, rows=workload.past, recorded=recorded)


async def installed_layers() -> list[str]:
    """The names of the layers that are installed."""
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        config = {"argo": {"shared": "memory://", "state_dir": folder}}
        async with Argo.open(config) as argo:
            return [n for n, parts in argo.engine.build.parts.items() if parts.layer is not None]


def _workers(count: int) -> ProcessPoolExecutor:
    # Fresh ones: what a trial leaves behind in a process must not help or hinder the next.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, max_tasks_per_child=1)


def _try(workload: Workload, variant: Variant, layers: Sequence[str], past: Past) -> Seen:
    return asyncio.run(_try_warm(workload, variant, layers, past))


async def _try_warm(
    workload: Workload, variant: Variant, layers: Sequence[str], past: Past
) -> Seen:
    with Vendors(workload.sandbox(instant=True)) as truth:
        await _warm_up(workload, layers, truth, past)
        with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
            return await Trial(workload, variant, layers, Path(folder), truth, past).run()


async def _warm_up(workload: Workload, layers: Sequence[str], truth: Vendors, past: Past) -> None:
    """Have everything imported, so that no variant pays for it."""
    short = evolve(workload, symbols=2, hours=0.02, speed=10.0)
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        everything = Variant("all", tuple(layers))
        await Trial(short, everything, layers, Path(folder), truth, past).run()
