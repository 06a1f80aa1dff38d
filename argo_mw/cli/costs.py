"""``argo-mw costs``: what requests cost, and what each layer saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click
from attrs import define, field
from rich.table import Table

from argo_mw.app.application import Argo, engine_of
from argo_mw.base.amounts import dollars
from argo_mw.base.errors import ConfigError, SharedUnavailable
from argo_mw.cli.output import print_json, say
from argo_mw.cli.run import with_argo
from argo_mw.cli.terminal import console
from argo_mw.model.charge import CostTotals

_DAY = 86_400
_GROUPS = ("model", "upstream", "operation", "subject", "day", "tenant")


@click.command()
@click.option(
    "--by",
    type=click.Choice(_GROUPS),
    default="model",
    show_default=True,
    help="What to add up by.",
)
@click.option(
    "--days", type=click.IntRange(min=0), default=30, show_default=True, help="Days to count."
)
@click.option("--upstream", default="", help="Of this upstream only.")
@click.option("--operation", default="", help="For this operation only.")
@click.option("--tenant", default="", help="Of this tenant only.")
@click.option("--here", is_flag=True, help="Only what this machine has recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def costs(
    argo: Argo,
    by: str,
    days: float,
    upstream: str,
    operation: str,
    tenant: str,
    here: bool,
    as_json: bool,
) -> None:
    """Show what the requests of all tenants cost, and what layers saved, on all machines."""
    engine = engine_of(argo)
    if not engine.costs.recorded:
        msg = "no plugin in use keeps costs; `argo-mw plugins` lists those that are in use"
        raise ConfigError(msg)
    since = engine.clock.time() - days * _DAY
    found = await engine.costs.totals(since)
    if not here:
        try:
            found += await engine.costs.totals_elsewhere(since)
        except SharedUnavailable as error:
            say(f"argo-mw: the costs of other machines are missing: {error}")
    wanted = {"upstream": upstream, "operation": operation, "tenant": tenant}
    sums = add_up((one for one in found if _matches(one, wanted)), by)
    if as_json:
        print_json([{by: name, **one.as_dict()} for name, one in sums.items()])
        return
    console().print(_table(by, sums))


@define
class Sum:
    """What some totals add up to.

    Attributes:
        usd: US dollars of the calls whose price is known, or ``None`` where none is.
        saved: The same of what each layer saved.
    """

    calls: int = 0
    failed: int = 0
    estimated: int = 0
    unpriced: int = 0
    requests: float = 0.0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    latency: float = 0.0
    usd: float | None = None
    saved: dict[str, float | None] = field(factory=dict)
    estimate_error: float = 0.0
    compared: int = 0

    def add(self, more: CostTotals) -> None:
        """Add *more*."""
        if more.layer:
            self.saved[more.layer] = _plus(self.saved.get(more.layer), more)
            return
        self.usd = _plus(self.usd, more)
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    @property
    def error(self) -> float | None:
        """The mean relative error of the estimates, or ``None`` without any."""
        return self.estimate_error / self.compared if self.compared else None

    @property
    def mean_latency(self) -> float | None:
        """The mean seconds of a call, or ``None`` without any."""
        return self.latency / self.calls if self.calls else None

    def as_dict(self) -> dict[str, object]:
        """Return the sums as plain data for JSON."""
        return {
            "calls": self.calls,
            "failed_calls": self.failed,
            "estimated_calls": self.estimated,
            "unpriced_calls": self.unpriced,
            "requests": self.requests,
            "input_tokens": self.tokens_in,
            "cached_tokens": self.tokens_cached,
            "output_tokens": self.tokens_out,
            "usd": _rounded(self.usd),
            "saved_usd": {name: _rounded(usd) for name, usd in sorted(self.saved.items())},
            "mean_seconds": _rounded(self.mean_latency),
            "estimate_error": self.error,
        }


_ADDED = (
    "calls",
    "failed",
    "estimated",
    "unpriced",
    "requests",
    "tokens_in",
    "tokens_cached",
    "tokens_out",
    "latency",
    "estimate_error",
    "compared",
)


def add_up(found: Iterable[CostTotals], by: str) -> Mapping[str, Sum]:
    """Return the sums of what was *found* for each value of *by*."""
    sums: dict[str, Sum] = {}
    for one in found:
        sums.setdefault(str(getattr(one, by)) or "-", Sum()).add(one)
    return dict(sorted(sums.items()))


def _matches(one: CostTotals, wanted: Mapping[str, str]) -> bool:
    return all(not value or getattr(one, name) == value for name, value in wanted.items())


def _table(by: str, sums: Mapping[str, Sum]) -> Table:
    layers = sorted({layer for one in sums.values() for layer in one.saved})
    table = Table(box=None, pad_edge=False)
    table.add_column(by)
    named = ("calls", "failed", "estimated", "input", "cached", "output", "USD", "mean seconds")
    for name in (*named, "estimates off by", *(f"saved by {layer}" for layer in layers)):
        table.add_column(name, justify="right")
    for name, one in sums.items():
        usd = dollars(one.usd)
        if one.usd is not None and one.unpriced:
            usd += f" + {one.unpriced} unknown"
        seconds = "" if one.mean_latency is None else f"{one.mean_latency:.3f}"
        off = "" if one.error is None else f"{one.error:.0%}"
        counts = (one.calls, one.failed, one.estimated)
        tokens = (one.tokens_in, one.tokens_cached, one.tokens_out)
        saved = (dollars(one.saved.get(layer, 0.0)) for layer in layers)
        table.add_row(name, *(f"{n:,}" for n in (*counts, *tokens)), usd, seconds, off, *saved)
    return table


def _plus(usd: float | None, more: CostTotals) -> float | None:
    """Return *usd* and what is known of *more*: ``None`` while nothing is, which is not $0."""
    return usd if more.unpriced == more.calls else (usd or 0.0) + more.usd


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 9)
