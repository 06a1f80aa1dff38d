"""Answers kept for equivalent prompts, and their form in the shared store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from argo_mw.plugin import NO_COST, Codecs, Outcome, TagVersions
from argo_mw.store import Snapshot, TagSnapshot, snapshot

FORM = 2
"""The number of the stored form; records of another are skipped."""

Halves = NDArray[np.float16]


@frozen(eq=False)
class KnownAnswer:
    """An answer that may serve equivalent prompts.

    Attributes:
        number: Its number in its scope; negative if only this process has it.
        text: The prompt that it answers, as sent; "" for a templated one.
        slots: The values of a templated prompt, or ``None``.
        vector: The prompt's vector, or ``None``.
        model: The model that the vector is of.
        outcome: The answer, without its value.
        value: The value, from which each caller gets a copy.
        tag_snapshot: The versions of its tags.
        expires_at: Wall time in seconds from which it is not served.
        usd: The US dollars that it cost when it was made, or ``None`` if that is not known.
        took: The seconds that it took then; 0 if that is not known.
    """

    number: int
    text: str
    slots: Mapping[str, object] | None
    vector: Halves | None = field(repr=False)
    model: str
    outcome: Outcome = field(repr=False)
    value: Snapshot = field(repr=False)
    tag_snapshot: TagSnapshot = field(repr=False)
    expires_at: float
    usd: float | None = None
    took: float = 0.0

    def serve(self) -> Outcome:
        """Return the answer for one more caller: free of cost, with its own age."""
        return self.outcome.evolve(value=self.value.copy())


def without_value(outcome: Outcome) -> Outcome:
    """Return *outcome* without its value and what concerns its first caller only."""
    return outcome.evolve(value=None, cost=NO_COST, attempts=(), notes=())


def pack(answer: KnownAnswer, codecs: Codecs, key: str) -> bytes:
    """Return *answer* as bytes for *key* of the shared store.

    Raises:
        NotEncodable: Its value has no codec.
    """
    outcome = answer.outcome
    record = {
        "form": FORM,
        "text": answer.text,
        "slots": None if answer.slots is None else dict(answer.slots),
        "vector": None if answer.vector is None else answer.vector.tobytes(),
        "model": answer.model,
        "value": answer.value.copy(),
        "upstream": outcome.upstream,
        "via": list(outcome.via),
        "as_of": outcome.as_of,
        "answer_expires_at": outcome.expires_at,
        "tags": sorted(outcome.tags),
        "lacks": sorted(outcome.lacks),
        "versions": [list(version) for version in answer.tag_snapshot.versions],
        "expires_at": answer.expires_at,
        "usd": answer.usd,
        "took": answer.took,
    }
    return codecs.encode(record, key)


def answer_in(
    record: Mapping[str, Any], tag_versions: TagVersions, number: int
) -> KnownAnswer | None:
    """Return the answer in *record*, or ``None`` if this version did not write it."""
    if record.get("form") != FORM:
        return None
    try:
        vector = record["vector"]
        tag_snapshot = tag_versions.adopt(tuple(version) for version in record["versions"])
        outcome = Outcome(
            None,
            upstream=record["upstream"],
            via=tuple(record["via"]),
            as_of=record["as_of"],
            expires_at=record["answer_expires_at"],
            tags=frozenset(record["tags"]),
            lacks=frozenset(record["lacks"]),
            versions=tag_snapshot.versions,
        )
        return KnownAnswer(
            number=number,
            text=str(record["text"]),
            slots=record["slots"],
            vector=None if vector is None else np.frombuffer(vector, np.float16),
            model=str(record["model"]),
            outcome=outcome,
            value=snapshot(record["value"]),
            tag_snapshot=tag_snapshot,
            expires_at=float(record["expires_at"]),
            usd=_number(record.get("usd")),
            took=_number(record.get("took")) or 0.0,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _number(value: object) -> float | None:
    """Return *value* if it is a finite number; answers of earlier versions have none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
