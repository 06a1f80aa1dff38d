"""What adaptive times to live save, on real minute bars, at an equal number of fetches.

``--data`` is a directory of ``NAME_1m.csv.gz`` files. Every symbol is read once a minute of its
regular session, at a random second; what is seen then are the last 90 bars that are complete.
Served prices are compared with the last complete close. Each policy is replayed through the real
chain (cache, adaptive_ttl, an upstream) on a fake clock; the fixed time to live that it is
compared with is fitted afterwards, per segment, to the policy's own number of fetches.

A session's first read comes before its first bar is complete and can only return the last close
of the day before, which a fixed time to live then serves on, across the gap of the night.
``settled_error_ratio`` is the same comparison with each session's first minute left out, and so are
those of ``thinned`` series, of which a random 2, 5 and 10 % of the bars are kept. A table shows each
market, and the others without it. ``made`` prices are made by program, so that theory says where
fetches belong.
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

from argo_mw_adaptive_ttl import (
    Calendars,
    ErrorBudget,
    ErrorBudgetConfig,
    MultiplierConfig,
    SymbolStats,
)
from argo_mw_adaptive_ttl.policy import Situation
from tests.bench.adaptive_ttl_replay.compare import (
    SETTLED,
    WHOLE,
    Comparer,
    Comparison,
    Policy,
    Selection,
    eras_with,
    open_source,
)
from tests.bench.adaptive_ttl_replay.made import KINDS, judge, made
from tests.bench.adaptive_ttl_replay.markets import markets_of, rows_of, table
from tests.bench.adaptive_ttl_replay.plot import Point, draw
from tests.bench.adaptive_ttl_replay.score import LARGE, Ratio, Sums, is_scored, over, ratio_of
from tests.bench.adaptive_ttl_replay.series import walk

SHARE = 0.1
PLOT = Path(__file__).parents[2] / "docs" / "assets" / "adaptive-ttl"
THINNED = (2, 5, 10)
TIMES = 20
_MONDAY = 1_704_722_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the bars are, and how much of the protocol is run."""
    parser.add_argument("--data", type=Path, required=True, help="directory of *_1m.csv.gz")
    parser.add_argument("--phases", type=int, default=20, help="random phases; short series: x3")
    parser.add_argument("--settled-phases", type=int, default=5)
    parser.add_argument("--thinned-phases", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=(), help="names of series")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--plot", type=Path, default=PLOT, help="the plot, without its ending")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Every figure by its key."""
    source = (args.data, tuple(args.only))
    open_source(*source)
    with ProcessPoolExecutor(args.jobs, initializer=open_source, initargs=source) as pool:
        bench = _Bench(args, pool)
        result = await asyncio.to_thread(bench.figures)
        result["thinned"] = await asyncio.to_thread(bench.thinned)
    result["made"] = await _made()
    result["decision_us"] = decision_us()
    return result


def by_fetches(rate: float, of: str = "symbol") -> Policy:
    """The policy ``error_budget`` with a budget of *rate* fetches a minute."""
    return {"policy": "error_budget", "error_budget": {"fetches": rate, "of": of}}


