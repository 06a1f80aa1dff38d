"""The newest row of each subject of a table: which row that is, and how its entry is packed.

An entry holds the cells of the newest row as one JSON text: reading ten thousand entries takes one
scan instead of ten thousand searches in a large index, and gives one value. Entries are derived
from the table and can be dropped and made again at any time.
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
"""How new a row is, to be compared."""
Make = Callable[[Sequence[Cells]], Sequence[object]]
"""Turns rows into what readers get."""

UNPACKABLE = ""
"""The text of an entry whose row JSON cannot hold, such as one with an infinite number."""

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
        subject: The column of the row's subject, never NULL.
        tenant: The column of the row's tenant, never NULL; "" for rows that all tenants share.
        order: The columns by which rows are ordered from older to newer, most significant first,
            never NULL. Of rows that are equal in all of them, the one written first counts.
    """

    subject: str
    tenant: str
    order: tuple[str, ...] = field(validator=validators.min_len(1))


class NewestOrder:
    """Reads the subject of rows, and decides which of two rows is newer.

    Args:
        newest: The columns that decide.
        columns: What each column holds, by name, in the order of a row's cells.
    """

    def __init__(self, newest: Newest, columns: Mapping[str, str]) -> None:
        places = list(columns).index
        self.key: Callable[[Cells], Key] = itemgetter(places(newest.subject), places(newest.tenant))
        # The last column twice, since itemgetter returns no tuple for a single one.
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
