"""The newest row of each subject, kept beside a table, so that those of many are one short read.

An entry holds the cells of the newest row as one text of JSON: reading ten thousand of them takes
neither ten thousand searches of a large index nor as many looks into the table, and gives one
value. Entries are derived: they can be dropped, and made again, at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from attrs import field, frozen, validators

from argo_mw.plugin import Cell

UNPACKABLE = ""
"""The text of an entry whose row JSON cannot hold, as a number that is not finite."""

_encode = msgspec.json.Encoder().encode


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


@frozen
class NewestRows:
    """What is known of the newest rows of some subjects.

    A subject may have several: of the tenant's own, of what all tenants share, and of what is not
    packed yet. The newest counts, of equals the first, packed ones before others.

    Attributes:
        packed: A JSON array of rows, each an array of its cells; ``id`` and ``bytes`` in base64.
        rows: More rows, in the order in which they were written.
        unknown: The subjects that the table itself must be asked about, whatever else is here.
    """

    packed: str
    rows: Sequence[tuple[Cell, ...]]
    unknown: tuple[str, ...]


def pack(cells: Sequence[object]) -> str:
    """Return *cells* as JSON, or :data:`UNPACKABLE`."""
    for cell in cells:
        if type(cell) is float and not math.isfinite(cell):
            return UNPACKABLE
    return _encode(cells).decode()
