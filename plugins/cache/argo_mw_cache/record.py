"""What lies in the store for one question, and how it is read."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from attrs import frozen

from argo_mw import NO_COST, Context, Note, Outcome, Stamped, Undecodable

PREFIX = "argo:cache:"
"""What every key of the cache in the store begins with; the operation's name comes next."""
KEPT = Note("cache", "kept answer")
"""What a hit says of itself; it is not stored."""


@frozen
class Record:
    """An answer in the store.

    Attributes:
        outcome: The answer as a hit gives it; it has an expiry.
        stamped: Its tags' stamps at the start of its load.
        load_time: Seconds that loading it took.
    """

    outcome: Outcome
    stamped: Stamped
    load_time: float


@frozen
class Unusable:
    """Why there is nothing to use in the store.

    Attributes:
        action: What to count it as.
        detail: More about it.
    """

    action: str
    detail: str = ""


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """A record as it lies in the store: flat, since every hit reads it."""

    layout: Literal[2]
    value: Any
    upstream: str | None
    via: tuple[str, ...]
    as_of: float | None
    expires_at: float
    tags: frozenset[str]
    notes: tuple[tuple[str, str], ...]
    marks: tuple[tuple[str, bytes, bytes], ...]
    load_time: float


def write_record(
    context: Context, outcome: Outcome, stamped: Stamped, load_time: float, key: str
) -> bytes:
    """The bytes that lie under *key* for *outcome*, which is as a hit gives it.

    Raises:
        NotEncodable: The value has no codec.
    """
    fields = [
        2,
        outcome.value,
        outcome.upstream,
        list(outcome.via),
        outcome.as_of,
        outcome.expires_at,
        list(outcome.tags),
        [[note.layer, note.text] for note in outcome.notes if note != KEPT],
        [list(mark) for mark in stamped.marks],
        load_time,
    ]
    return context.codecs.encode(fields, key)


def read_record(context: Context, data: bytes, key: str) -> Record | Unusable:
    """The record in *data*, which lay under *key*; whatever the bytes are, it does not raise."""
    stored = context.codecs.decode_as(_Stored, data, key)
    if isinstance(stored, Undecodable):
        return Unusable("undecodable", f"{stored.reason.value} {stored.detail}".strip())
    outcome = Outcome(
        stored.value,
        stored.upstream,
        stored.via,
        stored.as_of,
        stored.expires_at,
        stored.tags,
        NO_COST,
        (),
        (*[Note(layer, text) for layer, text in stored.notes], KEPT),
    )
    try:
        return Record(outcome, context.stamps.adopt(stored.marks), stored.load_time)
    except ValueError as error:
        return Unusable("undecodable", str(error))
