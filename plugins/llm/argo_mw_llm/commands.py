"""``argo-mw ask``."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import cast

import click
from attrs import asdict

from argo_mw.cli import ExitCode, echo, print_json, say, with_argo
from argo_mw.plugin import Argo, ArgoError, Outcome, Refusal, context_of, seconds
from argo_mw_llm.answers import Completion
from argo_mw_llm.budget_guard import MAX_USD
from argo_mw_llm.provider import TTL
from argo_mw_llm.streams import AnswerStream

REFUSED = 4


def _number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    # Neither above nor below any limit, it would keep them all.
    if value is not None and math.isnan(value):
        msg = "nan is no number"
        raise click.BadParameter(msg)
    return value


def _duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the seconds of *text*, a number of them or a text such as ``1d``."""
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        try:
            found = seconds(text)
        except ArgoError as error:
            raise click.BadParameter(str(error)) from None
    if math.isnan(found):
        msg = "nan is no number"
        raise click.BadParameter(msg)
    if not 0.0 < found < math.inf:
        msg = f"{text} is not above zero, or has no end"
        raise click.BadParameter(msg)
    return found


@click.command()
@click.argument("prompt", nargs=-1, metavar="[PROMPT|-]…")
@click.option("-m", "--model", default="", help="The model; by default the first provider's own.")
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
    callback=_duration,
    metavar="DURATION",
    help="Keep the answer for so long, and take none that is older: seconds, or 90s, 2h, 1d.",
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
    """Ask a language model, for scripts: equal questions are asked once.

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
        say(f"argo-mw: {error}")
        raise click.exceptions.Exit(REFUSED) from None
    if isinstance(outcome.value, AnswerStream):
        stop = await _print_stream(outcome.value)
    else:
        stop = _print_whole(outcome, as_json=as_json, now=context_of(argo).clock.time())
    if stop != "end":
        say(f"argo-mw: the answer stopped at {stop!r}")
        raise click.exceptions.Exit(ExitCode.PARTLY)


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
        echo(piece, nl=False)
    echo()
    return stream.ending.stop


def _print_whole(outcome: Outcome, *, as_json: bool, now: float) -> str:
    completion = cast("Completion", outcome.value)
    if not as_json:
        echo(completion.text)
        if sys.stderr.isatty():  # for people; a script has --json
            say(_told(completion.model, outcome))
        return completion.stop
    print_json(
        {
            "text": completion.text,
            "model": completion.model,
            "stop": completion.stop,
            "tool_calls": [asdict(call) for call in completion.tool_calls],
            "usage": asdict(completion.usage),
            "usd": outcome.cost.usd,
            "via": list(outcome.via),
            "age_s": round(outcome.age(now), 3),
        }
    )
    return completion.stop


def _told(model: str, outcome: Outcome) -> str:
    """Return which model has answered, and what that cost this time."""
    usd = outcome.cost.usd
    if not outcome.attempts:
        return f"{model}, from {' and '.join(outcome.via) or 'an earlier answer'}: nothing paid"
    return f"{model}: {'at an unknown price' if usd is None else f'{usd:.2g} USD'}"
