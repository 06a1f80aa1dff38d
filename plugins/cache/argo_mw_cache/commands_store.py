"""What the commands look at and change: the answers in the store that instances share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import field, frozen

from argo_mw.app.application import engine_of
from argo_mw.plugin import Argo, Call, ConfigError, Outcome, SharedUnavailable, context_of
from argo_mw.store import EVERYTHING, Freshness
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.record import PREFIX, Records, Unusable
from argo_mw_cache.shared_level import key_of

ABSENT = "absent"
EXPIRED = "expired"
INVALIDATED = "invalidated"
_PER_READ = 50
_PER_DELETE = 500


@frozen
class Kept:
    """What the store holds for one question.

    Attributes:
        state: ``fresh``; ``stale`` or ``expired``, which is served only when nothing newer can
            be had; ``invalidated`` or ``undecodable``, which is never served; or ``absent``.
        size: Bytes in the store.
        outcome: The answer, if it can be read.
        detail: Why it cannot be read.
    """

    state: str
    size: int = 0
    outcome: Outcome | None = None
    detail: str = ""

    @property
    def is_useful(self) -> bool:
        """Whether it may be served."""
        return self.outcome is not None and self.state != INVALIDATED


@frozen
class Stats:
    """What the store holds in all.

    Attributes:
        entries: How many answers, by operation.
        looked_at: How many of them were read for what follows.
        bytes: The size of those in the store.
        states: How many of those are in which state.
    """

    entries: Mapping[str, int]
    looked_at: int
    bytes: int
    states: Mapping[str, int] = field(factory=dict)


class CacheStore:
    """The cache's part of the shared store, for administration.

    Raises:
        ConfigError: Answers are kept nowhere but in the memory of each process.
    """

    def __init__(self, argo: Argo) -> None:
        part = engine_of(argo).pipeline.contributions.get("cache")
        config = part.config if part is not None else None
        shared = isinstance(config, CacheConfig) and config.shared
        if not shared or context_of(argo).single_process:
            where = 'shared = "memory://" in [argo]' if shared else "shared = false"
            msg = (
                f"answers are kept in the memory of each process only ({where}): "
                f"name a store in [argo], and leave shared on in [plugins.cache]"
            )
            raise ConfigError(msg)
        self._context = context_of(argo)
        self._records = Records(context_of(argo))

    async def look(self, call: Call) -> Kept:
        """What is kept for *call*; nothing is asked of any upstream."""
        key = key_of(call)
        return await self._judge(key, await self._context.shared.get(key))

    async def stats(self, *, sample: int) -> Stats:
        """Counts of everything; sizes and states of *sample* answers at most."""
        keys = await self._context.shared.scan(PREFIX)
        found: list[Kept] = []
        for part in _parts(keys[:sample], _PER_READ):
            values = await self._context.shared.get_many(part)
            found += [await self._judge(k, v) for k, v in zip(part, values, strict=True)]
        found = [kept for kept in found if kept.state != ABSENT]
        return Stats(
            entries=Counter(map(_operation_of, keys)),
            looked_at=len(found),
            bytes=sum(kept.size for kept in found),
            states=Counter(kept.state for kept in found),
        )

    async def invalidate(self, tags: Iterable[str]) -> None:
        """Make misses of all answers with one of *tags*, in every instance.

        Raises:
            SharedUnavailable: The store could not be told.
        """
        if not await self._context.tag_versions.invalidate(tags):
            msg = "nothing was invalidated: the shared store cannot be reached; try again"
            raise SharedUnavailable(msg)

    async def clear(self) -> int:
        """Remove all answers, from the memory of every instance too; how many the store held.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        await self.invalidate([EVERYTHING])
        keys = await self._context.shared.scan(PREFIX)
        return sum([await self._context.shared.delete(part) for part in _parts(keys, _PER_DELETE)])

    async def _judge(self, key: str, data: bytes | None) -> Kept:
        if data is None:
            return Kept(ABSENT)
        record = self._records.read(data, key)
        if isinstance(record, Unusable):
            return Kept(record.action, len(data), detail=record.detail)
        freshness = await self._context.tag_versions.check(record.tag_snapshot)
        state = INVALIDATED if freshness is Freshness.MISS else freshness.value
        expires_at = record.outcome.expires_at
        assert expires_at is not None
        if freshness is Freshness.FRESH and expires_at <= self._context.clock.time():
            state = EXPIRED
        return Kept(state, len(data), record.outcome)


def _operation_of(key: str) -> str:
    return key.removeprefix(PREFIX).rpartition(":")[0]


def _parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
