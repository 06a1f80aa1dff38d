"""The panel: what was learned about upstreams, and what became of the requests to them."""

from __future__ import annotations

from argo_mw.plugin import Column, Context, Line, Panel, View
from argo_mw_race.fan_out import NAME
from argo_mw_race.layer import Race
from argo_mw_race.stats import UpstreamStats

_FAILING = 0.5


def panel(context: Context) -> Panel:
    """Return the panel of the layer that is in use in the application of *context*."""

    def read() -> View:
        layers = [one.middleware for one in context.layers if isinstance(one.middleware, Race)]
        rankings = [ranking for layer in layers for ranking in layer.rankings.items()]
        return View(
            [
                _line(operation, upstream, stats)
                for operation, ranking in sorted(rankings, key=lambda one: one[0])
                for upstream, stats in sorted(ranking.known.items())
            ]
        )

    columns = (
        "operation",
        "upstream",
        Column("answers in", "s"),
        Column("errors", "share"),
        "under way",
        "asked",
        "won",
        "hedges",
        "failed",
        "refused",
        Column("wasted", "USD"),
    )
    return Panel(NAME, "What race has learned", columns, read)


def _line(operation: str, upstream: str, stats: UpstreamStats) -> Line:
    tally = stats.tally
    cells = (
        operation,
        upstream,
        stats.latency,
        stats.error_rate,
        stats.in_flight,
        tally.asked,
        tally.won,
        tally.hedges,
        tally.failed,
        tally.refused,
        tally.wasted_usd,
    )
    failing = stats.stuck or stats.error_rate >= _FAILING
    return Line(cells, tone="bad" if failing else "")
