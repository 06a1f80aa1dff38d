"""The layer: looks up, loads, keeps, and serves what is old when nothing newer can be had."""

from __future__ import annotations

import random

from argo_mw import (
    MAX_AGE,
    REFRESH,
    AllUpstreamsFailed,
    Call,
    Context,
    DeadlineExceeded,
    Freshness,
    LayerActed,
    Next,
    NotFound,
    NotShareable,
    Outcome,
    Refusal,
    Stamped,
    Stream,
    UpstreamError,
    protect,
)
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.entry import Entry, Times, hit_of
from argo_mw_cache.memory import Memory

NAME = "cache"
_NO_ANSWER = (UpstreamError, AllUpstreamsFailed, Refusal, DeadlineExceeded)


class Cache:
    """Keeps answers in memory, for as long as they are fresh."""

    def __init__(self, config: CacheConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._monotonic = context.clock.monotonic
        self._events = context.events
        self._stamps = context.stamps
        self.memory = Memory(max_entries=config.max_entries, max_bytes=config.max_bytes)

    def peek(self, call: Call) -> Outcome | None:
        """The answer to *call*, if it is in memory and fresh."""
        entry = self.memory.get(call.key)
        if entry is None or entry.error is not None:
            return None
        now = self._monotonic()
        if now >= entry.times.early_from and not self._in_time(entry, call, now):
            return None
        if self._stamps.peek(entry.stamped) is not Freshness.FRESH:
            return None
        if call.extensions and not self._welcome(entry, call):
            return None
        if self._events.active:
            self._tell("hit", call)
        return entry.serve()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The kept answer to *call* if it is fresh, else one that is loaded and kept."""
        entry = self.memory.get(call.key)
        freshness = Freshness.MISS
        if entry is not None:
            freshness = await self._stamps.check(entry.stamped)
            if freshness is Freshness.MISS:
                self.memory.drop(call.key)
            elif freshness is Freshness.FRESH and self._may_serve(entry, call):
                self._tell("hit", call)
                return entry.serve()
        self._tell("miss", call)
        try:
            return await self._load(call, call_next)
        except _NO_ANSWER as error:
            if entry is None or freshness is Freshness.MISS or not self._in_grace(entry, error):
                raise
            self._tell("stale", call, str(error))
            return entry.serve().shaped_by(NAME, f"stale, because {error}")

    def explain(self, call: Call) -> str:
        """Whether *call* would be a hit, and for how long."""
        entry = self.memory.get(call.key)
        if entry is None:
            return f"would miss: not in memory ({len(self.memory)} answers are)"
        freshness = self._stamps.peek(entry.stamped)
        left = entry.times.fresh_until - self._monotonic()
        if freshness is not Freshness.FRESH:
            return f"would miss: the answer in memory is {freshness.value} by its tags' stamps"
        if left <= 0:
            return f"would miss: the answer in memory expired {-left:.0f} s ago"
        return f"would hit: the answer in memory is fresh for another {left:.0f} s"

    def _may_serve(self, entry: Entry, call: Call) -> bool:
        return self._monotonic() < entry.times.fresh_until and self._welcome(entry, call)

    def _in_time(self, entry: Entry, call: Call, now: float) -> bool:
        """Whether *entry* is fresh; the odd reader shortly before its expiry refreshes it."""
        if now >= entry.times.fresh_until:
            return False
        if entry.times.wants_refresh(now):
            self._tell("early", call)
            self._context.refresh(call)
        return True

    def _welcome(self, entry: Entry, call: Call) -> bool:
        """Whether the caller takes an answer that is kept, and one of this age."""
        if call.extensions.get(REFRESH):
            return False
        max_age = call.extensions.get(MAX_AGE)
        if not isinstance(max_age, (int, float)):
            return True
        return entry.outcome.age(self._clock.time()) <= max_age

    def _in_grace(self, entry: Entry, error: Exception) -> bool:
        if isinstance(error, NotFound) or entry.error is not None:
            return False
        return self._monotonic() < entry.times.stale_until

    async def _load(self, call: Call, call_next: Next) -> Outcome:
        stamped = await self._stamps.load(call.tags)
        started = self._monotonic()
        try:
            outcome = await call_next(call)
        except NotFound as error:
            self._keep_negative(call, error, stamped)
            raise
        load_time = self._monotonic() - started
        if isinstance(outcome.value, Stream):
            return outcome
        late = outcome.tags - call.tags
        if late:
            stamped = await self._stamps.extend(stamped, late)
        return self._keep(call, outcome, stamped, load_time)

    def _keep(self, call: Call, outcome: Outcome, stamped: Stamped, load_time: float) -> Outcome:
        """Keep *outcome* if it can be, and give it to its first caller."""
        now = self._clock.time()
        if outcome.expires_at is None:
            ttl = self._config.ttl * random.uniform(1.0 - self._config.jitter, 1.0)
            outcome = outcome.evolve(expires_at=now + ttl)
        assert outcome.expires_at is not None
        ttl = outcome.expires_at - now
        if ttl <= 0 or self._stamps.peek(stamped) is not Freshness.FRESH:
            self._tell("skipped", call, "it was out of date before it could be kept")
            return outcome
        try:
            protected = protect(outcome.value)
        except NotShareable as error:
            self._tell("skipped", call, str(error))
            self._context.trouble(f"cache of {call.operation.name}", str(error))
            return outcome
        if protected.size > self._config.max_value_bytes:
            what = f"{call.operation.name} of {protected.size} bytes is not kept"
            self._tell("skipped", call, f"{what}: max_value_bytes is less")
            return outcome
        first = protected.lend()
        as_is = first is outcome.value
        self._store(
            call.key,
            Entry(
                outcome=hit_of(outcome if as_is else outcome.evolve(value=None)),
                protected=protected,
                shared_as_is=as_is,
                stamped=stamped,
                size=protected.size,
                times=self._times(ttl, load_time),
            ),
        )
        self._tell("store", call)
        return outcome if as_is else outcome.evolve(value=first)

    def _keep_negative(self, call: Call, error: NotFound, stamped: Stamped) -> None:
        ttl = self._config.negative_ttl
        if ttl <= 0:
            return
        nothing = protect(None)
        entry = Entry(
            outcome=Outcome(None),
            protected=nothing,
            shared_as_is=True,
            stamped=stamped,
            error=error,
            size=nothing.size,
            times=self._times(ttl, 0.0),
        )
        self._store(call.key, entry)

    def _times(self, ttl: float, load_time: float) -> Times:
        fresh_until = self._monotonic() + ttl
        return Times.of(
            fresh_until,
            load_time=load_time,
            early=self._config.early,
            grace=self._config.grace,
        )

    def _store(self, key: str, entry: Entry) -> None:
        self.memory.store(key, entry, self._monotonic())

    def _tell(self, action: str, call: Call, detail: str = "") -> None:
        if self._events.active:
            self._events.emit(LayerActed(NAME, action, call, detail))
