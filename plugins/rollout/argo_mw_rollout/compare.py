"""How far a served answer is from a fresh one, and whether it is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import asdict, frozen, has

_MAX_PARTS: Final = 20_000
_MAX_DEPTH: Final = 12


@frozen
class Difference:
    """What distinguishes a served answer from a fresh one.

    Attributes:
        distance: The greatest distance of a number from its fresh one, relative to that.
        unequal: What differs and is no number, or is there in one of them only; "" for nothing.
    """

    distance: float = 0.0
    unequal: str = ""

    def wrong(self, above: float) -> bool:
        """Return whether it is more than age explains: other than in numbers, or by *above*."""
        return bool(self.unequal) or not self.distance <= above


def compare(served: object, fresh: object) -> Difference:
    """Return what distinguishes *served* from *fresh*.

    Of tables with an index, rows that both have are compared, and the newest of each: a served one
    may lack what has come since, and that is its age.
    """
    if _is_table(served) and _is_table(fresh):
        return _tables(served, fresh)
    greatest = 0.0
    for place, (one, other) in enumerate(_pairs(served, fresh, "", 0)):
        if place >= _MAX_PARTS:
            break
        if isinstance(one, _Unequal):
            return Difference(greatest, one.where)
        greatest = max(greatest, _distance(one, other))
    return Difference(greatest)


@frozen
class _Unequal:
    where: str


_Pair = tuple["float | _Unequal", float]


def _pairs(one: object, other: object, where: str, depth: int) -> Iterator[_Pair]:
    """Yield the numbers at equal places of two values; stop with where else they differ."""
    if _is_number(one) and _is_number(other):
        yield float(one), float(other)  # type: ignore[arg-type]
        return
    one, other = _plain(one), _plain(other)
    if depth >= _MAX_DEPTH:
        return
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            yield _Unequal(where or "keys"), 0.0
            return
        for key in one:
            yield from _pairs(one[key], other[key], f"{where}.{key}", depth + 1)
    elif _is_list(one) and _is_list(other):
        if len(one) != len(other):  # type: ignore[arg-type]
            yield _Unequal(where or "length"), 0.0
            return
        for place, (a, b) in enumerate(zip(one, other, strict=True)):  # type: ignore[call-overload]
            yield from _pairs(a, b, f"{where}[{place}]", depth + 1)
    elif type(one) is not type(other) or not _same(one, other):
        yield _Unequal(where or type(one).__name__), 0.0


def _tables(served: object, fresh: object) -> Difference:
    """Compare two data frames."""
    import pandas as pd

    assert isinstance(served, pd.DataFrame)
    assert isinstance(fresh, pd.DataFrame)
    if list(served.columns) != list(fresh.columns):
        return Difference(0.0, "columns")
    if served.empty or fresh.empty:
        return Difference() if served.empty == fresh.empty else Difference(0.0, "no rows")
    common = served.index.intersection(fresh.index)
    settled = common[common < min(served.index[-1], fresh.index[-1])]
    numbers = served.select_dtypes("number").columns
    if len(settled):
        before, after = served.loc[settled], fresh.loc[settled]
        if not before.equals(after):
            # What a bar was when it had ended does not change with time.
            off = _rows(before[numbers], after[numbers])
            rest = [name for name in served.columns if name not in numbers]
            if off > _ROUNDING or not before[rest].equals(after[rest]):
                return Difference(off, "past rows")
    return Difference(_rows(served[numbers].iloc[[-1]], fresh[numbers].iloc[[-1]], prices=True))


_ROUNDING: Final = 1e-9
_PRICES: Final = ("close", "price", "last")


def _rows(one: object, other: object, *, prices: bool = False) -> float:
    """Return the greatest distance between two frames of numbers, of their prices if they have."""
    import pandas as pd

    assert isinstance(one, pd.DataFrame)
    assert isinstance(other, pd.DataFrame)
    names = [name for name in one.columns if str(name).lower() in _PRICES] if prices else []
    greatest = 0.0
    for name in names or one.columns:
        for a, b in zip(one[name].tolist(), other[name].tolist(), strict=True):
            greatest = max(greatest, _distance(float(a), float(b)))
    return greatest


def _distance(one: object, other: float) -> float:
    """Return how far *one* is from *other*, relative to that; endless where one is no number."""
    assert isinstance(one, float)
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(abs(other), 1e-12)


def _plain(value: object) -> object:
    if has(type(value)):
        return asdict(value, recurse=False)  # type: ignore[arg-type]
    fields = getattr(type(value), "__struct_fields__", None)
    if isinstance(fields, tuple):
        return {name: getattr(value, name) for name in fields}
    return value


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # values of any kind
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _is_table(value: object) -> bool:
    return type(value).__name__ == "DataFrame" and type(value).__module__.startswith("pandas")
