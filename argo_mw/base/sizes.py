"""Sizes as people write them: ``"512MB"``, ``"1.5GiB"``."""

from __future__ import annotations

import re
from typing import Final

from argo_mw.base.errors import BadParameter

_UNITS: Final = {
    "b": 1,
    **{f"{prefix}b": 1_000**power for power, prefix in enumerate("kmgt", start=1)},
    **{f"{prefix}ib": 1_024**power for power, prefix in enumerate("kmgt", start=1)},
}
_SIZE: Final = re.compile(
    r"\s{0,9}(\d{1,20}(?:\.\d{1,20})?)\s{0,9}([a-z]{1,3})\s{0,9}", re.IGNORECASE | re.ASCII
)
_MAX_TEXT: Final = 40


def size_in_bytes(size: int | str) -> int:
    """Return the bytes of *size*: a whole number of bytes, or a text such as ``"512MB"``.

    Args:
        size: Bytes, or a number with a unit: ``B``, ``kB``, ``MB``, ``GB``, ``TB`` of 1,000 each,
            ``KiB``, ``MiB``, ``GiB``, ``TiB`` of 1,024.

    Raises:
        BadParameter: It is not a size, or negative.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size) if len(size) <= _MAX_TEXT else None
        unit = None if found is None else _UNITS.get(found[2].lower())
        if found is None or unit is None:
            raise _no_size(size)
        return int(float(found[1]) * unit)
    if isinstance(size, bool) or size < 0:
        raise _no_size(size)
    return size


def _no_size(given: object) -> BadParameter:
    example = 'write bytes, or a text such as "512MB" or "1.5GiB"'
    return BadParameter(f"{repr(given)[:_MAX_TEXT]} is not a size; {example}")
