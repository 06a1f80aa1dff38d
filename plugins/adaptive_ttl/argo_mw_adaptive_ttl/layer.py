"""The layer: gives each fresh answer its time to live, on its way back to the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from attrs import evolve

from argo_mw.plugin import (
    AnswerSeen,
    Call,
    ConfigError,
    Context,
    Event,
    Next,
    Outcome,
    Stream,
)
from argo_mw_adaptive_ttl.bars import read_bars
from argo_mw_adaptive_ttl.calendars import Calendar, Calendars
from argo_mw_adaptive_ttl.config import OperationConfig
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.policy import Decision, Policy, Situation, Watching
from argo_mw_adaptive_ttl.watch import Watch

NAME: Final = "adaptive_ttl"
TTL: Final = "adaptive_ttl.ttl"
"""Extension of a call: seconds, float, that its answer lives, whatever the policy says."""

_NO_LIMITS: Final = OperationConfig()


def price_tag(subject: str) -> str:
    """The tag of answers that are given up when the price of *subject* has moved."""
    return f"price:{subject}"


class AdaptiveTtl:
    """Chooses how long answers live.

    Args:
        policy: What decides.
        memory: What was learned from the answers that passed by.
        calendars: When markets are open.
        operations: Limits by operation.
        context: What the framework gives.
    """

    def __init__(
        self,
        policy: Policy,
        memory: Memory,
        calendars: Calendars,
        operations: Mapping[str, OperationConfig],
        context: Context,
    ) -> None:
        self._policy = policy
        self._memory = memory
        self.calendars = calendars
        self._computing = asyncio.Lock()
        self._operations = operations
        self._context = context
        self._clock = context.clock
        self._moved: set[str] = set()
        self._watching = policy if isinstance(policy, Watching) else None
        self.watch = (
            Watch(self._watching, memory, context.clock, self._give_up)
            if self._watching is not None
            else None
        )

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The answer of *call_next* with its time to live."""
        subject = call.subject
        if subject:
            await self._prepare(subject)
        tags = await self._tags(call)
        outcome = await call_next(call)
        if isinstance(outcome.value, Stream):
            return outcome
        outcome = self._give(call, outcome)
        return outcome.evolve(tags=outcome.tags | tags) if tags else outcome

    def observe(self, event: Event) -> None:
        """Learn from *event*: an answer, loaded here or found in the shared store."""
        if not isinstance(event, AnswerSeen) or not event.call.subject:
            return
        if _is_price(event.call):
            self._learn(event.call.subject, event.outcome)

    def explain(self, call: Call) -> str:
        """How long an answer to *call* would live now, and why."""
        if call.subject:
            with suppress(ConfigError):
                self.calendars.of(call.subject, self._clock.time())
        decision = self._decide(call, self._situation(call, revealed=False))
        ttl, by = self._limited(call, decision.ttl, None)
        return self._words(decision, ttl, by)

    def stop(self) -> None:
        """Look at kept answers no more."""
        if self.watch is not None:
            self.watch.close()

    async def _prepare(self, subject: str) -> None:
        """Have the calendar of *subject* at hand, computed off the loop, once for all who wait."""
        now, calendars = self._clock.time(), self.calendars

        def settled() -> bool:
            return calendars.ready(subject, now) is not None or calendars.lacks(subject, now)

        if settled():
            return
        async with self._computing:
            if settled():
                return
            try:
                await asyncio.to_thread(calendars.of, subject, now)
            except ConfigError as error:
                # Which TTL is chosen must not cost the answer.
                self._context.warn_once(NAME, f"{error}; until then its market counts as open")

    async def _tags(self, call: Call) -> frozenset[str]:
        """The tag of prices that may be given up early: not those whose life is fixed.

        Mirrored before the load, or the cache would have to take it for changed; so the first
        answer of all goes without.
        """
        subject = call.subject
        if self.watch is None or not subject or not _is_price(call) or self._fixed(call):
            return frozenset()
        tag = price_tag(subject)
        known = self._memory.get(subject) is not None
        await self._context.tag_versions.load([tag])
        return frozenset([tag]) if known else frozenset()

    def _learn(self, subject: str, outcome: Outcome) -> bool:
        now = self._clock.time()
        calendar = self.calendars.ready(subject, now)
        bars = read_bars(outcome.value) if calendar is not None else None
        if bars is None or calendar is None:
            return False
        known = self._memory.get(subject)
        if known is not None and known.seen_at >= now:
            return True
        symbol = self._memory.see(subject, bars, calendar, now)
        if self.watch is not None:
            self.watch.drop(subject)
            self.watch.news(symbol)
        return True

    def _give(self, call: Call, outcome: Outcome) -> Outcome:
        revealed = False
        if call.subject and _is_price(call):
            revealed = self._learn(call.subject, outcome)
        now = self._clock.time()
        situation = self._situation(call, revealed=revealed)
        if revealed and situation.symbol is not None and self._watching is not None:
            self._watching.fetched(situation.symbol)
        decision = self._decide(call, situation)
        ttl, by = self._limited(call, decision.ttl, outcome.expires_at)
        if revealed:
            self._keep_watch(call.subject, decision, now + ttl)
        note = self._words(decision, ttl, by)
        return outcome.evolve(expires_at=now + ttl).shaped_by(NAME, note)

    def _decide(self, call: Call, situation: Situation) -> Decision:
        """What the policy says; a life that is fixed is not looked at again."""
        decision = self._policy.decide(situation)
        return decision if self._fixed(call) is None else evolve(decision, recheck=None)

    def _words(self, decision: Decision, ttl: float, by: str) -> str:
        first = ttl
        if decision.recheck is not None:
            first = min(ttl, decision.recheck - self._clock.time())
        quiet = f", {ttl:.0f} s if its peers stay quiet" if first < ttl else ""
        return f"{decision.why()} → {first:.0f} s{quiet}{by}"

    def _situation(self, call: Call, *, revealed: bool) -> Situation:
        now = self._clock.time()
        subject = call.subject
        data_type = call.operation.data_type
        if not subject:
            return Situation(data_type, "", now)
        calendar: Calendar | None = self.calendars.ready(subject, now)
        return Situation(data_type, subject, now, calendar, self._memory.get(subject), revealed)

    def _limited(self, call: Call, ttl: float, upstream: float | None) -> tuple[float, str]:
        """*ttl* after the caller, the upstream and the operation had their say, and who decided.

        A fixed time rules, the caller's before the operation's; of the limits the least does.
        """
        fixed = self._fixed(call)
        if fixed is not None:
            return fixed
        limits = self._operations.get(call.operation.name, _NO_LIMITS)
        caps: list[tuple[float, str]] = []
        if upstream is not None:
            caps.append((max(0.0, upstream - self._clock.time()), ", capped by the upstream"))
        if limits.maximum > 0.0:
            caps.append((limits.maximum, ", capped by the operation"))
        if call.max_age is not None:
            caps.append((call.max_age, ", capped by the caller"))
        return min([(ttl, ""), *caps], key=lambda cap: cap[0])

    def _fixed(self, call: Call) -> tuple[float, str] | None:
        """How long an answer to *call* lives whatever is known, and who wants it so."""
        wanted = call.extensions.get(TTL)
        if isinstance(wanted, (int, float)) and wanted >= 0.0:
            return float(wanted), ", fixed by the caller"
        limits = self._operations.get(call.operation.name, _NO_LIMITS)
        return (limits.ttl, ", fixed by the operation") if limits.ttl > 0.0 else None

    def _keep_watch(self, subject: str, decision: Decision, ends: float) -> None:
        if self.watch is None or decision.recheck is None:
            return
        symbol = self._memory.get(subject)
        if symbol is not None:
            self.watch.keep(symbol, decision.recheck, ends)

    def _give_up(self, name: str) -> None:
        """Expire what is kept about *name*: together with others, in one task."""
        self._moved.add(name)
        if len(self._moved) == 1:
            self._context.tasks.spawn(f"{NAME}: prices have moved", self._expire())

    async def _expire(self) -> None:
        moved, self._moved = self._moved, set()
        await self._context.expire([price_tag(name) for name in sorted(moved)])


def _is_price(call: Call) -> bool:
    return call.operation.data_type == "market_data"
