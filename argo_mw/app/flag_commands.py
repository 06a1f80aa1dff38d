"""The commands that change flags, for this machine or for the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from argo_mw.app.engine import Engine
from argo_mw.app.flag_state import FlagState
from argo_mw.base.errors import ArgoError, ConfigError
from argo_mw.config.state_dir import state_directory
from argo_mw.flags import Decision, Flag, Rule
from argo_mw.flags.changes import Change, kill, revive, roll_back, set_to, unset
from argo_mw.flags.fleet_follower import FleetFollower
from argo_mw.flags.model import Asker
from argo_mw.flags.overlay import Overlay
from argo_mw.flags.parse import format_rule, parse_rule
from argo_mw.flags.sources import unknown_flag
from argo_mw.store.journal import Journal


class FlagCommands:
    """See :class:`~argo_mw.plugin.FlagControl`.

    Args:
        engine: Has the flags that are in use.
        state: Has those that are set by command.
        reload: Takes up the flags as they are set now.
        invalidate: Counts kept answers with a tag as gone; returns whether others hear of it.
        journal: What was changed is written down there.
    """

    def __init__(
        self,
        engine: Engine,
        state: FlagState,
        reload: Callable[[], Awaitable[None]],
        invalidate: Callable[[str], Awaitable[bool]],
        journal: Journal,
    ) -> None:
        self._engine = engine
        self._state = state
        self._reload = reload
        self._invalidate = invalidate
        self._journal = journal

    @property
    def all(self) -> Mapping[str, Flag]:
        return self._engine.pipeline.flags

    @property
    def stale(self) -> str:
        return "" if self._state.fleet is None else self._state.fleet.unheard

    def decide(self, name: str, asker: Asker) -> Decision:
        return self._flag(name).decide(asker)

    async def set(
        self, name: str, rule: str | Mapping[str, object] | Rule, *, fleet: bool = False
    ) -> bool:
        parsed = rule if isinstance(rule, Rule) else parse_rule(name, rule)
        heard = await self._change(name, set_to(parsed), fleet=fleet)
        await self._note(f"set {name} to {format_rule(parsed)}", fleet=fleet)
        return heard

    async def kill(self, name: str, *, fleet: bool = False) -> bool:
        return await self._hold(name, kill, f"kill {name}", fleet=fleet)

    async def roll_back(self, name: str, why: str, *, fleet: bool = False) -> bool:
        self._flag(name, where="a rollback")
        if not why:
            msg = f"flag {name!r} cannot be rolled back without a reason; say what was seen"
            raise ConfigError(msg)
        return await self._hold(name, roll_back(why), f"roll back {name}", why, fleet=fleet)

    async def revive(self, name: str, *, fleet: bool = False) -> bool:
        heard = await self._change(name, revive, fleet=fleet)
        await self._note(f"revive {name}", fleet=fleet)
        return heard

    async def unset(self, name: str, *, fleet: bool = False) -> bool:
        heard = await self._change(name, unset, fleet=fleet)
        await self._note(f"unset {name}", fleet=fleet)
        return heard

    async def _note(self, what: str, why: str = "", *, fleet: bool) -> None:
        await self._journal.note(f"{what}, for {'the fleet' if fleet else 'this machine'}", why)

    async def _hold(
        self, name: str, change: Change, what: str, why: str = "", *, fleet: bool
    ) -> bool:
        self._flag(name)
        announced = True
        if fleet:
            announced = await self._following(name).change(name, change)
        else:
            # It stays, whatever is wrong here: it holds for others.
            await asyncio.to_thread(self._overlay.update, name, change)
        try:
            await self._reload()
        finally:  # others take it up, whatever is wrong here
            heard = await self._invalidate(f"layer:{name}")
            await self._note(what, why, fleet=fleet)
        return heard and announced

    async def _change(self, name: str, change: Change, *, fleet: bool) -> bool:
        self._flag(name)
        if fleet:
            return await self._change_fleet(name, change)
        await self._change_machine(name, change)
        return True

    @property
    def _overlay(self) -> Overlay:
        return Overlay(state_directory(self._engine.pipeline.settings))

    async def _change_machine(self, name: str, change: Change) -> None:
        """Set flag *name* for this machine, or leave it as it was where that cannot be applied.

        Raises:
            ArgoError: No application could open with the new rule.
        """
        overlay = self._overlay
        before = (await asyncio.to_thread(overlay.read)).get(name)
        await asyncio.to_thread(overlay.update, name, change)
        try:
            await self._reload()
        except ArgoError:
            await asyncio.to_thread(overlay.update, name, lambda _: before)
            raise

    async def _change_fleet(self, name: str, change: Change) -> bool:
        fleet = self._following(name)
        self._check(name, change, fleet.known.rules)
        announced = await fleet.change(name, change)
        await self._reload()
        return announced

    def _following(self, name: str) -> FleetFollower:
        if self._state.fleet is None:
            msg = (
                f"flag {name!r} cannot be set for the fleet: memory:// is shared with nobody. "
                "Leave the fleet out, or name a store that instances share: shared in [argo]"
            )
            raise ConfigError(msg)
        return self._state.fleet

    def _check(self, name: str, change: Change, fleet: Mapping[str, Rule]) -> None:
        """Raise :class:`ConfigError` if no chain can be built here with the *change*."""
        rules = dict(fleet)
        rule = change(rules.pop(name, None))
        if rule is not None:
            rules[name] = rule
        tried = self._state.try_out(self._engine.pipeline, rules)
        if fault := tried.flags[name].fault:
            msg = f"flag {name!r} cannot be set so: {fault}"
            raise ConfigError(msg)

    def _flag(self, name: str, where: str = "the command") -> Flag:
        flags = self._engine.pipeline.flags
        if name not in flags:
            raise unknown_flag(name, flags, where=where, absent=self._engine.plugins.absent)
        return flags[name]
