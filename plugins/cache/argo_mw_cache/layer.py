"""The layer: looks up answers, and serves an old one when nothing newer can be had."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Literal, overload

from argo_mw.plugin import (
    AllUpstreamsFailed,
    AnswerSeen,
    Call,
    Context,
    DeadlineExceeded,
    Found,
    Next,
    NotFound,
    Outcome,
    Refusal,
    SharedUnavailable,
    TimeLimitExceeded,
    UpstreamError,
    fail_at,
    is_time_limit,
)
from argo_mw.store import Freshness
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.dry_run import look_into_store
from argo_mw_cache.entry import CacheEntry
from argo_mw_cache.loader import NAME, Loader
from argo_mw_cache.memory_level import MemoryLevel
from argo_mw_cache.shadow import CacheShadow
from argo_mw_cache.shared_level import SharedLevel
from argo_mw_cache.stored_answer import StoredAnswer, StoreProblem, store_key
from argo_mw_cache.throttle import Throttle

_PATIENCE = 0.9
"""The largest share of its remaining time for which a call waits for a newer answer. The rest is
for serving the old one: timers fire up to 1.6 % late."""

_VALUES_SHARE = 0.35
"""The share of the application's memory for the values of answers."""
_ENTRIES_SHARE = 0.15
"""The share for the rest of each entry: its key, tags and times."""
ENTRY_BYTES = 2_000
"""The most bytes that this rest takes, with a key and tags of usual length."""

_NOT_INVALIDATED = (Freshness.FRESH, Freshness.STALE)
_NO_ANSWER = (UpstreamError, AllUpstreamsFailed, Refusal, DeadlineExceeded)


