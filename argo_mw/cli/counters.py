"""``argo-mw counters``: what running programs do now, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from rich.table import Table

from argo_mw.app.application import Argo, context_of
from argo_mw.base.amounts import dollars
from argo_mw.cli.output import print_json, say
from argo_mw.cli.run import with_argo
from argo_mw.cli.terminal import console
from argo_mw.counters.counts import Counts, InstanceCounts, total
from argo_mw.counters.published import CountersOf
from argo_mw.counters.shadow_result import ShadowResult


@click.command()
@click.option(
    "--of",
    type=click.Choice(["machine", "fleet"]),
    default="fleet",
    show_default=True,
    help="Of the programs on this machine, or of all that share the store.",
)
@click.option("--instance", default="", help="Of this instance only.")
@click.option(
    "--by",
    type=click.Choice(["operation", "arm", "instance"]),
    default="operation",
    show_default=True,
    help="What to add up by.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def counters(argo: Argo, of: CountersOf, instance: str, by: str, as_json: bool) -> None:
    """Show what running programs have counted since they started: calls, hits, errors, costs.

    Programs publish their counters every few seconds in the store that they share.
    """
    context = context_of(argo)
    found = [one for one in await context.counters.read(of) if instance in ("", one.instance)]
    if not found and context.single_process:
        say("[argo] shared is memory://, so that no other process sees what a program counts")
    rows = [(name, one) for name, some in _groups(found, by) for one in some]
    if as_json:
        instances = [
            {"instance": i.instance, "machine": i.machine, "build": i.build, "at": i.at}
            for i in found
        ]
        data = [({"instance": name} if name else {}) | as_dict(one) for name, one in rows]
        print_json({"instances": instances, "counters": data})
        return
    console().print(_table(rows, by))
    for name, one in rows:
        for layer, result in sorted(one.shadows.items()):
            where = f"{name} {one.operation}".strip()
            console().print(f"{where}, {layer} in shadow: {result}")


def as_dict(counts: Counts) -> dict[str, object]:
    """Return *counts* as plain data for JSON."""
    return {
        "operation": counts.operation,
        "arms": dict(counts.arms),
        "calls": counts.calls,
        "at_hand": counts.at_hand,
        "hits": dict(sorted(counts.hits.items())),
        "hit_rate": counts.hit_rate,
        "loads": counts.loads,
        "errors": dict(sorted(counts.errors.items())),
        "refreshes": counts.refreshes,
        "requests": round(counts.requests, 6),
        "requests_to": {name: round(n, 6) for name, n in sorted(counts.requests_to.items())},
        "asked": dict(sorted(counts.asked.items())),
        "audits": round(counts.audits, 6),
        "tokens_in": counts.tokens_in,
        "tokens_out": counts.tokens_out,
        "tokens_cached": counts.tokens_cached,
        "usd": round(counts.usd, 9),
        "unpriced": counts.unpriced,
        "p50_seconds": counts.percentile(0.5),
        "p95_seconds": counts.percentile(0.95),
        "p99_seconds": counts.percentile(0.99),
        "mean_age_seconds": counts.age.mean,
        "shadows": {layer: _shadow(one) for layer, one in sorted(counts.shadows.items())},
    }


def _shadow(result: ShadowResult) -> dict[str, object]:
    return {
        "calls": result.calls,
        "hits": result.hits,
        "requests": round(result.requests, 6),
        "usd": round(result.usd, 9),
        "unpriced": result.unpriced,
        "compared": result.compared,
        "unequal": result.unequal,
        "p50_distance": result.distances.quantile(0.5),
        "p95_distance": result.distances.quantile(0.95),
        "furthest": result.furthest,
    }


def _groups(found: Sequence[InstanceCounts], by: str) -> Iterable[tuple[str, list[Counts]]]:
    if by == "instance":
        for one in found:
            yield one.instance, total(one.counts, by_arm=False)
        return
    yield "", total((c for one in found for c in one.counts), by_arm=by == "arm")


def _table(rows: Sequence[tuple[str, Counts]], by: str) -> Table:
    table = Table(box=None, pad_edge=False)
    if by == "instance":
        table.add_column("instance")
    table.add_column("operation")
    if by == "arm":
        table.add_column("arms")
    numbers = ("calls", "hits", "errors", "p50", "p95", "p99", "requests", "tokens", "USD", "age")
    for name in numbers:
        table.add_column(name, justify="right")
    for name, one in rows:
        cells = [name] if by == "instance" else []
        cells.append(one.operation)
        if by == "arm":
            cells.append(", ".join(f"{flag} {arm}" for flag, arm in one.arms) or "-")
        usd = dollars(one.usd) + (f" + {one.unpriced} unknown" if one.unpriced else "")
        table.add_row(
            *cells,
            f"{one.calls:,}",
            "" if one.hit_rate is None else f"{one.hit_rate:.1%}",
            f"{sum(one.errors.values()):,}",
            *(_seconds(one.percentile(share)) for share in (0.5, 0.95, 0.99)),
            f"{one.requests:,.0f}",
            f"{one.tokens_in + one.tokens_out:,}",
            usd,
            _seconds(one.age.mean),
        )
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
