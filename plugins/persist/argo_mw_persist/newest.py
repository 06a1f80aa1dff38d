"""The newest row of each subject of a table: which rows these are, and what is made of them.

An entry holds the cells of the newest row as one text of JSON: reading ten thousand of them takes
neither ten thousand searches of a large index nor as many looks into the table, and gives one
value. Entries are derived: they can be dropped, and made again, at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from attrs import field, frozen, validators

from argo_mw.plugin import Cell

Cells = tuple[Cell, ...]
Key = tuple[str, str]
"""A subject and a tenant."""
Age = tuple[int | float | str, ...]
"""What says how new a row is."""
Make = Callable[[Sequence[Cells]], Sequence[object]]
"""Makes of rows what their readers get."""

UNPACKABLE = ""
"""The text of an entry whose row JSON cannot hold, as a number that is not finite."""

_encode = msgspec.json.Encoder().encode
_KINDS: Mapping[str, object] = {
    "id": bytes,
    "text": str | None,
    "real": int | float | None,
    "int": int | float | None,
    "flag": int | bool | None,
    "bytes": bytes | None,
}


@frozen
class Newest:
    """Which rows of a table are the newest.

    Attributes:
        subject: The column of what a row is about, never NULL.
        tenant: The column of the tenant that it belongs to, never NULL; "" is what all share.
        order: The columns by which one row is newer than another, the first decides first; none is
            ever NULL. Of rows that are equal in all of them the one written first counts.
    """

    subject: str
    tenant: str
    order: tuple[str, ...] = field(validator=validators.min_len(1))


class NewestOrder:
    """What rows are about, and which of two is the newer.

    Args:
        newest: The columns that say so.
        columns: What each column holds, by name, in the order of a row's cells.
    """

    def __init__(self, newest: Newest, columns: Mapping[str, str]) -> None:
        places = list(columns).index
        self.key: Callable[[Cells], Key] = itemgetter(places(newest.subject), places(newest.tenant))
        # The last once more: one place alone would give a value and no tuple.
        order = [*newest.order, newest.order[-1]]
        self.age: Callable[[Cells], Age] = itemgetter(*map(places, order))
        # A type that only this table has.
        row: Any = tuple[tuple(_KINDS[kind] for kind in columns.values())]  # type: ignore[misc]
        self._decode: Callable[[str], list[Cells]] = msgspec.json.Decoder(list[row]).decode

    def newest(self, rows: Iterable[Cells]) -> dict[Key, Cells]:
        """Return the newest of *rows* by subject and tenant; of equals the first."""
        newest: dict[Key, Cells] = {}
        key, age = self.key, self.age
        for row in rows:
            place = key(row)
            other = newest.get(place)
            if other is None or age(row) > age(other):
                newest[place] = row
        return newest

    def unpacked(self, packed: str) -> Sequence[Cells]:
        """Return the rows in *packed*, a JSON array of what :func:`pack` returned."""
        return self._decode(packed)


def pack(cells: Sequence[object]) -> str:
    """Return *cells* as JSON, or :data:`UNPACKABLE`."""
    for cell in cells:
        if type(cell) is float and not math.isfinite(cell):
            return UNPACKABLE
    return _encode(cells).decode()
