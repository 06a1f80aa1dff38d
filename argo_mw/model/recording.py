"""Recordings: how an operation says which rows its answers become.

The core neither writes rows nor knows their tables: a plugin that records answers calls the
operation's recording, and the plugin that owns the operation declares the table to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, final

from attrs import define, frozen
from msgspec import Struct

from argo_mw.base.fingerprint import fingerprint
from argo_mw.base.ids import TimeOrderedIds, derived_id

Cell: TypeAlias = str | int | float | bytes | bool | None
"""What one column of a row holds."""


@define(eq=False)
class Row:
    """A row for a table. Never changed, but a frozen class would take twice as long to make.

    Attributes:
        table: The name of the table.
        cells: One for each column of the table, the identifier of 16 bytes first.
        tags: What changes when the row is committed: reads that name one of these tags are
            invalidated.
    """

    table: str
    cells: tuple[Cell, ...]
    tags: tuple[str, ...] = ()


@final
class AnsweredCall(Struct, frozen=True, eq=False):
    """What a recording may know of a call and its answer.

    Attributes:
        value: The answer; of a stream, the list of its chunks.
        subject: What the call was about, or "".
        parameters: The parameters of the call.
        owner: The tenant that the answer belongs to, or "" where tenants share it.
        upstream: The upstream that answered, or ``None``.
        as_of: The time for which the answer is valid, in seconds since the epoch, or ``None``.
        time: Seconds since the epoch at which the answer came.
        lacks: The names of what it had to do without.
        identity: A digest of all that a computed answer follows from, equal in every instance that
            computes it from the same: its question, the moment that its inputs speak for, what is
            configured, and what it lacks. "" where each answer counts by itself.
    """

    value: object
    subject: str
    parameters: Mapping[str, object]
    owner: str
    upstream: str | None
    as_of: float | None
    time: float
    lacks: frozenset[str] = frozenset()
    identity: str = ""

    def row_id(self, *parts: str) -> bytes:
        """Return the identifier of a row of this answer, 16 bytes, ordered by time.

        That of a computed answer is the same in every instance, so that it is recorded once,
        whichever of them records it first.

        Args:
            parts: What tells rows of one answer apart, or answers that follow from the same and
                must both be recorded.
        """
        if not self.identity:
            return _new_id()
        moment = self.time if self.as_of is None else self.as_of
        return derived_id(moment, fingerprint((self.identity, *parts)))


_new_id = TimeOrderedIds()


@frozen
class Recording:
    """How the answers of an operation are recorded.

    Attributes:
        table: The name of the table that the rows are for.
        rows: Makes the rows of one answer; none where it is not worth keeping. Raises
            :class:`~argo_mw.BadParameter` where it cannot be kept as it is.
    """

    table: str
    rows: Callable[[AnsweredCall], Iterable[Row]]
