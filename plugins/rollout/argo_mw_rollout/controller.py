"""The controller of ramps: holds the lease, looks at every ramp of the fleet, and acts on it.

Every instance may judge; the one that holds the lease does. All that it knows of a ramp is in the
store, written by compare-and-set before anything is done, so that another judge goes on from the
same state and takes no step twice. If the store cannot be read or written, the ramp holds: nothing
is promoted by default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from attrs import evolve

from argo_mw.plugin import (
    ArgoError,
    Block,
    ConfigError,
    Context,
    Counts,
    Lease,
    SharedUnavailable,
    TimeLimitExceeded,
    Watch,
)
from argo_mw_rollout import judging, latency
from argo_mw_rollout.clocks import TOLERATED, Jumps, in_time
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramps import Ramps, Stored
from argo_mw_rollout.webhook import Webhook

LEASE: Final = "argo:rollout:judge"
"""The key that the judge holds a lease on."""

WATCHED_FOR: Final = 3_600.0
"""Seconds for which subjects are counted after the last judge has looked."""

_MOST_BLOCKS: Final = 60
_SETTLED: Final = 15.0
_KEPT: Final = 1_700.0
_TURNS: Final = 3
"""How often a judge leaves a ramp whose flag it lacks to other instances."""


class RampController:
    """Judges the ramps of the fleet while it holds the lease.

    Args:
        context: The services of the application.
        config: Returns the configuration of now.

    Attributes:
        lease: The lease, while this instance is the judge.
    """

    def __init__(self, context: Context, config: Callable[[], RolloutConfig]) -> None:
        self._context = context
        self._config = config
        self._ramps = Ramps(context)
        self._webhook = Webhook(context)
        self._fleet = not context.single_process
        self._away = False
        self._quiet_until = 0.0
        self._jumps = Jumps(context.clock)
        self._known: dict[str, Ramp] = {}
        self._lacking: dict[str, tuple[int, int]] = {}
        self._left: set[str] = set()
        self.lease: Lease | None = None

    async def run(self) -> None:
        """Look at the ramps every few seconds, for ever."""
        while True:
            await self._context.clock.sleep(self._config().every)
            if not self._config().judge:
                await self.resign()
                continue
            if self._context.clock.monotonic() < self._quiet_until:
                continue  # the others have not yet published what they counted meanwhile
            try:
                await self.look()
            except (SharedUnavailable, TimeLimitExceeded) as error:
                self._store_is_away(str(error))
            except Exception as error:  # the next look may succeed; a judge that is gone never does
                self._context.warn_once("rollout", f"ramps are not judged: {error!r}")
            else:
                self._away = False

    async def resign(self) -> None:
        """Give the lease up, for another instance to judge."""
        lease, self.lease = self.lease, None
        if lease is not None:
            await self._context.shared.release(lease)

    async def look(self) -> None:
        """Look at every ramp once, if this instance is the judge or can become it.

        Raises:
            SharedUnavailable: The store is away; nothing was changed.
            ConfigError: The list of ramps cannot be read.
        """
        jump = self._jumps.since_last()
        self._left.clear()
        if not await self._leads():
            await self._give_back()
            return
        for flag in sorted({*await self._ramps.flags(), *self._known}):
            try:
                await self._judge(flag, jump)
            except (SharedUnavailable, TimeLimitExceeded):
                raise
            except Exception as error:  # of one ramp: the others are judged all the same
                why = str(error) if isinstance(error, ArgoError) else repr(error)
                self._context.warn_once("rollout", f"the ramp of {flag!r} holds: {why}")
                await self._hold(flag, why)
        if self._left:
            # Plugins differ between instances: one that has the flag may be the judge for a while.
            await self.resign()
            self._quiet_until = self._context.clock.monotonic() + 2 * self._config().lease_ttl

    async def _leads(self) -> bool:
        ttl = self._config().lease_ttl
        lease, self.lease = self.lease, None
        if lease is not None and await self._context.shared.renew(lease, ttl=ttl):
            self.lease = lease
        else:
            self.lease = await self._context.shared.acquire(LEASE, ttl=ttl)
        return self.lease is not None

    async def _judge(self, flag: str, jump: float) -> None:
        stored: Stored | None = await self._read(flag)
        ramp = None if stored is None else stored.ramp
        if stored is None or ramp is None or self._left_to_others(ramp):
            return
        if not ramp.ended and ramp.intent is None:
            stored = await self._put(stored, await self._looked_at(ramp, jump))
        # Each of these is written down before it is done: a judge that dies leaves it to the next.
        if stored is not None and stored.ramp is not None and stored.ramp.intent is not None:
            stored = await self._carry_out(stored, stored.ramp)
        await self._tell(stored)

    def _left_to_others(self, ramp: Ramp) -> bool:
        """Return whether another instance should judge *ramp*, since this one lacks its flag.

        If none has done so while this one has waited several times, the ramp holds.
        """
        if ramp.flag in self._context.flags.all or (ramp.ended and ramp.intent is None):
            return False
        revision, times = self._lacking.get(ramp.flag, (-1, 0))
        times = times + 1 if revision == ramp.revision else 1
        self._lacking[ramp.flag] = ramp.revision, times
        self._left.add(ramp.flag)
        return times <= _TURNS

    async def _read(self, flag: str) -> Stored | None:
        """Return the ramp of *flag* as it is stored; give it back to a store that has lost it.

        ``None`` where another judge, with a later lease, has written it: then this one stops.
        """
        stored = await self._ramps.read(flag)
        known = self._known.get(flag)
        if known is not None and _is_lost(stored.ramp, known):
            await self._ramps.enlist(flag)
            return await self._put(stored, self._given_back(known))
        if stored.ramp is None or self.lease is None:
            return None
        if stored.ramp.fence > self.lease.fence:
            self.lease = None
            return None
        self._known[flag] = stored.ramp
        return stored

    async def _put(self, stored: Stored, ramp: Ramp) -> Stored | None:
        """Put *ramp* in the place of what was *stored*; ``None`` if that has changed meanwhile."""
        if ramp == stored.ramp:
            return stored
        if self.lease is None:
            return None
        written = await self._ramps.replace(stored, evolve(ramp, fence=self.lease.fence))
        if written is not None and written.ramp is not None:
            self._known[ramp.flag] = written.ramp
        return written

    async def _hold(self, flag: str, why: str) -> None:
        """Have the ramp of *flag* hold because of *why*, if it can be read and written."""
        try:
            stored = await self._read(flag)
        except ConfigError:
            return
        if stored is not None and stored.ramp is not None and not stored.ramp.ended:
            held = stored.ramp.held(self._context.clock.time(), why, loud=True)
            await self._tell(await self._put(stored, held))

    async def _give_back(self) -> None:
        """Give the store what it has lost of the ramps that this instance knew as the judge."""
        for flag, known in list(self._known.items()):
            with suppress(ConfigError):
                stored = await self._ramps.read(flag)
                if _is_lost(stored.ramp, known):
                    await self._ramps.enlist(flag)
                    await self._ramps.replace(stored, self._given_back(known))
            del self._known[flag]

    def _given_back(self, ramp: Ramp) -> Ramp:
        why = "the shared store had lost it, or was put back to an older state"
        return ramp.noted(self._context.clock.time(), "given back", why)

    async def _looked_at(self, ramp: Ramp, jump: float) -> Ramp:
        """Return *ramp* with what follows from the blocks that have ended.

        Args:
            ramp: The ramp.
            jump: Seconds by which the clock was set forward since the last look.
        """
        now = self._context.clock.time()
        if jump or ramp.since > now + TOLERATED:
            moved = evolve(ramp, since=min(ramp.since + jump, now))
            ramp = moved.noted(now, "clock", "the judge's clock was set; the step's time goes on")
        try:
            judge = judging.judge_of(ramp)
        except ValueError as error:
            return ramp.held(now, f"{error}: abort it, and start it again", loud=True)
        ramp = await self._watched(ramp, now)
        alive = await self._context.counters.alive()
        if not alive:
            why = "no instance publishes counters, so there is nothing to judge by"
            return ramp.held(now, why, loud=True)
        # Complete is what every instance that is alive has published.
        until, unlike = in_time(alive)
        ready = int(until // ramp.seconds)
        if (ramp.next_block - ready) * ramp.seconds > 3 * TOLERATED:
            ramp = judging.begun_again(ramp, judge, ready, now)
        ramp, blocks = await self._blocks(ramp, ready, now)
        before = judge.step.end if judge.step is not None else None
        judging.take_in(ramp, judge, blocks)
        if blocks or (judge.step is not None and judge.step.end != before):
            ramp = evolve(ramp, judge=judge.as_data())
        if problem := self._problem(ramp, now):
            return ramp.held(now, problem, loud=True)
        decided = judging.decide(ramp, judge, now)
        if unlike and decided.status != "rolled back":
            return ramp.held(now, f"{unlike}: what it counts cannot be compared", loud=True)
        return decided

    async def _blocks(self, ramp: Ramp, ready: int, now: float) -> tuple[Ramp, Sequence[Block]]:
        """Return the blocks that have ended since the last look, and *ramp* behind them."""
        first = ramp.next_block
        oldest = ready - int(_KEPT // ramp.seconds)
        if first < oldest:
            lost = oldest - first
            ramp = ramp.noted(now, "gap", f"{lost} blocks of counts are gone")
            first = oldest
        last = min(ready, first + _MOST_BLOCKS)
        if last <= first:
            return evolve(ramp, next_block=first), ()
        found = await self._context.counters.blocks(ramp.flag, range(first, last))
        return evolve(ramp, next_block=last), found

    async def _watched(self, ramp: Ramp, now: float) -> Ramp:
        """Have the subjects of *ramp* counted, and fix what is slow once that can be said."""
        slow = judging.slow_of(ramp, await self._counts())
        ramp = evolve(ramp, slow=slow)
        known = (await self._context.counters.watches()).get(ramp.flag)
        if known is None or known.until < now + WATCHED_FOR / 2 or dict(known.slow) != dict(slow):
            watch = Watch(
                ramp.flag,
                now + WATCHED_FOR,
                by=ramp.plan.by,  # type: ignore[arg-type]
                seconds=ramp.seconds,
                slow=slow,
            )
            await self._context.counters.watch(watch)
        return ramp

    async def _counts(self) -> list[Counts]:
        return [one for i in await self._context.counters.read("fleet") for one in i.counts]

    def _problem(self, ramp: Ramp, now: float) -> str:
        """Return why the flag is not what the step says it is, or ""."""
        flag = self._context.flags.all.get(ramp.flag)
        if flag is None:
            return f"flag {ramp.flag!r} does not exist on the instance that judges"
        rule = flag.rule
        if rule.killed or rule.rolled_back:
            return f"it is held off ({rule.rolled_back or 'killed'}); revive it, or abort the ramp"
        if now > ramp.since + _SETTLED and not _is(rule.state, rule.percent, ramp):
            return f"{flag.source} sets the flag to something else than {ramp.step or 'off'}"
        if stale := self._context.flags.stale:
            return f"the flags of the fleet are those last known: {stale}"
        return ""

    async def _carry_out(self, stored: Stored, ramp: Ramp) -> Stored | None:
        """Do what *ramp* intends, and store that it was done."""
        assert ramp.intent is not None
        # A judge that was stopped for longer than its lease must not act on what it knew then.
        if not await self._leads():
            return None
        now = self._context.clock.time()
        flags = self._context.flags
        if ramp.intent.what == "roll back":
            await flags.roll_back(ramp.flag, ramp.intent.to, fleet=self._fleet)
            # Reviving it must not bring back the share that did harm.
            await flags.set(ramp.flag, "off", fleet=self._fleet)
            done = evolve(ramp, intent=None)
        elif ramp.intent.what == "unset" and not flags.all[ramp.flag].rule.held:
            await flags.unset(ramp.flag, fleet=self._fleet)
            done = judging.begun(ramp, now)
        else:
            try:
                await flags.set(ramp.flag, ramp.intent.to, fleet=self._fleet)
            except ConfigError as error:
                done = judging.impossible(ramp, now, str(error))
            else:
                done = judging.begun(ramp, now)
                if done.percent is not None and not done.ended:
                    instances = await self._context.counters.read("fleet")
                    done = evolve(done, counted=latency.counted(ramp.flag, instances))
        if done.ended:
            await self._context.counters.unwatch(ramp.flag)
        return await self._put(stored, done)

    # Saying it

    async def _tell(self, stored: Stored | None) -> None:
        """Say what has happened to the ramp that is *stored*, and note that it was said."""
        if stored is not None and stored.ramp is not None and stored.ramp.untold:
            self._announce(stored.ramp)
            await self._put(stored, evolve(stored.ramp, untold=0))

    def _announce(self, ramp: Ramp) -> None:
        """Say what is new in the journal: an event, a line in the log, and the webhook."""
        for entry in ramp.journal[-ramp.untold :]:
            text = f"{ramp.flag}: {entry.what}" + (f": {entry.why}" if entry.why else "")
            self._context.announce("rollout", entry.what, None, text)
            if entry.what in ("rolled back", "hold"):
                self._context.report("rollout", text)
            message = {
                "text": text,
                "flag": ramp.flag,
                "what": entry.what,
                "why": entry.why,
                "at": entry.at,
                "evidence": list(entry.evidence),
            }
            self._webhook.post(self._config().webhook, message)

    def _store_is_away(self, why: str) -> None:
        self.lease = None
        self._quiet_until = self._context.clock.monotonic() + _SETTLED
        if not self._away:
            self._away = True
            self._context.report("rollout", f"ramps hold, since they cannot be read: {why}")


def _is(state: str, percent: float | None, ramp: Ramp) -> bool:
    if ramp.percent is not None:
        return percent == ramp.percent
    return percent is None and state == (ramp.step or "off")


def _is_lost(stored: Ramp | None, known: Ramp) -> bool:
    """Return whether the store has lost *known*: it has no such ramp, or what that once was."""
    if stored is None:
        return True
    return stored.revision < known.revision and stored.started <= known.started
