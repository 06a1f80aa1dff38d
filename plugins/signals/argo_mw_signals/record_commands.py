"""``argo-mw signals latest|history|close|performance|export|import``: recorded signals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import cast

import click
from rich.progress import Progress
from rich.table import Table

from argo_mw.cli import console, print_json, say, with_argo
from argo_mw.plugin import Argo, TimeOrderedIds, from_utc, iso_time
from argo_mw_signals.errors import SignalsError
from argo_mw_signals.history import MAX_ROWS, close_signal, recorded_signals
from argo_mw_signals.importer import import_signals
from argo_mw_signals.recorded import RecordedSignal
from argo_mw_signals.results import Performance, SignalPage


@click.command()
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL…")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_ROWS),
    default=1,
    show_default=True,
    help="Rows at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def latest(argo: Argo, symbols: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show the newest recorded signals of each SYMBOL."""
    found = cast(
        "dict[str, tuple[RecordedSignal, ...]]",
        await argo.call("latest_of_many", symbols=symbols, limit=limit),
    )
    _show([signal for signals in found.values() for signal in signals], as_json)


@click.command()
@click.argument("symbol", default="")
@click.option("--since", type=click.DateTime(), help="None older than this time, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only older than this time, in UTC.")
@click.option(
    "--outcome", type=click.Choice(["win", "loss", "flat"]), help="Only signals with this outcome."
)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_ROWS),
    default=20,
    show_default=True,
    help="Rows at most.",
)
@click.option("--after", help="The place at which an earlier page ended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def history(
    argo: Argo,
    symbol: str,
    since: datetime | None,
    until: datetime | None,
    outcome: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """Show recorded signals, of SYMBOL or of all, newest first."""
    page = cast(
        SignalPage,
        await argo.call(
            "history",
            symbol=symbol,
            since=from_utc(since),
            until=from_utc(until),
            outcome=outcome,
            limit=limit,
            after=after,
        ),
    )
    _show(list(page.signals), as_json)
    if page.next is not None:
        say(f"more: --after {page.next}")


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("--exit-price", type=float, help="The exit price.")
@click.option(
    "--profit",
    type=float,
    help="What it earned, as a fraction; by default computed from the prices.",
)
@with_argo
async def close(
    argo: Argo, identifier: str, exit_price: float | None, profit: float | None
) -> None:
    """Record how the signal ID ended; `history` shows identifiers."""
    try:
        which = TimeOrderedIds.parse(identifier)
    except ValueError:
        msg = f"{identifier!r} is not the identifier of a signal; see `argo-mw signals history`"
        raise click.UsageError(msg) from None
    closed = await close_signal(
        argo, which, exit_price=exit_price, profit=profit, tenant=argo.settings.argo.tenant
    )
    say(f"{closed.symbol} {closed.action} ended in a {closed.outcome}: {closed.profit:+.2%}")


@click.command()
@click.argument("symbol", default="")
@click.option("--since", type=click.DateTime(), help="None older than this time, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only older than this time, in UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def performance(
    argo: Argo, symbol: str, since: datetime | None, until: datetime | None, as_json: bool
) -> None:
    """Show how closed signals went, of SYMBOL or of all: the consensus, then voice by voice."""
    found = cast(
        "tuple[Performance, ...]",
        await argo.call("performance", symbol=symbol, since=from_utc(since), until=from_utc(until)),
    )
    if as_json:
        print_json([_rates(one) for one in found])
        return
    table = Table("voice", "closed", "wins", "win rate", "profit", "mean profit", box=None)
    for one in found:
        table.add_row(
            one.voice or "consensus",
            str(one.closed),
            str(one.wins),
            f"{one.win_rate:.1%}",
            f"{one.profit:+.2%}",
            f"{one.mean_profit:+.2%}",
        )
    console().print(table)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--symbol", default="", help="Of this symbol only.")
@click.option("--since", type=click.DateTime(), help="None older than this time, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only older than this time, in UTC.")
@with_argo
async def export(
    argo: Argo, file: Path, symbol: str, since: datetime | None, until: datetime | None
) -> None:
    """Write recorded signals to FILE, newest first: CSV, or Parquet if FILE ends with .parquet."""
    from argo_mw_signals.export import write_csv, write_parquet

    if file.suffix not in (".csv", ".parquet"):
        msg = f"{file} ends in neither .csv nor .parquet; name it by the format that you want"
        raise click.UsageError(msg)
    asked: dict[str, object] = {
        "symbol": symbol,
        "since": from_utc(since),
        "until": from_utc(until),
    }
    write = write_parquet if file.suffix == ".parquet" else write_csv
    count = await write(file, _pages(argo, asked))
    say(f"{count} signals written to {file}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times that name none.")
@click.option("--shared", is_flag=True, help="Let all tenants see them.")
@with_argo
async def import_(argo: Argo, file: Path, zone: str, shared: bool) -> None:
    """Copy the signals of the original service's database FILE, as the configured tenant's."""
    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("signals", total=None)
        done = await import_signals(
            file,
            recorded_signals(argo).database,
            tenant="" if shared else argo.settings.argo.tenant,
            zone=zone,
            progress=lambda rows: progress.update(task, completed=rows),
        )
    for problem in done.problems:
        say(problem)
    say(f"{done.read} signals read from {file}, {done.refused} refused")
    if done.read and done.refused == done.read:
        msg = f"nothing of {file} could be imported"
        raise SignalsError(msg)


COMMANDS = (latest, history, close, performance, export, import_)


async def _pages(argo: Argo, asked: dict[str, object]) -> AsyncIterator[tuple[RecordedSignal, ...]]:
    after: str | None = None
    while True:
        page = cast(SignalPage, await argo.call("history", limit=MAX_ROWS, after=after, **asked))
        yield page.signals
        after = page.next
        if after is None:
            return


def _show(signals: list[RecordedSignal], as_json: bool) -> None:
    if as_json:
        print_json([_plain(signal) for signal in signals])
        return
    columns = ("time", "symbol", "action", "confidence", "price", "outcome", "profit", "id")
    table = Table(*columns, box=None)
    for signal in signals:
        table.add_row(
            iso_time(signal.timestamp),
            signal.symbol,
            signal.action,
            f"{signal.confidence:.3g}",
            "" if signal.price is None else f"{signal.price:.2f}",
            signal.outcome or "",
            "" if signal.profit is None else f"{signal.profit:+.2%}",
            TimeOrderedIds.text(signal.id),
        )
    console().print(table)


def _plain(signal: RecordedSignal) -> dict[str, object]:
    return {
        "id": TimeOrderedIds.text(signal.id),
        "time": iso_time(signal.timestamp),
        "symbol": signal.symbol,
        "action": signal.action,
        "confidence": signal.confidence,
        "price": signal.price,
        "voices": {v.name: {"action": v.action, "reason": v.reason} for v in signal.voices},
        "lacks": list(signal.lacks),
        "outcome": signal.outcome,
        "profit": signal.profit,
    }


def _rates(one: Performance) -> dict[str, object]:
    return {
        "voice": one.voice,
        "closed": one.closed,
        "wins": one.wins,
        "win_rate": one.win_rate,
        "profit": one.profit,
        "mean_profit": one.mean_profit,
    }
