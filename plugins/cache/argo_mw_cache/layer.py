"""The layer: looks up, loads, keeps, and serves what is old when nothing newer can be had."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress

from argo_mw import (
    MAX_AGE,
    REFRESH,
    AllUpstreamsFailed,
    AnswerSeen,
    Call,
    Closed,
    Context,
    DeadlineExceeded,
    Expired,
    Freshness,
    LayerActed,
    Next,
    NotFound,
    NotShareable,
    Outcome,
    Protected,
    Refusal,
    SharedUnavailable,
    Stamped,
    Stream,
    UpstreamError,
    protect,
    within,
)
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.entry import Entry, Times, hit_of, protected_of
from argo_mw_cache.memory import Memory
from argo_mw_cache.record import Record, Unusable
from argo_mw_cache.shared_level import SharedLevel, key_of

NAME = "cache"
_MOMENT = 0.05
"""Seconds for which a lookup that found nothing need not be repeated."""
_MOST_ABSENT = 1000
_NO_ANSWER = (UpstreamError, AllUpstreamsFailed, Refusal, DeadlineExceeded)


class Cache:
    """Keeps answers for as long as they are fresh: in memory, and behind it in Shared."""

    def __init__(self, config: CacheConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._monotonic = context.clock.monotonic
        self._events = context.events
        self._stamps = context.stamps
        self._looking: set[str] = set()
        self._sharing: set[asyncio.Task[None]] = set()
        self._absent: dict[str, float] = {}
        self.memory = Memory(max_entries=config.max_entries, max_bytes=config.max_bytes)
        self._shared = (
            SharedLevel(
                context,
                grace=config.grace,
                patience=config.shared_timeout,
                max_bytes=config.max_value_bytes,
            )
            if config.shared and not context.alone
            else None
        )

    @property
    def shares(self) -> bool:
        """Whether answers are kept in the shared store too."""
        return self._shared is not None

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
        if self._events.calls:
            self._tell("hit", call)
        return entry.serve()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The kept answer to *call* if it is fresh, else one that is loaded and kept."""
        if call.extensions.get(REFRESH):
            return await self._load(call, call_next)
        entry = await self._in_memory(call)
        if entry is not None and self._may_serve(entry, call):
            self._tell("hit", call)
            return entry.serve()
        found = None if self._looked_just_now(call) else await self._in_shared(call)
        if found is not None:
            if self._is_fresh(found, call):
                self._tell_shared_hit(call, found)
                return found.outcome
            entry = self._entry_of(found)
        self._tell("miss", call)
        if entry is None or not self._in_grace(entry):
            return await self._load(call, call_next)
        return await self._load_or_serve(entry, call, call_next)

    def lookup(self, call: Call) -> Coroutine[object, object, Outcome | None] | None:
        """A look into the shared store for a fresh answer to *call*.

        What memory knows of is left to the middleware, and so is a key that somebody else is
        looking up right now.
        """
        key = call.key
        if key in self._looking or self.memory.get(key) is not None or call.extensions.get(REFRESH):
            return None
        return self._look_up(key, call)

    async def _look_up(self, key: str, call: Call) -> Outcome | None:
        shared = self._shared
        assert shared is not None
        place = key_of(call)
        self._looking.add(key)
        try:
            there = shared.read(place, await shared.ask(place))
            if isinstance(there, Record) and there.freshness is Freshness.UNKNOWN:
                there = await shared.judge(there)
        except SharedUnavailable as error:
            there = Unusable("unreachable", str(error))
        finally:
            self._looking.discard(key)
        found = self._take_up(there, call)
        if found is None:
            self._absent[key] = self._monotonic()
            return None
        if not self._is_fresh(found, call):
            return None
        self._tell_shared_hit(call, found)
        return found.outcome

    async def aclose(self) -> None:
        """Wait for what is on its way to the shared store: streams that have just ended."""
        if self._sharing:
            await asyncio.wait(self._sharing)

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

    async def _in_memory(self, call: Call) -> Entry | None:
        """The entry in memory, unless it was invalidated."""
        entry = self.memory.get(call.key)
        if entry is None:
            return None
        if await self._stamps.check(entry.stamped) is Freshness.MISS:
            self.memory.drop(call.key)
            return None
        return entry

    async def _in_shared(self, call: Call) -> Record | None:
        """The answer in the shared store, which is then in memory too."""
        return None if self._shared is None else self._take_up(await self._shared.get(call), call)

    def _take_up(self, found: Record | Unusable, call: Call) -> Record | None:
        if isinstance(found, Unusable):
            if found.action != "absent":
                self._tell(found.action, call, found.detail)
            return None
        if self._config.memory:
            self._store(call.key, self._entry_of(found))
        return found

    def _looked_just_now(self, call: Call) -> bool:
        """Whether this call's own lookup has found nothing, a moment ago."""
        if len(self._absent) > _MOST_ABSENT:
            self._absent.clear()
        looked = self._absent.pop(call.key, None)
        return looked is not None and self._monotonic() - looked < _MOMENT

    def _is_fresh(self, found: Record, call: Call) -> bool:
        """Whether *call* may have what was *found*: whose value is nobody else's yet."""
        expires_at = found.outcome.expires_at
        assert expires_at is not None
        return (
            found.freshness is Freshness.FRESH
            and self._clock.time() < expires_at
            and (not call.extensions or self._takes(found.outcome, call))
        )

    async def _load_or_serve(self, entry: Entry, call: Call, call_next: Next) -> Outcome:
        """A newer answer than *entry*, or *entry* when there is none, or none soon."""
        try:
            return await self._soon(call, call_next)
        except Expired:
            why = f"a newer one takes longer than {self._config.soft_timeout:g} s"
        except NotFound:
            raise
        except _NO_ANSWER as error:
            why = str(error)
        self._tell("stale", call, why)
        return entry.serve().shaped_by(NAME, f"stale, because {why}")

    async def _soon(self, call: Call, call_next: Next) -> Outcome:
        """A newer answer, loaded by the application, which goes on when nobody waits any more."""
        soft = self._config.soft_timeout
        task = self._context.refresh(call) if soft > 0 else None
        if task is None:
            return await self._load(call, call_next)
        return await within(_wait_for(task), self._monotonic() + soft, self._clock)

    def _may_serve(self, entry: Entry, call: Call) -> bool:
        return (
            self._stamps.peek(entry.stamped) is Freshness.FRESH
            and self._monotonic() < entry.times.fresh_until
            and self._welcome(entry, call)
        )

    def _in_time(self, entry: Entry, call: Call, now: float) -> bool:
        """Whether *entry* is fresh; the odd reader shortly before its expiry refreshes it."""
        if now >= entry.times.fresh_until:
            return False
        if entry.times.wants_refresh(now):
            self._tell("early", call)
            self._context.refresh(call)
        return True

    def _welcome(self, entry: Entry, call: Call) -> bool:
        """Whether the caller takes an answer of this age."""
        return not call.extensions.get(REFRESH) and self._takes(entry.outcome, call)

    def _takes(self, outcome: Outcome, call: Call) -> bool:
        max_age = call.extensions.get(MAX_AGE)
        if not isinstance(max_age, (int, float)):
            return True
        return outcome.age(self._clock.time()) <= max_age

    def _in_grace(self, entry: Entry) -> bool:
        return entry.error is None and self._monotonic() < entry.times.stale_until

    async def _load(self, call: Call, call_next: Next) -> Outcome:
        stamped = await self._stamps.load(call.tags)
        started = self._monotonic()
        try:
            outcome = await call_next(call)
        except NotFound as error:
            self._keep_negative(call, error, stamped)
            raise
        load_time = self._monotonic() - started
        late = outcome.tags - call.tags
        if late:
            stamped = await self._stamps.extend(stamped, late)
        outcome = self._dated(outcome)
        if isinstance(outcome.value, Stream):
            self._keep_when_complete(call, outcome, outcome.value, stamped, load_time)
            return outcome
        if await self._stamps.check(stamped) is not Freshness.FRESH:
            self._tell("skipped", call, "what it depends on changed while it was loaded")
            return outcome
        kept = self._keep(call, outcome, stamped, load_time)
        if kept is None:
            return outcome
        if self._shared is not None:
            await self._share(self._shared, call, outcome, stamped, load_time)
        return kept

    async def _share(
        self,
        shared: SharedLevel,
        call: Call,
        outcome: Outcome,
        stamped: Stamped,
        load_time: float,
    ) -> None:
        unkept = await shared.put(call, hit_of(outcome), stamped, load_time)
        if unkept is not None:
            self._tell(unkept.action, call, unkept.detail)
            if unkept.action == "local":
                self._context.trouble(f"cache of {call.operation.name}", unkept.detail)

    def _dated(self, outcome: Outcome) -> Outcome:
        """*outcome* with an expiry: the one it has, or the configured one."""
        if outcome.expires_at is not None:
            return outcome
        ttl = self._config.ttl * random.uniform(1.0 - self._config.jitter, 1.0)
        return outcome.evolve(expires_at=self._clock.time() + ttl)

    def _keep(
        self, call: Call, outcome: Outcome, stamped: Stamped, load_time: float
    ) -> Outcome | None:
        """Keep *outcome* in memory; what its first caller gets, or ``None`` if it is not kept."""
        assert outcome.expires_at is not None
        ttl = outcome.expires_at - self._clock.time()
        if ttl <= 0:
            self._tell("skipped", call, "it was out of date before it could be kept")
            return None
        try:
            protected = protected_of(outcome.value)
        except NotShareable as error:
            self._tell("skipped", call, str(error))
            self._context.trouble(f"cache of {call.operation.name}", str(error))
            return None
        if protected.size > self._config.max_value_bytes:
            what = f"{call.operation.name} of {protected.size} bytes is not kept"
            self._tell("skipped", call, f"{what}: max_value_bytes is less")
            return None
        self._store(call.key, self._entry(hit_of(outcome), protected, stamped, ttl, load_time))
        self._tell("store", call)
        first = protected.lend()
        return outcome if first is outcome.value else outcome.evolve(value=first)

    def _keep_when_complete(
        self,
        call: Call,
        outcome: Outcome,
        stream: Stream[object],
        stamped: Stamped,
        load_time: float,
    ) -> None:
        """Keep a streamed answer once all of it has come; one that was aborted is none."""

        def ended(_: Stream[object]) -> None:
            if not stream.complete:
                self._tell("skipped", call, "the stream ended before it was complete")
            elif self._stamps.peek(stamped) is not Freshness.FRESH:
                self._tell("skipped", call, "what it depends on changed while it was streamed")
            elif self._keep(call, outcome, stamped, load_time) and self._shared is not None:
                code = self._share(self._shared, call, outcome, stamped, load_time)
                with suppress(Closed):
                    task = self._context.tasks.spawn("cache:stream", code)
                    self._sharing.add(task)
                    task.add_done_callback(self._sharing.discard)

        stream.on_done(ended)

    def _entry_of(self, found: Record) -> Entry:
        assert found.outcome.expires_at is not None
        ttl = found.outcome.expires_at - self._clock.time()
        protected = protected_of(found.outcome.value)
        return self._entry(found.outcome, protected, found.stamped, ttl, found.load_time)

    def _entry(
        self, hit: Outcome, protected: Protected, stamped: Stamped, ttl: float, load_time: float
    ) -> Entry:
        as_is = protected.lend() is hit.value
        return Entry(
            outcome=hit if as_is else hit.evolve(value=None),
            protected=protected,
            shared_as_is=as_is,
            stamped=stamped,
            size=protected.size,
            times=self._times(ttl, load_time),
        )

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
        if self._config.memory:
            self.memory.store(key, entry, self._monotonic())

    def _tell_shared_hit(self, call: Call, found: Record) -> None:
        if self._events.calls:
            self._tell("shared hit", call)
        if found.new and AnswerSeen in self._events.wanted:
            self._events.emit(AnswerSeen(call, found.outcome, "shared"))

    def _tell(self, action: str, call: Call, detail: str = "") -> None:
        if self._events.calls:
            self._events.emit(LayerActed(NAME, action, call, detail))


async def _wait_for(task: asyncio.Task[Outcome]) -> Outcome:
    return await asyncio.shield(task)
