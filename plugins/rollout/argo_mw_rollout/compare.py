"""How far a served answer is from a fresh one, and whether it is wrong.

Time passes between two questions: prices and timestamps move, and so do windows of records.
Whatever that does not explain is wrong: another text, another form, a past record that has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import Final

from attrs import asdict, frozen, has

from argo_mw_rollout.tables import apart, compare_tables, is_price, is_table

_MAX_PARTS: Final = 20_000
_MAX_DEPTH: Final = 12
_MAX_RECORDS: Final = 5_000
_LONGEST_TEXT: Final = 40
"""Letters of a text that may be a number or a moment."""

_LONGEST_AGE: Final = timedelta(days=4)
"""How far two timestamps may be apart if only time has passed: a long weekend."""


@frozen
class Difference:
    """What distinguishes a served answer from a fresh one.

    Attributes:
        distance: The greatest distance of a number from its fresh one, relative to that.
        unequal: What differs and is not a number, or is there in one of them only; "" for nothing.
    """

    distance: float = 0.0
    unequal: str = ""

    def wrong(self, above: float) -> bool:
        """Return whether it is more than age explains: other than in numbers, or by *above*."""
        return bool(self.unequal) or not self.distance <= above


def compare(served: object, fresh: object) -> Difference:
    """Return what distinguishes *served* from *fresh*.

    Of tables with an index and of lists of records, what both have is compared, and the prices of
    the newest of each: a served one may lack what has come since, and that is its age. Of a record
    with prices no other numbers are compared, since sizes and changes move by themselves. Numbers
    may be of any kind, texts included; moments may be some days apart.
    """
    if is_table(served) and is_table(fresh):
        return Difference(*compare_tables(served, fresh))  # type: ignore[arg-type]
    greatest = 0.0
    for place, (one, other) in enumerate(_pairs(served, fresh, "", 0)):
        if place >= _MAX_PARTS:
            break
        if isinstance(one, _Unequal):
            return Difference(greatest, one.where)
        greatest = max(greatest, apart(one, other))
    return Difference(greatest)


@frozen
class _Unequal:
    where: str


_Pair = tuple["float | _Unequal", float]


def _pairs(one: object, other: object, where: str, depth: int) -> Iterator[_Pair]:
    """Yield the numbers at equal places of two values; return where else they differ."""
    same_form = isinstance(one, str) == isinstance(other, str)
    one, other = _plain(one), _plain(other)
    if depth >= _MAX_DEPTH:
        return
    if not same_form:
        yield _Unequal(where or "form"), 0.0
    elif isinstance(one, float) and isinstance(other, float):
        yield one, other
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        yield from _records(one, other, where, depth)
    elif isinstance(one, list) and isinstance(other, list):
        yield from _lists(one, other, where, depth)
    elif not _near(one, other) and not _same(one, other):
        yield _Unequal(where or type(one).__name__), 0.0


def _records(
    one: Mapping[object, object], other: Mapping[object, object], where: str, depth: int
) -> Iterator[_Pair]:
    if one.keys() != other.keys():
        yield _Unequal(where or "keys"), 0.0
        return
    priced = any(map(is_price, one))
    for key in one:
        if priced and not is_price(key) and _both_numbers(one[key], other[key]):
            continue
        yield from _pairs(one[key], other[key], f"{where}.{key}", depth + 1)


def _lists(one: list[object], other: list[object], where: str, depth: int) -> Iterator[_Pair]:
    newest = _moved_on(one, other)
    if newest is not None:
        old, new = map(_plain, newest)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for key in filter(is_price, old.keys() & new.keys()):
                yield from _pairs(old[key], new[key], f"{where}.{key}", depth + 1)
    elif len(one) != len(other):
        yield _Unequal(where or "length"), 0.0
    else:
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(a, b, f"{where}[{place}]", depth + 1)


def _moved_on(one: list[object], other: list[object]) -> tuple[object, object] | None:
    """Return the newest records of two lists of which the *other* is *one*, some time later.

    Records may be gone at one end and new ones have come at the other, as long as at least half are
    the same; the newest old one may have been incomplete. ``None`` if they do not match so.
    """
    if not (2 <= len(one) <= _MAX_RECORDS and 2 <= len(other) <= _MAX_RECORDS):
        return None
    if isinstance(_plain(one[0]), float):
        return None
    for old, new in ((one, other), (one[::-1], other[::-1])):
        settled = old[:-1]
        gone = next((place for place, record in enumerate(settled) if _same(record, new[0])), None)
        if gone is None or (gone == 0 and len(old) >= len(new)):
            continue
        kept = settled[gone:]
        if 2 * len(kept) >= len(settled) and _same(kept, new[: len(kept)]):
            return old[-1], new[-1]
    return None


def _plain(value: object) -> object:
    """Return *value* as a float, a list, a mapping or a moment, where it means one."""
    if isinstance(value, str):
        return _meaning(value) if len(value) <= _LONGEST_TEXT else value
    if isinstance(value, bool | bytes | bytearray):
        return value
    if isinstance(value, int | float | Decimal | Fraction):
        return _float(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        listed = value.tolist()
        return listed if isinstance(listed, list) else _plain(listed)
    return list(value) if isinstance(value, Sequence) else _record(value)


def _record(value: object) -> object:
    """Return the fields of *value* by their names, if it is a record of a usual kind."""
    if has(type(value)):
        return asdict(value, recurse=False)  # type: ignore[arg-type]
    names: object = getattr(type(value), "__struct_fields__", None)  # of msgspec
    if names is None:
        names = tuple(getattr(type(value), "model_fields", ())) or None  # of pydantic
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in fields(value))
    return {name: getattr(value, name) for name in names} if isinstance(names, tuple) else value


def _float(value: int | float | Decimal | Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def _meaning(text: str) -> object:
    """Return the number or the moment that *text* is, if any: many services write them so."""
    number = text.removesuffix("%")
    if not number.isalpha():  # "nan" and "Infinity" may be names
        try:
            return float(number)
        except ValueError:
            pass
    if text[:4].isdigit():
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    return text


def _both_numbers(one: object, other: object) -> bool:
    return isinstance(_plain(one), float) and isinstance(_plain(other), float)


def _near(one: object, other: object) -> bool:
    """Return whether both are moments, and the time between two questions may be between them."""
    if not (isinstance(one, date) and isinstance(other, date)) or type(one) is not type(other):
        return False
    try:
        return abs(one - other) <= _LONGEST_AGE
    except (TypeError, OverflowError):  # one of them says where, and the other does not
        return False


def _same(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    try:
        equals = getattr(one, "equals", None)  # tables of many kinds
        return bool(equals(other)) if callable(equals) else bool(one == other)
    except Exception:  # values of any kind
        return False
