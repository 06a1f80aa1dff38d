"""Answers that could not be stored while the store was away; they are stored when it is back.

The newest answer to a question waits here. In the store it replaces only an answer with an earlier
``as_of``. It is stored only while its tags still have the versions that its load began with, and
never after its expiry. If a version changes while it is being stored, readers notice, since they
compare the versions too. So nothing that was invalidated comes back this way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from attrs import evolve, frozen

from argo_mw.plugin import Closed, Context, Outcome, SharedUnavailable
from argo_mw.store import Freshness
from argo_mw_cache.stored_answer import AnswerCodec, StoredAnswer

_MAX_ANSWERS = 1_000
_MAX_BYTES = 16 << 20
_SHARE = 0.05
"""The share of the application's memory for waiting answers."""
_MAX_REFUSALS = 3


@frozen
class _DeferredAnswer:
    """An answer that waits.

    Attributes:
        data: Its bytes.
        versions: The versions of its tags.
        as_of: When it was true, in seconds since the epoch.
        expires_at: When it expires, in seconds since the epoch.
        grace: Seconds after that for which it is kept in the store.
        refusals: How often the store has refused it.
    """

    data: bytes
    versions: tuple[object, ...]
    as_of: float
    expires_at: float
    grace: float
    refusals: int = 0


class Deferred:
    """The answers that wait for the store.

    Args:
        context: Where the store and the tags' versions are.
        max_answers: How many answers wait at most; the oldest are given up.
        max_bytes: Their size at most.
    """

    def __init__(
        self,
        context: Context,
        *,
        max_answers: int = _MAX_ANSWERS,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._context = context
        max_bytes = context.memory.bytes_within(_SHARE, max_bytes)
        self._codec = AnswerCodec(context)
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._waiting: dict[str, _DeferredAnswer] = {}
        self._bytes = 0
        self._storing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(
        self, key: str, data: bytes, versions: Iterable[object], outcome: Outcome, grace: float
    ) -> None:
        """Let *data* wait, in place of any earlier answer under *key*."""
        assert outcome.expires_at is not None
        self._drop(key)
        self._waiting[key] = _DeferredAnswer(
            data, tuple(versions), outcome.as_of or 0.0, outcome.expires_at, grace
        )
        self._bytes += len(data)
        while len(self._waiting) > self._max_answers or self._bytes > self._max_bytes:
            self._drop(next(iter(self._waiting)))

    def resume(self) -> None:
        """Store the waiting answers in the background, now that the store has answered."""
        if not self._waiting or (self._storing is not None and not self._storing.done()):
            return
        tag_versions = self._context.tag_versions
        # Until the store knows of every invalidation, its versions prove nothing.
        if tag_versions.usable and not tag_versions.pending:
            with contextlib.suppress(Closed):
                self._storing = self._context.tasks.spawn("cache:deferred", self._store_all())

    async def _store_all(self) -> None:
        while self._waiting:
            key, waiting = next(iter(self._waiting.items()))
            try:
                await self._store(key, waiting)
            except SharedUnavailable:
                self._postpone(key, waiting)
                return  # the rest keeps waiting
            if self._waiting.get(key) is waiting:
                self._drop(key)

    def _postpone(self, key: str, refused: _DeferredAnswer) -> None:
        """Move *refused* to the end of the queue; drop it once it was refused too often.

        The store may refuse this one answer only, and must not keep the others waiting for it.
        """
        if self._waiting.get(key) is not refused:
            return
        del self._waiting[key]
        if refused.refusals + 1 < _MAX_REFUSALS:
            self._waiting[key] = evolve(refused, refusals=refused.refusals + 1)
        else:
            self._bytes -= len(refused.data)

    async def _store(self, key: str, waiting: _DeferredAnswer) -> None:
        ttl = waiting.expires_at - self._context.clock.time()
        tag_versions = self._context.tag_versions
        if (
            ttl <= 0
            or await tag_versions.check(tag_versions.adopt(waiting.versions)) is not Freshness.FRESH
        ):
            return
        shared = self._context.shared
        present = await shared.get(key)
        if present is None or await self._is_older(present, key, waiting):
            # If this fails, another process has just stored an answer, which is newer.
            await shared.compare_and_set(key, present, waiting.data, ttl=ttl + waiting.grace)

    async def _is_older(self, present: bytes, key: str, waiting: _DeferredAnswer) -> bool:
        answer = await self._codec.read(present, key)
        return not isinstance(answer, StoredAnswer) or (answer.outcome.as_of or 0.0) < waiting.as_of

    def _drop(self, key: str) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._bytes -= len(waiting.data)
