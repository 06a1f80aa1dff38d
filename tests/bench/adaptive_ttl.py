"""What adaptive times to live save, on real minute bars, at an equal number of fetches.

``--data`` is a directory of ``NAME_1m.csv.gz`` files. Every symbol is read once a minute of its
regular session, at a random second; what is seen then are the last 90 bars that are complete.
Served prices are compared with the last complete close. Each policy is replayed through the real
chain (cache, adaptive_ttl, an upstream) on a fake clock; the fixed time to live that it is
compared with is fitted afterwards, per segment, to the policy's own number of fetches.

A session's first read comes before its first bar is complete and can only return the last close
of the day before, which a fixed time to live then serves on, across the gap of the night.
``settled_error_ratio`` is the same comparison with each session's first minute left out.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from attrs import frozen

from argo_mw_adaptive_ttl import (
    Calendars,
    ErrorBudget,
    ErrorBudgetConfig,
    MultiplierConfig,
    SymbolStats,
)
from argo_mw_adaptive_ttl.policy import Situation
from tests.bench.adaptive_ttl_replay.fixed import fit
from tests.bench.adaptive_ttl_replay.plot import Point, draw
from tests.bench.adaptive_ttl_replay.replay import reads_of, replay
from tests.bench.adaptive_ttl_replay.score import LARGE, Ratio, Sums, is_scored, ratio_of
from tests.bench.adaptive_ttl_replay.series import Era, eras_of, walk

SHARE = 0.1
PLOT = Path(__file__).parents[2] / "docs" / "assets" / "adaptive-ttl"
SHORT = 5_000
MORE = 3
_MONDAY = 1_704_722_400.0

Policy = Mapping[str, object]
Ttls = Mapping[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the bars are, and how much of the protocol is run."""
    parser.add_argument("--data", type=Path, required=True, help="directory of *_1m.csv.gz")
    parser.add_argument("--phases", type=int, default=20, help="random phases; short series: x3")
    parser.add_argument("--settled-phases", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=(), help="names of series")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--plot", type=Path, default=PLOT, help="the plot, without its ending")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Every figure by its key."""
    source = (args.data, tuple(args.only))
    _open(*source)
    with ProcessPoolExecutor(args.jobs, initializer=_open, initargs=source) as pool:
        bench = _Bench(args, pool)
        result = await asyncio.to_thread(bench.figures)
    result["decision_us"] = decision_us()
    return result


def by_fetches(rate: float, of: str = "symbol") -> Policy:
    """The policy ``error_budget`` with a budget of *rate* fetches a minute."""
    return {"policy": "error_budget", "error_budget": {"fetches": rate, "of": of}}


@frozen(eq=False)
class _Task:
    """One run over some eras, for a worker process.

    Attributes:
        eras: Their numbers.
        skip: Minutes left out at the beginning of each session.
        seed: The phase.
        policy: The plugin's table, or ``None`` for a fixed time to live.
        ttls: That time by symbol.
    """

    eras: tuple[int, ...]
    skip: int
    seed: int
    policy: Policy | None
    ttls: Ttls | None = None


@frozen(eq=False)
class _Comparison:
    """A policy and the fixed time to live that makes as many fetches.

    Attributes:
        policy: Sums by series.
        fixed: The same for the fixed time to live.
        shares: Fetches per read of each segment, least and most over the runs.
    """

    policy: Mapping[str, Sums]
    fixed: Mapping[str, Sums]
    shares: Sequence[tuple[float, float]]


_eras: dict[int, list[Era]] = {}
_source: tuple[Path, tuple[str, ...]] | None = None


def _open(data: Path, only: tuple[str, ...]) -> None:
    global _source  # noqa: PLW0603 - a worker process is told once where the bars are
    _source = (data, only)


def _eras_with(skip: int) -> list[Era]:
    if skip not in _eras:
        assert _source is not None
        _eras[skip] = eras_of(_source[0], Calendars(), skip=skip, only=_source[1])
    return _eras[skip]


