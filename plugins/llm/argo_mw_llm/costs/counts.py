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
class _Table:
    """The fields of one table that are numbers, and the tables in it.

    Attributes:
        buckets: The bucket of each field.
        tables: The tables, by their fields.
    """

    buckets: dict[str, str] = field(factory=dict)
    tables: dict[str, _Table] = field(factory=dict)

    def read(self, counts: Mapping[str, object], found: dict[str, int]) -> None:
        """Add the numbers in *counts* to those *found* before.

        Only what is there is looked at, since an answer has few of the known fields.

        Raises:
            ValueError: One of them is not a number of tokens.
        """
        for name, value in counts.items():
            if value is None:
                continue
            bucket = self.buckets.get(name)
            if bucket is not None:
                found[bucket] = max(found.get(bucket, 0), count_of(name, value))
            elif name in self.tables and _is_mapping(value):
                self.tables[name].read(value, found)


@frozen
class Counts:
    """How the fields of a usage are booked.

    Attributes:
        fields: The bucket of each field, by the dotted path to it.
        required: The fields that a count must have, each with a bucket.
    """

    fields: Mapping[str, str]
    required: Sequence[str] = ()
    _numbers: _Table = field(init=False, repr=False)
    _tiers: Sequence[Sequence[str]] = field(init=False, repr=False)

    @_numbers.default
    def _tables_of_numbers(self) -> _Table:
        numbers = _Table()
        for path, bucket in self.fields.items():
            if bucket not in (FREE, TIER):
                *tables, name = path.split(".")
                table = numbers
                for one in tables:
                    table = table.tables.setdefault(one, _Table())
                table.buckets[name] = bucket
        return numbers

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
        for name in needed:
            if counts.get(name) is None:
                return None
        found: dict[str, int] = {}
        try:
            self._numbers.read(counts, found)
        except ValueError:
            return None
        return found

    def tiers(self, counts: object) -> tuple[str, ...]:
        """Return what changes the price of all tokens in *counts*."""
        found = [_at(counts, path) for path in self._tiers]
        return tuple([one for one in found if isinstance(one, str) and one not in _USUAL])


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
