"""Tags and their versions: how an entry learns that what it says is no longer so.

Every tag has two versions in Shared: a *hard* one, which :meth:`TagVersions.invalidate` replaces,
and a *soft* one, which :meth:`TagVersions.expire` replaces. A version is 8 random bytes, so none
ever comes back: replacing one is a plain ``set``, the last writer wins, and a version that was lost
is created anew, unequal to all before. An entry records its tags' versions before its load begins
and is fresh only while they are equal to the current ones.

Each process mirrors the versions it needs. Why the mirror is right:

1. A writer stores the new version, then publishes the tag's name. A listener that hears the name
   *forgets* the tag and reads it again when needed; messages carry no values, so the order in
   which they come does not matter.
2. A read is kept in the mirror only if nobody named its tag while it ran. So for each mirrored
   version, every replacement that it misses is announced by a message still to come: the mirror
   lags behind by the channel's delay at most.
3. A writer puts a placeholder into its own mirror before it stores anything, so its own process
   sees the change at once. The version itself is made when it is stored, anew in each attempt, and
   mirrored when the store has it, unless somebody else has named the tag meanwhile. So no entry
   carries a version that is stored only later: if it did, and another writer came in between,
   storing it would bring that entry back.
4. An entry loaded while a tag was replaced carries the old version, whoever replaced it: a load
   that began before an invalidation never outlives it.
5. A gap in the channel begins a new *era*, and entries of an earlier one count as changed. Tags
   replaced shortly before it, by anyone, are replaced once more: a server that failed over may
   have gone back to their old versions.
6. While Shared is away, a tag that is not mirrored gets a made-up version, which is forgotten when
   Shared is back, so what was loaded meanwhile counts as changed. Replacements wait in one
   bounded map, and their placeholders rule over whatever the store says until it has them, or
   until somebody else names the tag: then another placeholder takes over.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.protocol import Shared, Subscription
from argo_mw.store.tag_snapshot import (
    EVERYTHING,
    Freshness,
    TagSnapshot,
    TagVersion,
    names_of,
    read_tag_versions,
)

CHANNEL: Final = "tag-versions"
_HARD: Final = "tag:h:"
_SOFT: Final = "tag:s:"
_KINDS: Final = (_HARD, _SOFT)
_TTL: Final = 30 * 86400.0
_KEYS_PER_MESSAGE: Final = 500
_ATTEMPTS: Final = 3
_MAX_RECENT: Final = 2_000
_RECENT_SECONDS: Final = 30.0

log = Log("argo_mw")


@frozen
class _Known:
    """A tag's versions in the mirror, the tick at which they came, whether they are made up."""

    hard: bytes
    soft: bytes
    since: int
    made_up: bool = False


