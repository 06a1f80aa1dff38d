"""The demo's report: tables, a line for each layer, and the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from argo_mw_compare.baseline import TTL
from argo_mw_compare.demo import FAILING, MINUTES, Column, DemoReport, counts_of_layers
from argo_mw_compare.experiment import AskedSignal
from argo_mw_compare.figures import percentile
from argo_mw_compare.report import cell
from argo_mw_compare.workload import INSTANCES

_FIGURES = (
    ("signals asked for", "signals", "{:.0f}"),
    ("without an answer", "failed", "{:.0f}"),
    ("wait for one, median", "p50_ms", "{:,.2f} ms"),
    ("wait for one, 99th percentile", "p99_ms", "{:,.0f} ms"),
    ("requests to vendors and models", "requests", "{:.0f}"),
    ("paid to models", "usd", "{:.4f} USD"),
    ("answered without a request", "hit_rate", "{:.0%}"),
    ("the last signals of a symbol", "query_ms", "{:.2f} ms"),
    ("error of the prices used", "error_bp", "{:.1f} bp"),
)
_PRICES = {
    "real": "real daily prices (from bokeh_sampledata), with drawn minutes",
    "file": "your own prices",
    "synthetic": "invented prices",
}
Acts = dict[str, int]


def show(report: DemoReport, out: Console) -> None:
    """Print *report*."""
    script = report.script
    prices = " and ".join(_PRICES.get(one, one) for one in report.prices.split(" and "))
    out.print(f"\n{', '.join(script.names)}: {prices}, replayed from {_moment(script.begins)}.")
    out.print(
        f"{INSTANCES} instances of a service, {script.callers} callers in each, ask for their "
        f"signals for {MINUTES:g} minutes: a calm, a storm in\nwhich {FAILING} is down, and a "
        f"restart of each instance. Vendors and models are a sandbox on loopback, {script.speed:g} "
        "times\nas fast as they are assumed to be, over real HTTP; nothing leaves this machine.\n"
    )
    out.print(_signals(report.chain))
    out.print()
    out.print(_side_by_side(report))
    out.print("\nWhat each layer did:\n")
    out.print(_layers(report))
    if report.lacking:
        out.print(f"not installed here: {', '.join(report.lacking)}")
    out.print(f"\n{_agreement(report)}")
    out.print(f"The demo took {report.seconds:.0f} s.\n")


def as_json(report: DemoReport) -> dict[str, object]:
    """Return *report* as plain data."""
    script = report.script
    return {
        "symbols": list(script.names),
        "prices": report.prices,
        "from": datetime.fromtimestamp(script.begins, UTC).isoformat(),
        "speed": script.speed,
        "signals": {one.symbol: one.signal for one in _last_signals(report.chain)},
        "original": _plain(report.original),
        "chain": _plain(report.chain),
        "layers": counts_of_layers(report.chain.observed.acts),
        "agree": report.agrees,
        "seconds": round(report.seconds, 1),
    }


def _plain(column: Column) -> dict[str, object]:
    return {
        **column.figures.as_dict(),
        "in_outage": _of(column.in_outage),
        "after_restart": _of(column.after_restart),
    }


def _of(asked: Sequence[AskedSignal]) -> dict[str, object]:
    waits = [1000 * one.seconds for one in asked if not one.error]
    return {
        "signals": len(asked),
        "answered": len(waits),
        "without_request": sum(not one.missed for one in asked),
        "p50_ms": percentile(waits, 50),
        "longest_ms": max(waits, default=None),
    }


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _last_signals(column: Column) -> Sequence[AskedSignal]:
    last = {one.symbol: one for one in column.observed.asked if one.signal is not None}
    return [last[name] for name in sorted(last)]


def _signals(column: Column) -> Table:
    table = Table("symbol", "signal", "confidence", "price", "voices", box=None, pad_edge=False)
    for one in _last_signals(column):
        assert one.signal is not None
        action, confidence, voices = one.signal
        heard = ", ".join(sorted(voices))
        table.add_row(one.symbol, action, f"{confidence:.2f}", f"{one.price:,.2f}", heard)
    return table


def _side_by_side(report: DemoReport) -> Table:
    table = Table("", box=None, pad_edge=False)
    for title in ("as the original service did it", "through the chain"):
        table.add_column(title, justify="right")
    both = (report.original, report.chain)
    for title, name, form in _FIGURES:
        table.add_row(title, *(cell(one.figures, name, form) for one in both))
    table.add_row(f"answered while {FAILING} is down", *(_answered(one.in_outage) for one in both))
    table.add_row("longest wait meanwhile", *(_longest(one.in_outage) for one in both))
    table.add_row(
        "first round after a restart", *(_without_request(one.after_restart) for one in both)
    )
    table.add_row("longest wait in it", *(_longest(one.after_restart) for one in both))
    return table


def _answered(asked: Sequence[AskedSignal]) -> str:
    return f"{sum(not one.error for one in asked)} of {len(asked)}"


def _without_request(asked: Sequence[AskedSignal]) -> str:
    known = sum(not one.missed for one in asked)
    return f"{known} of {len(asked)} without a request"


def _longest(asked: Sequence[AskedSignal]) -> str:
    waits = [1000 * one.seconds for one in asked if not one.error]
    return f"{max(waits):,.0f} ms" if waits else "-"


def _layers(report: DemoReport) -> Table:
    table = Table("layer", "", box=None, pad_edge=False, show_header=False)
    counts = counts_of_layers(report.chain.observed.acts)
    for name, describe in _DESCRIBED.items():
        if name not in report.lacking:
            text = describe(counts.get(name, {}), report)
            table.add_row(name, text or "had nothing to do this time")
    return table


def _coalesce(acts: Acts, report: DemoReport) -> str:
    joined, elsewhere = acts.get("joined", 0), acts.get("joined elsewhere", 0)
    if not joined + elsewhere:
        return ""
    text = f"{joined} calls joined an equal one under way"
    return text + (f", and {elsewhere} one in the other instance" if elsewhere else "")


def _cache(acts: Acts, report: DemoReport) -> str:
    parts = [
        f"{acts.get('hit', 0)} calls were answered from memory",
        f"{acts.get('shared hit', 0)} from the file that the instances share",
    ]
    if stale := acts.get("stale", 0):
        parts.append(f"{stale} with the last answer, since there was no newer one")
    return ", ".join(parts) if acts else ""


def _adaptive_ttl(_: Acts, report: DemoReport) -> str:
    known = (one.life for one in report.chain.observed.asked)
    lives = [life for life in known if life is not None and life > 0.0]
    if not lives:
        return ""
    return (
        f"new signals were kept for {min(lives):.0f} to {max(lives):.0f} s, by how the prices "
        f"moved; by the original for {TTL:.0f} s"
    )


def _race(acts: Acts, report: DemoReport) -> str:
    won, failed = acts.get("won", 0), acts.get("failed", 0)
    slow = acts.get("cancelled", 0) + acts.get("lost", 0)
    if not won:
        return ""
    return (
        f"{won} questions were answered by the first that could: {failed} requests failed on the "
        f"way, and {slow} were too slow and cost a second one"
    )


def _similarity(acts: Acts, report: DemoReport) -> str:
    if not (hits := acts.get("hit", 0)):
        return ""
    return f"{hits} opinions on figures that had hardly moved were taken over: no model was paid"


def _persist(acts: Acts, report: DemoReport) -> str:
    if not (recorded := acts.get("recorded", 0)):
        return ""
    text = f"{recorded} answers were recorded in batches, while no caller waited"
    write = report.original.figures.write_ms
    return text if write is None else f"{text}; in the original each waited {write:.1f} ms"


_DESCRIBED: dict[str, Callable[[Acts, DemoReport], str]] = {
    "coalesce": _coalesce,
    "cache": _cache,
    "adaptive_ttl": _adaptive_ttl,
    "race": _race,
    "similarity": _similarity,
    "persist": _persist,
}


def _agreement(report: DemoReport) -> str:
    texts = []
    for title, one in (("the original", report.original), ("the chain", report.chain)):
        sent, counted = one.figures.requests_sent, one.figures.requests
        texts.append(f"{title} sent {sent} requests, the sandbox counted {counted}")
    verdict = "they agree" if report.agrees else "they DISAGREE"
    both = (report.original, report.chain)
    if report.agrees and any(one.figures.requests_sent != one.figures.requests for one in both):
        verdict += ": some were given up before they had left"
    return f"{'; '.join(texts)} ({verdict})."
