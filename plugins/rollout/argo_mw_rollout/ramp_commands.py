"""What people do to ramps: start, pause, resume, promote, abort. The judge takes it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve

from argo_mw.plugin import Argo, ConfigError, Context, config_of, context_of, suggest
from argo_mw_rollout import judging
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.plan import Plan
from argo_mw_rollout.ramp import LEARNING, Intent, Ramp
from argo_mw_rollout.ramps import Ramps

KEPT_ENTRIES: Final = 100
"""Entries that the journal of a ramp keeps of those before it."""

_BELOW: Final = ("default", "argo.toml")
"""Sources of rules that a ramp overrides: without what it has set, they hold again."""


class RampCommands:
    """Changes ramps on behalf of a person.

    Every method raises :class:`~argo_mw.ConfigError` where that cannot be done, and
    :class:`~argo_mw.SharedUnavailable` while the store is away.
    """

    def __init__(self, argo: Argo) -> None:
        self._context: Context = context_of(argo)
        self._config = config_of(argo, RolloutConfig)
        self._ramps = Ramps(self._context)

    async def start(self, flag: str) -> Ramp:
        """Begin a ramp of *flag* by its plan: first its subjects are watched.

        Raises:
            ConfigError: There is no such flag, it is held off, or it is being ramped.
        """
        fresh = self._fresh(flag)

        def begin(known: Ramp | None) -> Ramp:
            return fresh if known is None else _after(known, fresh)

        return await self._ramps.change(flag, begin)

    def _fresh(self, flag: str) -> Ramp:
        """Return a ramp of *flag* that begins now.

        Raises:
            ConfigError: There is no such flag, or it is held off.
        """
        flags = self._context.flags.all
        if flag not in flags:
            msg = f"there is no flag {flag!r} to ramp: {suggest(flag, flags)}"
            raise ConfigError(msg)
        rule = flags[flag].rule
        if rule.killed or rule.rolled_back:
            fleet = "" if self._context.single_process else " --fleet"
            msg = (
                f"flag {flag!r} is held off ({rule.rolled_back or 'killed'}); once that is mended, "
                f"`argo-mw flags revive {flag}{fleet}`"
            )
            raise ConfigError(msg)
        now = self._context.clock.time()
        # Before the steps the layer must do nothing, or there is nothing to compare it with.
        plan = self._plan(flag)
        before = _text(rule.state, rule.percent, rule.by)
        return Ramp(
            flag,
            plan,
            started=now,
            since=now,
            seconds=self._config.block,
            next_block=int(now // self._config.block) + 1,
            intent=None if before == "off" else Intent("set", "off"),
            before=before,
            set_below=flags[flag].source in _BELOW,
        ).noted(now, "started", ", ".join(plan.steps))

    async def pause(self, flag: str) -> Ramp:
        """Take no more steps; harm is rolled back all the same."""
        return await self._change(flag, lambda ramp: evolve(ramp, status="paused"), "paused")

    async def resume(self, flag: str) -> Ramp:
        """Go on with a ramp that was paused."""
        return await self._change(flag, lambda ramp: evolve(ramp, status="running"), "resumed")

    async def promote(self, flag: str) -> Ramp:
        """Take the next step now, whatever the judge says."""
        now = self._context.clock.time()
        return await self._change(flag, lambda ramp: judging.advanced(ramp, now, "by command"))

    async def abort(self, flag: str, why: str) -> Ramp:
        """End the ramp, and set the flag to what it was before."""

        def end(ramp: Ramp) -> Ramp:
            back = Intent("unset" if ramp.set_below else "set", ramp.before)
            return evolve(ramp, status="aborted", intent=back, hold="", loud=False)

        return await self._change(flag, end, "aborted", why)

    def _plan(self, flag: str) -> Plan:
        return self._config.plans.get(flag, Plan())

    async def _change(
        self, flag: str, change: Callable[[Ramp], Ramp], what: str = "", why: str = ""
    ) -> Ramp:
        now = self._context.clock.time()

        def changed(ramp: Ramp | None) -> Ramp:
            if ramp is None:
                msg = f"{flag!r} is not being ramped; begin with `argo-mw rollout start {flag}`"
                raise ConfigError(msg)
            if ramp.ended:
                msg = f"the ramp of {flag!r} has ended: it is {ramp.status}"
                raise ConfigError(msg)
            if ramp.intent is not None and ramp.intent.what == "roll back":
                msg = f"{flag!r} is being rolled back"
                raise ConfigError(msg)
            made = change(ramp)
            return made if not what or made == ramp else made.noted(now, what, why)

        return await self._ramps.change(flag, changed)


def _text(state: str, percent: float | None, by: str) -> str:
    """Return the rule of a flag as ``flags set`` reads it, without its holds."""
    if percent is None:
        return state
    return f"{percent:g}%" + ("" if by == "subject" else f" by {by}")


def place_of(ramp: Ramp) -> str:
    """Return where *ramp* is, for people."""
    return "learning what is usual" if ramp.place == LEARNING else ramp.step


def _after(known: Ramp, fresh: Ramp) -> Ramp:
    """Return the *fresh* ramp of a flag whose last one is *known*.

    Raises:
        ConfigError: That one is not over.
    """
    flag = known.flag
    if not known.ended:
        msg = f"{flag!r} is being ramped already; see `argo-mw rollout status {flag}`"
        raise ConfigError(msg)
    if known.intent is not None:
        msg = (
            f"the last ramp of {flag!r} is {known.status}, which no judge has carried out "
            "yet: wait a moment, or see whether a program with the plugin runs"
        )
        raise ConfigError(msg)
    journal = (*known.journal[-KEPT_ENTRIES:], *fresh.journal)
    return evolve(fresh, fence=known.fence, journal=journal)