class _Bench:
    """The comparisons, run in worker processes."""

    def __init__(self, args: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
        self._args = args
        self._compare = Comparer(pool).compare

    def figures(self) -> dict[str, object]:
        """Every figure by its key, but for those of thinned series and of made ones."""
        args = self._args
        budget = self._compare(by_fetches(SHARE), args.phases)
        settled = self._compare(by_fetches(SHARE), args.settled_phases, SETTLED)
        pooled = self._compare(by_fetches(SHARE, "pool"), args.phases, together=True)
        multipliers = self._compare({"policy": "multipliers"}, args.settled_phases)
        ratios = {name: ratio_of(budget.policy[name], budget.fixed[name]) for name in budget.policy}
        scored = [name for name in ratios if _scored(budget.policy[name])]
        large = [name for name in scored if _reads(budget.policy[name]) >= LARGE]
        rows = rows_of(markets_of(eras_with(WHOLE)), settled, budget, pooled)
        print(*table(rows), sep="\n", file=sys.stderr, flush=True)
        self._plot(budget, multipliers)
        return {
            "mean_error_ratio": _mean(ratios[name].value for name in scored),
            "max_error_ratio": max((ratios[name].value for name in large), default=None),
            "worst_lower_bound": _worst_low(ratios, scored),
            "pooled_error_ratio": _pooled(pooled.policy) / _pooled(pooled.fixed),
            "pooled_fetch_share": _share(pooled.policy.values()),
            "pooled_over_alone_max": max(row.over_alone for row in rows),
            "fetch_share": _share(budget.policy.values()),
            "fetch_share_min": min(least for least, _ in budget.shares),
            "fetch_share_max": max(most for _, most in budget.shares),
            "fixed_fetches_off": max(_fetches_off(budget, name) for name in ratios),
            "settled_error_ratio": _mean_ratio(settled, scored),
            "settled_max_error_ratio": _max_ratio(settled, large),
            "settled_worst_lower_bound": _worst_low(_corrected(settled, scored), scored),
            "multipliers_error_ratio": _mean_ratio(multipliers, scored),
            "multipliers_fetch_share": _share(multipliers.policy.values()),
            "scored": scored,
            "phases": args.phases,
            "markets": {row.market.name: row.plain() for row in rows},
            "series": {n: _row(budget, n, ratios[n]) for n in sorted(ratios)},
            "settled_series": _shown(settled, sorted(ratios)),
        }

    def thinned(self) -> dict[str, object]:
        """The settled figures of the same series with a few percent of their bars."""
        found: dict[str, object] = {}
        for percent in THINNED:
            selection = Selection(SETTLED.skip, percent / 100.0)
            made = self._compare(by_fetches(SHARE), self._args.thinned_phases, selection)
            scored = [name for name in made.policy if _scored(made.policy[name])]
            found[str(percent)] = {
                "max_error_ratio": _max_ratio(made, scored),
                "worst_lower_bound": _worst_low(_corrected(made, scored), scored),
                "scored": scored,
                "series": _shown(made, sorted(made.policy)),
            }
        return found

    def _plot(self, budget: Comparison, multipliers: Comparison) -> None:
        points = [_point("error_budget", budget.policy), _point("fixed", budget.fixed)]
        points += [_point("multipliers", multipliers.policy), _point("fixed", multipliers.fixed)]
        for rate in (0.05, 0.2):
            other = self._compare(by_fetches(rate), 1)
            points += [_point("error_budget", other.policy), _point("fixed", other.fixed)]
        draw(points, self._args.plot)


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


def _mean_ratio(comparison: Comparison, names: Iterable[str]) -> float | None:
    return _mean(over(comparison.policy[n].error, comparison.fixed[n].error) for n in names)


def _max_ratio(comparison: Comparison, names: Iterable[str]) -> float | None:
    return max(
        (over(comparison.policy[n].error, comparison.fixed[n].error) for n in names), default=None
    )


def _corrected(comparison: Comparison, names: Sequence[str]) -> dict[str, Ratio]:
    """The ratios of *names*, with intervals that hold for all of them at once."""
    return {
        name: ratio_of(
            comparison.policy[name], comparison.fixed[name], comparisons=max(1, len(names))
        )
        for name in names
    }


def _worst_low(ratios: Mapping[str, Ratio], names: Iterable[str]) -> float | None:
    return max((low for n in names if (low := ratios[n].low) is not None), default=None)


def _shown(comparison: Comparison, names: Sequence[str]) -> dict[str, object]:
    ratios = {n: ratio_of(comparison.policy[n], comparison.fixed[n]) for n in names}
    return {n: [round(one.value, 4), one.low, one.high] for n, one in ratios.items()}


def _fetches_off(comparison: Comparison, name: str) -> float:
    """How far the fixed time to live is from as many fetches, as a share of them."""
    made = comparison.policy[name].fetches
    return round(abs(comparison.fixed[name].fetches / made - 1.0), 4)


def _row(comparison: Comparison, name: str, ratio: Ratio) -> dict[str, object]:
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


async def _made() -> dict[str, object]:
    """What came of prices made by program, by their kind."""
    calendar = Calendars().of("AAPL", _MONDAY)
    found = {}
    for kind in KINDS:
        one = await judge(made(kind, calendar, _MONDAY), calendar, range(3))
        found[kind] = {"error_ratio": one.error_ratio, "marked_fetches": one.marked_fetches}
    return found


def decision_us(days: int = 20) -> float:
    """Microseconds of CPU time that one decision takes, in the median, of a known symbol.

    Three symbols are fetched every ten minutes of a month; what is timed is the decision, from
    what is known to a time to live and the reason for it. It changes nothing, so it is made
    :data:`TIMES` times in a row: reading the clock takes as long.
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
            started = time.thread_time_ns()
            for _ in range(TIMES):
                policy.decide(known)
            times.append((time.thread_time_ns() - started) / TIMES)
    return statistics.median(times) / 1000
