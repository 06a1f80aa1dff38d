"""The drawing of a snapshot for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from argo_mw.base.amounts import dollars
from argo_mw.model.panel import Column, Line, Shape, Tone, View
from argo_mw.model.snapshot import LayerNow, OperationNow, PanelNow, ProgramsNow

_STYLES: Final[Mapping[Tone, str]] = {"": "", "good": "green", "warn": "yellow", "bad": "red"}
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_PROBLEMS: Final = 3
_LINES: Final = 12
"""Lines of a panel that are drawn."""


def draw(snapshot: ProgramsNow, height: int | None = None) -> RenderableType:
    """Return *snapshot* drawn.

    Args:
        snapshot: What is drawn.
        height: Lines that the terminal has: what does not fit is left out, the last first.
    """
    parts: list[RenderableType] = [_head(snapshot)]
    parts += _problems(snapshot.problems)
    parts += [Text(), _chain(snapshot.layers), Text(), _operations(snapshot.operations)]
    for panel in snapshot.panels:
        if table := _panel(panel):
            parts += [Text(), Text(panel.title, style="bold"), *table]
    if snapshot.journal:
        parts += [Text(), Text("Journal", style="bold"), _journal(snapshot)]
    return Group(*parts) if height is None else _Cut(Group(*parts), height - 1)


def number(value: float) -> str:
    """Return *value* in at most five or so letters."""
    if value == 0:
        return "0"
    if abs(value) >= 1_000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def shown(value: Shape, unit: str = "") -> str:
    """Return *value* as text, by its *unit*."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    match unit:
        case "s":
            return _seconds(value)
        case "share":
            return f"{value:.1%}"
        case "USD":
            return f"${dollars(value)}" if abs(value) < 1 else f"${value:,.2f}"
        case "time":
            return _time(value)
    return number(value)


def _seconds(value: float) -> str:
    """Return *value* in the unit in which it has the fewest digits before the point."""
    size = abs(value)
    if size < 1:
        return f"{value * 1000:.3g} ms"
    for unit, seconds, up_to in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if size < up_to:
            return f"{value / seconds:.3g} {unit}"
    return f"{number(round(value / 86_400, 1))} d"


class _Cut:
    """A renderable of so many lines at most: what is further down is left out."""

    def __init__(self, whole: RenderableType, lines: int) -> None:
        self._whole = whole
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._whole, options, pad=False)
        for line in lines[: self._lines]:
            yield from line
            yield Segment.line()


def _head(snapshot: ProgramsNow) -> Text:
    calls = sum(one.calls for one in snapshot.operations)
    usd = sum(one.usd for one in snapshot.operations)
    saved = sum(sum(one.saved_usd.values()) for one in snapshot.operations)
    programs = len(snapshot.instances)
    return Text(
        f"argo-mw  {_time(snapshot.at)}  {programs} program{'s' * (programs != 1)}  "
        f"{number(calls)} calls/s  {shown(usd, 'USD')}/h spent  {shown(saved, 'USD')}/h saved",
        style="bold",
    )


def _problems(problems: Sequence[str]) -> Iterable[Text]:
    shown = list(problems[:_PROBLEMS])
    if (more := len(problems) - _PROBLEMS) > 0:
        shown.append(f"and {more} more: see `argo-mw doctor`")
    return [Text(problem, style="red", overflow="ellipsis", no_wrap=True) for problem in shown]


def _chain(layers: Sequence[LayerNow]) -> Table:
    table = Table("layer", "flag", "what it does, a second", box=None, pad_edge=False)
    table.add_row("caller", "", "")
    for layer in layers:
        acts = "  ".join(f"{name} {number(rate)}" for name, rate in layer.acts.items())
        style = "dim" if layer.off else ""
        table.add_row(f"→ {layer.name}", layer.rule, acts, style=style)
    table.add_row("→ upstream", "", "")
    return table


def _operations(operations: Iterable[OperationNow]) -> Table:
    table = Table("operation", box=None, pad_edge=False)
    titles = ("calls/s", "hits", "p50", "p95", "p99", "errors/s", "USD/h", "saved/h", "age p95")
    for title in titles:
        table.add_column(title, justify="right")
    for one in operations:
        table.add_row(
            one.name,
            number(one.calls),
            shown(one.hit_rate, "share"),
            shown(one.p50, "s"),
            shown(one.p95, "s"),
            shown(one.p99, "s"),
            number(sum(one.errors.values())),
            shown(one.usd, "USD") + (" + ?" if one.unpriced else ""),
            shown(sum(one.saved_usd.values()), "USD"),
            shown(one.age_p95, "s"),
        )
    return table


def _panel(panel: PanelNow) -> list[RenderableType]:
    """Return the lines of *panel*, of all instances, or nothing where there are none."""
    several = len(panel.views) > 1
    lines = [(name, line) for name, view in panel.views.items() for line in view.lines]
    texts = [view.text for view in panel.views.values() if view.text]
    drawn: list[RenderableType] = [Text(text) for text in dict.fromkeys(texts)]
    if lines:
        drawn.append(_table(panel.columns, lines, several=several))
    if (more := len(lines) - _LINES) > 0:
        drawn.append(Text(f"and {more} more", style="dim"))
    drawn += [_curve(view) for view in panel.views.values() if view.plots]
    return drawn


def _table(columns: Sequence[Column], lines: Sequence[tuple[str, Line]], *, several: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    if several:
        table.add_column("instance")
    for column in columns:
        right = column.unit not in ("", "time")
        table.add_column(column.title, justify="right" if right else "left")
    for name, line in lines[:_LINES]:
        cells = [
            shown(cell, column.unit) for cell, column in zip(line.cells, columns, strict=False)
        ]
        table.add_row(*([name] if several else []), *cells, style=_STYLES[line.tone])
    return table


def _curve(view: View) -> Text:
    drawn = []
    for plot in view.plots:
        values = [value for _, value in plot.points[-60:]]
        if values:
            last = shown(values[-1], plot.unit)
            drawn.append(f"{plot.title}  {_sparks(values)}  {last}")
    return Text("\n".join(drawn))


def _sparks(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    step = (most - least) / (len(_HEIGHTS) - 1) or 1.0
    return "".join(_HEIGHTS[round((value - least) / step)] for value in values)


def _journal(snapshot: ProgramsNow) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for entry in snapshot.journal[:_LINES]:
        table.add_row(_time(entry.at), entry.what, entry.why)
    return table


def _time(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return "?"
