"""Panels and dashboards, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from attrs import frozen

CALLS: Final = "argo_mw_calls_total"
COST: Final = "argo_mw_cost_USD_total"
SAVED: Final = "argo_mw_saved_cost_USD_total"
ATTEMPTS: Final = "argo_mw_upstream_attempts_total"
OPERATION: Final = "argo_mw_operation"
UPSTREAM: Final = "argo_mw_upstream"

ANSWERED: Final = 'argo_mw_served_by!=""'
"""Selects calls that got an answer."""

HIT: Final = 'argo_mw_served_by!="upstream", argo_mw_served_by!=""'
"""Selects calls that a layer answered."""

FAILED: Final = 'error_type!="", error_type!~"CancelledError|NotFound"'
"""Selects calls that failed; a caller that left, or asked for what is not there, is no failure."""

WENT_WRONG: Final = 'argo_mw_status=~"failed|rejected|timeout"'
"""Selects attempts at an upstream that failed."""

View = Literal["stat", "lines", "stack", "table"]
"""How a panel shows its queries: one number, lines over time, lines on top of each other, or a
table of what is so now."""


@frozen
class Query:
    """A query in PromQL.

    Attributes:
        expression: The query; ``$instance`` and Grafana's own variables may stand in it.
        legend: What its lines are called, with labels in double braces.
    """

    expression: str
    legend: str = ""


@frozen
class Panel:
    """A panel of a dashboard.

    Attributes:
        title: What it shows, in a few words.
        queries: What it asks.
        unit: The unit, as Grafana calls it, such as ``s``, ``percentunit`` and ``currencyUSD``.
        view: How it is shown.
        width: Its width, of 24.
        about: What to make of it, in a sentence or two.
    """

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    view: View = "lines"
    width: int = 8
    about: str = ""


@frozen
class Row:
    """Panels under one heading.

    Attributes:
        title: The heading.
        panels: The panels, from left to right.
    """

    title: str
    panels: Sequence[Panel]


@frozen
class Dashboard:
    """A dashboard.

    Attributes:
        name: The name of its file, without the ending.
        title: Its title.
        about: What it is for, in a sentence.
        rows: Its rows, from the top.
    """

    name: str
    title: str
    about: str
    rows: Sequence[Row]


def only(*matchers: str) -> str:
    """Return a selector of the instances that are chosen, and of *matchers*."""
    return "{" + ", ".join(('instance=~"$instance"', *matchers)) + "}"


def rate(metric: str, *matchers: str) -> str:
    """Return how much the counter *metric* grows a second, where all *matchers* hold."""
    return f"rate({metric}{only(*matchers)}[$__rate_interval])"


def per_hour(metric: str, *matchers: str) -> str:
    """Return how much the counter *metric* grows an hour, where all *matchers* hold."""
    return f"3600 * {rate(metric, *matchers)}"


def grouped(expression: str, *labels: str, function: str = "sum") -> str:
    """Return *expression*, added up by *labels*."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"{function}{by} ({expression})"


def quantile(share: float, histogram: str, *labels: str, where: Sequence[str] = ()) -> str:
    """Return the value that *share* of those in *histogram* do not exceed, by *labels*."""
    buckets = grouped(rate(f"{histogram}_bucket", *where), "le", *labels)
    return f"histogram_quantile({share:g}, {buckets})"


def ratio(part: str, whole: str, *labels: str) -> str:
    """Return *part* of *whole*, two expressions, each added up by *labels*."""
    return f"{grouped(part, *labels)} / {grouped(whole, *labels)}"


def quantiles(histogram: str, legend: str, *labels: str, where: Sequence[str] = ()) -> list[Query]:
    """Return queries for the median and the 95th and 99th percentile of *histogram*."""
    return [
        Query(quantile(share, histogram, *labels, where=where), f"{legend} p{share * 100:g}")
        for share in (0.5, 0.95, 0.99)
    ]
