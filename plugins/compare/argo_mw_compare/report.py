"""Reports: a table for the terminal, and a self-contained page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from rich.table import Table

from argo_mw_compare.figures import MAX_CPU_PCT, Figures
from argo_mw_compare.leave_one_out import LeftOut
from argo_mw_compare.variants import explained
from argo_mw_compare.workload import Workload

ROWS = (
    ("signals", "signals", "{:.0f}"),
    ("failed", "failed", "{:.0f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p95 ms", "p95_ms", "{:.0f}"),
    ("p99 ms", "p99_ms", "{:.0f}"),
    ("miss p50 ms", "p50_miss_ms", "{:.0f}"),
    ("miss p95 ms", "p95_miss_ms", "{:.0f}"),
    ("miss p99 ms", "p99_miss_ms", "{:.0f}"),
    ("requests", "requests", "{:.0f}"),
    ("loads", "loads", "{:.0f}"),
    ("USD", "usd", "{:.3f}"),
    ("hit rate", "hit_rate", "{:.1%}"),
    ("write ms", "write_ms", "{:.2f}"),
    ("query ms", "query_ms", "{:.2f}"),
    ("query p99", "query_p99_ms", "{:.2f}"),
    ("error bp", "error_bp", "{:.1f}"),
    ("CPU %", "cpu_pct", "{:.1f}"),
)
"""Title, name and format of every figure."""

WIDTH = 120


def cell(figures: Figures, name: str, form: str) -> str:
    """Return one figure as text."""
    value = getattr(figures, name)
    return "-" if value is None else form.format(value)


def table(columns: Sequence[Figures]) -> Table:
    """Return a table with a row per variant."""
    made = Table("variant", box=None, pad_edge=False)
    for title, _, _ in ROWS:
        made.add_column(title, justify="right")
    for one in columns:
        made.add_row(one.variant, *(cell(one, name, form) for _, name, form in ROWS))
    return made


def remarks(workload: Workload, columns: Sequence[Figures], seeds: Mapping[str, int]) -> list[str]:
    """Return what a reader must know to judge the figures.

    Args:
        workload: What was asked.
        columns: The means of each variant.
        seeds: How many seeds each variant was run with.
    """
    texts = [
        f"Means of seeds: {_by_number(seeds)}.",
        (
            f"{workload.symbols} symbols, {workload.hours:g} replayed hours, time and latencies "
            f"{workload.speed:g} times as fast; idle times are skipped."
        ),
        (
            f"Times are replayed ones, in which what our CPU took counts {workload.speed:g}-fold; "
            "those of writes and queries are real."
        ),
        (
            "Prices of five symbols are real days with drawn minutes, the others are synthetic; "
            "the vendors' latencies are assumed."
        ),
    ]
    explaining = ((one.variant, explained(one.variant)) for one in columns)
    texts += [f"{name}: {text}." for name, text in explaining]
    distorted = [one.variant for one in columns if one.distorted]
    if distorted:
        texts.append(
            f"Our CPU took more than {MAX_CPU_PCT:g} % of the time of misses: latencies of these "
            f"are too long; lower --speed: {', '.join(distorted)}."
        )
    else:
        texts.append(
            f"Our CPU took at most {MAX_CPU_PCT:g} % of the time of misses, in every variant."
        )
    texts += [
        f"{one.variant}: our events count {one.requests_sent:g} requests, the sandbox "
        f"{one.requests:g}: one that is cancelled at once may not have left."
        for one in columns
        if one.requests_sent != one.requests
    ]
    return texts


def _by_number(seeds: Mapping[str, int]) -> str:
    """Return which variants were run with how many seeds, those with the most first."""
    numbers = sorted(set(seeds.values()), reverse=True)
    named = {one: [f"`{name}`" for name, count in seeds.items() if count == one] for one in numbers}
    return "; ".join(f"{number} of {', '.join(names)}" for number, names in named.items())


def headline(summary: Mapping[str, float | Sequence[float | None] | None]) -> str:
    """Return all layers against the original service, in a sentence."""
    requests, usd, waits = (_known(summary, f"{n}_ratio") for n in ("calls", "usd", "p50_miss"))
    parts = [] if requests is None else [f"{requests:.2f} × the requests"]
    if usd is not None:
        parts.append(f"{usd:.2f} × the dollars")
    if waits:
        parts.append(f"signals {1 / waits:.2g} × as fast when they must ask")
    error = _known(summary, "error_bp_ratio")
    if error is not None:
        parts.append(_staleness(error, summary.get("error_bp_ratio_interval")))
    return f"{', '.join(parts)}." if parts else ""


def layers_of(several: Sequence[LeftOut]) -> str:
    """Return what each layer brings to the whole, as HTML."""
    rows = "".join(
        f"<tr><th>{one.layer}</th><td>{html.escape(one.in_words.replace('`', ''))}</td></tr>"
        for one in several
    )
    return f"<h1>What each layer brings to the whole</h1><table>{rows}</table>" if rows else ""


def page(content: str) -> str:
    """Return a self-contained HTML page that shows *content*."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>argo-mw compare</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse;display:block;overflow-x:auto}"
        "th,td{padding:.2rem .4rem;text-align:right;border-bottom:1px solid #ddd}"
        f"th:first-child{{text-align:left}}</style>{content}</html>\n"
    )


