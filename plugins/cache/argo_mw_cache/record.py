"""What lies in the store for one question, and how it is read."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from argo_mw import NO_COST, Context, Note, Outcome, Stamped, Undecodable

PREFIX = "argo:cache:"
"""What every key of the cache in the store begins with; the operation's name comes next."""
_LAYOUT = 2
_TIMES = frozenset({float, type(None)})


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


_NO_ANSWER = Unusable("undecodable", "it is no answer")


def write_record(
    context: Context, outcome: Outcome, stamped: Stamped, load_time: float, key: str
) -> bytes:
    """The bytes that lie under *key* for *outcome*, which is as a hit gives it.

    They are flat, since every hit reads them: plain lists around the value cost a tenth of what
    nested objects do.

    Raises:
        NotEncodable: The value has no codec.
    """
    notes = [[note.layer, note.text] for note in outcome.notes]
    marks = [list(mark) for mark in stamped.marks]
    record = [
        _LAYOUT,
        outcome.value,
        outcome.upstream,
        list(outcome.via),
        outcome.as_of,
        outcome.expires_at,
        list(outcome.tags),
        notes,
        marks,
        load_time,
    ]
    return context.codecs.encode(record, key)


def read_record(context: Context, data: bytes, key: str) -> Record | Unusable:
    """The record in *data*, which lay under *key*; whatever the bytes are, it does not raise."""
    record = context.codecs.decode(data, key)
    if isinstance(record, Undecodable):
        return Unusable("undecodable", f"{record.reason.value} {record.detail}".strip())
    try:
        fields: Any = record
        layout, value, upstream, via, as_of, expires_at, tags, notes, marks, load_time = fields
        times = {type(expires_at), type(load_time), type(as_of)}
        if layout != _LAYOUT or not _TIMES.issuperset(times) or expires_at is None:
            return _NO_ANSWER
        outcome = Outcome(
            value,
            upstream,
            tuple(via),
            as_of,
            expires_at,
            frozenset(tags),
            NO_COST,
            (),
            tuple([Note(layer, text) for layer, text in notes]),
        )
        return Record(outcome, context.stamps.adopt(marks), load_time)
    except (TypeError, ValueError):
        return _NO_ANSWER
