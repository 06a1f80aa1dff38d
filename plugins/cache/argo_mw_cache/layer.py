"""The layer: looks up, loads, keeps, and serves what is old when nothing newer can be had."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from argo_mw.plugin import (
    AllUpstreamsFailed,
    AnswerSeen,
    Call,
    Closed,
    Context,
    DeadlineExceeded,
    Found,
    Next,
    NotFound,
    NotShareable,
    Outcome,
    Refusal,
    Stream,
    TimeLimitExceeded,
    UpstreamError,
    fail_at,
)
from argo_mw.store import Freshness, Snapshot, TagSnapshot, snapshot
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.entry import Entry, Times, hit_of, protected_of
from argo_mw_cache.memory import Memory
from argo_mw_cache.record import Record, Unusable
from argo_mw_cache.shared_level import SharedLevel

NAME = "cache"
_NO_ANSWER = (UpstreamError, AllUpstreamsFailed, Refusal, DeadlineExceeded)


class Cache:
    """Keeps answers for as long as they are fresh: in memory, and behind it in Shared."""

    def __init__(self, config: CacheConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._monotonic = context.clock.monotonic
        self._events = context.events
        self._versions = context.tag_versions
        self._looking: set[str] = set()
        self._sharing: set[asyncio.Task[None]] = set()
        self.memory = Memory(max_entries=config.max_entries, max_bytes=config.max_bytes)
        self._shared = (
            SharedLevel(
                context,
                grace=config.grace,
                patience=config.shared_timeout,
                max_bytes=config.max_value_bytes,
            )
            if config.shared and not context.single_process
            else None
        )

    @property
    def shares(self) -> bool:
        """Whether answers are kept in the shared store too."""
        return self._shared is not None

    def find(self, call: Call) -> Found:
        """Return the fresh answer to *call* in memory, or a look into the shared store.

        Only one caller at a time looks for a key; the others go on to the middleware, where they
        may join its flight.
        """
        hit = self._from_memory(call)
        if hit is not None:
            return hit
        if self._shared is None or call.refresh or call.key in self._looking:
            return None
        return self._find_shared(self._shared, call)

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the kept answer to *call* if it is fresh, else one that is loaded and kept."""
        if call.refresh:
            return await self._load(call, call_next)
        entry = await self._valid_entry(call)
        hit = self._from_memory(call)
        if hit is not None:
            return hit
        if self._shared is not None and not self._has_looked(call):
            record = await self._look(self._shared, call)
            if record is not None:
                if self._is_fresh(record, call):
                    return self._shared_hit(record, call)
                entry = self._entry_of(record)
        self._context.announce(NAME, "miss", call)
        if entry is None or not self._in_grace(entry):
            return await self._load(call, call_next)
        return await self._load_or_serve(entry, call, call_next)

    def _from_memory(self, call: Call) -> Outcome | None:
        """Return the answer in memory, if it is fresh as far as is known without waiting.

        Raises:
            NotFound: The answer is that there is none.
        """
        entry = self.memory.get(call.key)
        if entry is None:
            return None
        now = self._monotonic()
        if now >= entry.times.early_from and not self._in_time(entry, call, now):
            return None
        if self._versions.peek(entry.tag_snapshot) is not Freshness.FRESH:
            return None
        if call.refresh or not (call.max_age is None or self._accepts(entry.outcome, call)):
            return None
        if self._events.calls:  # the path of a memory hit
            self._context.announce(NAME, "hit", call)
        return entry.serve()

    async def _find_shared(self, shared: SharedLevel, call: Call) -> Outcome | None:
        self._looking.add(call.key)
        try:
            record = await self._look(shared, call)
        finally:
            self._looking.discard(call.key)
        if record is None or not self._is_fresh(record, call):
            return None
        return self._shared_hit(record, call)

    async def _look(self, shared: SharedLevel, call: Call) -> Record | None:
        """Return the answer in the shared store, which is then in memory too."""
        found = await shared.get(call)
        if isinstance(found, Unusable):
            if found.action != "absent":
                self._context.announce(NAME, found.action, call, found.detail)
            return None
        if self._config.memory:
            self._store(call.key, self._entry_of(found))
        return found

    def _has_looked(self, call: Call) -> bool:
        """Whether the store was just asked for *call*; what it holds would be in memory."""
        return self._config.memory and NAME in call.missed

    async def close(self) -> None:
        """Wait for what is on its way to the shared store: streams that have just ended."""
        if self._sharing:
            await asyncio.wait(self._sharing)

    def explain(self, call: Call) -> str:
        """Whether *call* would be a hit, and for how long."""
        entry = self.memory.get(call.key)
        if entry is None:
            return f"would miss: not in memory ({len(self.memory)} answers are)"
        freshness = self._versions.peek(entry.tag_snapshot)
        left = entry.times.fresh_until - self._monotonic()
        if freshness is not Freshness.FRESH:
            return f"would miss: the answer in memory is {freshness.value} by its tags' stamps"
        if left <= 0:
            return f"would miss: the answer in memory expired {-left:.0f} s ago"
        return f"would hit: the answer in memory is fresh for another {left:.0f} s"

    async def _valid_entry(self, call: Call) -> Entry | None:
        """Return the entry in memory, unless it was invalidated."""
        entry = self.memory.get(call.key)
        if entry is None:
            return None
        if await self._versions.check(entry.tag_snapshot) is Freshness.MISS:
            self.memory.drop(call.key)
            return None
        return entry

    def _is_fresh(self, found: Record, call: Call) -> bool:
        """Whether *call* may have what was *found*: whose value is nobody else's yet."""
        expires_at = found.outcome.expires_at
        assert expires_at is not None
        return (
            found.freshness is Freshness.FRESH
            and self._clock.time() < expires_at
            and self._accepts(found.outcome, call)
        )

    async def _load_or_serve(self, entry: Entry, call: Call, call_next: Next) -> Outcome:
        """A newer answer than *entry*, or *entry* when there is none, or none soon."""
        try:
            return await self._soon(call, call_next)
        except TimeLimitExceeded:
            why = f"a newer one takes longer than {self._config.soft_timeout:g} s"
        except NotFound:
            raise
        except _NO_ANSWER as error:
            why = str(error)
        self._context.announce(NAME, "stale", call, why)
        return entry.serve().shaped_by(NAME, f"stale, because {why}")

    async def _soon(self, call: Call, call_next: Next) -> Outcome:
        """A newer answer, loaded by the application, which goes on when nobody waits any more."""
        soft = self._config.soft_timeout
        task = self._context.refresh(call) if soft > 0 else None
        if task is None:
            return await self._load(call, call_next)
        return await fail_at(_wait_for(task), self._monotonic() + soft, self._clock)

    def _in_time(self, entry: Entry, call: Call, now: float) -> bool:
        """Whether *entry* is fresh; the odd reader shortly before its expiry refreshes it."""
        if now >= entry.times.fresh_until:
            return False
        if entry.times.wants_refresh(now):
            self._context.announce(NAME, "early", call)
            self._context.refresh(call)
        return True

    def _accepts(self, outcome: Outcome, call: Call) -> bool:
        """Whether *call* takes an answer of this age."""
        return call.max_age is None or outcome.age(self._clock.time()) <= call.max_age

    def _in_grace(self, entry: Entry) -> bool:
        return entry.error is None and self._monotonic() < entry.times.stale_until

    async def _load(self, call: Call, call_next: Next) -> Outcome:
        tag_snapshot = await self._versions.load(call.tags)
        started = self._monotonic()
        try:
            outcome = await call_next(call)
        except NotFound as error:
            self._keep_negative(call, error, tag_snapshot)
            raise
        load_time = self._monotonic() - started
        late = outcome.tags - call.tags
        if late:
            tag_snapshot = await self._versions.extend(tag_snapshot, late)
        outcome = self._dated(outcome)
        if isinstance(outcome.value, Stream):
            self._keep_when_complete(call, outcome, outcome.value, tag_snapshot, load_time)
            return outcome
        if await self._versions.check(tag_snapshot) is not Freshness.FRESH:
            self._context.announce(
                NAME, "skipped", call, "what it depends on changed while it was loaded"
            )
            return outcome
        kept = self._keep(call, outcome, tag_snapshot, load_time)
        if kept is None:
            return outcome
        if self._shared is not None:
            await self._share(self._shared, call, outcome, tag_snapshot, load_time)
        return kept

    async def _share(
        self,
        shared: SharedLevel,
        call: Call,
        outcome: Outcome,
        tag_snapshot: TagSnapshot,
        load_time: float,
    ) -> None:
        unkept = await shared.put(call, hit_of(outcome), tag_snapshot, load_time)
        if unkept is not None:
            self._context.announce(NAME, unkept.action, call, unkept.detail)
            if unkept.action == "local":
                self._context.warn_once(f"cache of {call.operation.name}", unkept.detail)

    def _dated(self, outcome: Outcome) -> Outcome:
        """*outcome* with an expiry: the one it has, or the configured one."""
        if outcome.expires_at is not None:
            return outcome
        ttl = self._config.ttl * random.uniform(1.0 - self._config.jitter, 1.0)
        return outcome.evolve(expires_at=self._clock.time() + ttl)

    def _keep(
        self, call: Call, outcome: Outcome, tag_snapshot: TagSnapshot, load_time: float
    ) -> Outcome | None:
        """Keep *outcome* in memory; what its first caller gets, or ``None`` if it is not kept."""
        assert outcome.expires_at is not None
        ttl = outcome.expires_at - self._clock.time()
        if ttl <= 0:
            self._context.announce(
                NAME, "skipped", call, "it was out of date before it could be kept"
            )
            return None
        try:
            protected = protected_of(outcome.value)
        except NotShareable as error:
            self._context.announce(NAME, "skipped", call, str(error))
            self._context.warn_once(f"cache of {call.operation.name}", str(error))
            return None
        if protected.size > self._config.max_value_bytes:
            what = f"{call.operation.name} of {protected.size} bytes is not kept"
            self._context.announce(NAME, "skipped", call, f"{what}: max_value_bytes is less")
            return None
        self._store(call.key, self._entry(hit_of(outcome), protected, tag_snapshot, ttl, load_time))
        self._context.announce(NAME, "store", call)
        first = protected.copy()
        return outcome if first is outcome.value else outcome.evolve(value=first)

    def _keep_when_complete(
        self,
        call: Call,
        outcome: Outcome,
        stream: Stream[object],
        tag_snapshot: TagSnapshot,
        load_time: float,
    ) -> None:
        """Keep a streamed answer once all of it has come; one that was aborted is none."""

        def ended(_: Stream[object]) -> None:
            if not stream.complete:
                self._context.announce(
                    NAME, "skipped", call, "the stream ended before it was complete"
                )
            elif self._versions.peek(tag_snapshot) is not Freshness.FRESH:
                self._context.announce(
                    NAME, "skipped", call, "what it depends on changed while it was streamed"
                )
            elif self._keep(call, outcome, tag_snapshot, load_time) and self._shared is not None:
                code = self._share(self._shared, call, outcome, tag_snapshot, load_time)
                with suppress(Closed):
                    task = self._context.tasks.spawn("cache:stream", code)
                    self._sharing.add(task)
                    task.add_done_callback(self._sharing.discard)

        stream.on_done(ended)

    def _entry_of(self, found: Record) -> Entry:
        assert found.outcome.expires_at is not None
        ttl = found.outcome.expires_at - self._clock.time()
        protected = protected_of(found.outcome.value)
        return self._entry(found.outcome, protected, found.tag_snapshot, ttl, found.load_time)

    def _entry(
        self,
        hit: Outcome,
        protected: Snapshot,
        tag_snapshot: TagSnapshot,
        ttl: float,
        load_time: float,
    ) -> Entry:
        as_is = protected.copy() is hit.value
        return Entry(
            outcome=hit if as_is else hit.evolve(value=None),
            protected=protected,
            shared_as_is=as_is,
            tag_snapshot=tag_snapshot,
            size=protected.size,
            times=self._times(ttl, load_time),
        )

    def _keep_negative(self, call: Call, error: NotFound, tag_snapshot: TagSnapshot) -> None:
        ttl = self._config.negative_ttl
        if ttl <= 0:
            return
        nothing = snapshot(None)
        entry = Entry(
            outcome=Outcome(None),
            protected=nothing,
            shared_as_is=True,
            tag_snapshot=tag_snapshot,
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

    def _shared_hit(self, record: Record, call: Call) -> Outcome:
        self._context.announce(NAME, "shared hit", call)
        if record.new and AnswerSeen in self._events.wanted:
            self._events.emit(AnswerSeen(call, record.outcome, "shared"))
        return record.outcome


async def _wait_for(task: asyncio.Task[Outcome]) -> Outcome:
    return await asyncio.shield(task)