def tables_of(
    workload: Workload,
    columns: Sequence[Figures],
    seeds: Mapping[str, int],
    summary: Mapping[str, float | Sequence[float | None] | None],
) -> str:
    """Return the whole as HTML: a table, what must be known to judge it, plots, the ratios."""
    head = "".join(f"<th>{title}</th>" for title, _, _ in ROWS)
    body = "".join(
        f"<tr><th>{html.escape(one.variant)}</th>"
        + "".join(f"<td>{cell(one, name, form)}</td>" for _, name, form in ROWS)
        + "</tr>"
        for one in columns
    )
    items = "".join(f"<li>{html.escape(text)}</li>" for text in remarks(workload, columns, seeds))
    rows = "".join(
        f"<tr><th>{name}</th><td>{'-' if value is None else value}</td></tr>"
        for name, value in summary.items()
    )
    bars = "".join(
        chart(title, columns, name, form)
        for title, name, form in ROWS
        if name in ("p50_ms", "p99_ms", "requests", "error_bp")
    )
    return (
        f"<h1>Baseline and after</h1><table><tr><th></th>{head}</tr>{body}</table>"
        f"<ul>{items}</ul>{bars}"
        f"<h2>All layers against the baseline</h2><table>{rows}</table>"
    )


def chart(title: str, columns: Sequence[Figures], name: str, form: str) -> str:
    """Return horizontal bars of one figure, as SVG under a heading."""
    height = _STEP * len(columns)
    return (
        f'<h2>{html.escape(title)}</h2><svg viewBox="0 0 640 {height}" width="640" '
        f'font-size="12">{_names(columns, 130)}{_bars(columns, name, form, 140, 400)}</svg>'
    )


def picture(columns: Sequence[Figures]) -> str:
    """Return the four figures that matter most, as an SVG file of bars side by side."""
    height = _STEP * len(columns) + _TOP + 8
    panels = "".join(
        f'<text x="{_LEFT + place * _PANEL}" y="18" font-weight="bold">{title}</text>'
        f'<g transform="translate(0 {_TOP})">'
        f"{_bars(columns, name, form, _LEFT + place * _PANEL, _PANEL - 65)}</g>"
        for place, (title, name, form) in enumerate(_PANELS)
    )
    width = _LEFT + _PANEL * len(_PANELS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'{panels}<g transform="translate(0 {_TOP})">{_names(columns, _LEFT - 10)}</g></svg>\n'
    )


def _known(summary: Mapping[str, float | Sequence[float | None] | None], name: str) -> float | None:
    found = summary.get(name)
    return found if isinstance(found, (int, float)) else None


def _staleness(ratio: float, bounds: object) -> str:
    low, high = bounds if isinstance(bounds, list) and len(bounds) == 2 else (ratio, ratio)
    if low <= 1 <= high and low < high:
        return "prices as stale within the noise"
    return "prices no staler" if ratio <= 1 else f"prices {ratio:.2f} × as stale"


_STEP, _TOP, _LEFT, _PANEL = 20, 28, 115, 205
_PANELS = (
    ("99th percentile, ms", "p99_ms", "{:.0f}"),
    ("requests", "requests", "{:.0f}"),
    ("models, USD", "usd", "{:.3f}"),
    ("error of prices, bp", "error_bp", "{:.1f}"),
)


def _names(columns: Sequence[Figures], right: int) -> str:
    return "".join(
        f'<text x="{right}" y="{_STEP * place + 14}" text-anchor="end">'
        f"{html.escape(one.variant)}</text>"
        for place, one in enumerate(columns)
    )


def _bars(columns: Sequence[Figures], name: str, form: str, left: int, max_width: int) -> str:
    values = [float(getattr(one, name) or 0.0) for one in columns]
    longest = max(values) or 1.0
    drawn = []
    for place, (one, value) in enumerate(zip(columns, values, strict=True)):
        y, width = _STEP * place, max_width * value / longest
        colour = "#d62728" if one.variant == "baseline" else "#1f77b4"
        drawn.append(
            f'<rect x="{left}" y="{y + 3}" width="{width:.1f}" height="14" fill="{colour}"/>'
            f'<text x="{left + 6 + width:.1f}" y="{y + 14}">{cell(one, name, form)}</text>'
        )
    return "".join(drawn)
