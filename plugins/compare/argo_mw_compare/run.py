"""All trials, each in a process of its own, a few of them at a time.

A trial mostly waits for vendors, so that some can wait side by side without taking CPU time from
one another; how much of its time a trial's own CPU took is measured in each.
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
from argo_mw_compare.figures import MOST_CPU, figures
from argo_mw_compare.past import Past
from argo_mw_compare.trial import Seen, Trial, installed_plugins, unwanted
from argo_mw_compare.variants import Variant, variants
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import Workload

AT_ONCE = 7
SEEDS = 3
_PILOT_HOURS, _PILOT_SPEED = 0.1, 1.0
_MARGIN = 0.7
_SLOWEST, _FASTEST = 0.4, 10.0
"""Slower, and the whole comparison would take more than ten minutes."""


@contextmanager
def apart() -> Iterator[None]:
    """Nobody's flags count and nobody's state is used meanwhile: trials have their own."""
    ours = [name for name in os.environ if name.startswith("ARGO_MW_")]
    kept = {name: os.environ.pop(name) for name in ours}
    try:
        yield
    finally:
        os.environ.update(kept)


@apart()
def run(workload: Workload, *, quick: bool, say: Callable[[str], object]) -> dict[int, list[Seen]]:
    """What every variant saw, by seed.

    Two further seeds, with other minutes of the same days and other latencies, are for the
    original service and all layers only. A variant whose layers cannot be without another is
    left out, aloud.
    """
    layers = asyncio.run(installed_layers())
    wanted = {workload.seed: variants(layers, quick=quick)}
    for seed in range(workload.seed + 1, workload.seed + SEEDS):
        wanted[seed] = variants(layers, quick=True)
    found = _try_all(workload, wanted, layers, say)
    return {
        seed: [found[seed, one.name] for one in several if (seed, one.name) in found]
        for seed, several in wanted.items()
    }


@apart()
def paced(workload: Workload, *, say: Callable[[str], object]) -> Workload:
    """*workload*, as fast as leaves our CPU time below its share of the time of misses.

    A pilot shows what that share is: a short trial of each variant that has a cache, as many at a
    time as later. Those without one wait longer, so their share is smaller.
    """
    layers = asyncio.run(installed_layers())
    short = evolve(workload, hours=_PILOT_HOURS, speed=_PILOT_SPEED, past=0)
    cached = [one for one in variants(layers) if "cache" in one.layers]
    wanted = cached or variants(layers, quick=True)
    pilots = _try_all(short, {short.seed: wanted}, layers, lambda _: None).values()
    share = max((figures(one).cpu_pct or 0.0 for one in pilots), default=0.0) or MOST_CPU
    found = _PILOT_SPEED * _MARGIN * MOST_CPU / share
    speed = round(min(_FASTEST, max(_SLOWEST, found)), 2)
    say(f"pilot: our CPU takes {share:.1f} % at speed {_PILOT_SPEED:g}: speed {speed:g}")
    return evolve(workload, speed=speed)


def _try_all(
    workload: Workload,
    wanted: Mapping[int, Sequence[Variant]],
    layers: Sequence[str],
    say: Callable[[str], object],
) -> dict[tuple[int, str], Seen]:
    found: dict[tuple[int, str], Seen] = {}
    # Those that wait longest go first, so that none of them is waited for alone at the end.
    pairs = [(seed, one) for seed, several in wanted.items() for one in several]
    pairs.sort(key=lambda pair: "cache" in pair[1].layers or pair[1].original)
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as made:
        past = make_past(workload, Path(made))
        with _workers(min(AT_ONCE, len(pairs))) as workers:
            trials = {
                workers.submit(_try, evolve(workload, seed=seed), one, layers, past): (seed, one)
                for seed, one in pairs
            }
            for trial in as_completed(trials):
                seed, one = trials[trial]
                try:
                    seen = found[seed, one.name] = trial.result()
                except ConfigError as error:
                    say(f"{one.name}: left out: {error}")
                else:
                    say(f"{one.name}, seed {seed}: {seen.seconds:.0f} s")
    return found


def make_past(workload: Workload, folder: Path) -> Past:
    """The signals of earlier days, for the plugins that are installed."""
    recorded = "persist" in installed_plugins()
    return Past(folder, workload.names, rows=workload.past, recorded=recorded)


async def installed_layers() -> list[str]:
    """The names of the layers that are installed."""
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        config = {"argo": {"shared": "memory://", "state_dir": folder, "block": unwanted()}}
        async with Argo.open(config) as argo:
            return [one.name for one in layers_of(argo) if one.name == one.flag]


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
        # What is imported now is not looked through again by collections in the trial.
        gc.collect()
        gc.freeze()
        with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
            return await Trial(workload, variant, layers, Path(folder), truth, past).run()


async def _warm_up(workload: Workload, layers: Sequence[str], truth: Vendors, past: Past) -> None:
    """Have everything imported, so that no variant pays for it."""
    short = evolve(workload, symbols=2, hours=0.02, speed=5.0)
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        everything = Variant("all", tuple(layers))
        await Trial(short, everything, layers, Path(folder), truth, past).run()
