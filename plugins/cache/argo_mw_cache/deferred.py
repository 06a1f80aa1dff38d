"""Answers that could not be stored while the store was away; they are stored when it is back.

Last write wins: the newest answer to a question waits here, and in the store it replaces only what
speaks for an earlier moment. It is stored only while its tags still have the stamps that its load
began with, and never after its expiry. Were one of them replaced just then, readers would see
that: they compare the stamps too. So nothing that was invalidated comes back this way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from attrs import frozen

from argo_mw.plugin import Closed, Context, Outcome, SharedUnavailable
from argo_mw.store import Freshness
from argo_mw_cache.record import Record, Records

_MOST = 1_000
_MOST_BYTES = 16 << 20


@frozen
class _Waiting:
    """An encoded answer, the stamps of its tags, and when it was and ceases to be true."""

    data: bytes
    versions: tuple[object, ...]
    as_of: float
    expires_at: float


class Deferred:
    """The answers that wait for the store.

    Args:
        context: Where the store and the stamps are.
        grace: Seconds after its expiry for which an answer is kept in the store.
        most: How many answers wait at most; the oldest are given up.
        most_bytes: Their size at most.
    """

    def __init__(
        self,
        context: Context,
        *,
        grace: float,
        most: int = _MOST,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._context = context
        self._records = Records(context)
        self._grace = grace
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: dict[str, _Waiting] = {}
        self._bytes = 0
        self._storing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, key: str, data: bytes, versions: Iterable[object], outcome: Outcome) -> None:
        """Let *data* wait, in the place of what waited for *key* before."""
        assert outcome.expires_at is not None
        self._drop(key)
        self._waiting[key] = _Waiting(
            data, tuple(versions), outcome.as_of or 0.0, outcome.expires_at
        )
        self._bytes += len(data)
        while len(self._waiting) > self._most or self._bytes > self._most_bytes:
            self._drop(next(iter(self._waiting)))

    def resume(self) -> None:
        """The store has just answered: store what waits, in the background."""
        if not self._waiting or (self._storing is not None and not self._storing.done()):
            return
        tag_versions = self._context.tag_versions
        # Until the store knows of every invalidation, its stamps prove nothing.
        if tag_versions.connected and not tag_versions.pending:
            with contextlib.suppress(Closed):
                self._storing = self._context.tasks.spawn("cache:deferred", self._store_all())

    async def _store_all(self) -> None:
        try:
            while self._waiting:
                key, waiting = next(iter(self._waiting.items()))
                await self._store(key, waiting)
                if self._waiting.get(key) is waiting:
                    self._drop(key)
        except SharedUnavailable:
            return  # what still waits goes on waiting

    async def _store(self, key: str, waiting: _Waiting) -> None:
        life = waiting.expires_at - self._context.clock.time()
        tag_versions = self._context.tag_versions
        if (
            life <= 0
            or await tag_versions.check(tag_versions.adopt(waiting.versions)) is not Freshness.FRESH
        ):
            return
        shared = self._context.shared
        there = await shared.get(key)
        if there is None or self._is_older(there, key, waiting):
            # If it is another by now, that is a newer one.
            await shared.compare_and_set(key, there, waiting.data, ttl=life + self._grace)

    def _is_older(self, there: bytes, key: str, waiting: _Waiting) -> bool:
        record = self._records.read(there, key)
        return not isinstance(record, Record) or (record.outcome.as_of or 0.0) < waiting.as_of

    def _drop(self, key: str) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._bytes -= len(waiting.data)
