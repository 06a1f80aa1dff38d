"""Writing replaced tag versions to the store, and announcing them to other processes.

The proof at the top of ``tag_versions.py`` says why the order of the steps matters.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextvars import Context
from typing import Final

import msgspec

from argo_mw.base.clock import Clock, Timer
from argo_mw.base.errors import SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.health import Ability, StoreHealth
from argo_mw.store.protocol import Shared
from argo_mw.store.tag_mirror import HARD, KINDS, TagMirror, name_of, new_version
from argo_mw.store.tag_snapshot import EVERYTHING

CHANNEL: Final = "tag-versions"
TAG_TTL: Final = 30 * 86400.0
_MAX_KEYS_PER_MESSAGE: Final = 500
_MAX_RECENT: Final = 2_000
_RECENT_SECONDS: Final = 30.0
_TOGETHER: Final = 0.05
"""Seconds for which versions that were created are gathered before they are announced."""

_decode = msgspec.json.Decoder(list[str]).decode

log = Log("argo_mw")


class TagWriter:
    """The versions that were replaced here and have to reach the store.

    Args:
        shared: Where the versions are kept.
        clock: Tells how long ago a tag was replaced.
        mirror: What this process knows.
        health: Knows what *shared* refuses, and hears of it here.
        max_pending: How many replaced versions to keep while *shared* refuses them.

    Attributes:
        pending: The placeholders of versions that the store does not have yet, by key.
        unannounced: The versions that the store has, and of which no other process has heard yet.
    """

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        mirror: TagMirror,
        health: StoreHealth,
        *,
        max_pending: int,
    ) -> None:
        self.pending: dict[str, bytes] = {}
        self.unannounced: dict[str, bytes] = {}
        self._covered: dict[str, bytes | None] = {}
        self._shared = shared
        self._clock = clock
        self._mirror = mirror
        self._health = health
        self._max_pending = max_pending
        self._max_recent = min(max_pending, _MAX_RECENT)
        self._origin = os.urandom(8).hex()
        self._storing: set[str] = set()
        self._recent: dict[str, float] = {}
        self._flushing: asyncio.Task[bool] | None = None
        self._created: dict[str, None] = {}
        self._timer: Timer | None = None
        self._announcing: asyncio.Task[None] | None = None

    def add(self, key: str, placeholder: bytes) -> bool:
        """Queue the version under *key*, for which *placeholder* stands.

        Returns:
            False when too many wait: one invalidation of everything is queued in place of them,
            and the mirror has to forget everything.
        """
        self.pending[key] = placeholder
        if len(self.pending) + len(self.unannounced) <= self._max_pending:
            return True
        log.warning("too many invalidations wait for the shared store: all entries invalidated")
        self.pending = {HARD + EVERYTHING: new_version()}
        self.unannounced.clear()
        self._covered.clear()
        return False

    def placeholders(self, stored: Mapping[str, bytes | None]) -> dict[str, bytes]:
        """Return the placeholders for versions in *stored*, which were just read.

        A version that was replaced under its placeholder, by a process of which no message came,
        gets another one.
        """
        found = {}
        for key, version in stored.items():
            if key not in self.pending:
                continue
            if self._covered.setdefault(key, version) != version:
                self._covered[key] = version
                self.pending[key] = new_version()
            found[key] = self.pending[key]
        return found

    async def flush(self, *, again: bool = False) -> bool:
        """Store and announce what is pending; return whether all of it is.

        Callers of one turn of the event loop share one command. While the store refuses that, only
        callers who try *again* ask it.
        """
        while self.pending or self.unannounced:
            if not again and not self._is_of_use():
                return False
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.create_task(
                    self._store_and_announce(), name="argo-mw:tag-versions-flush"
                )
            # A caller who leaves must not take the others' invalidations along.
            if not await asyncio.shield(self._flushing):
                return False
        return True

    def _is_of_use(self) -> bool:
        """Return whether the store is likely to take at least some of what is pending."""
        if self._health.down:
            return False
        return bool(self.pending) or self._health.allows(Ability.ANNOUNCE)

    async def _store_and_announce(self) -> bool:
        await asyncio.sleep(0)
        if self.pending and not await self._store_pending():
            return False
        try:
            await self.announce_waiting()
        except SharedUnavailable as error:
            self._health.failed(Ability.ANNOUNCE, error)
            return False
        return True

    async def _store_pending(self) -> bool:
        placeholders = dict(self.pending)
        stored = {key: new_version() for key in placeholders}
        self._storing = {name_of(key) for key in stored}
        try:
            await self._shared.set_many(stored, ttl=TAG_TTL)
        except SharedUnavailable as error:
            self._health.failed(Ability.WRITE, error)
            return False
        untouched, self._storing = self._storing, set()
        for key, version in stored.items():
            self.unannounced[key] = version
            self._confirm(key, placeholders[key], version, name_of(key) in untouched)
        return True

    def _confirm(self, key: str, placeholder: bytes, version: bytes, untouched: bool) -> None:
        """Mirror *version*, which the store has now, unless another process announced its tag."""
        self._covered.pop(key, None)
        if self.pending.get(key) == placeholder:
            del self.pending[key]
        if untouched:
            self._mirror.confirm(key, placeholder, version)
        else:
            self._mirror.forget(name_of(key))
        self._note(key)

    # -- announcing ----------------------------------------------------------------------

    async def announce_waiting(self) -> None:
        """Announce what waits to be announced; send a message without keys if nothing does.

        Raises:
            SharedUnavailable: As for :meth:`announce`.
        """
        waiting = dict(self.unannounced)
        await self.announce(waiting)
        for key, version in waiting.items():
            if self.unannounced.get(key) == version:  # else replaced and stored once more
                del self.unannounced[key]

    def announce_soon(self, keys: Iterable[str]) -> None:
        """Announce in a moment that versions under *keys* were created.

        Nobody waits for that: processes that still mirror a version that the store has lost go on
        with it until they hear of the new one, and nothing has invalidated it.
        """
        if not self._created:
            due = self._clock.monotonic() + _TOGETHER
            self._timer = self._clock.call_at(due, self._begin_to_announce)
        self._created.update(dict.fromkeys(keys))

    def _begin_to_announce(self) -> None:
        if self._announcing is None or self._announcing.done():
            # In no caller's context: it outlives the call that read the tags.
            self._announcing = asyncio.create_task(
                self._announce_created(), name="argo-mw:tag-versions-announce", context=Context()
            )

    async def _announce_created(self) -> None:
        while self._created:
            keys, self._created = self._created, {}
            if not self._health.allows(Ability.ANNOUNCE):
                return
            try:
                await self.announce(keys)
            except SharedUnavailable as error:
                self._health.failed(Ability.ANNOUNCE, error)

    async def aclose(self) -> None:
        """Store and announce what waits, as far as the store lets us. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._announcing is not None:
            await self._announcing
        await self._announce_created()
        await self.flush(again=True)

    async def announce(self, keys: Iterable[str]) -> None:
        """Announce to every other process that the versions under *keys* are new.

        Without keys a message is sent all the same, for it to be refused or not.

        Raises:
            SharedUnavailable: The store is away, or takes no messages from this process.
        """
        names = list(keys)
        for start in range(0, len(names) or 1, _MAX_KEYS_PER_MESSAGE):
            message = [self._origin, *names[start : start + _MAX_KEYS_PER_MESSAGE]]
            await self._shared.publish(CHANNEL, msgspec.json.encode(message))

    def keys_in(self, message: bytes) -> list[str]:
        """Return the keys that another process announces in *message*; none for an own message.

        Raises:
            ValueError: The message is not one of :meth:`announce`.
        """
        try:
            origin, *keys = _decode(message)
        except (ValueError, msgspec.DecodeError) as error:
            raise ValueError(_NOT_AN_ANNOUNCEMENT) from error
        if origin == self._origin:
            return []
        if not all(key.startswith(KINDS) for key in keys):
            raise ValueError(_NOT_AN_ANNOUNCEMENT)
        return keys

    def announced(self, key: str) -> None:
        """Take into account that another process has replaced the version under *key*."""
        self._storing.discard(name_of(key))
        self._note(key)
        if key in self.pending:
            # Entries that were loaded under the placeholder may be older than the announcement.
            self.pending[key] = new_version()

    def repeat_recent(self) -> None:
        """Queue again what was replaced shortly before a gap, by any process."""
        since = self._clock.monotonic() - _RECENT_SECONDS
        self.pending = {key: new_version() for key in self.pending}
        for key, at in self._recent.items():
            if at >= since:
                self.pending.setdefault(key, new_version())
        self._recent.clear()

    def forget_everything(self) -> None:
        """Mirror nothing of what is being stored now."""
        self._storing.clear()

    def _note(self, key: str) -> None:
        self._recent.pop(key, None)
        self._recent[key] = self._clock.monotonic()
        if len(self._recent) > self._max_recent:
            del self._recent[next(iter(self._recent))]


_NOT_AN_ANNOUNCEMENT: Final = "the message does not announce tag versions"
