"""Tags and their versions: how an entry learns that what it holds is out of date.

Every tag has two versions in Shared: a *hard* one, which :meth:`TagVersions.invalidate` replaces,
and a *soft* one, which :meth:`TagVersions.expire` replaces. A version is 8 random bytes, so none
ever comes back: replacing one is a plain ``set``, the last writer wins, and a version that was lost
is created anew, unequal to all before. An entry records its tags' versions before its load begins
and is fresh only while they are equal to the current ones.

What an answer depends on may come to light only when it has arrived: it turns out to be made of
other answers, an upstream names a tag. Where such a tag was loaded on the way, its versions from
before that travel with the answer (:attr:`Outcome.versions`). A tag that nothing on the way has
recorded is judged by itself: the versions that a tag gets because somebody reads it differ in their
first byte from those that replace them, so a tag that has never been replaced cannot have changed
during the load. Any other counts as changed, unless it was mirrored before.

Each process mirrors the versions it needs (``tag_mirror.py``), and a writer stores and announces
those it replaces (``tag_writer.py``). Why the mirror is right:

1. A writer stores the new version, then announces the tag's name on a channel. A listener that
   receives the name *forgets* the tag and reads it again when needed; messages carry no versions,
   so the order in which they arrive does not matter.
2. The result of a read is mirrored only if its tag was neither announced nor replaced while the
   read ran. So for each mirrored version, every replacement that it misses is announced by a
   message still to come: the mirror lags behind by the channel's delay at most.
3. A writer puts a placeholder into its own mirror before it stores anything, so its own process
   sees the change at once. The version itself is made when it is stored, anew in each attempt, and
   mirrored when the store has it, unless another process has announced the tag meanwhile. So no
   entry carries a version that is stored only later: if one did, and another writer came in
   between, storing the version would make that entry fresh again.
4. An entry loaded while a tag was replaced carries the old version, whichever process replaced it:
   a load that began before an invalidation never outlives it.
5. A gap in the channel begins a new *era*, and entries of an earlier one count as changed. Tags
   replaced shortly before it, by any process, are replaced once more: a server that failed over
   may have gone back to their old versions.
6. While Shared is down, a tag that is not mirrored gets a made-up version, which is forgotten when
   Shared is back, so what was loaded meanwhile counts as changed. Replacements wait in one
   bounded map, and their placeholders take precedence over the store's versions until it has
   stored them, or until another process announces the tag: then a new placeholder takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.availability import Availability
from argo_mw.store.protocol import Shared, Subscription
from argo_mw.store.tag_mirror import (
    HARD,
    KINDS,
    SOFT,
    KnownVersions,
    TagMirror,
    first_version,
    name_of,
    new_version,
)
from argo_mw.store.tag_snapshot import (
    EVERYTHING,
    Freshness,
    TagSnapshot,
    TagVersion,
    names_of,
    read_tag_versions,
)
from argo_mw.store.tag_writer import CHANNEL, TAG_TTL, TagWriter

_MAX_ATTEMPTS: Final = 3


class TagVersions:
    """The versions of all tags, as one process sees them.

    Args:
        shared: Where the versions are kept.
        clock: Waits between attempts to reach *shared* again.
        max_tags: How many tags to mirror; those mirrored first are forgotten first.
        max_pending: How many replaced versions to keep while *shared* is down; beyond them,
            everything counts as invalidated.
        retry: Seconds between attempts to reach *shared* again.
        on_change: Called with the tags' names whenever any process has replaced some; with
            :data:`EVERYTHING` after a gap.

    Attributes:
        availability: Whether *shared* could be reached when versions were last asked for.
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
        self._on_change = on_change
        self._subscription: Subscription | None = None
        self._changes = 0
        self._mirror = TagMirror(max_tags, self._outdate_verdicts)
        self.availability = Availability(
            clock,
            probe=self._reach,
            retry=retry,
            on_back=self._mirror.forget_made_up,
            name="argo-mw:tag-versions-mend",
        )
        self._writer = TagWriter(
            shared, clock, self._mirror, self.availability, max_pending=max_pending
        )

    # -- life ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen. If the store cannot be reached, go on trying in the background."""
        if self._subscription is None:
            try:
                await self._subscribe()
            except SharedUnavailable as error:
                self.availability.lost(str(error))

    async def aclose(self) -> None:
        """Stop listening, after one more attempt to store what is pending. Idempotent."""
        await self.availability.aclose()
        await self._writer.flush(again=True)
        if self._subscription is not None:
            await self._subscription.aclose()
            self._subscription = None

    @property
    def pending(self) -> int:
        """How many replaced versions the store does not have yet."""
        return len(self._writer.pending)

    @property
    def connected(self) -> bool:
        """Whether the store could be reached when it was last asked, and the channel is open."""
        return not self.availability.away and self._subscription is not None

    # -- judging entries -----------------------------------------------------------------

    def peek(self, tag_snapshot: TagSnapshot) -> Freshness:
        """Return what is known, without waiting, about an entry with *tag_snapshot*."""
        if tag_snapshot._judged_at == self._changes:
            return tag_snapshot._verdict
        return self._judge(tag_snapshot)

    async def check(self, tag_snapshot: TagSnapshot) -> Freshness:
        """Like :meth:`peek`, but ask the store for the versions that are not mirrored.

        Never returns ``UNKNOWN``: what cannot be known counts as a miss.
        """
        for _ in range(_MAX_ATTEMPTS):
            verdict = self.peek(tag_snapshot)
            if verdict is not Freshness.UNKNOWN:
                return verdict
            if self.availability.away:
                break
            await self._read([version[0] for version in tag_snapshot.versions])
        return Freshness.MISS

    def _judge(self, tag_snapshot: TagSnapshot) -> Freshness:
        verdict = self._mirror.compare(tag_snapshot)
        if verdict is not Freshness.UNKNOWN:
            tag_snapshot._verdict = verdict
            tag_snapshot._judged_at = self._changes
        return verdict

    def _outdate_verdicts(self) -> None:
        self._changes += 1

    # -- reading versions ----------------------------------------------------------------

    async def load(self, tags: Iterable[str]) -> TagSnapshot:
        """Return the versions of *tags* now: call it before a load, keep the result beside it.

        Name every tag that the result may get. Never raises for the store's sake: while it is
        down, versions are made up locally and count as changed when it is back.
        """
        names = names_of(tags)
        era, born = self._mirror.era, self._mirror.ticks
        versions = self._mirror.versions(names)
        if versions is None:
            known = await self._read(names)
            versions = tuple((name, known[name].hard, known[name].soft) for name in names)
        return TagSnapshot(versions, era, born)

    async def extend(
        self,
        tag_snapshot: TagSnapshot,
        tags: Iterable[str],
        recorded: Iterable[TagVersion] = (),
    ) -> TagSnapshot:
        """Return *tag_snapshot* with *tags* added that became known only during the load.

        A tag that has been replaced before, was not mirrored when the load began, and is not among
        *recorded*, may have changed since, unseen: it makes the result a miss, is among its
        :attr:`~TagSnapshot.unknown`, and is mirrored for the next load.

        Args:
            tag_snapshot: What :meth:`load` returned before the load.
            tags: All tags of the answer.
            recorded: Versions of some tags from before what depends on them was loaded, such as
                :attr:`~argo_mw.Outcome.versions`: they count, whenever they were mirrored.
        """
        # A tag that was recorded with two versions has changed in between; both are compared.
        versions = dict.fromkeys((*tag_snapshot.versions, *recorded))
        have = {version[0] for version in versions}
        late = [name for name in names_of(tags) if name not in have]
        known = await self._read(late) if late else {}
        for name in late:
            found = known[name]
            held = found.held_at(tag_snapshot._born)
            versions[(name, found.hard, found.soft) if held else (name, b"", b"")] = None
        return TagSnapshot(tuple(versions), tag_snapshot._era, tag_snapshot._born)

    def adopt(self, versions: Iterable[Any]) -> TagSnapshot:
        """Return the tag snapshot of an entry that was just read from the store.

        Raises:
            ValueError: *versions* is not what :attr:`TagSnapshot.versions` holds.
        """
        return TagSnapshot(read_tag_versions(versions), self._mirror.era, self._mirror.ticks)

    def renew(self, tag_snapshot: TagSnapshot) -> TagSnapshot:
        """Return *tag_snapshot*, from :meth:`adopt`, for another entry of the same versions."""
        if tag_snapshot._era == self._mirror.era:
            return tag_snapshot
        return self.adopt(tag_snapshot.versions)

    async def _read(self, names: Iterable[str]) -> dict[str, KnownVersions]:
        """Return the versions of *names*: mirrored, else from the store, else made up."""
        mirrored = {name: self._mirror.get(name) for name in names}
        known = {name: versions for name, versions in mirrored.items() if versions is not None}
        missing = [name for name in mirrored if name not in known]
        if not missing:
            return known
        tokens = self._mirror.begin_read(missing)
        found: Mapping[str, KnownVersions] = {}
        try:
            found = await self._fetch(missing)
        except SharedUnavailable as error:
            self.availability.lost(str(error))
            found = self._make_up(missing)
        finally:
            self._mirror.end_read(tokens, found)
        return known | dict(found)

    async def _fetch(self, names: list[str]) -> dict[str, KnownVersions]:
        keys = [kind + name for name in names for kind in KINDS]
        stored = dict(zip(keys, await self._shared.get_many(keys), strict=True))
        missing = [key for key, version in stored.items() if not version]
        if missing:
            created = await asyncio.gather(*map(self._create, missing))
            stored.update(zip(missing, created, strict=True))
            await self._writer.announce(missing)
        pending = self._writer.pending
        stored.update((key, pending[key]) for key in keys if key in pending)
        tick = self._mirror.tick()
        return {
            name: KnownVersions(stored[HARD + name] or b"", stored[SOFT + name] or b"", tick)
            for name in names
        }

    async def _create(self, key: str) -> bytes:
        for _ in range(_MAX_ATTEMPTS):
            version = first_version()
            if await self._shared.compare_and_set(key, None, version, ttl=TAG_TTL):
                return version
            current = await self._shared.get(key)
            if current:
                return current
        return b""  # appears and disappears: equal to no version, so its entries are misses

    def _make_up(self, names: list[str]) -> dict[str, KnownVersions]:
        tick = self._mirror.tick()
        return {
            name: KnownVersions(new_version(), new_version(), tick, made_up=True) for name in names
        }

    # -- replacing versions --------------------------------------------------------------

    async def invalidate(self, tags: Iterable[str]) -> bool:
        """Make every entry with one of *tags* a miss.

        In this process that holds from the call on; elsewhere as soon as the message arrives.

        Returns:
            Whether the store has the new versions. If not, it gets them when it is back.
        """
        return await self._replace(HARD, tags)

    async def expire(self, tags: Iterable[str]) -> bool:
        """Make every entry with one of *tags* stale; else as :meth:`invalidate`."""
        return await self._replace(SOFT, tags)

    async def _replace(self, kind: str, tags: Iterable[str]) -> bool:
        names = names_of(tags, everything=False)
        if not names:
            return not self.availability.away
        for name in names:
            placeholder = new_version()
            self._mirror.replace(kind + name, placeholder)
            if not self._writer.add(kind + name, placeholder):
                self._forget_everything()
        self._report(names)
        return await self._writer.flush()

    # -- the channel and the store's outages ---------------------------------------------

    async def _subscribe(self) -> None:
        self._subscription = await self._shared.subscribe(CHANNEL, self._on_message, self._on_gap)

    def _on_message(self, message: bytes) -> None:
        try:
            keys = self._writer.keys_in(message)
        except ValueError:
            self._on_gap()
            return
        if not keys:
            return
        for key in keys:
            self._mirror.forget(name_of(key))
            self._writer.announced(key)
        self._report(map(name_of, keys))

    def _on_gap(self) -> None:
        """Trust nothing that was read so far: messages may be missing."""
        self._writer.repeat_recent()
        self._forget_everything()
        if self._writer.pending:
            self.availability.try_again()

    def _forget_everything(self) -> None:
        self._mirror.forget_everything()
        self._writer.forget_everything()
        self._report([EVERYTHING])

    def _report(self, names: Iterable[str]) -> None:
        if self._on_change is not None:
            self._on_change(frozenset(names))

    async def _reach(self) -> bool:
        """Listen again and store what is pending; return whether the store let us."""
        try:
            if self._subscription is None:
                await self._subscribe()
            await self._shared.get(HARD + EVERYTHING)
        except SharedUnavailable:
            return False
        return await self._writer.flush(again=True)
