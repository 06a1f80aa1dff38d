"""Shadow: compares what the cache would have served with the answers that were served."""

from __future__ import annotations

import random

from argo_mw.plugin import ASKED_AT, Call, Context, NotShareable, Outcome, Stream
from argo_mw.store import Freshness
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.entry import OWN_TAGS, CacheEntry, Times, snapshot_of
from argo_mw_cache.memory_level import MemoryLevel

NAME = "cache"


class _ShadowEntry(CacheEntry, frozen=True, eq=False):
    """An answer that would have been kept.

    Attributes:
        kept_at: When, in monotonic seconds.
    """

    kept_at: float = 0.0


class CacheShadow:
    """Keeps what the cache would keep in memory, within its bounds, and serves none of it.

    As in a cache, a call that would have been a hit renews nothing: the kept answer ages, and is
    compared with each newer one until it expires. The shadow has no early refreshes, no answers of
    other instances, no grace, and does not remember `NotFound`.

    Args:
        config: How long and how much to keep.
        context: The application's context.
    """

    def __init__(self, config: CacheConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._versions = context.tag_versions
        self._memory = MemoryLevel(max_entries=config.max_entries, max_bytes=config.max_bytes)

    def __len__(self) -> int:
        return len(self._memory)

    async def see(self, call: Call, outcome: Outcome) -> None:
        """Report whether a kept answer would have been served to *call*, and how it compares."""
        kept = None if call.refresh else await self._found(call)
        if not call.refresh:
            self._context.report_shadow(NAME, call, outcome, kept=kept)
        if kept is None:
            await self._keep(call, outcome)

    async def _found(self, call: Call) -> Outcome | None:
        """Return the answer that was kept and fresh when *call* came."""
        entry = self._memory.get(call.key)
        asked_at = call.extensions.get(ASKED_AT)
        if not isinstance(entry, _ShadowEntry) or not isinstance(asked_at, float):
            return None
        if not entry.kept_at <= asked_at < entry.times.fresh_until:
            return None
        if call.max_age is not None and self._context.is_older(entry.outcome, call.max_age):
            return None
        if await self._versions.check(entry.tag_snapshot) is not Freshness.FRESH:
            self._memory.drop(call.key)
            return None
        return entry.serve()

    async def _keep(self, call: Call, outcome: Outcome) -> None:
        if isinstance(outcome.value, Stream) and not outcome.value.complete:
            return
        tag_snapshot = await self._versions.load(call.tags | OWN_TAGS)
        if outcome.versions or not outcome.tags <= call.tags:
            tag_snapshot = await self._versions.extend(tag_snapshot, outcome.tags, outcome.versions)
        now, ttl = self._clock.monotonic(), self._ttl(outcome)
        if ttl <= 0.0 or await self._versions.check(tag_snapshot) is not Freshness.FRESH:
            return
        try:
            value = snapshot_of(outcome.value)
        except NotShareable:
            return
        if value.size > self._config.max_value_bytes:
            return
        entry = _ShadowEntry(
            outcome=outcome.evolve(value=None),
            snapshot=value,
            shared_as_is=False,
            tag_snapshot=tag_snapshot,
            times=Times.of(now + ttl, load_time=0.0, early=0.0, grace=0.0),
            size=value.size,
            kept_at=now,
        )
        self._memory.store(call.key, entry, now)

    def _ttl(self, outcome: Outcome) -> float:
        """Return for how many seconds *outcome* would have been kept."""
        if outcome.expires_at is not None:
            return outcome.expires_at - self._clock.time()
        return self._config.ttl * random.uniform(1.0 - self._config.jitter, 1.0)
