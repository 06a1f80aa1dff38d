"""``argo-mw flags``: what decides, and the switches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from rich.table import Table

from argo_mw.app.access import flags_of
from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.app.pipeline import Pipeline
from argo_mw.base.errors import SharedUnavailable
from argo_mw.cli.output import console, print_json, say
from argo_mw.cli.run import with_argo
from argo_mw.flags import Flag
from argo_mw.flags.fleet_follower import INTERVAL
from argo_mw.flags.parse import format_rule
from argo_mw.flags.sources import FLEET, OVERLAY, configured_rule

F = TypeVar("F", bound=Callable[..., object])


def _for_the_fleet(command: F) -> F:
    return click.option(
        "--fleet", is_flag=True, help="For all that share the store, in place of this machine."
    )(command)


@click.group()
def flags() -> None:
    """List, set and kill flags.

    What is set here is kept beside the state of this machine, over argo.toml, which is never
    rewritten. With --fleet it is kept in the shared store, for all that share it, and remembered by
    each: what a machine or the environment sets stands above it, but for kills and rollbacks.
    """


@flags.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def list_(argo: Argo, as_json: bool) -> None:
    """Show every flag, what it is set to, by what, and what is set besides."""
    pipeline = engine_of(argo).pipeline
    rows = [
        (name, _rule(flag), _source(flag), _besides(pipeline, name, flag))
        for name, flag in pipeline.flags.items()
    ]
    if why := flags_of(argo).stale:
        say(f"the flags of the fleet are those last known: {why}")
    if as_json:
        print_json([{"flag": n, "rule": r, "set by": s, "besides": dict(b)} for n, r, s, b in rows])
        return
    table = Table("flag", "rule", "set by", "besides", box=None)
    for name, rule, source, besides in rows:
        table.add_row(name, rule, source, "; ".join(f"{w}: {r}" for w, r in besides))
    console().print(table)


@flags.command("set")
@click.argument("name")
@click.argument("rule")
@_for_the_fleet
@with_argo
async def set_(argo: Argo, name: str, rule: str, fleet: bool) -> None:
    """Set flag NAME to RULE: on, off, shadow, "10%", "10% by tenant"."""
    await _change(argo, name, flags_of(argo).set(name, rule, fleet=fleet))


@flags.command("kill")
@click.argument("name")
@_for_the_fleet
@with_argo
async def kill(argo: Argo, name: str, fleet: bool) -> None:
    """Switch flag NAME off, before everything else, and forget what its layer served and kept.

    Running programs of this machine take it up within a second; with --fleet, all that share the
    store do.
    """
    await _change(argo, name, flags_of(argo).kill(name, fleet=fleet))


@flags.command("roll-back")
@click.argument("name")
@click.argument("why")
@_for_the_fleet
@with_argo
async def roll_back(argo: Argo, name: str, why: str, fleet: bool) -> None:
    """Hold flag NAME off as `kill` does, and show WHY: for alerts that judge a ramp."""
    await _change(argo, name, flags_of(argo).roll_back(name, why, fleet=fleet))


@flags.command("revive")
@click.argument("name")
@_for_the_fleet
@with_argo
async def revive(argo: Argo, name: str, fleet: bool) -> None:
    """Take back a kill or a rollback of flag NAME."""
    await _change(argo, name, flags_of(argo).revive(name, fleet=fleet))


@flags.command("unset")
@click.argument("name")
@_for_the_fleet
@with_argo
async def unset(argo: Argo, name: str, fleet: bool) -> None:
    """Take away what was set for flag NAME; argo.toml decides again."""
    await _change(argo, name, flags_of(argo).unset(name, fleet=fleet))


async def _change(argo: Argo, name: str, changing: Awaitable[bool]) -> None:
    """Await the change of flag *name*, and say what holds then, and what others do not hear."""
    try:
        heard = await changing
    except SharedUnavailable as error:
        msg = (
            f"nothing was changed, since the shared store is away: {error}. Without --fleet it "
            "holds for this machine"
        )
        raise SharedUnavailable(msg) from None
    flag = engine_of(argo).pipeline.flags[name]
    say(f"{name}: {_rule(flag)} (set by {_source(flag)})")
    if not heard:
        why = context_of(argo).tag_versions.health.trouble
        say(
            f"others do not hear of it now: they read it within {INTERVAL:g} s, or once the shared "
            f"store lets them: {why}"
        )


def _rule(flag: Flag) -> str:
    return f"{format_rule(flag.rule)}: {flag.fault}" if flag.fault else format_rule(flag.rule)


def _source(flag: Flag) -> str:
    return flag.held_by or flag.source


def _besides(pipeline: Pipeline, name: str, flag: Flag) -> list[tuple[str, str]]:
    """Return what is set for *flag* elsewhere than where it is decided, and where."""
    found = []
    for where, rules in ((OVERLAY, pipeline.overlay), (FLEET, pipeline.fleet)):
        if name in rules and where != _source(flag):
            found.append((where, format_rule(rules[name])))
    configured = pipeline.settings.flags
    if name in configured and _source(flag) != "argo.toml":
        found.append(("argo.toml", format_rule(configured_rule(name, configured))))
    return found
