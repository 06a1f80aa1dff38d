"""What the commands do with the store that instances share: look, count, invalidate, clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import field, frozen

from argo_mw.plugin import (
    Argo,
    Call,
    ConfigError,
    Outcome,
    SharedUnavailable,
    config_of,
    context_of,
)
from argo_mw.store import EVERYTHING, Freshness
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.stored_answer import PREFIX, AnswerCodec, StoreProblem, store_key

_ABSENT = "absent"
_EXPIRED = "expired"
_INVALIDATED = "invalidated"
_PER_READ = 50
_PER_DELETE = 500


@frozen
class KeptAnswer:
    """The state of the store's answer to one question.

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
        """Return whether it may be served."""
        return self.outcome is not None and self.state != _INVALIDATED


@frozen
class StoreStats:
    """Counts of what the store holds.

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
        shared = config_of(argo, CacheConfig).shared
        if not shared or context_of(argo).single_process:
            where = 'shared = "memory://" in [argo]' if shared else "shared = false"
            msg = (
                f"answers are kept in the memory of each process only ({where}): "
                f"name a store in [argo], and leave shared on in [plugins.cache]"
            )
            raise ConfigError(msg)
        self._context = context_of(argo)
        self._codec = AnswerCodec(self._context)

    async def look(self, call: Call) -> KeptAnswer:
        """Return what is kept for *call*, without asking any upstream."""
        key = store_key(call)
        return await self._judge(key, await self._context.shared.get(key))

    async def stats(self, *, sample: int) -> StoreStats:
        """Return counts of everything, and sizes and states of *sample* answers at most."""
        keys = await self._context.shared.scan(PREFIX)
        found: list[KeptAnswer] = []
        for part in _parts(keys[:sample], _PER_READ):
            values = await self._context.shared.get_many(part)
            found += [await self._judge(k, v) for k, v in zip(part, values, strict=True)]
        found = [kept for kept in found if kept.state != _ABSENT]
        return StoreStats(
            entries=Counter(map(_operation_of, keys)),
            looked_at=len(found),
            bytes=sum(kept.size for kept in found),
            states=Counter(kept.state for kept in found),
        )

    async def invalidate(self, tags: Iterable[str]) -> None:
        """Make misses of all answers with one of *tags*, in every instance.

        Raises:
            SharedUnavailable: The store did not take it, or not all of it.
        """
        tag_versions = self._context.tag_versions
        if await tag_versions.invalidate(tags):
            return
        if not tag_versions.pending:
            msg = "stored, but other instances may not have heard of it"
        else:
            msg = "nothing was invalidated"
        raise SharedUnavailable(f"{msg}: {tag_versions.health.trouble}")

    async def clear(self) -> int:
        """Remove all answers, from every instance's memory too; return how many the store held.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        await self.invalidate([EVERYTHING])
        keys = await self._context.shared.scan(PREFIX)
        return sum([await self._context.shared.delete(part) for part in _parts(keys, _PER_DELETE)])

    async def _judge(self, key: str, data: bytes | None) -> KeptAnswer:
        if data is None:
            return KeptAnswer(_ABSENT)
        answer = await self._codec.read(data, key)
        if isinstance(answer, StoreProblem):
            return KeptAnswer(answer.action, len(data), detail=answer.detail)
        freshness = await self._context.tag_versions.check(answer.tag_snapshot)
        state = _INVALIDATED if freshness is Freshness.MISS else freshness.value
        expires_at = answer.outcome.expires_at
        assert expires_at is not None
        if freshness is Freshness.FRESH and expires_at <= self._context.clock.time():
            state = _EXPIRED
        return KeptAnswer(state, len(data), answer.outcome)


def _operation_of(key: str) -> str:
    return key.removeprefix(PREFIX).strip("{}").rpartition(":")[0]


def _parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
