"""Tags and their versions: how an entry learns that what it holds is out of date.

Every tag has two versions in Shared: a *hard* one, which :meth:`TagVersions.invalidate` replaces,
and a *soft* one, which :meth:`TagVersions.expire` replaces. A version is 8 random bytes, so none
ever comes back: replacing one is a plain ``set``, the last writer wins, and a version that was lost
is created anew, unequal to all before, and announced a moment later. An entry records its tags'
versions before its load begins and is fresh only while they are equal to the current ones.

What an answer depends on may come to light only when it has arrived: it turns out to be made of
other answers, an upstream names a tag. Where such a tag was loaded on the way, its versions from
before that travel with the answer (:attr:`Outcome.versions`). A tag that nothing on the way has
recorded is judged by itself: the versions that a tag gets because somebody reads it differ in their
first byte from those that replace them, so a tag that has never been replaced cannot have changed
during the load. Any other counts as changed, unless it was mirrored before.

Each process mirrors the versions it needs (``tag_mirror.py``), a reader reads them
(``tag_reader.py``), and a writer stores and announces those that are replaced here
(``tag_writer.py``). Why the mirror is right:

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
6. While Shared cannot be read, a tag that is not mirrored gets a made-up version, which is
   forgotten when Shared is back, so what was loaded meanwhile counts as changed. While it is read
   and only refuses writes, versions are made up where it has none; once it takes writes again, they
   become its own if it still has none. Replacements wait in one bounded map, and their placeholders
   take precedence over the store's versions until it has stored them, or until another process
   announces the tag or is seen to have replaced it: then a new placeholder takes over.
7. While this process receives no messages, the mirror proves nothing (1. and 2. rest on messages):
   every verdict reads the versions from Shared, after the call that asks for it began. Only what
   this process replaces itself while that read runs is taken from the mirror. If Shared cannot be
   read either, the mirror is all that is known. It is forgotten then if Shared was read while no
   messages arrived: others may have used it as well. If both were lost at once, as with a server
   that dies, nothing can have been missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any, Final

from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import PROBE, Ability, StoreHealth
from argo_mw.store.protocol import Shared, Subscription
from argo_mw.store.tag_mirror import HARD, SOFT, TagMirror, name_of, new_version
from argo_mw.store.tag_reader import TagReader
from argo_mw.store.tag_snapshot import (
    EVERYTHING,
    Freshness,
    TagSnapshot,
    TagVersion,
    names_of,
    read_tag_versions,
)
from argo_mw.store.tag_writer import CHANNEL, TagWriter

_MAX_ATTEMPTS: Final = 3


class TagVersions:
    """The versions of all tags, as one process sees them.

    Args:
        shared: Where the versions are kept.
        clock: Waits between attempts to use *shared* again.
        max_tags: How many tags to mirror; those mirrored first are forgotten first.
        max_pending: How many replaced versions to keep while *shared* refuses them; beyond them,
            everything counts as invalidated.
        retry: Seconds between attempts to use *shared* again.
        on_change: Called with the tags' names whenever any process has replaced some; with
            :data:`EVERYTHING` after a gap.

    Attributes:
        health: What the store refuses.
        banned: The tags that make an entry a miss in this process; see :meth:`ban`.
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
        self._deaf = ""
        self._changes = 0
        # The tags that were loaded last, and their snapshot.
        self._loaded: tuple[frozenset[str], TagSnapshot] = (frozenset(), TagSnapshot((), -1, 0))
        self.banned: frozenset[str] = frozenset()
        self._mirror = TagMirror(max_tags, self._outdate_verdicts)
        self.health = StoreHealth(
            shared,
            clock,
            checks={
                Ability.HEAR: self._listen,
                Ability.WRITE: self._write,
                Ability.ANNOUNCE: self._announce,
            },
            on_change=self._on_health,
            retry=retry,
        )
        self._writer = TagWriter(shared, clock, self._mirror, self.health, max_pending=max_pending)
        self._reader = TagReader(shared, self._mirror, self._writer, self.health)

    # -- life ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen. If the store does not let us, go on trying in the background."""
        if self._subscription is None:
            try:
                await self._subscribe()
            except SharedUnavailable as error:
                self.health.failed(Ability.HEAR, error)

    async def aclose(self) -> None:
        """Stop listening, after one more attempt to store what is pending. Idempotent."""
        await self.health.aclose()
        await self._reader.aclose()
        await self._writer.aclose()
        if self._subscription is not None:
            await self._subscription.aclose()
            self._subscription = None

    @property
    def pending(self) -> int:
        """How many replaced versions the store does not have yet."""
        return len(self._writer.pending)

    @property
    def unannounced(self) -> int:
        """How many replaced versions the store has, and other processes have not heard of."""
        return len(self._writer.unannounced)

    @property
    def usable(self) -> bool:
        """Whether the store could be read and written when it was last asked."""
        return not self.health.down

    @property
    def connected(self) -> bool:
        """Whether the store could be used when it was last asked, and the channel is open."""
        return self.usable and self._subscription is not None and self.health.allows(Ability.HEAR)

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
            if verdict is Freshness.UNKNOWN and self._reader.must_read:
                verdict = await self._compare_with_store(tag_snapshot)
            elif verdict is Freshness.UNKNOWN:
                if not self.health.allows(Ability.READ):
                    break
                await self._reader.read([version[0] for version in tag_snapshot.versions])
                continue
            if verdict is not Freshness.UNKNOWN:
                return verdict
        return Freshness.MISS

    async def look(self, tag_snapshot: TagSnapshot) -> Freshness:
        """Like :meth:`check`, but change nothing, neither in the store nor in the mirror.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        verdict = self.peek(tag_snapshot)
        if verdict is not Freshness.UNKNOWN:
            return verdict
        wanted = {HARD + name: hard for name, hard, _ in tag_snapshot.versions}
        wanted |= {SOFT + name: soft for name, _, soft in tag_snapshot.versions}
        stored = await self._shared.get_many(list(wanted))
        pending = self._writer.pending
        changed = {
            key[: len(HARD)]
            for key, version in zip(wanted, stored, strict=True)
            if version != wanted[key] or key in pending
        }
        if HARD in changed:
            return Freshness.MISS
        return Freshness.STALE if changed else Freshness.FRESH

    def _judge(self, tag_snapshot: TagSnapshot) -> Freshness:
        if self._reader.must_read:
            return Freshness.MISS if self._mirror.bans(tag_snapshot) else Freshness.UNKNOWN
        verdict = self._mirror.compare(tag_snapshot)
        if verdict is not Freshness.UNKNOWN:
            tag_snapshot._verdict = verdict
            tag_snapshot._judged_at = self._changes
        return verdict

    async def _compare_with_store(self, tag_snapshot: TagSnapshot) -> Freshness:
        """Compare with versions that are read now; ``UNKNOWN`` when that has to be repeated."""
        current = await self._reader.read_now([version[0] for version in tag_snapshot.versions])
        return self._mirror.compare(tag_snapshot, current)

    def _outdate_verdicts(self) -> None:
        self._changes += 1

    # -- reading versions ----------------------------------------------------------------

    def prefetch(self, tags: Set[str]) -> None:
        """Begin to read the versions of *tags*, because a :meth:`load` may follow soon.

        Asked beside something else that is read from the store, it takes no time of its own.
        """
        # Nearly always all are mirrored, and a tag is nearly always its own name.
        if not self._mirror.names >= tags:
            self._reader.prefetch(names_of(tags, everything=False))

    def mirrors(self, tags: Set[str]) -> bool:
        """Return whether the versions of *tags*, which are short names, are known here.

        To a snapshot from now on they can then be added by :meth:`extend`, after the load.
        """
        return not self._reader.must_read and self._mirror.names >= tags

    async def load(self, tags: Iterable[str]) -> TagSnapshot:
        """Return the versions of *tags* now: call it before a load, keep the result beside it.

        Name every tag that the result may get. Never raises for the store's sake: while it is
        down, versions are made up locally and count as changed when it is back.
        """
        if tags is self._loaded[0] and self._is_as_now(self._loaded[1]):
            return self._loaded[1]  # a layer further in asks for what an outer one has asked
        names = names_of(tags)
        era, born = self._mirror.era, self._mirror.ticks
        versions = None if self._reader.must_read else self._mirror.versions(names)
        if versions is None and self._reader.read_at_once(names):
            versions = self._mirror.versions(names)
        if versions is None:
            known = await self._reader.read(names)
            versions = tuple((name, known[name].hard, known[name].soft) for name in names)
            return TagSnapshot(versions, era, born)
        # What was mirrored a moment ago need not be compared with the mirror, but for bans.
        judged_at = -1 if self._mirror.banned else self._changes
        loaded = TagSnapshot(versions, era, self._mirror.ticks, judged_at, Freshness.FRESH)
        if type(tags) is frozenset:
            self._loaded = tags, loaded
        return loaded

    def _is_as_now(self, tag_snapshot: TagSnapshot) -> bool:
        """Return whether nothing was read or replaced here since *tag_snapshot*."""
        born = tag_snapshot._born
        return born == self._mirror.ticks and self.peek(tag_snapshot) is Freshness.FRESH

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
            tags: The tags of the answer, or those of them that *tag_snapshot* is without.
            recorded: Versions of some tags from before what depends on them was loaded, such as
                :attr:`~argo_mw.Outcome.versions`: they count, whenever they were mirrored.
        """
        versions = tag_snapshot.versions
        if recorded:
            # A tag that was recorded with two versions has changed in between; both are compared.
            versions = tuple(dict.fromkeys((*versions, *recorded)))
        have = {version[0] for version in versions}
        late = [name for name in names_of(tags) if name not in have]
        known = None if self._reader.must_read else self._mirror.known(late)
        as_mirrored = known is not None and not recorded and not self._mirror.banned
        if known is None:
            known = await self._reader.read(late)
        for name in late:
            found = known[name]
            held = found.held_at(tag_snapshot._born)
            versions += ((name, found.hard, found.soft) if held else (name, b"", b""),)
            as_mirrored = as_mirrored and held
        extended = TagSnapshot(versions, tag_snapshot._era, tag_snapshot._born)
        if as_mirrored:  # what was added changes no verdict
            extended._judged_at, extended._verdict = tag_snapshot._judged_at, tag_snapshot._verdict
        return extended

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

    # -- replacing versions --------------------------------------------------------------

    async def invalidate(self, tags: Iterable[str]) -> bool:
        """Make every entry with one of *tags* a miss.

        In this process that holds from the call on; elsewhere as soon as the message arrives.

        Returns:
            Whether the store has the new versions and has announced them to every process that
            listens. If not, that is done as soon as the store lets us.
        """
        return await self._replace(HARD, tags)

    async def expire(self, tags: Iterable[str]) -> bool:
        """Make every entry with one of *tags* stale; else as :meth:`invalidate`."""
        return await self._replace(SOFT, tags)

    def ban(self, tags: Iterable[str]) -> None:
        """Make every entry with one of *tags* a miss in this process, also what is loaded later.

        It holds until the next call, which names all tags that are banned from then on.
        """
        self.banned = frozenset(tags)
        self._mirror.ban(names_of(self.banned, everything=False))

    async def _replace(self, kind: str, tags: Iterable[str]) -> bool:
        names = names_of(tags, everything=False)
        if not names:
            return self.usable
        for name in names:
            placeholder = new_version()
            self._mirror.replace(kind + name, placeholder)
            if not self._writer.add(kind + name, placeholder):
                self._forget_everything()
        self._report(names)
        return await self._writer.flush()

    # -- the channel and the store's outages ---------------------------------------------

    async def _subscribe(self) -> None:
        self._subscription = await self._shared.subscribe(
            CHANNEL, self._on_message, self._on_gap, on_lost=self._on_lost
        )

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

    def _on_lost(self, why: str) -> None:
        """Rely on no messages until the channel is back, which a gap says."""
        self._deaf = why
        self.health.failed(Ability.HEAR, SharedUnavailable(why))

    def _on_gap(self) -> None:
        """Trust nothing that was read so far: messages may be missing."""
        self._deaf = ""
        self._reader.unheard = False
        self._writer.repeat_recent()
        self._forget_everything()
        if self._subscription is not None:
            self.health.works(Ability.HEAR)
        if self._writer.pending:
            self.health.look()

    def _forget_everything(self) -> None:
        self._mirror.forget_everything()
        self._writer.forget_everything()
        self._report([EVERYTHING])

    def _report(self, names: Iterable[str]) -> None:
        if self._on_change is not None:
            self._on_change(frozenset(names))

    def _on_health(self, ability: Ability) -> None:
        self._outdate_verdicts()
        if ability is Ability.READ and self.health.allows(ability):
            self._mirror.forget_made_up()
        elif ability is Ability.READ and self._reader.unheard:
            self._forget_everything()
        elif ability is Ability.WRITE and self.health.allows(ability):
            self._mirror.offer_made_up()

    # -- trying the store again ----------------------------------------------------------

    async def _listen(self) -> None:
        # The store has just been read, and others may have used it too.
        self._reader.unheard = not self.health.allows(Ability.HEAR)
        if self._deaf:
            raise SharedUnavailable(self._deaf)
        if self._subscription is None:
            await self._subscribe()
            if len(self._mirror):
                self._forget_everything()  # what was mirrored may have been replaced unheard
        self._reader.unheard = False

    async def _write(self) -> None:
        key = f"{PROBE}:{new_version().hex()}"
        await self._shared.compare_and_set(key, None, b"1", ttl=1.0)
        if self._writer.pending and not await self._writer.flush(again=True):
            why = self.health.refused.get(Ability.WRITE)
            if why is not None:
                raise SharedUnavailable(why)

    async def _announce(self) -> None:
        await self._writer.announce_waiting()
