"""``argo-mw demo``: runs the demo and prints it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argo_mw.cli import ExitCode, console, print_json, say
from argo_mw.plugin import Outcome

if TYPE_CHECKING:
    from argo_mw_sandbox.demo import Report


@click.command()
@click.argument("symbols", nargs=-1)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with your own SYMBOL.csv, .csv.gz or .parquet bars.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--watch",
    "watched",
    is_flag=True,
    help="Let signals flow, and open the dashboard.",
)
def demo(symbols: tuple[str, ...], data: Path | None, as_json: bool, watched: bool) -> None:
    """Show trading signals from replayed real prices, and what the chain did for them.

    A sandbox on loopback answers in the vendors' protocols; nothing leaves this machine.
    """
    from argo_mw_sandbox.demo import run
    from argo_mw_sandbox.watch import watch

    if watched:
        with suppress(KeyboardInterrupt):
            asyncio.run(watch(data, symbols))
        return
    with console(stderr=True).status("asking the sandbox for prices …"):
        report = asyncio.run(run(data, symbols))
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    failed = [o for o in report.rounds[-1].outcomes.values() if isinstance(o, Exception)]
    if failed or not report.agrees:
        sys.exit(
            ExitCode.PARTLY if len(failed) < len(report.rounds[-1].outcomes) else ExitCode.FAILED
        )


def _print(report: Report) -> None:
    from rich.table import Table

    out = console()
    out.print(f"\nSignals at {report.now}, from replayed prices over HTTP on loopback\n")
    table = Table("symbol", "signal", "confidence", "close", "why", box=None, pad_edge=False)
    for symbol, outcome in report.rounds[0].outcomes.items():
        if isinstance(outcome, Outcome):
            table.add_row(symbol, *_signal(outcome.value))
        else:
            say(f"{symbol}: {outcome}")
    out.print(table)
    out.print("\ncaller → " + "".join(f"{name} → " for name in report.chain) + "upstream\n")
    rounds = Table("round", "signals", "requests", "p50 ms", "p95 ms", box=None, pad_edge=False)
    for one in report.rounds:
        rounds.add_row(
            one.title,
            str(len(one.latencies)),
            str(one.requests),
            f"{one.median:.2f}",
            f"{one.percentile(0.95):.2f}",
        )
    out.print(rounds)
    served = ", ".join(f"{n} {what}" for what, n in sorted(report.tally.served.items())) or "none"
    sent = ", ".join(f"{n} to {vendor}" for vendor, n in sorted(report.tally.sent.items()))
    counted = ", ".join(f"{n} at {vendor}" for vendor, n in sorted(report.counted.items()) if n)
    out.print(f"\n{report.tally.calls} signals asked for; served without work: {served}")
    out.print(f"requests sent: {sent}; counted by the sandbox: {counted}", end="")
    out.print(" (they agree)" if report.agrees else " (they DISAGREE)")


def _signal(value: object) -> tuple[str, str, str, str]:
    """Return the columns of a signal, whichever plugin's class it is of."""
    reasons = [getattr(c, "reason", "") for c in getattr(value, "contributions", ())]
    return (
        str(getattr(value, "action", value)),
        f"{getattr(value, 'confidence', float('nan')):.2f}",
        f"{getattr(value, 'price', float('nan')):,.2f}",
        reasons[0] if reasons else "",
    )


def _as_json(report: Report) -> dict[str, object]:
    return {
        "now": report.now,
        "signals": {
            symbol: _signal(o.value)[:3] if isinstance(o, Outcome) else str(o)
            for symbol, o in report.rounds[0].outcomes.items()
        },
        "rounds": [
            {
                "round": one.title,
                "signals": len(one.latencies),
                "requests": one.requests,
                "p50_ms": one.median,
                "p95_ms": one.percentile(0.95),
            }
            for one in report.rounds
        ],
        "sent": dict(report.tally.sent),
        "counted": dict(report.counted),
        "agree": report.agrees,
    }
