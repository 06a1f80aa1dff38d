"""``argo-mw signals history|latest|export`` and ``argo-mw db check|migrate|backup|import``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, cast

import click
from rich.progress import Progress
from rich.table import Table

from argo_mw import Argo, state_directory, structure
from argo_mw.cli import console, current_settings, print_json, say, with_argo
from argo_mw_persist import ids
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.errors import PersistError, SinkUnavailable
from argo_mw_persist.importer import import_signals
from argo_mw_persist.records import MICROSECONDS, Signal
from argo_mw_persist.sink import Sink
from argo_mw_persist.store import MOST_ROWS, Page

P = ParamSpec("P")


def add_to(cli: click.Group) -> None:
    """Add the commands to *cli*: to its group ``signals`` if it has one, and ``db``."""
    signals = cli.commands.get("signals")
    if not isinstance(signals, click.Group):
        signals = click.Group("signals", help="Recorded trading signals.")
        cli.add_command(signals)
    for command in (latest, history, export):
        signals.add_command(command)
    cli.add_command(db)


@click.command()
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL…")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def latest(argo: Argo, symbols: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show the newest recorded signals of each SYMBOL."""
    found = cast(
        "dict[str, tuple[Signal, ...]]",
        await argo.call("latest_of_many", symbols=symbols, limit=limit),
    )
    _show([signal for signals in found.values() for signal in signals], as_json)


@click.command()
@click.argument("symbol", default="")
@click.option("--since", type=click.DateTime(), help="None older than this time, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only older than this time, in UTC.")
@click.option(
    "--outcome", type=click.Choice(["win", "loss", "flat"]), help="Only those that ended so."
)
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=20, show_default=True)
@click.option("--after", help="The place that an earlier page ended at.")
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
        Page,
        await argo.call(
            "history",
            symbol=symbol,
            since=_utc(since),
            until=_utc(until),
            outcome=outcome,
            limit=limit,
            after=after,
        ),
    )
    _show(list(page.signals), as_json)
    if page.next is not None:
        say(f"more: --after {page.next}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--symbol", default="", help="Of this symbol only.")
@click.option("--since", type=click.DateTime(), help="None older than this time, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only older than this time, in UTC.")
@with_argo
async def export(
    argo: Argo, file: Path, symbol: str, since: datetime | None, until: datetime | None
) -> None:
    """Write recorded signals to FILE, newest first: CSV, or Parquet by its ending .parquet."""
    from argo_mw_persist.export import write_csv, write_parquet

    if file.suffix not in (".csv", ".parquet"):
        msg = f"{file} ends in neither .csv nor .parquet; name it by the format that you want"
        raise click.UsageError(msg)
    asked: dict[str, object] = {"symbol": symbol, "since": _utc(since), "until": _utc(until)}
    write = write_parquet if file.suffix == ".parquet" else write_csv
    count = await write(file, _pages(argo, asked))
    say(f"{count} signals written to {file}")


@click.group()
def db() -> None:
    """Look after the database that signals are recorded in."""


def with_sink(
    function: Callable[Concatenate[Sink, P], Awaitable[None]],
) -> Callable[P, None]:
    """Run an async command with the configured sink, not opened yet, as its first argument."""

    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        settings = current_settings()
        table = settings.plugins.get("persist", {})
        config = structure(table, PersistConfig, where=f"{settings.source} [plugins.persist]")
        sink = config.sink(state_directory(settings))

        async def run() -> None:
            try:
                await function(sink, *args, **kwargs)
            finally:
                await sink.aclose()

        asyncio.run(run())

    return command


@db.command()
@with_sink
async def check(sink: Sink) -> None:
    """Check the stored data; exit code 1 when something is wrong."""
    await sink.open(migrate=False)
    problems = await sink.check()
    for problem in problems:
        say(problem)
    if problems:
        msg = f"{sink.place} has {len(problems)} problems; restore a backup, or export what is left"
        raise PersistError(msg)
    say(f"{sink.place} is well")


@db.command()
@with_sink
async def migrate(sink: Sink) -> None:
    """Bring the tables to this version of argo-mw-persist."""
    await sink.open()
    say(f"{sink.place} is up to date")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_sink
async def backup(sink: Sink, file: Path) -> None:
    """Copy the database to FILE while it is in use."""
    await sink.open(migrate=False)
    await sink.backup(file)
    say(f"{sink.place} copied to {file}")


@db.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times that name none.")
@with_sink
async def import_(sink: Sink, file: Path, zone: str) -> None:
    """Copy the signals of an existing Argo database FILE."""
    import time

    await sink.open()
    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("signals", total=None)
        done = await import_signals(
            file,
            sink,
            now=time.time,
            zone=zone,
            progress=lambda rows: progress.update(task, completed=rows),
        )
    for problem in done.problems:
        say(problem)
    say(f"{done.read} signals read from {file}, {done.refused} refused")
    if done.read and done.refused == done.read:
        msg = f"nothing of {file} could be imported"
        raise SinkUnavailable(msg)


async def _pages(argo: Argo, asked: dict[str, object]) -> AsyncIterator[tuple[Signal, ...]]:
    after: str | None = None
    while True:
        page = cast(Page, await argo.call("history", limit=MOST_ROWS, after=after, **asked))
        yield page.signals
        after = page.next
        if after is None:
            return


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _show(signals: list[Signal], as_json: bool) -> None:
    if as_json:
        print_json([_plain(signal) for signal in signals])
        return
    table = Table("time", "symbol", "action", "confidence", "price", "outcome", "profit", box=None)
    for signal in signals:
        table.add_row(
            _time(signal.timestamp),
            signal.symbol,
            signal.action,
            f"{signal.confidence:.3g}",
            "" if signal.price is None else f"{signal.price:.2f}",
            signal.outcome or "",
            "" if signal.profit is None else f"{signal.profit:+.2%}",
        )
    console().print(table)


def _plain(signal: Signal) -> dict[str, object]:
    return {
        "id": ids.text(signal.id),
        "time": _time(signal.timestamp),
        "symbol": signal.symbol,
        "action": signal.action,
        "confidence": signal.confidence,
        "price": signal.price,
        "voices": {v.name: {"action": v.action, "reason": v.reason} for v in signal.voices},
        "outcome": signal.outcome,
        "profit": signal.profit,
    }


def _time(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp / MICROSECONDS, UTC).isoformat()
