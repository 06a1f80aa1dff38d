"""``argo-mw rollout start|status|pause|resume|promote|abort|report``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import click
from rich.table import Table

from argo_mw.cli import ExitCode, console, echo, print_json, say, with_argo
from argo_mw.plugin import Argo, ConfigError, config_of, context_of, moved
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.latency import beside, percentiles, since
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramp_commands import RampCommands, place_of
from argo_mw_rollout.ramps import Ramps


@click.group()
def rollout() -> None:
    """Ramp a flag step by step; the judge promotes it, waits, or rolls it back.

    A running program that has the plugin is the judge; these commands tell it what to do.
    """


@rollout.command()
@click.argument("flag")
@with_argo
async def start(argo: Argo, flag: str) -> None:
    """Begin to ramp FLAG by its plan."""
    ramp = await RampCommands(argo).start(flag)
    say(f"{flag}: {', '.join(ramp.plan.steps)}, each for {ramp.plan.at_least} at least")
    if flag not in config_of(argo, RolloutConfig).plans:
        say(f"there is no [plugins.rollout.plans.{flag}], so this is the default plan")
    if ramp.intent is not None:
        say(f"{flag} is off for {ramp.plan.baseline} first, to learn what is usual without it")
        if flag.startswith("upstream."):
            say("what no other upstream answers fails meanwhile: if there is such, abort it now")
    if context_of(argo).single_process:
        say("[argo] shared is memory://, so that no running program sees this ramp")


@rollout.command()
@click.argument("flag", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def status(argo: Argo, flag: str, as_json: bool) -> None:
    """Show the state of the ramp of FLAG, or of all ramps.

    Exit codes: 0 all continue or are done; 1 one was rolled back; 3 one holds because something is
    wrong.
    """
    ramps = await _found(argo, flag)
    if as_json:
        print_json([_as_dict(one) for one in ramps])
    else:
        table = Table("flag", "status", "step", "since", "why", box=None)
        for one in ramps:
            table.add_row(one.flag, one.status, place_of(one), _time(one.since), _why(one))
        console().print(table)
    sys.exit(exit_code(ramps))


@rollout.command()
@click.argument("flag")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def report(argo: Argo, flag: str, as_json: bool) -> None:
    """Show what the ramp of FLAG has found, with intervals, and its history."""
    (ramp,) = await _found(argo, flag)
    instances = await context_of(argo).counters.read("fleet")
    elsewhere = moved(flag, [counts for one in instances for counts in one.counts])
    faster = percentiles(flag, since(flag, instances, ramp.counted))
    if as_json:
        print_json({**_as_dict(ramp), "moved": elsewhere, "percentiles": faster})
        return
    text = str(_last_known(ramp).get("text") or "")
    echo(beside(text, faster) if text else f"{flag}: {place_of(ramp)}, nothing to compare yet")
    for line in elsewhere:
        echo(line)
    evidence = cast("Sequence[Mapping[str, object]]", _last_known(ramp).get("evidence") or ())
    if evidence:
        table = Table("metric", "treatment", "control", "change", "from", "to", "is", box=None)
        for one in evidence:
            cells = [_number(one[name]) for name in ("treatment", "control")]
            parts = [_percent(one[name]) for name in ("change", "low", "high")]
            table.add_row(str(one["words"]), *cells, *parts, str(one["state"]))
        console().print(table)
        echo("The change is that on these subjects; intervals hold at 95 % however often you look.")
    for entry in ramp.journal:
        echo(f"{_time(entry.at)}  {entry.what}" + (f": {entry.why}" if entry.why else ""))


@rollout.command()
@click.argument("flag")
@with_argo
async def pause(argo: Argo, flag: str) -> None:
    """Take no further steps with FLAG; harm is still rolled back."""
    await RampCommands(argo).pause(flag)
    say(f"{flag}: paused")


@rollout.command()
@click.argument("flag")
@with_argo
async def resume(argo: Argo, flag: str) -> None:
    """Continue with FLAG after a pause."""
    await RampCommands(argo).resume(flag)
    say(f"{flag}: goes on")


@rollout.command()
@click.argument("flag")
@with_argo
async def promote(argo: Argo, flag: str) -> None:
    """Take the next step of FLAG now, without the judge."""
    ramp = await RampCommands(argo).promote(flag)
    say(f"{flag}: {ramp.step}, as soon as the judge looks")


@rollout.command()
@click.argument("flag")
@click.argument("why", default="by command")
@with_argo
async def abort(argo: Argo, flag: str, why: str) -> None:
    """End the ramp of FLAG, and restore the flag's earlier setting."""
    ramp = await RampCommands(argo).abort(flag, why)
    say(f"{flag}: aborted; it goes back to {ramp.before} as soon as the judge looks")


def exit_code(ramps: Sequence[Ramp]) -> int:
    """Return the exit code that says how *ramps* are."""
    if any(one.status == "rolled back" for one in ramps):
        return ExitCode.FAILED
    if any(one.loud and not one.ended for one in ramps):
        return ExitCode.PARTLY
    return ExitCode.OK


async def _found(argo: Argo, flag: str) -> list[Ramp]:
    ramps = Ramps(context_of(argo))
    names = [flag] if flag else await ramps.flags()
    found = [one.ramp for one in [await ramps.read(name) for name in names] if one.ramp is not None]
    if flag and not found:
        msg = f"{flag!r} has no ramp; begin with `argo-mw rollout start {flag}`"
        raise ConfigError(msg)
    return found


def _why(ramp: Ramp) -> str:
    if ramp.hold:
        return ramp.hold
    return ramp.journal[-1].why if ramp.ended and ramp.journal else ""


def _last_known(ramp: Ramp) -> Mapping[str, object]:
    return ramp.verdict


def _as_dict(ramp: Ramp) -> dict[str, object]:
    whole = ramp.as_data()
    keep = (
        "flag",
        "status",
        "started",
        "since",
        "plan",
        "hold",
        "loud",
        "verdict",
        "before",
        "slow",
    )
    journal = [
        {"at": e.at, "what": e.what, "why": e.why, "evidence": list(e.evidence)}
        for e in ramp.journal
    ]
    shown = {name: whole[name] for name in keep}
    return {**shown, "step": place_of(ramp), "exit_code": exit_code([ramp]), "journal": journal}


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "?"


def _percent(value: object) -> str:
    return f"{value:+.1%}" if isinstance(value, int | float) else "?"