def _work(task: _Task) -> list[tuple[np.ndarray, int]]:
    eras = [_eras_with(task.skip)[number] for number in task.eras]
    tallies = asyncio.run(replay(eras, task.seed, policy=task.policy, ttls=task.ttls))
    return [(np.array(tally.squares), tally.fetches) for tally in tallies]


class _Bench:
    """The comparisons, run in worker processes."""

    def __init__(self, args: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
        self._args = args
        self._pool = pool

    def figures(self) -> dict[str, object]:
        """Every figure by its key."""
        args = self._args
        budget = self.compare(by_fetches(SHARE), args.phases)
        settled = self.compare(by_fetches(SHARE), args.settled_phases, skip=1)
        pooled = self.compare(by_fetches(SHARE, "pool"), args.phases, together=True)
        multipliers = self.compare({"policy": "multipliers"}, args.settled_phases)
        ratios = {name: ratio_of(budget.policy[name], budget.fixed[name]) for name in budget.policy}
        scored = [name for name in ratios if _scored(budget.policy[name])]
        large = [name for name in scored if _reads(budget.policy[name]) >= LARGE]
        self._plot(budget, multipliers)
        return {
            "mean_error_ratio": _mean(ratios[name].value for name in scored),
            "max_error_ratio": max((ratios[name].value for name in large), default=None),
            "worst_lower_bound": max(
                (low for n in scored if (low := ratios[n].low) is not None), default=None
            ),
            "pooled_error_ratio": _pooled(pooled.policy) / _pooled(pooled.fixed),
            "pooled_fetch_share": _share(pooled.policy.values()),
            "fetch_share": _share(budget.policy.values()),
            "fetch_share_min": min(least for least, _ in budget.shares),
            "fetch_share_max": max(most for _, most in budget.shares),
            "fixed_fetches_off": max(_fetches_off(budget, name) for name in ratios),
            "settled_error_ratio": _mean_ratio(settled, scored),
            "settled_max_error_ratio": _max_ratio(settled, large),
            "multipliers_error_ratio": _mean_ratio(multipliers, scored),
            "multipliers_fetch_share": _share(multipliers.policy.values()),
            "scored": scored,
            "phases": args.phases,
            "series": {n: _row(budget, n, ratios[n]) for n in sorted(ratios)},
            "settled_series": {
                n: round(ratio_of(settled.policy[n], settled.fixed[n]).value, 4)
                for n in sorted(ratios)
            },
        }

    def compare(
        self, policy: Policy, phases: int, *, skip: int = 0, together: bool = False
    ) -> _Comparison:
        """*policy* against a fixed time to live; *together* with one budget for everything."""
        eras = _eras_with(skip)
        groups = [tuple(range(len(eras)))] if together else [(n,) for n in range(len(eras))]
        runs = {
            group: range(phases) if together else phases_of(eras, group, phases) for group in groups
        }
        made = self._run([_Task(g, skip, s, policy) for g in groups for s in runs[g]])
        fitted: list[_Task] = []
        for group in groups:
            segments = [segment for number in group for segment in eras[number].segments]
            counts = [[f for _, f in made[group, seed]] for seed in runs[group]]
            mean = np.mean(counts, axis=0)
            some = list(runs[group])[:5]
            if together:
                reads = [[reads_of(segment, seed) for segment in segments] for seed in some]
                ttl = fit(reads, float(mean.sum()))
                ttls = {segment.series.symbol: ttl for segment in segments}
            else:
                ttls = {
                    segment.series.symbol: fit([[reads_of(segment, s)] for s in some], fetches)
                    for segment, fetches in zip(segments, mean.tolist(), strict=True)
                }
            fitted += [_Task(group, skip, seed, None, ttls) for seed in runs[group]]
        fixed = self._run(fitted)
        print(f"{dict(policy)}: {phases} phases done", file=sys.stderr, flush=True)
        return _Comparison(
            _sums(eras, made), _sums(eras, fixed), [x for g in groups for x in _shares(g, made)]
        )

    def _run(
        self, tasks: Sequence[_Task]
    ) -> dict[tuple[tuple[int, ...], int], list[tuple[np.ndarray, int]]]:
        longest_first = sorted(tasks, key=lambda task: -len(task.eras))
        results = self._pool.map(_work, longest_first)
        return {(t.eras, t.seed): r for t, r in zip(longest_first, results, strict=True)}

    def _plot(self, budget: _Comparison, multipliers: _Comparison) -> None:
        points = [_point("error_budget", budget.policy), _point("fixed", budget.fixed)]
        points += [_point("multipliers", multipliers.policy), _point("fixed", multipliers.fixed)]
        for rate in (0.05, 0.2):
            other = self.compare(by_fetches(rate), 1)
            points += [_point("error_budget", other.policy), _point("fixed", other.fixed)]
        draw(points, self._args.plot)


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


def _reads(sums: Sums) -> float:
    return float(sums.reads.sum())


def _scored(sums: Sums) -> bool:
    return is_scored(round(_reads(sums)), len(sums.squares))


def _pooled(sums: Mapping[str, Sums]) -> float:
    squares = sum(float(one.squares.sum()) for one in sums.values())
    return math.sqrt(squares / sum(_reads(one) for one in sums.values()))


def _share(sums: Iterable[Sums]) -> float:
    every = list(sums)
    return float(sum(one.fetches for one in every) / sum(_reads(one) for one in every))


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def _mean_ratio(comparison: _Comparison, names: Iterable[str]) -> float | None:
    return _mean(comparison.policy[n].error / comparison.fixed[n].error for n in names)


def _max_ratio(comparison: _Comparison, names: Iterable[str]) -> float | None:
    return max(
        (comparison.policy[n].error / comparison.fixed[n].error for n in names), default=None
    )


def _fetches_off(comparison: _Comparison, name: str) -> float:
    """How far the fixed time to live is from as many fetches, as a share of them."""
    made = comparison.policy[name].fetches
    return round(abs(comparison.fixed[name].fetches / made - 1.0), 4)


def _row(comparison: _Comparison, name: str, ratio: Ratio) -> dict[str, object]:
    policy, fixed = comparison.policy[name], comparison.fixed[name]
    return {
        "scored": _scored(policy),
        "reads": round(_reads(policy)),
        "days": len(policy.squares),
        "fetches": round(policy.fetches, 1),
        "fetch_share": round(policy.share, 4),
        "rms_bp": round(policy.error, 3),
        "fixed_rms_bp": round(fixed.error, 3),
        "fixed_fetches": round(fixed.fetches, 1),
        "over_50_bp": round(float(policy.far.sum() / policy.reads.sum()), 5),
        "fixed_over_50_bp": round(float(fixed.far.sum() / fixed.reads.sum()), 5),
        "ratio": round(ratio.value, 4),
        "interval": None if ratio.low is None else [ratio.low, ratio.high],
    }


def _point(policy: str, sums: Mapping[str, Sums]) -> Point:
    return Point(policy, _share(sums.values()), _pooled(sums))


def decision_us(days: int = 20) -> float:
    """Microseconds that one decision takes, in the median, once the symbol is known.

    Three symbols are fetched every ten minutes of a month; what is timed is the decision, from
    what is known to a time to live and the reason for it.
    """
    calendars, stats = Calendars(), SymbolStats()
    policy = ErrorBudget(ErrorBudgetConfig(fetches=SHARE), MultiplierConfig(), stats)
    calendar = calendars.of("AAPL", _MONDAY)
    walks = {name: walk(calendar, _MONDAY, days, seed=name) for name in ("AAPL", "MSFT", "TSLA")}
    times = []
    for at in walks["AAPL"].ends[::10]:
        for name, series in walks.items():
            symbol = stats.learn(name, series.fetch(at), calendar, float(at))
            policy.record_fetch(symbol)
            known = Situation("market_data", name, float(at), calendar, symbol, revealed=True)
            started = time.perf_counter_ns()
            policy.decide(known)
            times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1000
