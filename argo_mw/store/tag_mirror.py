"""The tag versions that one process knows. Nothing in here waits or speaks to the store.

The proof at the top of ``tag_versions.py`` refers to this module as the mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Final

from attrs import define
from msgspec import Struct

from argo_mw.base.entropy import random_bytes
from argo_mw.store.tag_snapshot import Freshness, TagSnapshot, TagVersion

HARD: Final = "tag:h:"
SOFT: Final = "tag:s:"
KINDS: Final = (HARD, SOFT)


class KnownVersions(Struct, frozen=True, gc=False):
    """A tag's versions in the mirror.

    Attributes:
        hard: The version that an invalidation replaces.
        soft: The version that an expiry replaces.
        since: The tick at which they came.
        made_up: Whether one was made up here, since the store could not be reached or refused it.
    """

    hard: bytes
    soft: bytes
    since: int
    made_up: bool = False

    def held_at(self, tick: int) -> bool:
        """Return whether a load that began at *tick* began under these versions.

        They were mirrored then, or nothing has replaced them since they were made.
        """
        return self.since <= tick or (is_first(self.hard) and is_first(self.soft))

    def of(self, kind: str) -> bytes:
        """Return the version of *kind*."""
        return self.hard if kind == HARD else self.soft

    def differs(self, other: KnownVersions) -> bool:
        """Return whether a version of *other* is another one."""
        return self.hard != other.hard or self.soft != other.soft

    def with_version(self, kind: str, version: bytes, since: int) -> KnownVersions:
        """Return these versions with *version* in place of the one of *kind*."""
        if kind == HARD:
            return KnownVersions(version, self.soft, since, self.made_up)
        return KnownVersions(self.hard, version, since, self.made_up)


@define(eq=False)
class _Token:
    """Reads of a tag that are under way."""

    readers: int = 0


class TagMirror:
    """The tag versions that one process knows.

    Args:
        max_tags: How many tags to keep; the one kept longest makes room for a new one.
        on_change: Called whenever :meth:`compare` may come to another result than before.

    Attributes:
        banned: The names of tags that make every entry a miss.
        ticks: A number that grows whenever something is read, replaced or forgotten.
        era: A number that grows whenever everything is forgotten.
        names: Those of the tags whose versions are mirrored now.
    """

    def __init__(self, max_tags: int, on_change: Callable[[], None]) -> None:
        self.ticks = 0
        self.era = 0
        self._max_tags = max_tags
        self._on_change = on_change
        self.banned: frozenset[str] = frozenset()
        self._known: dict[str, KnownVersions] = {}
        self.names: Set[str] = self._known.keys()
        self._offers: dict[str, KnownVersions] = {}
        self._reads: dict[str, _Token] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> KnownVersions | None:
        """Return the versions of the tag *name*, or ``None`` where they are not mirrored."""
        return self._known.get(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of *names* that are not mirrored."""
        known = self._known
        return [name for name in names if name not in known]

    def versions(self, names: Iterable[str]) -> tuple[TagVersion, ...] | None:
        """Return the versions of *names*, or ``None`` when one of them is not mirrored."""
        versions = []
        for name in names:
            known = self._known.get(name)
            if known is None:
                return None
            versions.append((name, known.hard, known.soft))
        return tuple(versions)

    def known(self, names: Sequence[str]) -> Mapping[str, KnownVersions] | None:
        """Return what is known of *names*, or ``None`` when one of them is not mirrored."""
        found = {}
        for name in names:
            known = self._known.get(name)
            if known is None:
                return None
            found[name] = known
        return found

    def compare(
        self, tag_snapshot: TagSnapshot, current: Mapping[str, KnownVersions] | None = None
    ) -> Freshness:
        """Compare the versions of *tag_snapshot* with *current* ones, by default the mirrored."""
        if tag_snapshot._era != self.era:
            return Freshness.MISS
        if current is None:
            current = self._known
        verdict = Freshness.FRESH
        for name, hard, soft in tag_snapshot.versions:
            known = current.get(name)
            if not hard or name in self.banned or (known is not None and known.hard != hard):
                return Freshness.MISS
            if known is None:
                verdict = Freshness.UNKNOWN
            elif known.soft != soft and verdict is Freshness.FRESH:
                verdict = Freshness.STALE
        return verdict

    def ban(self, names: Iterable[str]) -> None:
        """Count every entry with one of *names* as changed, whatever its versions; no others."""
        self.banned = frozenset(names)
        self._on_change()

    def bans(self, tag_snapshot: TagSnapshot) -> bool:
        """Return whether *tag_snapshot* has a tag that is banned."""
        return any(version[0] in self.banned for version in tag_snapshot.versions)

    def made_up(self, key: str) -> bytes:
        """Return the version under *key* that was made up here and not replaced since, if any."""
        name = name_of(key)
        known = self._known.get(name)
        if known is None or not known.made_up:
            known = self._offers.get(name)
        return b"" if known is None else known.of(kind_of(key))

    # -- reading from the store ----------------------------------------------------------

    def begin_read(self, names: Iterable[str]) -> dict[str, _Token]:
        """Return a token for each of *names*; it ends when the tag is replaced or announced.

        Reads of a tag that overlap share its token.
        """
        tokens = {name: self._reads.setdefault(name, _Token()) for name in names}
        for token in tokens.values():
            token.readers += 1
        return tokens

    def end_read(
        self, tokens: Mapping[str, _Token], found: Mapping[str, KnownVersions]
    ) -> set[str]:
        """Keep the versions in *found*, except of tags whose token has ended meanwhile.

        Returns:
            The names of those that it has kept.
        """
        kept = set()
        for name, token in tokens.items():
            token.readers -= 1
            if self._reads.get(name) is not token:
                continue
            if not token.readers:
                del self._reads[name]
            if name in found:
                self._keep(name, found[name])
                kept.add(name)
        return kept

    def keep_read(self, names: Iterable[str], versions: Iterable[bytes]) -> None:
        """Keep *versions* of *names*, hard and soft ones in turns, that were read in this step."""
        tick = self.tick()
        kinds = iter(versions)
        for name, hard, soft in zip(names, kinds, kinds, strict=True):
            self._keep(name, KnownVersions(hard, soft, tick))

    def tick(self) -> int:
        """Begin the next tick and return it."""
        self.ticks += 1
        return self.ticks

    def _keep(self, name: str, known: KnownVersions) -> None:
        before = self._known.get(name)
        if before is None and len(self._known) >= self._max_tags:
            del self._known[next(iter(self._known))]
            self._on_change()
        elif before is not None and before.differs(known):
            self._on_change()
        self._known[name] = known

    # -- replacing and forgetting --------------------------------------------------------

    def replace(self, key: str, placeholder: bytes) -> None:
        """Put *placeholder* in place of the version under *key*, before the store has one."""
        name = name_of(key)
        self._reads.pop(name, None)
        self._offers.pop(name, None)
        self._on_change()
        tick = self.tick()
        known = self._known.get(name)
        if known is not None:
            self._known[name] = known.with_version(kind_of(key), placeholder, tick)

    def confirm(self, key: str, placeholder: bytes, version: bytes) -> None:
        """Put *version*, which the store has now, in place of its *placeholder*.

        The tag is forgotten when something else than *placeholder* is there.
        """
        name, kind = name_of(key), kind_of(key)
        known = self._known.get(name)
        self.forget(name)
        if known is not None and known.of(kind) == placeholder:
            self._known[name] = known.with_version(kind, version, self.ticks)

    def forget(self, name: str) -> None:
        """Forget the versions of the tag *name*, and those of reads that are under way."""
        self._reads.pop(name, None)
        self._offers.pop(name, None)
        if self._known.pop(name, None) is not None:
            self._on_change()
            self.ticks += 1

    def forget_made_up(self) -> None:
        """Forget every version that was made up here."""
        for name in [name for name, known in self._known.items() if known.made_up]:
            self.forget(name)

    def offer_made_up(self) -> None:
        """Have versions that were made up here read again: the store may take them as its own."""
        self._offers = {name: known for name, known in self._known.items() if known.made_up}
        for name in self._offers:
            del self._known[name]
        self._on_change()

    def forget_everything(self) -> None:
        """Begin a new era: every entry of an earlier one counts as changed."""
        self.era += 1
        self._on_change()
        self.ticks += 1
        self._known.clear()
        self._offers.clear()
        self._reads.clear()


def new_version() -> bytes:
    """Return a version unlike every other: 8 random bytes, the first not zero."""
    version = random_bytes(8)
    return version if version[0] else b"\x01" + version[1:]


def first_version() -> bytes:
    """Return the version of a tag that has none: like :func:`new_version`, and begins with zero."""
    return b"\0" + random_bytes(7)


def first_versions() -> tuple[bytes, bytes]:
    """Return a hard and a soft :func:`first_version`, of one draw."""
    drawn = random_bytes(14)
    return b"\0" + drawn[:7], b"\0" + drawn[7:]


def is_first(version: bytes) -> bool:
    """Return whether *version* was made by reading its tag, and never replaced since."""
    return version[:1] == b"\0"


def kind_of(key: str) -> str:
    """Return which of :data:`KINDS` the store's *key* holds."""
    return key[: len(HARD)]


def name_of(key: str) -> str:
    """Return the name of the tag whose version the store's *key* holds."""
    return key[len(HARD) :]
