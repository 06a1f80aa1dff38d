"""What lies in the store for one question, and how it is read."""

from __future__ import annotations

from attrs import frozen

from argo_mw import Context, Outcome, Stamped, Undecodable

PREFIX = "argo:cache:"
"""What every key of the cache in the store begins with; the operation's name comes next."""
_FIELDS = 3


@frozen
class Record:
    """An answer in the store.

    Attributes:
        outcome: The answer as it was loaded; it has an expiry.
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


def read_record(context: Context, data: bytes, key: str) -> Record | Unusable:
    """The record in *data*, which lay under *key*; whatever the bytes are, it does not raise."""
    record = context.codecs.decode(data, key)
    if isinstance(record, Undecodable):
        return Unusable("undecodable", f"{record.reason.value} {record.detail}".strip())
    if not isinstance(record, tuple) or len(record) != _FIELDS:
        return Unusable("undecodable", "it is no answer")
    outcome, marks, load_time = record
    if not isinstance(outcome, Outcome) or not isinstance(load_time, float):
        return Unusable("undecodable", "it is no answer")
    if outcome.expires_at is None:
        return Unusable("undecodable", "it has no expiry")
    try:
        return Record(outcome, context.stamps.adopt(marks), load_time)
    except (TypeError, ValueError) as error:
        return Unusable("undecodable", str(error))