class Cache:
    """Keeps answers while they are fresh: in memory, and in the store that instances share.

    Args:
        config: The plugin's configuration.
        context: The application's context.
        opened: Called with this cache when it comes into use.

    Attributes:
        memory: The answers in memory.
        find_timeout: Seconds within which a look into the store ends.
    """

    def __init__(
        self,
        config: CacheConfig,
        context: Context,
        opened: Callable[[Cache], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._monotonic = context.clock.monotonic
        self._events = context.events
        self._versions = context.tag_versions
        self._opened = opened
        # The keys being looked up, each with the future that other callers wait for, if any do.
        self._looks: dict[str, asyncio.Future[bool] | None] = {}
        self._throttle = Throttle(config.throttle, context.clock)
        self._being_renewed: dict[str, CacheEntry] = {}
        # The timeout applies twice: to the answer, and to versions of its tags not mirrored here.
        self.find_timeout = 2 * config.store_timeout
        memory = context.memory
        self.memory = MemoryLevel(
            max_entries=memory.items_within(_ENTRIES_SHARE, ENTRY_BYTES, config.max_entries),
            max_bytes=memory.bytes_within(_VALUES_SHARE, config.max_bytes),
        )
        self._shared = (
            SharedLevel(
                context,
                grace_of=config.grace_of,
                timeout=config.store_timeout,
                max_bytes=config.max_value_bytes,
            )
            if config.shared and not context.single_process
            else None
        )
        self._loader = Loader(config, context, self.memory, self._shared)
        self._shadow: CacheShadow | None = None

    async def open(self) -> None:
        """Come into use."""
        self._opened(self)

    async def close(self) -> None:
        """Wait for answers that are on their way to the store."""
        await self._loader.close()

    def find(self, call: Call) -> Found:
        """Return the fresh answer to *call* in memory, or a look into the store, or ``None``.

        One caller at a time looks for a key. The others enter the chain and meet in one flight,
        so that a burst of calls never becomes a burst of looks.

        Raises:
            NotFound: Memory holds that there is no answer.
        """
        # Every memory hit passes here: one function more would be 4 % of its time.
        entry = self.memory.get(call.key)
        if entry is not None:
            now = self._monotonic()
            if (
                (now < entry.times.early_from or self._in_time(entry, call, now))
                and (call.max_age is None or self._accepts(entry.outcome, call))
                and not call.refresh
            ):
                freshness = self._versions.peek(entry.tag_snapshot)
                if freshness is Freshness.FRESH:
                    if self._events.calls and self._events.wants_of(call):
                        self._context.announce(NAME, "hit", call)
                    return entry.outcome if entry.shared_as_is else entry.serve()
                if freshness is Freshness.UNKNOWN and NAME not in call.missed:
                    return self._find_checked(call)
        if self._shared is None or call.refresh or NAME in call.missed or call.key in self._looks:
            return None
        return self._look(self._shared, call, only_fresh=True)

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the kept answer to *call* if it is fresh, else load one and keep it."""
        if call.refresh:
            return await self._load(call, call_next)
        kept = self.memory.get(call.key)
        entry = None if kept is None else await self._checked(kept, call)
        if isinstance(entry, Outcome):
            return entry
        if self._shared is not None and not self._has_looked(call):
            found = await self._from_store(self._shared, call)
            if isinstance(found, Outcome):
                return found
            entry = found or entry
        self._context.announce(NAME, "miss", call)
        if entry is None or not self._may_stand_in(entry, call):
            return await self._load(call, call_next)
        return await self._load_or_serve(entry, call, call_next)

    def stand_in(self, call: Call) -> Outcome | None:
        """Return the old answer to *call* that is at hand, for a caller whose time is up."""
        entry = self.memory.get(call.key) or self._being_renewed.get(call.key)
        if entry is None or not self._may_stand_in(entry, call):
            return None
        if self._versions.peek(entry.tag_snapshot) not in _NOT_INVALIDATED:
            return None
        return self._serve_old(entry, call, "a newer one takes longer than its caller waits")

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """Report what would have been served to *call*; see :class:`CacheShadow`."""
        if self._shadow is None:
            self._shadow = CacheShadow(self._config, self._context)
        await self._shadow.see(call, outcome)

    def explain(self, call: Call) -> str:
        """Say whether *call* would be a hit, and for how long."""
        entry = self.memory.get(call.key)
        if entry is None:
            found = f"not in memory ({len(self.memory)} answers are)"
            stored = self._shared is not None
            return f"{found}; would look into the store" if stored else f"would miss: {found}"
        freshness = self._versions.peek(entry.tag_snapshot)
        left = entry.times.fresh_until - self._monotonic()
        if freshness is not Freshness.FRESH:
            return f"would miss: by its tags' versions the answer in memory is {freshness.value}"
        if left <= 0:
            return f"would miss: the answer in memory expired {abs(left):.0f} s ago"
        if entry.error is not None:
            return f"would hit: memory holds for another {left:.0f} s that there is no answer"
        lacks = ", ".join(sorted(entry.outcome.lacks))
        degraded = f"; it lacks {lacks}, and is tried again then" if lacks else ""
        return f"would hit: the answer in memory is fresh for another {left:.0f} s{degraded}"

    async def dry_run(self, call: Call) -> str:
        """Say what memory would answer to *call*, or else the store."""
        at_hand = self.explain(call)
        if self._shared is None or at_hand.startswith("would hit"):
            return at_hand
        return await look_into_store(self._context, call)

    # -- memory ------------------------------------------------------------------------------

    async def _find_checked(self, call: Call) -> Outcome | None:
        """Look into memory and then into the store, since the versions of tags must be read."""
        limit = self._monotonic() + self.find_timeout
        try:
            found = await fail_at(self._from_memory(call), limit, self._clock)
            if not isinstance(found, Outcome) and self._shared is not None:
                found = await fail_at(self._from_store(self._shared, call), limit, self._clock)
        except TimeLimitExceeded:
            return None
        return found if isinstance(found, Outcome) else None

    async def _from_memory(self, call: Call) -> Outcome | CacheEntry | None:
        """Return the fresh answer in memory, else the entry there, unless it was invalidated.

        Raises:
            NotFound: Memory holds that there is no answer.
        """
        entry = self.memory.get(call.key)
        return None if entry is None else await self._checked(entry, call)

    async def _checked(self, entry: CacheEntry, call: Call) -> Outcome | CacheEntry | None:
        """Return the answer of *entry* if it is fresh, else *entry*, unless it was invalidated.

        Raises:
            NotFound: It holds that there is no answer.
        """
        freshness = await self._versions.check(entry.tag_snapshot)
        if freshness is Freshness.MISS:
            if self.memory.get(call.key) is entry:
                self.memory.drop(call.key)
            return None
        if (
            freshness is Freshness.FRESH
            and self._in_time(entry, call, self._monotonic())
            and self._accepts(entry.outcome, call)
        ):
            self._context.announce(NAME, "hit", call)
            return entry.serve()
        return entry

    def _in_time(self, entry: CacheEntry, call: Call, now: float) -> bool:
        """Return whether *entry* has not expired; shortly before that, refresh it at random."""
        if now >= entry.times.fresh_until:
            return False
        if entry.times.wants_refresh(now) and self._throttle.why(call.key) is None:
            self._context.announce(NAME, "early", call)
            self._context.refresh(call)
        return True

    def _accepts(self, outcome: Outcome, call: Call) -> bool:
        """Return whether *outcome* is not too old for *call*."""
        return call.max_age is None or not self._context.is_older(outcome, call.max_age)

    # -- the store -----------------------------------------------------------------------------

    async def _find_joined(self, shared: SharedLevel, call: Call) -> Outcome | None:
        """Return what another caller's look finds, or one that follows it."""
        limit = self._monotonic() + self.find_timeout
        try:
            found = await fail_at(self._from_store(shared, call), limit, self._clock)
        except TimeLimitExceeded:
            return None
        return found if isinstance(found, Outcome) else None

    async def _from_store(self, shared: SharedLevel, call: Call) -> Outcome | CacheEntry | None:
        """Return what :meth:`_look` finds, or what memory has once another caller's look ends."""
        if call.key in self._looks and await self._join_look(call.key):
            return await self._from_memory(call)
        return await self._look(shared, call)

    @overload
    async def _look(
        self, shared: SharedLevel, call: Call, *, only_fresh: Literal[True]
    ) -> Outcome | None: ...
    @overload
    async def _look(self, shared: SharedLevel, call: Call) -> Outcome | CacheEntry | None: ...
    async def _look(
        self, shared: SharedLevel, call: Call, *, only_fresh: bool = False
    ) -> Outcome | CacheEntry | None:
        """Return the fresh answer in the store, or ``None``, or else an entry that is not fresh."""
        # One coroutine for a look and for the `find` that asks for it: each more is 3 % of a hit.
        key = call.key
        alone = key not in self._looks  # always true if answers are kept in memory
        if alone:
            self._looks[key] = None
        elif only_fresh:  # other callers may have begun a look since find returned
            return await self._find_joined(shared, call)
        ended = False
        try:
            self._versions.prefetch(call.tags)
            place = store_key(call)
            try:
                data = await shared.ask(call, place)
            except SharedUnavailable as error:
                found = self._take(StoreProblem("unreachable", str(error)), call)
            else:
                read = shared.read(data, place)
                if read is not None and not isinstance(read, (StoredAnswer, StoreProblem)):
                    read = await read
                found = self._take(read, call)
            ended = True
        finally:
            if alone and (waiter := self._looks.pop(key)) is not None:
                waiter.set_result(ended)
        return None if only_fresh and not isinstance(found, Outcome) else found

    async def _join_look(self, key: str) -> bool:
        """Wait for another caller's look; return whether memory now holds what it has found."""
        while self._config.memory and key in self._looks:
            waiter = self._looks[key]
            if waiter is None:
                waiter = self._looks[key] = asyncio.get_running_loop().create_future()
            if await asyncio.shield(waiter):
                return True
        return False

    def _take(
        self, stored: StoredAnswer | StoreProblem | None, call: Call
    ) -> Outcome | CacheEntry | None:
        """Keep *stored* in memory; return its outcome if it is fresh, else its entry."""
        if not isinstance(stored, StoredAnswer):
            if stored is not None:
                self._context.announce(NAME, stored.action, call, stored.detail)
            return None
        outcome = stored.outcome
        assert outcome.expires_at is not None
        fresh = (
            stored.freshness is Freshness.FRESH
            and self._clock.time() < outcome.expires_at
            and (call.max_age is None or self._accepts(outcome, call))
        )
        if self._config.memory or not fresh:
            entry = self._loader.keep_stored(call, stored)
            if not fresh:
                return entry
        self._context.announce(NAME, "shared hit", call)
        if stored.new and AnswerSeen in self._events.wanted:
            self._events.emit(AnswerSeen(call, outcome, "shared"))
        return outcome

    def _has_looked(self, call: Call) -> bool:
        """Return whether ``find`` has just asked the store for *call*.

        If so, memory holds what was found. Without the memory level the middleware looks again,
        for an old answer to fall back on.
        """
        return self._config.memory and NAME in call.missed

    # -- old answers ---------------------------------------------------------------------------

    def _may_stand_in(self, entry: CacheEntry, call: Call) -> bool:
        """Return whether *entry* may be served to *call* when nothing newer can be had."""
        in_grace = entry.error is None and self._monotonic() < entry.times.stale_until
        return in_grace and self._accepts(entry.outcome, call)

    async def _load_or_serve(self, entry: CacheEntry, call: Call, call_next: Next) -> Outcome:
        """Return a newer answer than *entry*, or *entry* when there is none, or none soon."""
        why = self._throttle.why(call.key)
        if why is not None:
            return self._serve_old(entry, call, why)
        # stand_in serves this entry to callers whose time is up: memory may not hold it by then.
        self._being_renewed[call.key] = entry
        seconds = self._patience(call)
        refresh = self._context.refresh(call) if seconds < math.inf else None
        if refresh is not None:
            self._context.announce(NAME, "joined", call, "a refresh")
        newer = refresh.wait() if refresh is not None else self._load(call, call_next)
        try:
            # A refresh that takes too long goes on in the background.
            return await fail_at(newer, self._monotonic() + seconds, self._clock)
        except TimeLimitExceeded:
            why = f"a newer one takes longer than {seconds:.3g} s"
        except NotFound:
            raise
        except _NO_ANSWER as error:
            why = str(error)
        finally:
            self._being_renewed.pop(call.key, None)
        return self._serve_old(entry, call, why)

    async def _load(self, call: Call, call_next: Next) -> Outcome:
        """Load an answer, and note how that ended."""
        try:
            outcome = await self._loader.load(call, call_next)
        except NotFound:
            raise
        except asyncio.CancelledError as error:
            if is_time_limit(error):
                self._throttle.failed(call.key, "its source takes too long")
            raise
        except Exception as error:
            self._throttle.failed(call.key, str(error))
            raise
        self._throttle.succeeded(call.key)
        return outcome

    def _patience(self, call: Call) -> float:
        """Return the seconds to wait for a newer answer: less than *call* itself has."""
        soft = self._config.soft_timeout or math.inf
        if call.deadline is None:
            return soft
        return min(soft, _PATIENCE * (call.deadline - self._monotonic()))

    def _serve_old(self, entry: CacheEntry, call: Call, why: str) -> Outcome:
        self._context.announce(NAME, "stale", call, why)
        return entry.serve().shaped_by(NAME, f"stale, because {why}")
