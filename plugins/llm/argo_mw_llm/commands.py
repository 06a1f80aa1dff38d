"""``argo-mw ask`` and ``argo-mw costs``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import click
from attrs import asdict, define, field
from rich.table import Table

from argo_mw.cli import ExitCode, console, print_json, with_argo
from argo_mw.plugin import Argo, Outcome, Refusal, SharedUnavailable, context_of
from argo_mw_llm.answers import Completion
from argo_mw_llm.budget_guard import MAX_USD
from argo_mw_llm.ledger import LEDGER, Totals, totals
from argo_mw_llm.provider import TTL
from argo_mw_llm.shared_totals import SharedTotals
from argo_mw_llm.streams import AnswerStream

REFUSED = 4
_DAY = 86_400


def _number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    # Neither above nor below any limit, it would keep them all.
    if value is not None and math.isnan(value):
        msg = "nan is no number"
        raise click.BadParameter(msg)
    return value


@click.command()
@click.argument("prompt", nargs=-1, metavar="[PROMPT|-]…")
@click.option("-m", "--model", default="", help="The model; the first provider's own unless told.")
@click.option("-s", "--system", default="", help="The system prompt.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    callback=_number,
    metavar="USD",
    help="Refuse to cost more.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=None, help="The answer's length.")
@click.option(
    "--ttl",
    type=click.FloatRange(min=0, min_open=True),
    callback=_number,
    metavar="SECONDS",
    help="Keep the answer for so long, and take none that is older.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with tokens and cost.")
@with_argo
async def ask(
    argo: Argo,
    prompt: tuple[str, ...],
    model: str,
    system: str,
    max_cost: float | None,
    max_tokens: int | None,
    ttl: float | None,
    as_json: bool,
) -> None:
    """ModelRequest a language model, for scripts: equal questions are asked once.

    PROMPT - is standard input, as is no prompt at all: git diff | argo-mw ask "Review:" -

    Exit codes: 0 answered; 1 failed; 2 wrong usage; 3 answered, but cut off; 4 refused, because
    it would cost too much or a quota is used up.
    """
    text = _read(prompt)
    extensions: dict[str, object] = {}
    if ttl is not None:
        extensions[TTL] = ttl
    if max_cost is not None:
        extensions[MAX_USD] = max_cost
    caller = argo.options(max_age=ttl, extensions=extensions)
    live = sys.stdout.isatty() and not as_json
    try:
        outcome = await caller.outcome(
            "complete",
            messages=text,
            model=model,
            system=system,
            max_tokens=max_tokens or 0,
            stream=live,
        )
    except Refusal as error:
        click.echo(f"argo-mw: {error}", err=True)
        raise click.exceptions.Exit(REFUSED) from None
    if isinstance(outcome.value, AnswerStream):
        stop = await _print_stream(outcome.value)
    else:
        stop = _print_whole(outcome, as_json=as_json, now=context_of(argo).clock.time())
    if stop != "end":
        click.echo(f"argo-mw: the answer stopped at {stop!r}", err=True)
        raise click.exceptions.Exit(ExitCode.PARTLY)


@click.command()
@click.option(
    "--by",
    type=click.Choice(["model", "operation", "symbol", "day", "tenant"]),
    default="model",
    show_default=True,
    help="What to add up by.",
)
@click.option("--days", type=click.IntRange(min=0), default=30, show_default=True)
@click.option("--here", is_flag=True, help="Only this machine's ledger.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def costs(argo: Argo, by: str, days: float, here: bool, as_json: bool) -> None:
    """Show what language models cost, and what each layer saved, on all machines."""
    context = context_of(argo)
    path = context.state_dir / LEDGER
    since = context.clock.time() - days * _DAY
    found = totals(path, since)[1]
    if not here:
        try:
            found += await SharedTotals(context, path).others(since)
        except SharedUnavailable as error:
            click.echo(f"argo-mw: other machines' costs are missing: {error}", err=True)
    sums = add_up(found, by)
    if as_json:
        print_json([{by: name, **one.as_dict()} for name, one in sums.items()])
        return
    console().print(_table(by, sums))


@define
class Sum:
    """What some entries add up to.

    Attributes:
        usd: US dollars of the calls whose price is known, or ``None`` where none is.
        saved: The same of what each layer saved.
    """

    calls: int = 0
    estimated: int = 0
    unknown: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    usd: float | None = None
    saved: dict[str, float | None] = field(factory=dict)
    off: float = 0.0
    compared: int = 0

    def add(self, more: Totals) -> None:
        """Take up *more*."""
        if more.layer:
            self.saved[more.layer] = _plus(self.saved.get(more.layer), more)
            return
        self.calls += more.calls
        self.estimated += more.estimated
        self.unknown += more.unknown
        self.input += more.input
        self.output += more.output
        self.cached += more.cached
        self.usd = _plus(self.usd, more)
        self.off += more.off
        self.compared += more.compared

    @property
    def error(self) -> float | None:
        """The mean relative error of the estimates, or ``None`` without any."""
        return self.off / self.compared if self.compared else None

    def as_dict(self) -> dict[str, object]:
        """The sums as plain data for JSON."""
        return {
            "calls": self.calls,
            "estimated_calls": self.estimated,
            "calls_of_unknown_price": self.unknown,
            "input_tokens": self.input,
            "cached_tokens": self.cached,
            "output_tokens": self.output,
            "usd": _rounded(self.usd),
            "saved_usd": {name: _rounded(usd) for name, usd in sorted(self.saved.items())},
            "estimate_error": self.error,
        }


def add_up(found: Iterable[Totals], by: str) -> Mapping[str, Sum]:
    """The sums of what was *found* for each value of *by*."""
    sums: dict[str, Sum] = {}
    for one in found:
        sums.setdefault(str(getattr(one, by)) or "-", Sum()).add(one)
    return dict(sorted(sums.items()))


def _table(by: str, sums: Mapping[str, Sum]) -> Table:
    layers = sorted({layer for one in sums.values() for layer in one.saved})
    table = Table(box=None, pad_edge=False)
    table.add_column(by)
    named = ("calls", "estimated", "input", "cached", "output", "USD", "estimates off by")
    for name in (*named, *(f"saved by {layer}" for layer in layers)):
        table.add_column(name, justify="right")
    for name, one in sums.items():
        usd = _dollars(one.usd)
        if one.usd is not None and one.unknown:
            usd += f" + {one.unknown} unknown"
        off = "" if one.error is None else f"{one.error:.0%}"
        numbers = (one.calls, one.estimated, one.input, one.cached, one.output)
        saved = (_dollars(one.saved.get(layer, 0.0)) for layer in layers)
        table.add_row(name, *(f"{n:,}" for n in numbers), usd, off, *saved)
    return table


def _plus(usd: float | None, more: Totals) -> float | None:
    """*usd* and what is known of *more*: ``None`` while nothing is, which is not $0."""
    return usd if more.unknown == more.calls else (usd or 0.0) + more.usd


def _rounded(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 9)


def _dollars(usd: float | None) -> str:
    return "unknown" if usd is None else f"{usd:.4f}"


def _read(prompt: Sequence[str]) -> str:
    piped = None
    parts: list[str] = []
    for part in prompt or ("-",):
        if part == "-":
            if piped is None:
                piped = sys.stdin.buffer.read().decode("utf-8", "replace")
            parts.append(piped)
        else:
            # What of an argument is no UTF-8, Python hands on as halves of surrogate pairs.
            parts.append(part.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    text = "\n\n".join(parts)
    if not text.strip():
        msg = "there is nothing to ask: give a prompt, or pipe one in"
        raise click.UsageError(msg)
    return text


async def _print_stream(stream: AnswerStream[str]) -> str:
    async for piece in stream.read():
        click.echo(piece, nl=False)
    click.echo()
    return stream.ending.stop


def _print_whole(outcome: Outcome, *, as_json: bool, now: float) -> str:
    said = cast("Completion", outcome.value)
    if not as_json:
        click.echo(said.text)
        return said.stop
    print_json(
        {
            "text": said.text,
            "model": said.model,
            "stop": said.stop,
            "tool_calls": [asdict(call) for call in said.tool_calls],
            "usage": asdict(said.usage),
            "usd": outcome.cost.usd,
            "via": list(outcome.via),
            "age_s": round(outcome.age(now), 3),
        }
    )
    return said.stop
