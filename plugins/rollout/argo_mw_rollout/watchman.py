"""The one judge of a fleet: holds the lease, looks at every ramp, and does what follows.

Every instance may judge; the one that holds the lease does. All that it knows of a ramp is in the
store, written by compare-and-set before anything is done, so that another goes on from the same
state and takes no step twice. What cannot be read or written holds the ramp: nothing is promoted by
default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from argo_mw_rollout import judging
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


class Watchman:
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
        if not await self._leads():
            return
        for flag in await self._ramps.flags():
            try:
                await self._judge(flag)
            except (SharedUnavailable, TimeLimitExceeded):
                raise
            except Exception as error:  # of one ramp: the others are judged all the same
                why = str(error) if isinstance(error, ArgoError) else repr(error)
                self._context.warn_once("rollout", f"the ramp of {flag!r} holds: {why}")

    async def _leads(self) -> bool:
        ttl = self._config().lease_ttl
        lease, self.lease = self.lease, None
        if lease is not None and await self._context.shared.renew(lease, ttl=ttl):
            self.lease = lease
        else:
            self.lease = await self._context.shared.acquire(LEASE, ttl=ttl)
        return self.lease is not None

    async def _judge(self, flag: str) -> None:
        stored = await self._ramps.read(flag)
        ramp = stored.ramp
        if ramp is None or self._is_superseded(ramp):
            return
        if ramp.intent is not None:
            await self._carry_out(stored, ramp)
            return
        if ramp.ended:
            return
        changed = await self._looked_at(ramp)
        if changed != ramp and await self._replace(stored, changed):
            self._announce(ramp, changed)
            if changed.intent is not None:
                await self._judge(flag)

    def _is_superseded(self, ramp: Ramp) -> bool:
        """Return whether a judge with a later lease has written *ramp*: then this one stops."""
        if self.lease is None or ramp.fence > self.lease.fence:
            self.lease = None
            return True
        return False

    async def _replace(self, stored: Stored, ramp: Ramp) -> bool:
        assert self.lease is not None
        return await self._ramps.replace(stored, evolve(ramp, fence=self.lease.fence))

    async def _looked_at(self, ramp: Ramp) -> Ramp:
        """Return *ramp* with what follows from the blocks that have ended."""
        now = self._context.clock.time()
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
        ready = int(min(alive.values()) // ramp.seconds)
        ramp, blocks = await self._blocks(ramp, ready, now)
        before = judge.step.end if judge.step is not None else None
        judging.take_in(ramp, judge, blocks)
        if blocks or (judge.step is not None and judge.step.end != before):
            ramp = evolve(ramp, judge=judge.as_data())
        if problem := self._problem(ramp, now):
            return ramp.held(now, problem, loud=True)
        return judging.decide(ramp, judge, now)

    async def _blocks(self, ramp: Ramp, ready: int, now: float) -> tuple[Ramp, Sequence[Block]]:
        """Return the blocks that have ended since the last look, and *ramp* behind them."""
        first = ramp.next_block
        oldest = int((now - _KEPT) // ramp.seconds) + 1
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
        if ramp.step and now > ramp.since + _SETTLED and not _is(rule.state, rule.percent, ramp):
            return f"{flag.source} sets the flag to something else than {ramp.step}"
        if stale := self._context.flags.stale:
            return f"the flags of the fleet are those last known: {stale}"
        return ""

    async def _carry_out(self, stored: Stored, ramp: Ramp) -> None:
        """Do what *ramp* intends, and store that it was done."""
        assert ramp.intent is not None
        # Who was stopped for longer than the lease must not act on what it knew then.
        if not await self._leads():
            return
        now = self._context.clock.time()
        flags = self._context.flags
        if ramp.intent.what == "roll back":
            await flags.roll_back(ramp.flag, ramp.intent.to, fleet=self._fleet)
            done = evolve(ramp, intent=None)
        else:
            try:
                await flags.set(ramp.flag, ramp.intent.to, fleet=self._fleet)
            except ConfigError as error:
                done = judging.impossible(ramp, now, str(error))
            else:
                done = judging.begun(ramp, now)
        if await self._replace(stored, done):
            self._announce(ramp, done)
        if done.ended:
            await self._context.counters.unwatch(ramp.flag)

    # Saying it

    def _announce(self, before: Ramp, after: Ramp) -> None:
        """Say what has happened since *before*: an event, a line in the log, and the webhook."""
        for entry in after.journal:
            if entry in before.journal:
                continue
            text = f"{after.flag}: {entry.what}" + (f": {entry.why}" if entry.why else "")
            self._context.announce("rollout", entry.what, None, text)
            if entry.what in ("rolled back", "hold"):
                self._context.report("rollout", text)
            message = {
                "text": text,
                "flag": after.flag,
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
    return percent == ramp.percent if ramp.percent is not None else state == ramp.step
