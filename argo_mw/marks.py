"""Marks: the tags of an entry, each with the stamps that it had before the entry's load began."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

from attrs import define, field

from argo_mw.errors import BadParameter

EVERYTHING: Final = "*"
"""The tag that every entry has."""

_MAX_TAG_BYTES: Final = 400
_NO_MARK: Final = "a mark must be a tag's name, its hard and its soft stamp"

Mark = tuple[str, bytes, bytes]
"""A tag with its hard and its soft stamp."""


class Freshness(Enum):
    """What is known about an entry."""

    FRESH = "fresh"
    STALE = "stale"
    """Expired: may be served while a newer one is fetched."""
    MISS = "miss"
    """Invalidated: must not be served."""
    UNKNOWN = "unknown"
    """Not known without asking the store: :meth:`Stamps.check` does."""


@define(eq=False)
class Stamped:
    """The stamps that an entry's tags had before its load began.

    Attributes:
        marks: Each tag with its stamps: plain data, to be stored beside the value.
    """

    marks: tuple[Mark, ...]
    _era: int = field(repr=False)
    _born: int = field(repr=False)
    _judged_at: int = field(default=-1, init=False, repr=False)
    _verdict: Freshness = field(default=Freshness.UNKNOWN, init=False, repr=False)

    @property
    def tags(self) -> frozenset[str]:
        """The tags, without :data:`EVERYTHING`."""
        return frozenset(mark[0] for mark in self.marks if mark[0] != EVERYTHING)


def read_marks(marks: Iterable[Any]) -> tuple[Mark, ...]:
    """The marks of an entry, as they were stored with it.

    Raises:
        ValueError: They are not what :attr:`Stamped.marks` holds.
    """
    read: list[Mark] = []
    everything = False
    for mark in marks:
        try:
            name, hard, soft = mark
        except (TypeError, ValueError) as error:
            raise ValueError(_NO_MARK) from error
        if type(name) is not str or type(hard) is not bytes or type(soft) is not bytes:
            raise ValueError(_NO_MARK)
        everything = everything or name == EVERYTHING
        read.append((name, hard, soft))
    if everything:
        return tuple(read)
    msg = f"an entry without the tag {EVERYTHING!r} was not stamped by load()"
    raise ValueError(msg)


def names_of(tags: Iterable[str], *, everything: bool = True) -> list[str]:
    """The names that *tags* are kept under, each once, with :data:`EVERYTHING` among them.

    Raises:
        BadParameter: One is no tag.
    """
    if isinstance(tags, str):
        msg = f"tags must be a collection of strings, not the string {tags!r}"
        raise BadParameter(msg)
    names = dict.fromkeys(map(_name, tags))
    if everything:
        names[EVERYTHING] = None
    return list(names)


def _name(tag: object) -> str:
    """The name that *tag* is kept under: its digest when it is long, because keys are bounded."""
    if not isinstance(tag, str) or not tag:
        msg = f"a tag must be a string that is not empty, not {tag!r}"
        raise BadParameter(msg)
    if len(tag) * 4 <= _MAX_TAG_BYTES or len(encoded := tag.encode()) <= _MAX_TAG_BYTES:
        return tag
    return "#" + blake2b(encoded, digest_size=24).hexdigest()
