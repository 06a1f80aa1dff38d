"""Comparisons: a policy against the fixed time to live with as many fetches, in processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from attrs import frozen

from argo_mw_adaptive_ttl import Calendars
from tests.bench.adaptive_ttl_replay.fixed import fit
from tests.bench.adaptive_ttl_replay.replay import reads_of, replay
from tests.bench.adaptive_ttl_replay.score import Sums
from tests.bench.adaptive_ttl_replay.series import Era, eras_of

SHORT = 5_000
MORE = 3

Policy = Mapping[str, object]
Ttls = tuple[float, ...]


@frozen
class Selection:
    """Which reads of which bars are replayed.

    Attributes:
        skip: Minutes left out at the beginning of each session.
        keep: The share of bars that is kept, at random.
    """

    skip: int = 0
    keep: float = 1.0


WHOLE = Selection()
SETTLED = Selection(skip=1)


@frozen(eq=False)
class _Task:
    """One run over some eras, for a worker process.

    Attributes:
        selection: Which reads of which bars.
        eras: The numbers of the eras.
        seed: The phase.
        policy: The plugin's table, or ``None`` for a fixed time to live.
        ttls: That time by segment, in order.
    """

    selection: Selection
    eras: tuple[int, ...]
    seed: int
    policy: Policy | None
    ttls: Ttls | None = None


@frozen(eq=False)
class Comparison:
    """A policy and the fixed time to live that makes as many fetches.

    Attributes:
        policy: Sums by series.
        fixed: The same for the fixed time to live.
        shares: Fetches per read of each segment, least and most over the runs.
    """

    policy: Mapping[str, Sums]
    fixed: Mapping[str, Sums]
    shares: Sequence[tuple[float, float]]


_eras: dict[Selection, list[Era]] = {}
_source: tuple[Path, tuple[str, ...]] | None = None


def open_source(data: Path, only: tuple[str, ...]) -> None:
    """Take the bars from the directory *data*, of all series or *only* of some."""
    global _source  # noqa: PLW0603 - a worker process is told once where the bars are
    _source = (data, only)


def eras_with(selection: Selection) -> list[Era]:
    """The eras of a *selection*, read once by each process."""
    if selection not in _eras:
        assert _source is not None
        data, only = _source
        _eras[selection] = eras_of(
            data, Calendars(), skip=selection.skip, only=only, keep=selection.keep
        )
    return _eras[selection]


def _work(task: _Task) -> list[tuple[np.ndarray, int]]:
    eras = [eras_with(task.selection)[number] for number in task.eras]
    tallies = asyncio.run(replay(eras, task.seed, policy=task.policy, ttls=task.ttls))
    return [(np.array(tally.squares), tally.fetches) for tally in tallies]


class Comparer:
    """Compares policies with fixed times to live, in the worker processes of *pool*."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def compare(
        self,
        policy: Policy,
        phases: int,
        selection: Selection = WHOLE,
        *,
        together: bool = False,
    ) -> Comparison:
        """*policy* against a fixed time to live; *together* with one budget for everything."""
        eras = eras_with(selection)
        groups = [tuple(range(len(eras)))] if together else [(n,) for n in range(len(eras))]
        runs = {
            group: range(phases) if together else phases_of(eras, group, phases) for group in groups
        }
        made = self._run([_Task(selection, g, s, policy) for g in groups for s in runs[g]])
        fitted: list[_Task] = []
        for group in groups:
            segments = [segment for number in group for segment in eras[number].segments]
            counts = [[f for _, f in made[group, seed]] for seed in runs[group]]
            mean = np.mean(counts, axis=0)
            some = list(runs[group])[:5]
            if together:
                reads = [[reads_of(segment, seed) for segment in segments] for seed in some]
                ttl = fit(reads, float(mean.sum()))
                ttls = (ttl,) * len(segments)
            else:
                ttls = tuple(
                    fit([[reads_of(segment, s)] for s in some], fetches)
                    for segment, fetches in zip(segments, mean.tolist(), strict=True)
                )
            fitted += [_Task(selection, group, seed, None, ttls) for seed in runs[group]]
        fixed = self._run(fitted)
        print(f"{dict(policy)}, {selection}: {phases} phases done", file=sys.stderr, flush=True)
        return Comparison(
            _sums(eras, made), _sums(eras, fixed), [x for g in groups for x in _shares(g, made)]
        )

    def _run(
        self, tasks: Sequence[_Task]
    ) -> dict[tuple[tuple[int, ...], int], list[tuple[np.ndarray, int]]]:
        longest_first = sorted(tasks, key=lambda task: -len(task.eras))
        results = self._pool.map(_work, longest_first)
        return {(t.eras, t.seed): r for t, r in zip(longest_first, results, strict=True)}


def phases_of(eras: Sequence[Era], group: tuple[int, ...], phases: int) -> range:
    """The seeds of the runs of a group: three times as many when a series in it is short."""
    reads: dict[str, int] = {}
    for segment in (segment for era in eras for segment in era.segments):
        name = segment.series.name
        reads[name] = reads.get(name, 0) + len(segment.minutes)
    segments = [segment for number in group for segment in eras[number].segments]
    longest = max(len(segment.minutes) for segment in segments)
    short = min(reads[segment.series.name] for segment in segments)
    return range(phases * (MORE if min(short, longest) < SHORT else 1))


def _sums(
    eras: Sequence[Era],
    made: Mapping[tuple[tuple[int, ...], int], list[tuple[np.ndarray, int]]],
) -> dict[str, Sums]:
    """Squares and fetches by series, each segment's averaged over its runs."""
    days: dict[str, int] = {}
    for era in eras:
        for segment in era.segments:
            name = segment.series.name
            days[name] = max(days.get(name, 0), segment.days[-1] + 1)
    sums = {name: Sums.of(count) for name, count in days.items()}
    runs: dict[tuple[int, ...], int] = {}
    for group, _ in made:
        runs[group] = runs.get(group, 0) + 1
    for (group, _), results in made.items():
        segments = [segment for number in group for segment in eras[number].segments]
        for segment, (squares, fetches) in zip(segments, results, strict=True):
            numbers = np.array(segment.days[len(segment.days) - len(squares) :])
            sums[segment.series.name].add(numbers, squares, fetches, 1.0 / runs[group])
    return sums


def _shares(
    group: tuple[int, ...],
    made: Mapping[tuple[tuple[int, ...], int], list[tuple[np.ndarray, int]]],
) -> list[tuple[float, float]]:
    """The mean share of fetches of each segment of *group*, least and most over its runs."""
    runs = [results for (one, _), results in made.items() if one == group]
    shares = [[fetches / len(squares) for squares, fetches in results] for results in runs]
    return [(min(segment), max(segment)) for segment in zip(*shares, strict=True)]
