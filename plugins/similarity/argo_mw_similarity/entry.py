"""Answers that are kept for equivalent prompts, and their form in the shared store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from argo_mw.plugin import NO_COST, Codecs, Outcome, TagVersions
from argo_mw.store import Snapshot, TagSnapshot, snapshot

FORM = 1
"""The number of the stored form; entries of another are skipped."""

Halves = NDArray[np.float16]


@frozen(eq=False)
class Entry:
    """One kept answer.

    Attributes:
        number: Its place in its scope; negative when the shared store does not know it.
        text: The prompt it answers, as sent; "" when that had slots.
        slots: What was filled in, for a templated prompt.
        vector: The prompt's vector, or ``None``.
        model: What the vector means.
        outcome: The answer without its value.
        protected: The value.
        stamped: The stamps of its tags.
        expires_at: Wall time in seconds from which it is not served.
    """

    number: int
    text: str
    slots: Mapping[str, object] | None
    vector: Halves | None = field(repr=False)
    model: str
    outcome: Outcome = field(repr=False)
    protected: Snapshot = field(repr=False)
    tag_snapshot: TagSnapshot = field(repr=False)
    expires_at: float

    def serve(self) -> Outcome:
        """The answer for one more caller: it costs nothing and is as old as it is."""
        return self.outcome.evolve(value=self.protected.copy())


def kept(outcome: Outcome) -> Outcome:
    """*outcome* as it is kept: without what only its first caller has to do with."""
    return outcome.evolve(value=None, cost=NO_COST, attempts=(), notes=())


def pack(entry: Entry, codecs: Codecs, place: str) -> bytes:
    """*entry* as bytes for the key *place*.

    Raises:
        NotEncodable: Its value has no codec.
    """
    outcome = entry.outcome
    record = {
        "form": FORM,
        "text": entry.text,
        "slots": None if entry.slots is None else dict(entry.slots),
        "vector": None if entry.vector is None else entry.vector.tobytes(),
        "model": entry.model,
        "value": entry.protected.copy(),
        "upstream": outcome.upstream,
        "via": list(outcome.via),
        "as_of": outcome.as_of,
        "answer_expires_at": outcome.expires_at,
        "tags": sorted(outcome.tags),
        "versions": [list(version) for version in entry.tag_snapshot.versions],
        "expires_at": entry.expires_at,
    }
    return codecs.encode(record, place)


def unpack(
    data: bytes, codecs: Codecs, tag_versions: TagVersions, place: str, number: int
) -> Entry | None:
    """The entry in *data*, or ``None`` when it is not one that this version wrote."""
    record = codecs.decode(data, place)
    if not _is_record(record) or record.get("form") != FORM:
        return None
    try:
        vector = record["vector"]
        outcome = Outcome(
            None,
            upstream=record["upstream"],
            via=tuple(record["via"]),
            as_of=record["as_of"],
            expires_at=record["answer_expires_at"],
            tags=frozenset(record["tags"]),
        )
        return Entry(
            number=number,
            text=str(record["text"]),
            slots=record["slots"],
            vector=None if vector is None else np.frombuffer(vector, np.float16),
            model=str(record["model"]),
            outcome=outcome,
            protected=snapshot(record["value"]),
            tag_snapshot=tag_versions.adopt(tuple(version) for version in record["versions"]),
            expires_at=float(record["expires_at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _is_record(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
