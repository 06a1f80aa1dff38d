"""Counts as plain data: what was published is checked, since another version may have made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

N = TypeVar("N", int, float)


def mapping_of(data: object) -> dict[str, Any]:
    """Return *data* as a mapping of names.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(data, Mapping):
        raise TypeError
    return {str(name): value for name, value in data.items()}


def list_of(data: object) -> Sequence[object]:
    """Return *data* as a list.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(data, list | tuple):
        raise TypeError
    return data


def numbers_of(data: object) -> dict[str, float]:
    """Return *data* as numbers by name.

    Raises:
        TypeError: It is something else.
    """
    found = mapping_of(data)
    if not all(isinstance(value, int | float) for value in found.values()):
        raise TypeError
    return found


def grown(now: Mapping[str, N], before: Mapping[str, N]) -> dict[str, N]:
    """Return by how much each of the numbers *now* is greater than *before*, if it is."""
    added = {name: count - before.get(name, 0) for name, count in now.items()}
    return {name: count for name, count in added.items() if count > 0}
