"""``argo-mw flags set`` and the others that change a flag."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from argo_mw.app.access import flags_of
from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.base.errors import ArgoError, ConfigError, SharedUnavailable
from argo_mw.cli.flag_listing import decided_by, shown_rule
from argo_mw.cli.output import say
from argo_mw.cli.run import ExitCode, current_settings, named_config, with_argo
from argo_mw.config import Settings, load_state_dir
from argo_mw.config.state_dir import STATE_DIR, state_directory
from argo_mw.flags import changes
from argo_mw.flags.changes import Change
from argo_mw.flags.fleet_follower import INTERVAL
from argo_mw.flags.overlay import Overlay
from argo_mw.flags.parse import format_rule
from argo_mw.flags.sources import unknown_flag

F = TypeVar("F", bound=Callable[..., object])


def _for_the_fleet(command: F) -> F:
    return click.option(
        "--fleet",
        is_flag=True,
        help="Apply to all programs that share the store, not to this machine.",
    )(command)


@click.command("set")
@click.argument("name")
@click.argument("rule")
@_for_the_fleet
@with_argo
async def set_(argo: Argo, name: str, rule: str, fleet: bool) -> None:
    """Set flag NAME to RULE: on, off, shadow, "10%", "10% by tenant"."""
    await _change(argo, name, flags_of(argo).set(name, rule, fleet=fleet))


@click.command("kill")
@click.argument("name")
@_for_the_fleet
def kill(name: str, fleet: bool) -> None:
    """Switch flag NAME off, whatever else is set, and discard what its layer served and kept.

    Running programs that share the state directory apply it within a second. It needs nothing but
    the state directory: if the configuration or a plugin is broken here, that is reported
    afterwards, with exit code 3. With --fleet, all programs that share the store apply it.
    """
    _hold_off(name, changes.kill, lambda argo: flags_of(argo).kill(name, fleet=fleet), fleet=fleet)


@click.command("roll-back")
@click.argument("name")
@click.argument("why")
@_for_the_fleet
def roll_back(name: str, why: str, fleet: bool) -> None:
    """Switch flag NAME off as `kill` does, with the reason WHY; for alerts that watch a ramp."""
    if not why:
        msg = f"flag {name!r} cannot be rolled back without a reason; say what was seen"
        raise ConfigError(msg)

    def hold(argo: Argo) -> Awaitable[bool]:
        return flags_of(argo).roll_back(name, why, fleet=fleet)

    _hold_off(name, changes.roll_back(why), hold, fleet=fleet)


@click.command("revive")
@click.argument("name")
@_for_the_fleet
@with_argo
async def revive(argo: Argo, name: str, fleet: bool) -> None:
    """Undo a kill or a rollback of flag NAME."""
    await _change(argo, name, flags_of(argo).revive(name, fleet=fleet))


@click.command("unset")
@click.argument("name")
@_for_the_fleet
@with_argo
async def unset(argo: Argo, name: str, fleet: bool) -> None:
    """Remove the setting of flag NAME, so that argo.toml decides again."""
    await _change(argo, name, flags_of(argo).unset(name, fleet=fleet))


def _hold_off(
    name: str, change: Change, hold: Callable[[Argo], Awaitable[bool]], *, fleet: bool
) -> None:
    """Switch flag *name* off by *change*, and let an application *hold* it off and say so.

    For this machine it is switched off first: what is to be switched off may be what keeps an
    application from opening.
    """
    if fleet:
        try:
            asyncio.run(_held(current_settings(), name, hold))
        except _NoSuchFlag as error:
            raise error.reason from None
        return
    overlay = Overlay(state_directory(_settings_of_state()))
    before = overlay.read().get(name)
    held = overlay.update(name, change)
    try:
        asyncio.run(_held(current_settings(), name, hold))
    except _NoSuchFlag as error:
        overlay.update(name, lambda _: before)
        raise error.reason from None
    except ArgoError as error:
        off = "off" if held is None else format_rule(held)
        say(
            f"{name}: {off} in {overlay.path}; running programs take it up, and forget what its "
            "layer kept. Whether there is such a flag is not known, since no application can be "
            f"opened here: {error}"
        )
        sys.exit(ExitCode.PARTLY)


class _NoSuchFlag(Exception):
    """There is no flag of that name, for a *reason*."""

    def __init__(self, reason: ConfigError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _settings_of_state() -> Settings:
    """Return settings that name the state directory, if nothing else."""
    if os.environ.get(STATE_DIR):
        return Settings()
    try:
        return load_state_dir(named_config())
    except ConfigError as error:
        msg = (
            f"{error}. So the state directory of running programs is not known here: name it in "
            f"{STATE_DIR}, and try again"
        )
        raise ConfigError(msg) from None


async def _held(settings: Settings, name: str, hold: Callable[[Argo], Awaitable[bool]]) -> None:
    """Let an application with *settings* hold flag *name* off.

    Raises:
        _NoSuchFlag: It has no such flag, and is complete.
    """
    async with Argo.open(settings) as argo:
        engine = engine_of(argo)
        if name not in engine.pipeline.flags:
            absent = engine.plugins.absent
            unknown = unknown_flag(name, engine.pipeline.flags, where="the command", absent=absent)
            if not argo.broken:
                raise _NoSuchFlag(unknown)
            raise unknown  # it may be one of a plugin that was left out here
        await _change(argo, name, hold(argo))


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
    where = state_directory(argo.settings)
    say(f"{name}: {shown_rule(flag)} (set by {decided_by(flag)}); state directory {where}")
    if not heard:
        why = context_of(argo).tag_versions.health.trouble
        say(
            f"others do not hear of it now: they read it within {INTERVAL:g} s, or once the shared "
            f"store lets them: {why}"
        )
