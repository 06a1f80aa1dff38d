"""``argo-mw flags``: what decides, and the switches."""

from __future__ import annotations

import click
from attrs import evolve
from rich.table import Table

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.app.opening import state_directory
from argo_mw.cli.output import console, print_json, say
from argo_mw.cli.run import with_argo
from argo_mw.flags import Rule
from argo_mw.flags.overlay import Change, Overlay
from argo_mw.flags.parse import format_rule, parse_rule
from argo_mw.flags.sources import configured_rule, unknown_flag


@click.group()
def flags() -> None:
    """List, set and kill flags.

    What is set here is kept beside the state of this machine, over argo.toml, which is never
    rewritten.
    """


@flags.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def list_(argo: Argo, as_json: bool) -> None:
    """Show every flag, what it is set to, and by what."""
    rows = [
        (name, format_rule(f.rule), f.source) for name, f in engine_of(argo).pipeline.flags.items()
    ]
    if as_json:
        print_json([{"flag": n, "rule": r, "set by": s} for n, r, s in rows])
        return
    table = Table("flag", "rule", "set by", box=None)
    for row in rows:
        table.add_row(*row)
    console().print(table)


@flags.command("set")
@click.argument("name")
@click.argument("rule")
@with_argo
async def set_(argo: Argo, name: str, rule: str) -> None:
    """Set flag NAME to RULE: on, off, shadow, "10%", "10% by tenant"."""
    parsed = parse_rule(name, rule)

    def change(old: Rule | None) -> Rule:
        if old is None:
            return parsed
        return evolve(parsed, killed=old.killed, rolled_back=old.rolled_back, subjects=old.subjects)

    await _update(argo, name, change)


@flags.command("kill")
@click.argument("name")
@with_argo
async def kill(argo: Argo, name: str) -> None:
    """Switch flag NAME off, before everything else, and forget what its layer served and kept.

    Running programs of this machine take it up within a second.
    """
    configured = configured_rule(name, argo.settings.flags)
    await _update(argo, name, lambda old: evolve(old or configured, killed=True))
    if not await argo.invalidate(f"layer:{name}"):
        why = context_of(argo).tag_versions.health.trouble
        say(f"other processes go on serving what the layer has shaped: {why}")


@flags.command("roll-back")
@click.argument("name")
@click.argument("why")
@with_argo
async def roll_back(argo: Argo, name: str, why: str) -> None:
    """Hold flag NAME off as `kill` does, and show WHY: for alerts that judge a ramp."""
    await argo.roll_back(name, why)
    _show(argo, name)


@flags.command("revive")
@click.argument("name")
@with_argo
async def revive(argo: Argo, name: str) -> None:
    """Take back a kill or a rollback of flag NAME."""
    configured = configured_rule(name, argo.settings.flags)

    def change(old: Rule | None) -> Rule | None:
        revived = None if old is None else evolve(old, killed=False, rolled_back="")
        return None if revived == configured else revived

    await _update(argo, name, change)


@flags.command("unset")
@click.argument("name")
@with_argo
async def unset(argo: Argo, name: str) -> None:
    """Take away what was set for flag NAME; argo.toml decides again."""
    await _update(argo, name, lambda _: None)


async def _update(argo: Argo, name: str, change: Change) -> None:
    if name not in engine_of(argo).pipeline.flags:
        engine = engine_of(argo)
        absent = engine.plugins.absent
        raise unknown_flag(name, engine.pipeline.flags, where="the command", absent=absent)
    await Overlay(state_directory(argo.settings)).change(name, change, argo.reload)
    _show(argo, name)


def _show(argo: Argo, name: str) -> None:
    flag = engine_of(argo).pipeline.flags[name]
    say(f"{name}: {format_rule(flag.rule)} (set by {flag.source})")
