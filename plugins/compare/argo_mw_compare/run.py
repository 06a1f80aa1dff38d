"""All experiments, each in a process of its own, a few of them at a time.

An experiment mostly waits for vendors, so that several can run side by side without taking CPU time
from one another; each measures how much of its time its own CPU took.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from argo_mw.plugin import Argo, ConfigError, layers_of
from argo_mw_compare.experiment import Experiment, Observations, blocked, installed_plugins
from argo_mw_compare.figures import MAX_CPU_PCT, figures
from argo_mw_compare.history import History
from argo_mw_compare.variants import Variant, variants
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import Workload

_MAX_AT_ONCE = 7
_SEEDS = 4
_PILOT_HOURS, _PILOT_SPEED = 0.1, 1.0
_MARGIN = 0.6
_SLOWEST, _FASTEST = 0.4, 10.0
"""At a lower speed the comparison, scenarios included, would take more than twelve minutes."""


@contextmanager
def isolated() -> Iterator[None]:
    """Hide the user's flags, state and keys meanwhile: experiments have their own."""
    ours = [name for name in os.environ if name.startswith("ARGO_MW_") or name.endswith("_API_KEY")]
    kept = {name: os.environ.pop(name) for name in ours}
    try:
        yield
    finally:
        os.environ.update(kept)


@isolated()
def run(
    workload: Workload, *, quick: bool, say: Callable[[str], object]
) -> dict[int, list[Observations]]:
    """Run every variant, and return what was observed, by seed.

    Each seed has other minutes of the same days and other latencies. A variant whose layers require
    another layer is left out, which is reported.
    """
    layers = asyncio.run(installed_layers())
    wanted = {
        workload.seed + turn: variants(layers, quick=quick, turn=turn) for turn in range(_SEEDS)
    }
    found = _run_all(workload, wanted, layers, say)
    return {
        seed: [found[seed, one.name] for one in several if (seed, one.name) in found]
        for seed, several in wanted.items()
    }


@isolated()
def paced(workload: Workload, *, say: Callable[[str], object]) -> Workload:
    """Return *workload* at the highest speed at which our CPU time stays a small share of misses.

    A pilot measures the share at one speed, with a short experiment of all layers, which wait the
    least.
    """
    layers = asyncio.run(installed_layers())
    short = evolve(workload, hours=_PILOT_HOURS, speed=_PILOT_SPEED, history=0)
    wanted = [one for one in variants(layers, quick=True) if not one.baseline]
    pilots = _run_all(short, {short.seed: wanted}, layers, lambda _: None).values()
    share = max((figures(one).cpu_pct or 0.0 for one in pilots), default=0.0) or MAX_CPU_PCT
    found = _PILOT_SPEED * _MARGIN * MAX_CPU_PCT / share
    speed = round(min(_FASTEST, max(_SLOWEST, found)), 2)
    say(f"pilot: our CPU takes {share:.1f} % at speed {_PILOT_SPEED:g}: speed {speed:g}")
    return evolve(workload, speed=speed)


def _run_all(
    workload: Workload,
    wanted: Mapping[int, Sequence[Variant]],
    layers: Sequence[str],
    say: Callable[[str], object],
) -> dict[tuple[int, str], Observations]:
    found: dict[tuple[int, str], Observations] = {}
    # The longest go first, so that none of them runs alone at the end.
    pairs = [(seed, one) for seed, several in wanted.items() for one in several]
    pairs.sort(key=lambda pair: "cache" in pair[1].layers or pair[1].baseline)
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as made:
        history = make_history(workload, Path(made))
        with _workers(min(_MAX_AT_ONCE, len(pairs))) as workers:
            experiments = {
                workers.submit(_run_one, evolve(workload, seed=seed), one, layers, history): (
                    seed,
                    one,
                )
                for seed, one in pairs
            }
            for experiment in as_completed(experiments):
                seed, one = experiments[experiment]
                try:
                    observed = found[seed, one.name] = experiment.result()
                except ConfigError as error:
                    say(f"{one.name}: left out: {error}")
                else:
                    say(f"{one.name}, seed {seed}: {observed.seconds:.0f} s")
    return found


def run_side_by_side(
    workload: Workload,
    several: Sequence[Variant],
    layers: Sequence[str],
    history: History,
) -> list[Observations]:
    """Run *workload* through *several* variants at once, and watch what their layers do."""
    with _workers(len(several)) as workers:
        running = [
            workers.submit(_run_one, workload, one, layers, history, watched=True)
            for one in several
        ]
        return [one.result() for one in running]


def make_history(workload: Workload, folder: Path) -> History:
    """Make the signals of earlier days, for the plugins that are installed."""
    recorded = {"persist", "signals"} <= installed_plugins()
    rows, until = workload.history, workload.begins
    return History(folder, workload.names, rows=rows, until=until, recorded=recorded)


async def installed_layers() -> list[str]:
    """Return the names of the installed plugins' layers."""
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        config = {"argo": {"shared": "memory://", "state_dir": folder, "block": blocked()}}
        async with Argo.open(config) as argo:
            return [one.name for one in layers_of(argo) if one.name == one.flag]


def _workers(count: int) -> ProcessPoolExecutor:
    # Fresh ones: what an experiment leaves in a process must not help or hinder the next.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, max_tasks_per_child=1)


def _run_one(
    workload: Workload,
    variant: Variant,
    layers: Sequence[str],
    history: History,
    *,
    watched: bool = False,
) -> Observations:
    return asyncio.run(_run_warm(workload, variant, layers, history, watched=watched))


async def _run_warm(
    workload: Workload,
    variant: Variant,
    layers: Sequence[str],
    history: History,
    *,
    watched: bool,
) -> Observations:
    with Vendors(workload.sandbox(instant=True)) as truth:
        await _warm_up(workload, layers, truth, history)
        # What is imported now is not looked through again by collections in the experiment.
        gc.collect()
        gc.freeze()
        with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
            experiment = Experiment(
                workload, variant, layers, Path(folder), truth, history, watched=watched
            )
            return await experiment.run()


async def _warm_up(
    workload: Workload, layers: Sequence[str], truth: Vendors, history: History
) -> None:
    """Import everything, so that no variant pays for it."""
    short = Workload(
        symbols=2,
        hours=0.02,
        speed=5.0,
        seed=workload.seed,
        begins=workload.begins,
        own=workload.own[:2],
        data=workload.data,
    )
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        everything = Variant("all", tuple(layers))
        await Experiment(short, everything, layers, Path(folder), truth, history).run()
