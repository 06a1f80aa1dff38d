"""Buckets: a stable position between 0 and 100 % for every unit.

The hash is projected to integers as flagd does (https://flagd.dev/reference/specifications/
custom-operations/fractional-operation-spec/), without the bias of a modulo. Treatment is the
lowest share of the buckets, so raising the percentage never moves a unit out again.
"""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000
"""Resolution: one hundredth of a percent."""


def bucket(salt: str, unit: str) -> int:
    """Return the bucket of *unit*, from 0 to ``BUCKETS - 1``, the same in every process."""
    digest = blake2b(f"{salt}\0{unit}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") * BUCKETS >> 32


def in_treatment(place: int, percent: float) -> bool:
    """Return whether *place* is among the lowest *percent* of the buckets."""
    return place < round(percent * BUCKETS / 100)


def in_control(place: int, percent: float) -> bool:
    """Return whether *place* is in the group that treatment is compared with.

    It is as large as treatment where there is room, and begins at the other end, so that it too
    keeps its units until the ramp needs them.
    """
    return place >= BUCKETS - round(min(percent, 100 - percent) * BUCKETS / 100)
