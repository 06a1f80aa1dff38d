"""Tag snapshots: the tags of an entry, each with its versions from before the load began."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from argo_mw.base.errors import BadParameter

EVERYTHING: Final = "*"
"""The tag that every entry has."""

_MAX_TAG_BYTES: Final = 400
_HALVES: Final = re.compile("[\ud800-\udfff]")
_NOT_A_VERSION: Final = "a tag version must be a tag's name, its hard and its soft version"

TagVersion = tuple[str, bytes, bytes]
"""A tag with its hard and its soft version."""


class Freshness(Enum):
    """Whether an entry may be served, as far as is known."""

    FRESH = "fresh"
    STALE = "stale"
    """Expired: may be served while a newer one is fetched."""
    MISS = "miss"
    """Invalidated: must not be served."""
    UNKNOWN = "unknown"
    """Not known without asking the store: :meth:`TagVersions.check` does."""


class TagSnapshot(Struct, eq=False, gc=False):
    """The versions that the tags of an entry had before its load began.

    Attributes:
        versions: Each tag with its versions: plain data, to be stored beside the value.
    """

    versions: tuple[TagVersion, ...]
    _era: int
    _born: int
    _judged_at: int = -1
    _verdict: Freshness = Freshness.UNKNOWN

    @property
    def tags(self) -> frozenset[str]:
        """Return the tags without :data:`EVERYTHING`."""
        return frozenset(version[0] for version in self.versions if version[0] != EVERYTHING)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the tags that make it a miss: their versions before the load are not known."""
        return tuple(name for name, hard, _ in self.versions if not hard)


def read_tag_versions(versions: Iterable[Any]) -> tuple[TagVersion, ...]:
    """Check the versions that were stored with an entry, and return them.

    Raises:
        ValueError: They are not what :attr:`TagSnapshot.versions` holds.
    """
    read: list[TagVersion] = []
    everything = False
    for version in versions:
        try:
            name, hard, soft = version
        except (TypeError, ValueError) as error:
            raise ValueError(_NOT_A_VERSION) from error
        if type(name) is not str or type(hard) is not bytes or type(soft) is not bytes:
            raise ValueError(_NOT_A_VERSION)
        everything = everything or name == EVERYTHING
        read.append((name, hard, soft))
    if everything:
        return tuple(read)
    msg = f"an entry without the tag {EVERYTHING!r} was not made by load()"
    raise ValueError(msg)


def names_of(tags: Iterable[str], *, everything: bool = True) -> list[str]:
    """Return the names under which *tags* are kept, each once, :data:`EVERYTHING` among them.

    Raises:
        BadParameter: One of *tags* is not a text, or is empty.
    """
    if isinstance(tags, str):
        msg = f"tags must be a collection of strings, not the string {tags!r}"
        raise BadParameter(msg)
    given = tuple(tags)
    names = dict.fromkeys(given if _are_names(given) else map(_name, given))
    if everything:
        names[EVERYTHING] = None
    return list(names)


def _are_names(tags: tuple[object, ...]) -> bool:
    """Return whether all *tags* surely are their own names: a third of what asking each takes."""
    try:
        together = "".join(tags)  # type: ignore[arg-type]
    except TypeError:
        return False
    return together.isascii() and len(together) <= _MAX_TAG_BYTES and "" not in tags


def _name(tag: object) -> str:
    """Return *tag* itself, or its digest where no key can hold it: it is long, or no UTF-8."""
    if not isinstance(tag, str) or not tag:
        msg = f"a tag must be a string that is not empty, not {tag!r}"
        raise BadParameter(msg)
    if tag.isascii() and len(tag) <= _MAX_TAG_BYTES:
        return tag
    encoded = tag.encode("utf-8", "surrogatepass")
    if len(encoded) <= _MAX_TAG_BYTES and not _HALVES.search(tag):
        return tag
    return "#" + blake2b(encoded, digest_size=24).hexdigest()
