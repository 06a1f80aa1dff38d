"""Records: rows of this plugin's own tables as values, written and read back."""

from __future__ import annotations

import json
from typing import cast

from attrs import field, frozen

from argo_mw.plugin import Codecs, Row, TimeOrderedIds, Undecodable
from argo_mw_persist.tables import ANSWERS, Cells

new_id = TimeOrderedIds()


def place_of(operation: str, key: str) -> str:
    """Return the place that a recorded answer is encoded for; it cannot be decoded for another."""
    return f"persist:{operation}:{key}"


@frozen
class Answer:
    """An answer, kept as it came from its upstream.

    Attributes:
        operation: The operation's name.
        key: The call's key.
        subject: The subject of the call.
        upstream: The upstream that answered.
        tenant: The tenant that owns it; "" for public operations.
        timestamp: When the answer was true (``as_of``), in microseconds since the epoch.
        value: The answer, encoded by the registry of codecs for its operation and key;
            :meth:`decode` returns it.
        id: 16 bytes, ordered by time.
        lacks: The names of the inputs that it lacks.
    """

    operation: str
    key: str
    subject: str
    upstream: str | None
    tenant: str
    timestamp: int
    value: bytes = field(repr=False)
    id: bytes = field(factory=new_id, repr=TimeOrderedIds.text)
    lacks: tuple[str, ...] = ()

    def decode(self, codecs: Codecs) -> object | Undecodable:
        """Return the answer itself, or why it cannot be read with *codecs*."""
        return codecs.decode(self.value, place_of(self.operation, self.key))

    def row(self) -> Row:
        """Return the row of this answer."""
        cells = (
            self.id,
            self.tenant,
            self.operation,
            self.key,
            self.subject,
            self.upstream,
            self.timestamp,
            self.value,
            json.dumps(self.lacks) if self.lacks else None,
        )
        return Row(ANSWERS.name, cells, ("answers",))

    @classmethod
    def from_cells(cls, cells: Cells) -> Answer:
        """Return the answer that was written as *cells*."""
        identifier, tenant, operation, key, subject, upstream, timestamp, value, lacks = cells
        return cls(
            cast(str, operation),
            cast(str, key),
            cast(str, subject),
            cast("str | None", upstream),
            cast(str, tenant),
            cast(int, timestamp),
            cast(bytes, value),
            cast(bytes, identifier),
            () if lacks is None else tuple(json.loads(cast(str, lacks))),
        )
