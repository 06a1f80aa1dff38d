"""The layer: gives each fresh answer its time to live, on its way back to the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter
from typing import Final

from attrs import evolve
from msgspec import Struct

from argo_mw.plugin import (
    ASKED_AT,
    AnswerSeen,
    Call,
    ConfigError,
    Context,
    Event,
    Middleware,
    Next,
    Outcome,
    Stream,
)
from argo_mw_adaptive_ttl.bars import read_bars
from argo_mw_adaptive_ttl.calendars import UNKNOWN, Calendar, Calendars
from argo_mw_adaptive_ttl.config import AdaptiveTtlConfig, OperationConfig
from argo_mw_adaptive_ttl.policy import Policy, RefreshPolicy, Situation, TtlDecision
from argo_mw_adaptive_ttl.refresher import Refresher
from argo_mw_adaptive_ttl.shadow import KeptInShadow
from argo_mw_adaptive_ttl.stats_file import StatsFile
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats

NAME: Final = "adaptive_ttl"
TTL: Final = "adaptive_ttl.ttl"
"""Extension of a call: seconds, float, that its answer lives, whatever the policy decides."""

_NO_LIMITS: Final = OperationConfig()
_NO_ANSWER: Final = Outcome(None)


def price_tag(subject: str) -> str:
    """Return the tag of answers that expire early when the price of *subject* has moved."""
    return f"price:{subject}"


class _Life(Struct, frozen=True, eq=False):
    """How long an answer is to live.

    Attributes:
        ttl: Seconds.
        ends: Until when, in seconds since the epoch.
        recheck: From when on it is rechecked, in seconds since the epoch, or ``None``.
        why: Why, in words.
        revealed: Whether the answer itself brought news of the price.
    """

    ttl: float
    ends: float
    recheck: float | None
    why: str
    revealed: bool


class AdaptiveTtl:
    """Sets how long answers live.

    Args:
        config: The limits by operation, and how often to save.
        context: The application's context.
        policy: Decides.
        stats: What was learned about symbols.
        calendars: When markets are open.
        opened: Called with this layer when it comes into use.

    Attributes:
        stats: What was learned about symbols.
        calendars: When markets are open.
        refresher: Expires answers early, where the policy asks for it.
        file: Where *stats* are saved.
    """

    def __init__(
        self,
        config: AdaptiveTtlConfig,
        context: Context,
        policy: Policy,
        stats: SymbolStats,
        calendars: Calendars,
        opened: Callable[[AdaptiveTtl], None] = lambda _: None,
    ) -> None:
        self._policy = policy
        self.stats = stats
        self.calendars = calendars
        self._computing = asyncio.Lock()
        self._operations = config.operations
        self._save_interval = config.save_interval
        self._context = context
        self._clock = context.clock
        self._opened = opened
        self._moved: set[str] = set()
        self._reveals: dict[str, bool] = {}
        self._saving: asyncio.Task[None] | None = None
        self._inherited = False
        self._first_unknown = ""
        self.file = StatsFile(context.state_dir / f"{NAME}.json")
        self._refresh_policy = policy if isinstance(policy, RefreshPolicy) else None
        self.refresher = self._refresher(self._expire_soon)
        self._in_shadow = KeptInShadow(context, config.max_symbols)
        self._shadow_refresher = self._refresher(self._in_shadow.expire)

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the answer of *call_next* with its time to live."""
        subject = call.subject
        if subject and not self._is_prepared(subject, self._clock.time()):
            await self._prepare(subject)
        price = None
        if self._expires_early(call):
            price = await self._context.tag_versions.load([price_tag(subject)])
        asked_at = self._clock.time()
        outcome = await call_next(call)
        if isinstance(outcome.value, Stream):
            return outcome
        outcome = self._with_ttl(call, outcome, asked_at)
        if price is None:
            return outcome
        versions = (*outcome.versions, *price.versions)
        return outcome.evolve(tags=outcome.tags | price.tags, versions=versions)

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """Report whether the last answer to *call* would still live, and how far *outcome* is off.

        Learning goes on as when the layer acts, but from more answers: those, too, that a longer
        life would have saved.
        """
        if call.subject and not self._is_prepared(call.subject, self._clock.time()):
            await self._prepare(call.subject)
        kept, why = (None, "") if call.refresh else await self._in_shadow.find(call)
        if not call.refresh:
            self._context.report_shadow(NAME, call, outcome, kept=kept, why=why)
        if kept is not None or isinstance(outcome.value, Stream):
            return
        life = self._life(call, outcome, self._asked_at(call))
        await self._in_shadow.keep(call, outcome, life.ttl, life.why)
        if life.revealed:
            self._schedule(self._shadow_refresher, call.subject, life)

    def observe(self, event: Event) -> None:
        """Learn from *event*: an answer, loaded here or found in the shared store."""
        if not isinstance(event, AnswerSeen) or not event.call.subject:
            return
        if _is_price(event.call):
            self._learn(event.call.subject, event.outcome)

    def explain(self, call: Call) -> str:
        """Say how long an answer to *call* would live now, and why."""
        if call.subject:
            with suppress(ConfigError):
                self.calendars.of(call.subject, self._clock.time())
        revealed = self._reveals.get(call.operation.name, _is_price(call))
        fixed = self._fixed(call)
        situation = self._situation(call, self._clock.time(), revealed=revealed)
        decision = self._decide(situation, fixed)
        ttl, by = self._limited(call, decision.ttl, fixed, _NO_ANSWER)
        return self._note(situation, decision, ttl, by)

    # -- life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Restore what was learned before a restart, and save it regularly from now on."""
        await self._context.tag_versions.load([f"layer:{NAME}"])
        if not self._inherited:
            await self.file.restore(self.stats, self.calendars, self._clock.time())
        if self._save_interval > 0.0:
            self._saving = self._context.tasks.spawn(f"{NAME}: save", self._save_regularly())
        self._opened(self)

    def take_over(self, previous: Middleware) -> None:
        """Go on with what *previous* has learned, and recheck the answers that it rechecks."""
        if not isinstance(previous, AdaptiveTtl):
            return
        self._inherited = True
        self._first_unknown = previous._first_unknown
        self._reveals = previous._reveals
        self.stats.take_over(previous.stats)
        if self.refresher is not None and previous.refresher is not None:
            self.refresher.take_over(previous.refresher)
        previous._stop()

    async def close(self) -> None:
        """Recheck no more answers, and save what was learned."""
        self._stop()
        await self.file.save(self.stats)

    def _stop(self) -> None:
        for refresher in (self.refresher, self._shadow_refresher):
            if refresher is not None:
                refresher.close()
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None

    async def _save_regularly(self) -> None:
        while True:
            await self._clock.sleep(self._save_interval)
            await self.file.save(self.stats)

    # -- before the load -----------------------------------------------------------------------

    def _is_prepared(self, subject: str, now: float) -> bool:
        """Return whether the calendar of *subject* is at hand, or known not to be had."""
        calendar = self.calendars.ready(subject, now)
        if calendar is None:
            return self.calendars.lacks(subject, now)
        if _is_unknown(calendar) and not self._first_unknown:
            self._say_unknown(subject)
        return True

    async def _prepare(self, subject: str) -> None:
        """Compute the calendar of *subject* off the event loop, once for all callers that wait."""
        now, calendars = self._clock.time(), self.calendars
        async with self._computing:
            if self._is_prepared(subject, now):
                return
            try:
                await asyncio.to_thread(calendars.of, subject, now)
            except ConfigError as error:
                # A failure to choose a TTL must not lose the answer.
                self._context.warn_once(NAME, f"{error}; until then its market counts as open")

    def _say_unknown(self, subject: str) -> None:
        """Log the first symbol whose market is not known; the notes of answers tell of each."""
        self._first_unknown = subject
        self._context.warn_once(
            NAME,
            f"the market of {subject!r:.60} is not known, so it counts as open, and so will those "
            "of others: name their calendars in [plugins.adaptive_ttl.calendars]",
        )

    def _expires_early(self, call: Call) -> bool:
        """Return whether *call* asks for prices that may expire early: their TTL is not fixed."""
        if self.refresher is None or not call.subject or not _is_price(call):
            return False
        return self._fixed(call) is None

    # -- after the load ------------------------------------------------------------------------

    def _learn(self, subject: str, outcome: Outcome) -> bool:
        """Learn the prices in *outcome*; return whether there are any."""
        now = self._clock.time()
        calendar = self.calendars.ready(subject, now)
        bars = read_bars(outcome.value, now) if calendar is not None else None
        if bars is None or calendar is None:
            return False
        known = self.stats.get(subject)
        if known is not None and known.seen_at >= now:
            return True
        symbol = self.stats.learn(subject, bars, calendar, now)
        if self.refresher is not None:
            self.refresher.cancel(subject)
            self.refresher.recheck_peers(symbol)
        if self._shadow_refresher is not None:
            self._shadow_refresher.recheck_peers(symbol)
        return True

    def _with_ttl(self, call: Call, outcome: Outcome, asked_at: float) -> Outcome:
        life = self._life(call, outcome, asked_at)
        if life.revealed:
            self._schedule(self.refresher, call.subject, life)
        return outcome.shaped_by(NAME, life.why, expires_at=life.ends)

    def _life(self, call: Call, outcome: Outcome, asked_at: float) -> _Life:
        """Return how long *outcome* is to live, which has just come and was asked for then."""
        revealed = False
        if call.subject and _is_price(call):
            revealed = self._learn(call.subject, outcome)
            self._reveals[call.operation.name] = revealed
        now = self._clock.time()
        situation = self._situation(call, now, revealed=revealed, asked_at=asked_at)
        if revealed and situation.symbol is not None and self._refresh_policy is not None:
            self._refresh_policy.record_fetch(situation.symbol)
        fixed = self._fixed(call)
        decision = self._decide(situation, fixed)
        ttl, by = self._limited(call, decision.ttl, fixed, outcome)
        note = self._note(situation, decision, ttl, by)
        return _Life(ttl, now + ttl, decision.recheck, note, revealed)

    def _decide(self, situation: Situation, fixed: tuple[float, str] | None) -> TtlDecision:
        """Return the policy's decision, without a recheck where the TTL is fixed."""
        decision = self._policy.decide(situation)
        return decision if fixed is None else evolve(decision, recheck=None)

    def _note(self, situation: Situation, decision: TtlDecision, ttl: float, by: str) -> str:
        first = ttl
        if decision.recheck is not None:
            first = min(ttl, decision.recheck - self._clock.time())
        quiet = f", {ttl:.0f} s if its peers stay quiet" if first < ttl else ""
        market = " (its market is not known)" if _is_unknown(situation.calendar) else ""
        return f"{decision.why()}{market} → {first:.0f} s{quiet}{by}"

    def _asked_at(self, call: Call) -> float:
        """Return when *call*, which was asked already, was asked, in seconds since the epoch."""
        now, asked_at = self._clock.time(), call.extensions.get(ASKED_AT)
        if not isinstance(asked_at, float):
            return now
        return now - max(0.0, self._clock.monotonic() - asked_at)

    def _situation(
        self, call: Call, now: float, *, revealed: bool, asked_at: float | None = None
    ) -> Situation:
        subject = call.subject
        data_type = call.operation.data_type
        if not subject:
            return Situation(data_type, "", now)
        calendar, symbol = self.calendars.ready(subject, now), self.stats.get(subject)
        asked_at = now if asked_at is None else asked_at
        return Situation(data_type, subject, now, calendar, symbol, revealed, asked_at)

    def _limited(
        self, call: Call, ttl: float, fixed: tuple[float, str] | None, outcome: Outcome
    ) -> tuple[float, str]:
        """Return *ttl* within the limits of caller, upstream and operation, and which one binds.

        A fixed time decides, the caller's before the operation's, unless the answer lacks something
        or is out of date already, because its upstream forbids keeping it or it was made of an old
        answer. Of the limits, the least holds.
        """
        now = self._clock.time()
        over = outcome.expires_at is not None and outcome.expires_at <= now
        if fixed is not None and not outcome.lacks and not over:
            return fixed
        limits = self._operations.get(call.operation.name, _NO_LIMITS)
        caps: list[tuple[float, str]] = [] if fixed is None else [fixed]
        if outcome.expires_at is not None:
            lacks = ", ".join(sorted(outcome.lacks))
            by = f", since it lacks {lacks}" if lacks else ", capped by the upstream"
            caps.append((max(0.0, outcome.expires_at - now), by))
        if limits.max_ttl > 0.0:
            caps.append((limits.max_ttl, ", capped by the operation"))
        if call.max_age is not None:
            caps.append((call.max_age, ", capped by the caller"))
        return min([(ttl, ""), *caps], key=itemgetter(0))

    def _fixed(self, call: Call) -> tuple[float, str] | None:
        """Return the TTL that holds whatever the policy decides, and who has fixed it."""
        if call.ttl is not None:
            return call.ttl, ", fixed by the caller"
        wanted = call.extensions.get(TTL)
        if isinstance(wanted, (int, float)) and wanted >= 0.0:
            return float(wanted), ", fixed by the caller"
        limits = self._operations.get(call.operation.name, _NO_LIMITS)
        ttl = limits.ttl or call.operation.ttl
        return (ttl, ", fixed by the operation") if ttl else None

    # -- early expiry ----------------------------------------------------------------------------

    def _refresher(self, expire: Callable[[str], object]) -> Refresher | None:
        if self._refresh_policy is None:
            return None
        return Refresher(self._refresh_policy, self.stats, self._clock, expire)

    def _schedule(self, refresher: Refresher | None, subject: str, life: _Life) -> None:
        if refresher is None or life.recheck is None:
            return
        symbol = self.stats.get(subject)
        if symbol is not None:
            refresher.schedule(symbol, life.recheck, life.ends)

    def _expire_soon(self, name: str) -> None:
        """Expire the kept answers about *name*, together with others in one task."""
        self._moved.add(name)
        if len(self._moved) == 1:
            self._context.tasks.spawn(f"{NAME}: prices have moved", self._expire())

    async def _expire(self) -> None:
        moved, self._moved = self._moved, set()
        await self._context.expire([price_tag(name) for name in sorted(moved)])


def _is_unknown(calendar: Calendar | None) -> bool:
    return calendar is not None and calendar.name == UNKNOWN


def _is_price(call: Call) -> bool:
    return call.operation.data_type == "market_data"