class TagVersions:
    """The versions of all tags, as one process sees them.

    Args:
        shared: Where the versions are kept.
        clock: Waits between attempts to reach *shared* again.
        max_tags: How many tags to mirror; those mirrored first are forgotten first.
        max_pending: How many replaced versions to keep while *shared* is away; beyond them,
            everything counts as invalidated.
        retry: Seconds between attempts to reach *shared* again.
        on_change: Called with the tags' names whenever some changed, by whomever; with
            :data:`EVERYTHING` after a gap.
    """

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        *,
        max_tags: int = 100_000,
        max_pending: int = 10_000,
        retry: float = 0.25,
        on_change: Callable[[frozenset[str]], None] | None = None,
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._max_tags = max_tags
        self._max_pending = max_pending
        self._max_recent = min(max_pending, _MAX_RECENT)
        self._retry = retry
        self._on_change = on_change
        self._origin = os.urandom(8).hex()
        self._mirror: dict[str, _Known] = {}
        self._reads: dict[str, object] = {}
        self._pending: dict[str, bytes] = {}
        self._storing: set[str] = set()
        self._recent: dict[str, float] = {}
        self._changes = 0
        self._ticks = 0
        self._era = 0
        self._down = False
        self._closed = False
        self._subscription: Subscription | None = None
        self._flushing: asyncio.Task[bool] | None = None
        self._mending: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen. If the store cannot be reached, go on trying in the background."""
        if self._subscription is None:
            try:
                await self._subscribe()
            except SharedUnavailable:
                self._lost()

    async def aclose(self) -> None:
        """Stop listening, after one more attempt to store what is pending. Idempotent."""
        self._closed = True
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        await self._flush(again=True)
        if self._subscription is not None:
            await self._subscription.aclose()
            self._subscription = None

    @property
    def pending(self) -> int:
        """How many replaced versions the store has not been told of yet."""
        return len(self._pending)

    @property
    def connected(self) -> bool:
        """Whether the store could be reached when it was last asked, and the channel is open."""
        return not self._down and self._subscription is not None

    # -- reading -------------------------------------------------------------------------

    async def load(self, tags: Iterable[str]) -> TagSnapshot:
        """The versions of *tags* now: call it before a load begins, keep the result beside it.

        Name every tag that the result may get. Never raises for the store's sake: while it is
        away, versions are made up locally and count as changed when it is back.
        """
        names = names_of(tags)
        era, born = self._era, self._ticks
        versions = self._mirrored(names)
        if versions is None:
            known = await self._read(names)
            versions = tuple((name, known[name].hard, known[name].soft) for name in names)
        return TagSnapshot(versions, era, born)

    async def extend(self, tag_snapshot: TagSnapshot, tags: Iterable[str]) -> TagSnapshot:
        """*tag_snapshot* with *tags* added that became known only during the load.

        A tag that was not mirrored before the load began may have changed since, unseen; it
        makes the result a miss, and is mirrored for the next load.
        """
        have = {version[0] for version in tag_snapshot.versions}
        late = [name for name in names_of(tags) if name not in have]
        if not late:
            return tag_snapshot
        known = await self._read(late)
        versions = tuple(
            (name, known[name].hard, known[name].soft)
            if known[name].since <= tag_snapshot._born
            else (name, b"", b"")
            for name in late
        )
        return TagSnapshot(tag_snapshot.versions + versions, tag_snapshot._era, tag_snapshot._born)

    def adopt(self, versions: Iterable[Any]) -> TagSnapshot:
        """The versions of an entry that was just read from the store, written by anyone.

        Raises:
            ValueError: *versions* is not what :attr:`TagSnapshot.versions` holds.
        """
        return TagSnapshot(read_tag_versions(versions), self._era, self._ticks)

    def renew(self, tag_snapshot: TagSnapshot) -> TagSnapshot:
        """Return *tag_snapshot*, from :meth:`adopt`, for another entry of the same versions."""
        return tag_snapshot if tag_snapshot._era == self._era else self.adopt(tag_snapshot.versions)

    def peek(self, tag_snapshot: TagSnapshot) -> Freshness:
        """What is known, without waiting, about an entry with the versions *tag_snapshot*."""
        if tag_snapshot._judged_at == self._changes:
            return tag_snapshot._verdict
        return self._judge(tag_snapshot)

    async def check(self, tag_snapshot: TagSnapshot) -> Freshness:
        """Whether an entry with *tag_snapshot* is fresh; asks the store for what is not mirrored.

        Never answers ``UNKNOWN``: what cannot be known counts as a miss.
        """
        for _ in range(_ATTEMPTS):
            verdict = self.peek(tag_snapshot)
            if verdict is not Freshness.UNKNOWN:
                return verdict
            if self._down:
                break
            await self._read([version[0] for version in tag_snapshot.versions])
        return Freshness.MISS

    def _judge(self, tag_snapshot: TagSnapshot) -> Freshness:
        verdict = self._compare(tag_snapshot)
        if verdict is not Freshness.UNKNOWN:
            tag_snapshot._verdict = verdict
            tag_snapshot._judged_at = self._changes
        return verdict

    def _compare(self, tag_snapshot: TagSnapshot) -> Freshness:
        if tag_snapshot._era != self._era:
            return Freshness.MISS
        verdict = Freshness.FRESH
        for name, hard, soft in tag_snapshot.versions:
            known = self._mirror.get(name)
            if not hard or (known is not None and known.hard != hard):
                return Freshness.MISS
            if known is None:
                verdict = Freshness.UNKNOWN
            elif known.soft != soft and verdict is Freshness.FRESH:
                verdict = Freshness.STALE
        return verdict

    def _mirrored(self, names: Iterable[str]) -> tuple[TagVersion, ...] | None:
        versions = []
        for name in names:
            known = self._mirror.get(name)
            if known is None:
                return None
            versions.append((name, known.hard, known.soft))
        return tuple(versions)

    async def _read(self, names: Iterable[str]) -> dict[str, _Known]:
        """The versions of *names*, from the mirror, else from the store, else made up."""
        known = {name: self._mirror[name] for name in names if name in self._mirror}
        lacking = [name for name in names if name not in known]
        if not lacking:
            return known
        # Those who read a tag at the same time share a token, which goes when the tag is named.
        tokens = {name: self._reads.setdefault(name, object()) for name in lacking}
        found: Mapping[str, _Known] = {}
        try:
            found = await self._fetch(lacking)
        except SharedUnavailable:
            self._lost()
            tick = self._tick()
            found = {name: _Known(_new(), _new(), tick, made_up=True) for name in lacking}
        finally:
            for name, token in tokens.items():
                if self._reads.get(name) is token:
                    del self._reads[name]
                    if name in found:
                        self._remember(name, found[name])
        return known | dict(found)

    async def _fetch(self, names: list[str]) -> dict[str, _Known]:
        keys = [kind + name for name in names for kind in _KINDS]
        tag_versions = dict(zip(keys, await self._shared.get_many(keys), strict=True))
        missing = [key for key, version in tag_versions.items() if not version]
        if missing:
            created = await asyncio.gather(*map(self._create, missing))
            tag_versions.update(zip(missing, created, strict=True))
            await self._announce(missing)
        tag_versions.update((key, self._pending[key]) for key in keys if key in self._pending)
        tick = self._tick()
        return {
            name: _Known(tag_versions[_HARD + name] or b"", tag_versions[_SOFT + name] or b"", tick)
            for name in names
        }

    async def _create(self, key: str) -> bytes:
        for _ in range(_ATTEMPTS):
            version = _new()
            if await self._shared.compare_and_set(key, None, version, ttl=_TTL):
                return version
            current = await self._shared.get(key)
            if current:
                return current
        return b""  # appears and disappears: equal to no version, so its entries are misses

    def _remember(self, name: str, known: _Known) -> None:
        if len(self._mirror) >= self._max_tags:
            del self._mirror[next(iter(self._mirror))]
            self._changes += 1
        self._mirror[name] = known

    # -- replacing -----------------------------------------------------------------------

    async def invalidate(self, tags: Iterable[str]) -> bool:
        """Make every entry with one of *tags* a miss.

        In this process that holds from the call on; elsewhere as soon as the message arrives.

        Returns:
            Whether the store knows. If not, it will be told when it is back.
        """
        return await self._replace(_HARD, tags)

    async def expire(self, tags: Iterable[str]) -> bool:
        """Make every entry with one of *tags* stale; else as :meth:`invalidate`."""
        return await self._replace(_SOFT, tags)

    async def _replace(self, kind: str, tags: Iterable[str]) -> bool:
        names = names_of(tags, everything=False)
        if not names:
            return not self._down
        for name in names:
            self._replace_here(kind, name)
        self._report(names)
        return await self._flush()

    def _replace_here(self, kind: str, name: str) -> None:
        placeholder = _new()
        known = self._mirror.get(name)
        self._reads.pop(name, None)
        self._changes += 1
        tick = self._tick()
        if known is not None:
            hard, soft = known.hard, known.soft
            hard, soft = (placeholder, soft) if kind == _HARD else (hard, placeholder)
            self._mirror[name] = _Known(hard, soft, tick, known.made_up)
        self._pend(kind + name, placeholder)

    def _pend(self, key: str, placeholder: bytes) -> None:
        self._pending[key] = placeholder
        if len(self._pending) > self._max_pending:
            log.warning("too many invalidations while the store is away: all entries invalidated")
            self._pending = {_HARD + EVERYTHING: _new()}
            self._forget_everything()

    async def _flush(self, *, again: bool = False) -> bool:
        """Store what is pending, all callers of one turn together; whether all of it is.

        While the store is away only those who try *again* find out whether it is back.
        """
        while self._pending:
            if self._down and not again:
                return False
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.create_task(
                    self._store_pending(), name="argo-mw:tag-versions-flush"
                )
            # A caller who leaves must not take the others' invalidations along.
            if not await asyncio.shield(self._flushing):
                return False
        return True

    async def _store_pending(self) -> bool:
        await asyncio.sleep(0)
        placeholders = dict(self._pending)
        stored = {key: _new() for key in placeholders}
        self._storing = {_name_of(key) for key in stored}
        try:
            await self._shared.set_many(stored, ttl=_TTL)
            await self._announce(stored)
        except SharedUnavailable:
            self._lost()
            return False
        untouched, self._storing = self._storing, set()
        for key, version in stored.items():
            self._settle(key, placeholders[key], version, _name_of(key) in untouched)
        return True

    def _settle(self, key: str, placeholder: bytes, version: bytes, untouched: bool) -> None:
        """The store holds *version*: mirror it, unless somebody else was at the tag meanwhile."""
        if self._pending.get(key) == placeholder:
            del self._pending[key]
        name, known = _name_of(key), self._mirror.get(_name_of(key))
        self._forget(name)
        if untouched and known is not None:
            hard, soft = (version, known.soft) if key.startswith(_HARD) else (known.hard, version)
            replaced = known.hard if key.startswith(_HARD) else known.soft
            if replaced == placeholder:
                self._mirror[name] = _Known(hard, soft, self._ticks, known.made_up)
        self._note(key)

    def _note(self, key: str) -> None:
        self._recent.pop(key, None)
        self._recent[key] = self._clock.monotonic()
        if len(self._recent) > self._max_recent:
            del self._recent[next(iter(self._recent))]

    # -- the channel ---------------------------------------------------------------------

    async def _subscribe(self) -> None:
        self._subscription = await self._shared.subscribe(CHANNEL, self._heard, self._gap)

    async def _announce(self, keys: Iterable[str]) -> None:
        names = list(keys)
        for start in range(0, len(names), _KEYS_PER_MESSAGE):
            message = [self._origin, *names[start : start + _KEYS_PER_MESSAGE]]
            await self._shared.publish(CHANNEL, json.dumps(message).encode())

    def _heard(self, message: bytes) -> None:
        try:
            origin, *keys = json.loads(message)
            sound = all(key.startswith(_KINDS) for key in keys)
        except (ValueError, TypeError, AttributeError):
            sound = False
        if not sound:
            self._gap()
            return
        if origin == self._origin:
            return
        for key in keys:
            self._forget(_name_of(key))
            self._note(key)
            if key in self._pending:
                # The placeholder ruled until now only: entries that carry it may be old.
                self._pending[key] = _new()
        self._report(map(_name_of, keys))

    def _forget(self, name: str) -> None:
        self._reads.pop(name, None)
        self._storing.discard(name)
        if self._mirror.pop(name, None) is not None:
            self._changes += 1
            self._tick()

    def _gap(self) -> None:
        """Messages may be missing: nothing read so far is to be relied on."""
        since = self._clock.monotonic() - _RECENT_SECONDS
        self._pending = {key: _new() for key in self._pending}
        for key, at in self._recent.items():
            if at >= since:
                self._pending.setdefault(key, _new())
        self._recent.clear()
        self._forget_everything()
        if self._pending:
            self._mend()

    def _forget_everything(self) -> None:
        self._era += 1
        self._changes += 1
        self._tick()
        self._mirror.clear()
        self._reads.clear()
        self._storing.clear()
        self._report([EVERYTHING])

    def _report(self, names: Iterable[str]) -> None:
        if self._on_change is not None:
            self._on_change(frozenset(names))

    # -- without the store ---------------------------------------------------------------

    def _lost(self) -> None:
        if not self._down:
            self._down = True
            log.info("shared store is away: versions are kept locally")
        self._mend()

    def _mend(self) -> None:
        if not self._closed and (self._mending is None or self._mending.done()):
            self._mending = asyncio.create_task(self._come_back(), name="argo-mw:tag-versions-mend")

    async def _come_back(self) -> None:
        """Listen again and store what is pending; then forget what was made up meanwhile."""
        while not await self._reached():
            await self._clock.sleep(self._retry)
        if self._down:
            self._down = False
            made_up = [name for name, known in self._mirror.items() if known.made_up]
            for name in made_up:
                self._forget(name)
            log.info("shared store is back: what was loaded meanwhile counts as changed")

    async def _reached(self) -> bool:
        try:
            if self._subscription is None:
                await self._subscribe()
            await self._shared.get(_HARD + EVERYTHING)
        except SharedUnavailable:
            return False
        return await self._flush(again=True)

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks


def _new() -> bytes:
    return os.urandom(8)


def _name_of(key: str) -> str:
    return key[len(_HARD) :]
