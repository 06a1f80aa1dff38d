"""``argo-mw ask``."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import cast

import click
from attrs import asdict
from msgspec import to_builtins

from argo_mw.cli import ExitCode, echo, print_json, say, with_argo
from argo_mw.plugin import (
    AllUpstreamsFailed,
    Argo,
    ArgoError,
    Caller,
    Outcome,
    Refusal,
    config_of,
    context_of,
    dollars,
    seconds,
)
from argo_mw_llm.answers import Completion
from argo_mw_llm.ask_model import default_model, why_unasked
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.budgets.guard import MAX_USD
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.price_sources import prices_of
from argo_mw_llm.providers.provider import TTL

REFUSED = 4


def _number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    # nan compares false with every limit, so it would pass them all.
    if value is not None and math.isnan(value):
        msg = "nan is not a number"
        raise click.BadParameter(msg)
    return value


def _duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the seconds that *text* states, as a number or as in ``1d``."""
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
        msg = "nan is not a number"
        raise click.BadParameter(msg)
    if not 0.0 < found < math.inf:
        msg = f"{text} is not above zero, or has no end"
        raise click.BadParameter(msg)
    return found


def _read(context: click.Context, _: click.Parameter, prompt: Sequence[str]) -> str:
    """Return the text that *prompt* means.

    Standard input is read before an event loop runs, which could handle no signal meanwhile.
    """
    if context.resilient_parsing:
        return ""
    piped = None
    parts: list[str] = []
    for part in prompt or ("-",):
        if part == "-":
            if piped is None:
                piped = sys.stdin.buffer.read().decode("utf-8", "replace")
            parts.append(piped)
        else:
            # Python represents bytes of an argument that are not UTF-8 as half surrogate pairs.
            parts.append(part.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    text = "\n\n".join(parts)
    if not text.strip():
        msg = "there is nothing to ask: give a prompt, or pipe one in"
        raise click.UsageError(msg)
    return text


@click.command()
@click.argument("prompt", nargs=-1, callback=_read, metavar="[PROMPT|-]…")
@click.option("-m", "--model", default="", help="The model; see below.")
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
    help="How long to keep the answer, and how old a kept one may be: seconds, or 90s, 2h, 1d.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with tokens and cost.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say which model has answered.")
@with_argo
async def ask(
    argo: Argo,
    prompt: str,
    model: str,
    system: str,
    max_cost: float | None,
    max_tokens: int | None,
    ttl: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a language model, for scripts: equal questions are asked once.

    A PROMPT of -, or none at all, reads standard input: git diff | argo-mw ask "Review:" -

    Without --model, the model is ask_model of [plugins.llm], else Claude if its key is set, else
    that of the first provider that answers. Standard error shows which model answered, and the
    cost.

    Exit codes: 0 answered; 1 failed; 2 wrong usage; 3 answered, but cut off; 4 refused, because
    it would cost too much or a quota is used up.
    """
    extensions: dict[str, object] = {}
    if ttl is not None:
        extensions[TTL] = ttl
    if max_cost is not None:
        extensions[MAX_USD] = max_cost
    outcome = await _answer_of(
        argo,
        argo.options(max_age=ttl, extensions=extensions),
        messages=prompt,
        model=model or default_model(config_of(argo, LlmConfig), os.environ),
        system=system,
        max_tokens=max_tokens or 0,
        stream=sys.stdout.isatty() and not as_json,
    )
    if isinstance(outcome.value, AnswerStream):
        answered, stop = await _print_stream(outcome.value)
    else:
        _print_whole(outcome, as_json=as_json, now=context_of(argo).clock.time())
        completion = cast("Completion", outcome.value)
        answered, stop = _said(completion.model, outcome), completion.stop
    if not quiet and not as_json:
        say(answered)
    if stop != "end":
        say(f"argo-mw: the answer stopped at {stop!r}")
        raise click.exceptions.Exit(ExitCode.PARTLY)


async def _answer_of(argo: Argo, caller: Caller, *, model: str, **parameters: object) -> Outcome:
    """Return the answer of *model*; if no provider can be asked, say why and exit."""
    try:
        return await caller.outcome("complete", model=model, **parameters)
    except Refusal as error:
        say(f"argo-mw: {error}")
        raise click.exceptions.Exit(REFUSED) from None
    except AllUpstreamsFailed as error:
        config = config_of(argo, LlmConfig)
        why = why_unasked(error, model, config, prices_of(config, None).known, os.environ)
        if why is None:
            raise
        say(f"argo-mw: {why}")
        raise click.exceptions.Exit(ExitCode.FAILED) from None


async def _print_stream(stream: AnswerStream[str]) -> tuple[str, str]:
    """Print *stream* as it comes; return which model answered, and why the answer ended."""
    async for piece in stream.read():
        echo(piece, nl=False)
    echo()
    return f"answered by {stream.ending.model}", stream.ending.stop


def _print_whole(outcome: Outcome, *, as_json: bool, now: float) -> None:
    completion = cast("Completion", outcome.value)
    if not as_json:
        echo(completion.text)
        return
    print_json(
        {
            "text": completion.text,
            "model": completion.model,
            "stop": completion.stop,
            "tool_calls": [asdict(call) for call in completion.tool_calls],
            "usage": to_builtins(completion.usage),
            "usd": outcome.cost.usd,
            "via": list(outcome.via),
            "age_s": round(outcome.age(now), 3),
        }
    )


def _said(model: str, outcome: Outcome) -> str:
    """Return the message which *model* answered, and what that cost."""
    if not outcome.attempts:
        kept_by = " and ".join(outcome.via) or "an earlier answer"
        return f"answered by {model}, from {kept_by}: nothing paid"
    usd = outcome.cost.usd
    return f"answered by {model}: {'at an unknown price' if usd is None else f'${dollars(usd)}'}"
