"""Counts: a provider's numbers of tokens, checked carefully since costs are computed from them.

Anything but a whole number of tokens that a request can have taken is no count, and never lowers
what is held for the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

from attrs import field, frozen

FREE: Final = "free"
"""The bucket of known fields without a price of their own: sums, and parts of other fields."""

TIER: Final = "tier"
"""The bucket of fields that name what changes the price of all tokens."""

_MAX_COUNT = 100_000_000
"""The most tokens of one kind in one request: a hundred times what any model takes."""

_USUAL = ("", "auto", "default", "standard", "standard_only", "global", "not_available")
"""Names of tiers that do not change prices."""


@frozen
class Counts:
    """How the fields of a usage are booked.

    Attributes:
        fields: The bucket of each field, by the dotted path to it.
        required: The fields that a count must have.
    """

    fields: Mapping[str, str]
    required: Sequence[str] = ()
    # Grouped by nested table, since an answer has few of the tables.
    _numbers: Sequence[tuple[Sequence[str], Sequence[tuple[str, str]]]] = field(
        init=False, repr=False
    )
    _tiers: Sequence[Sequence[str]] = field(init=False, repr=False)

    @_numbers.default
    def _tables_of_numbers(self) -> Sequence[tuple[Sequence[str], Sequence[tuple[str, str]]]]:
        tables: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for path, bucket in self.fields.items():
            if bucket not in (FREE, TIER):
                *table, name = path.split(".")
                tables.setdefault(tuple(table), []).append((name, bucket))
        return [*tables.items()]

    @_tiers.default
    def _paths_of_tiers(self) -> Sequence[Sequence[str]]:
        return [path.split(".") for path, bucket in self.fields.items() if bucket == TIER]

    def read(
        self, counts: object, required: Sequence[str] | None = None
    ) -> Mapping[str, int] | None:
        """Return the numbers in *counts* by bucket, or ``None`` if they are missing or impossible.

        Two fields of one bucket mean the same, so the greater number counts.
        """
        if not _is_mapping(counts):
            return None
        needed = self.required if required is None else required
        found: dict[str, int] = {}
        try:
            for table, names in self._numbers:
                inner = _at(counts, table) if table else counts
                if inner is not None and _is_mapping(inner):
                    for name, bucket in names:
                        value = inner.get(name)
                        if value is not None:
                            number = count_of(name, value)
                            found[bucket] = max(found.get(bucket, 0), number)
            for name in needed:
                count_of(name, counts.get(name))
        except ValueError:
            return None
        return found

    def tiers(self, counts: object) -> tuple[str, ...]:
        """Return what changes the price of all tokens in *counts*."""
        found = (_at(counts, path) for path in self._tiers)
        return tuple(one for one in found if isinstance(one, str) and one not in _USUAL)


def count_of(name: str, value: object) -> int:
    """Return *value* as a number of tokens.

    Raises:
        ValueError: It is none.
    """
    if (type(value) is int or (type(value) is float and value.is_integer())) and (
        0 <= value <= _MAX_COUNT
    ):
        return int(value)
    what = f"{value!r:.40}" if isinstance(value, (int, float)) else f"a {type(value).__name__}"
    msg = f"{name} is {what}, which is not a number of tokens"
    raise ValueError(msg)


def part_of(whole: int, *parts: int) -> tuple[int, ...]:
    """Return *parts*, cut to lie within *whole*, and last the rest of *whole*."""
    found: list[int] = []
    for part in parts:
        found.append(min(part, whole))
        whole -= found[-1]
    return (*found, whole)


def _at(counts: object, path: Sequence[str]) -> object:
    for name in path:
        if not _is_mapping(counts):
            return None
        counts = counts.get(name)
    return counts


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    # Nearly all are dicts, and checking for any mapping takes ten times as long.
    return type(value) is dict or isinstance(value, Mapping)
