"""Reading tag versions from the store, and creating those that it has lost or never had.

The proof at the top of ``tag_versions.py`` says what may be relied upon, and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextvars import Context
from typing import Final

from msgspec.structs import replace

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability, StoreHealth
from argo_mw.store.memory import answers_at_once
from argo_mw.store.protocol import Shared
from argo_mw.store.tag_mirror import (
    HARD,
    KINDS,
    SOFT,
    KnownVersions,
    TagMirror,
    first_version,
    first_versions,
    name_of,
    new_version,
)
from argo_mw.store.tag_writer import TAG_TTL, TagWriter

_MAX_TOGETHER: Final = 250
"""How many tags are read ahead in one step, or a few more: a driver may hold its store for it."""


class TagReader:
    """Reads tag versions into the mirror.

    Args:
        shared: Where the versions are kept.
        mirror: What this process knows.
        writer: Knows what this process has replaced.
        health: Knows what *shared* refuses, and hears of it here.

    Attributes:
        unheard: Whether *shared* was in use while no messages arrived, so that what is mirrored may
            have been replaced unheard.
    """

    def __init__(
        self, shared: Shared, mirror: TagMirror, writer: TagWriter, health: StoreHealth
    ) -> None:
        self.unheard = False
        self._shared = shared
        self._at_once = answers_at_once(shared)
        self._mirror = mirror
        self._writer = writer
        self._health = health
        self._fetching: dict[str, asyncio.Task[object]] = {}
        self._gathered: tuple[list[str], asyncio.Task[object] | None] = ([], None)

    @property
    def must_read(self) -> bool:
        """Whether the store can be read, and the mirror proves nothing: no messages arrive."""
        refused = self._health.refused
        return bool(refused) and Ability.HEAR in refused and Ability.READ not in refused

    def prefetch(self, names: Iterable[str]) -> None:
        """Begin to read those of *names* that are not mirrored; later reads of them wait for it."""
        if self._health.refused:
            return
        get, fetching = self._mirror.get, self._fetching
        missing = [name for name in names if get(name) is None and name not in fetching]
        if not missing:
            return
        gathered, task = self._gathered
        if task is None or len(gathered) >= _MAX_TOGETHER:
            gathered = []
            # In no caller's context: other calls wait for it as well.
            task = asyncio.create_task(
                self._prefetch(gathered), name="argo-mw:tag-versions-read", context=Context()
            )
            self._gathered = gathered, task
        gathered += missing
        fetching.update(dict.fromkeys(missing, task))

    async def _prefetch(self, names: list[str]) -> None:
        """Read *names*, to which callers add until this begins: those of one turn of the loop."""
        if self._gathered[0] is names:
            self._gathered = [], None
        try:
            await self._read(names, {})
        finally:
            for name in names:
                del self._fetching[name]

    async def aclose(self) -> None:
        """End the reads that nobody waits for. Idempotent."""
        for task in set(self._fetching.values()):
            task.cancel()
            await asyncio.wait([task])

    def read_at_once(self, names: Iterable[str]) -> bool:
        """Mirror the versions of *names* if the store answers without waiting; return whether.

        Nearly every new answer has a tag that is new as well, and the steps of :meth:`read` take
        twice as long. No message can come in between, so no token is needed.
        """
        if self._at_once is None or self._health.refused or self._writer.pending:
            return False
        missing = self._mirror.missing(names)
        offered: dict[str, bytes] = {}
        for name in missing:
            offered[HARD + name], offered[SOFT + name] = first_versions()
        present = self._at_once.create_at_once(offered, TAG_TTL)
        stored = zip(offered.items(), present, strict=True)
        created = [key for (key, version), had in stored if had == version]
        if created:
            self._writer.announce_soon(created)
        self._mirror.keep_read(missing, present)
        return True

    async def read(self, names: Collection[str]) -> dict[str, KnownVersions]:
        """Return the versions of *names*: mirrored, else from the store, else made up."""
        fetching = {self._fetching[name] for name in names if name in self._fetching}
        if fetching:
            await asyncio.wait(fetching)
        known: dict[str, KnownVersions] = {}
        for name in () if self.must_read else names:
            mirrored = self._mirror.get(name)
            if mirrored is not None:
                known[name] = mirrored
        return await self._read([name for name in names if name not in known], known)

    async def _read(
        self, missing: list[str], known: dict[str, KnownVersions]
    ) -> dict[str, KnownVersions]:
        """Return *known*, and the versions of *missing* from the store, else made up."""
        if not missing:
            return known
        tokens = self._mirror.begin_read(missing)
        found: Mapping[str, KnownVersions] = {}
        try:
            # Without messages nothing stays mirrored, so that nearly all of them are in the store.
            found = await (self._fetch if self.must_read else self._fetch_new)(missing)
        except SharedUnavailable as error:
            self._health.failed(Ability.READ, error)
            found = self._make_up(missing)
        finally:
            self._mirror.end_read(tokens, found)
        return known | dict(found)

    async def read_now(self, names: Iterable[str]) -> dict[str, KnownVersions]:
        """Return the versions that *names* have now; without those that changed here meanwhile.

        Where the store cannot be read, what is mirrored is all that is known.
        """
        wanted = list(names)
        tokens = self._mirror.begin_read(wanted)
        found: Mapping[str, KnownVersions] = {}
        kept: set[str] = set()
        try:
            found = await self._fetch(wanted)
        except SharedUnavailable as error:
            self._health.failed(Ability.READ, error)
        finally:
            kept = self._mirror.end_read(tokens, found)
        newest = {name: found[name] if name in kept else self._mirror.get(name) for name in wanted}
        return {name: known for name, known in newest.items() if known is not None}

    async def _fetch_new(self, names: list[str]) -> Mapping[str, KnownVersions]:
        """Return the store's versions of *names*, most of which it may never have had.

        It is given some in the same step, so that a new tag is read in one round trip.

        Raises:
            SharedUnavailable: The store cannot be read.
        """
        keys = [kind + name for name in names for kind in KINDS]
        stored = await self._create(keys)
        return self._found(names, stored) if stored else await self._fetch(names)

    async def _fetch(self, names: list[str]) -> Mapping[str, KnownVersions]:
        """Return the store's versions of *names*, made up where it has none and takes none.

        Raises:
            SharedUnavailable: The store cannot be read.
        """
        keys = [kind + name for name in names for kind in KINDS]
        stored = dict(zip(keys, await self._shared.get_many(keys), strict=True))
        missing = [key for key, version in stored.items() if not version]
        if missing:
            stored.update(await self._create(missing))
        return self._found(names, stored)

    def _found(
        self, names: Iterable[str], stored: Mapping[str, bytes | None]
    ) -> dict[str, KnownVersions]:
        """Return the versions of *names*, of which *stored* has what the store has just had."""
        self.unheard = self.unheard or not self._health.allows(Ability.HEAR)
        made_up = {name_of(key) for key, version in stored.items() if not version}
        current = {**stored, **self._writer.placeholders(stored)}
        tick = self._mirror.tick()
        return {name: self._known(name, current, tick, name in made_up) for name in names}

    def _known(
        self, name: str, stored: Mapping[str, bytes | None], tick: int, made_up: bool
    ) -> KnownVersions:
        hard, soft = (stored[kind + name] for kind in KINDS)
        if made_up:
            hard = hard or self._mirror.made_up(HARD + name) or first_version()
            soft = soft or self._mirror.made_up(SOFT + name) or first_version()
        known = KnownVersions(hard or b"", soft or b"", tick, made_up)
        before = self._mirror.get(name)
        if before is None or before.differs(known):
            return known
        # No version ever comes back, so an equal one was not replaced in between either.
        return replace(known, since=before.since)

    async def _create(self, keys: list[str]) -> Mapping[str, bytes]:
        """Return the versions that the store has under *keys*; nothing if it refuses writes."""
        if not self._health.allows(Ability.WRITE):
            return {}
        # While messages arrive, an invalidation would have ended what was made up here.
        hears = self._health.allows(Ability.HEAR)
        offered = {key: (hears and self._mirror.made_up(key)) or first_version() for key in keys}
        try:
            present = await self._shared.create_many(offered, ttl=TAG_TTL)
        except SharedUnavailable as error:
            self._health.failed(Ability.WRITE, error)
            return {}
        stored = dict(zip(keys, present, strict=True))
        created = [key for key, version in stored.items() if version == offered[key]]
        if created:
            self._writer.announce_soon(created)
        return stored

    def _make_up(self, names: list[str]) -> dict[str, KnownVersions]:
        tick = self._mirror.tick()
        return {
            name: self._mirror.get(name)
            or KnownVersions(new_version(), new_version(), tick, made_up=True)
            for name in names
        }
