"""Markets: what holds in each of them, and in the others when it is left out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from attrs import frozen

from argo_mw_adaptive_ttl import Calendars
from tests.bench.adaptive_ttl_replay.compare import Comparison
from tests.bench.adaptive_ttl_replay.score import Sums
from tests.bench.adaptive_ttl_replay.series import Era


@frozen
class Market:
    """The series of one calendar that begin in the same year.

    Attributes:
        name: The calendar and the year.
        series: Their names.
    """

    name: str
    series: Sequence[str]


@frozen
class Row:
    """One market in the table.

    Attributes:
        market: Which.
        settled: The mean settled ratio of its series.
        without: The same of all other series: what one would have known without this market.
        pooled: The pooled ratio of one budget for the symbols of each market.
        over_alone: The rms error with one budget over that with a budget for each symbol, at as
            many fetches.
    """

    market: Market
    settled: float
    without: float | None
    pooled: float
    over_alone: float

    def plain(self) -> dict[str, object]:
        """The row for JSON."""
        return {
            "series": len(self.market.series),
            "settled": round(self.settled, 4),
            "settled_without_it": None if self.without is None else round(self.without, 4),
            "pooled": round(self.pooled, 4),
            "pooled_over_alone": round(self.over_alone, 4),
        }


def markets_of(eras: Iterable[Era]) -> list[Market]:
    """The markets of all series in *eras*."""
    calendars = Calendars()
    first: dict[str, tuple[str, int]] = {}
    for era in eras:
        for segment in era.segments:
            calendar = calendars.name_of(segment.series.symbol)
            year = datetime.fromtimestamp(segment.minutes[0], UTC).year
            first.setdefault(segment.series.name, (calendar, year))
    names = sorted(set(first.values()))
    return [
        Market(f"{calendar} {year}", [n for n, key in first.items() if key == (calendar, year)])
        for calendar, year in names
    ]


def rows_of(
    markets: Sequence[Market], settled: Comparison, alone: Comparison, pooled: Comparison
) -> list[Row]:
    """One row for each of *markets*."""
    ratios = {n: settled.policy[n].error / settled.fixed[n].error for n in settled.policy}
    return [_row(market, ratios, alone, pooled) for market in markets]


def table(rows: Sequence[Row]) -> list[str]:
    """The rows for people."""
    head = f"{'market':12} {'series':>6} {'settled':>8} {'without it':>10} {'pooled':>7} {'/ alone':>7}"
    lines = [
        f"{row.market.name:12} {len(row.market.series):6} {row.settled:8.3f} "
        f"{'' if row.without is None else f'{row.without:.3f}':>10} {row.pooled:7.3f} "
        f"{row.over_alone:7.3f}"
        for row in rows
    ]
    return [head, *lines]


def _row(market: Market, ratios: Mapping[str, float], alone: Comparison, pooled: Comparison) -> Row:
    others = [ratio for name, ratio in ratios.items() if name not in market.series]
    mine = [pooled.policy[name] for name in market.series]
    each = [alone.policy[name] for name in market.series]
    return Row(
        market,
        statistics.fmean(ratios[name] for name in market.series),
        statistics.fmean(others) if others else None,
        _ratio(mine, [pooled.fixed[name] for name in market.series]),
        _ratio(mine, each),
    )


def _ratio(mine: Sequence[Sums], theirs: Sequence[Sums]) -> float:
    """The ratio of rms errors at equal fetches: a squared error falls as fetches rise."""
    return math.sqrt(_cost(mine) / _cost(theirs))


def _cost(sums: Sequence[Sums]) -> float:
    squares = sum(float(one.squares.sum()) for one in sums)
    return squares * sum(one.fetches for one in sums)
