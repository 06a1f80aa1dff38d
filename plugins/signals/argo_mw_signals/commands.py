"""``argo-mw signals``: signals for symbols, once or over and over.

``signals`` is a group, to which other plugins can add commands; an argument that is not a command
of it is taken for a symbol, so that ``argo-mw signals AAPL`` is short for
``argo-mw signals show AAPL``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import TextIO

import click
from rich.live import Live

from argo_mw.cli import ExitCode, console, echo, print_json, say, spread, with_argo
from argo_mw.plugin import Argo, ArgoError, Outcome, context_of, freeze_heap
from argo_mw_signals.display import table_of
from argo_mw_signals.record_commands import COMMANDS
from argo_mw_signals.rounds import Answers, Asker, in_sessions, repeat
from argo_mw_signals.signal import Signal
from argo_mw_signals.universe import read_universe


class ShowByDefault(click.Group):
    """A group whose command is ``show`` where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``show`` before arguments that begin with no command of the group."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ShowByDefault)
def signals() -> None:
    """Trading signals.

    `argo-mw signals AAPL MSFT` is short for `argo-mw signals show AAPL MSFT`; its options are
    explained by `argo-mw signals show --help`.
    """


@click.command()
@click.argument("symbols", nargs=-1, metavar="SYMBOL…")
@click.option(
    "--universe",
    type=click.File("r", encoding="utf-8"),
    help="A file of further symbols, separated by spaces, commas or line ends; # begins a comment, "
    "- is standard input.",
)
@click.option("--timeframe", default="1Day", show_default=True, help="The length of a bar.")
@click.option("--days", type=click.IntRange(1), default=90, show_default=True, help="Days of bars.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or a line per round.")
@click.option("--watch", is_flag=True, help="Ask again and again, until interrupted.")
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between rounds of --watch.",
)
@click.option("--rounds", type=click.IntRange(1), help="Stop --watch after so many rounds.")
@click.option(
    "--calendar",
    metavar="NAME",
    help="Ask in rounds only while this exchange trades, such as XNYS; needs --watch and --on.",
)
@click.option(
    "--on",
    metavar="URL",
    help="Spread the symbols: local:N for N processes, or dask://HOST:PORT; needs argo-mw-fleet.",
)
@with_argo
async def show(
    argo: Argo,
    symbols: tuple[str, ...],
    universe: TextIO | None,
    timeframe: str,
    days: int,
    as_json: bool,
    watch: bool,
    every: float,
    rounds: int | None,
    on: str | None = None,
    calendar: str | None = None,
) -> None:
    """Show a signal for each SYMBOL.

    Exit codes: 1 no symbol got a signal; 3 some did not. With --watch, the last round decides.
    """
    named = _named(symbols, universe)
    if calendar is not None and (on is None or not watch):
        msg = "--calendar needs --watch, and --on such as local:1, whose plugin knows calendars"
        raise click.UsageError(msg)
    parameters: dict[str, object] = {"timeframe": timeframe, "days": days}
    async with _asker(argo, on) as asker:
        if watch:
            freeze_heap()
            if calendar is None or isinstance(asker, Argo):
                rows = repeat(argo, named, parameters, every=every, rounds=rounds, asker=asker)
            else:
                rows = in_sessions(
                    argo,
                    named,
                    parameters,
                    every=every,
                    rounds=rounds,
                    asker=asker,
                    calendar=calendar,
                )
            # Ctrl-C is how a watch ends, not how it fails.
            with suppress(asyncio.CancelledError):
                _settle(await (_print_lines(rows) if as_json else _print_live(argo, rows)))
            return
        answers = await _with_progress(asker, named, parameters)
    _print_once(argo, answers, as_json=as_json)


def _named(symbols: Sequence[str], universe: TextIO | None) -> list[str]:
    """Return *symbols* and those of *universe*, each once, as the operation spells them."""
    named = list(symbols)
    if universe is not None:
        named += read_universe(universe, name=universe.name)
    if not named:
        msg = "name at least one symbol, or a file of them with --universe"
        raise click.UsageError(msg)
    # Spelt alike, so that no symbol is asked twice, by two workers.
    return list(dict.fromkeys(symbol.strip().upper() for symbol in named))


def _asker(argo: Argo, on: str | None) -> AbstractAsyncContextManager[Asker]:
    """Return what asks: this process, or others."""
    return nullcontext(argo) if on is None else spread(argo, on)


async def _with_progress(
    asker: Asker, symbols: Sequence[str], parameters: Mapping[str, object]
) -> Answers:
    """Return signals for *symbols*; a terminal shows meanwhile how many there are."""
    waiting = console(stderr=True)
    if not waiting.is_terminal:
        return await asker.map("signal", symbols, **parameters)
    total = len(dict.fromkeys(symbols))
    with waiting.status(f"{total} symbols …") as status:
        if isinstance(asker, Argo):
            return await asker.map("signal", symbols, **parameters)
        found: dict[str, Outcome | Exception] = {}
        async with asker.each("signal", symbols, **parameters) as answers:
            async for symbol, answer in answers:
                found[symbol] = answer
                status.update(f"{len(found)} of {total} symbols …")
    return {symbol: found[symbol] for symbol in dict.fromkeys(symbols)}


async def _print_lines(rows: AsyncIterator[Answers]) -> Answers:
    answers: Answers = {}
    async for answers in rows:
        for signal in _signals(answers):
            echo(json.dumps(signal.as_dict()))
        _complain(answers)
    return answers


async def _print_live(argo: Argo, rows: AsyncIterator[Answers]) -> Answers:
    answers: Answers = {}
    out = console()
    # Only a terminal can be drawn over: other outputs get a table for each round.
    live = Live(console=out, auto_refresh=False) if out.is_terminal else None
    with live or nullcontext():
        async for answers in rows:
            table = table_of(answers, context_of(argo).clock.time())
            if live is None:
                out.print(table)
            else:
                live.update(table, refresh=True)
    return answers


def _print_once(argo: Argo, answers: Answers, *, as_json: bool) -> None:
    signals = list(_signals(answers))
    if as_json:
        now = context_of(argo).clock.time()
        print_json([{**one.as_dict(), "age_s": round(one.age(now), 3)} for one in signals])
        _complain(answers)
    elif signals:
        console().print(table_of(answers, context_of(argo).clock.time()))
    else:
        _complain(answers)
    _settle(answers)


def _settle(answers: Answers) -> None:
    """Exit with the code for missing signals if some of *answers* are none."""
    signals = list(_signals(answers))
    if len(signals) < len(answers):
        sys.exit(ExitCode.PARTLY if signals else ExitCode.FAILED)


def _signals(answers: Answers) -> list[Signal]:
    values = (a.value for a in answers.values() if isinstance(a, Outcome))
    return [value for value in values if isinstance(value, Signal)]


def _complain(answers: Answers) -> None:
    for symbol, answer in answers.items():
        if isinstance(answer, Exception):
            text = answer if isinstance(answer, ArgoError) else f"{type(answer).__name__}: {answer}"
            say(f"argo-mw: {symbol}: {text}")


for _command in (show, *COMMANDS):
    signals.add_command(_command)
