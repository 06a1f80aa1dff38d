"""Snapshots: values that several callers receive, none of which can disturb another.

:func:`snapshot` takes a value once, when it is stored; :meth:`Snapshot.copy` returns a value that
its caller may mutate. What cannot be changed is returned as it is; frames and arrays are returned
as copy-on-write or read-only views of one private copy; JSON-like containers are kept as msgpack
and decoded, other plain containers are rebuilt around their immutable leaves, and anything else is
deep-copied. ``docs/decisions/shared-results.md`` has the measurements.

Known limit: ``Series.array`` and ``DatetimeIndex.asi8`` hand out what lies below a frame, writable,
past pandas' own copy-on-write. Writing through them is the one way to reach another's data.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

import attrs
import msgspec

from argo_mw.base.errors import NotShareable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_ATOMS: Final = frozenset(
    {
        *(type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis)),
        *(dt.date, dt.time, dt.datetime, dt.timedelta, dt.timezone),
        *(Decimal, Fraction, UUID),
    }
)
_JSON_KEYS: Final = frozenset({str})
_JSON_LEAVES: Final = frozenset({type(None), bool, int, float, str})
_MAX_JSON_CONTAINERS: Final = 1_000_000
_DECODER: Final = msgspec.msgpack.Decoder()
_OVERHEAD: Final = 64
_MAX_DEPTH: Final = 100
# What pandas' infer_dtype calls columns of objects that nobody can change in place.
_FROZEN_COLUMNS: Final = frozenset(
    {"string", "bytes", "boolean", "integer", "floating", "mixed-integer-float", "decimal"}
    | {"datetime", "datetime64", "date", "time", "timedelta", "period", "empty"}
)


class Snapshot(Protocol):
    """A value kept for several callers.

    Attributes:
        size: About how many bytes it occupies.
    """

    @property
    def size(self) -> int:
        """About how many bytes it occupies."""

    def copy(self) -> object:
        """Return a copy that the caller may mutate."""


def snapshot(value: object) -> Snapshot:
    """Keep *value* so that it can be lent to any number of callers.

    What the caller of ``snapshot`` does to *value* afterwards is not seen by those it is lent to.

    Raises:
        NotShareable: The value holds something that cannot be copied: a lock, a socket, a
            generator.
    """
    if type(value) in _ATOMS:
        return _AsItIs(value, _atom_size(value))
    if _is_json(value, set()) and (encoded := _encoded(value)) is not None:
        return encoded
    survey = _Survey()
    if survey.is_immutable(value):
        return _AsItIs(value, survey.size)
    special = _snapshot_frame_or_array(value)
    if special is not None:
        return special
    if survey.plain:
        return _Rebuilt(_rebuild(value), survey.size)
    return _snapshot_by_copy(value, survey.size)


def is_immutable(value: object) -> bool:
    """Whether *value*, and all that it holds, cannot be changed in place."""
    return type(value) in _ATOMS or _Survey().is_immutable(value)


@attrs.frozen
class _AsItIs:
    value: object
    size: int

    def copy(self) -> object:
        return self.value


@attrs.frozen
class _Encoded:
    value: bytes
    size: int

    def copy(self) -> object:
        return _DECODER.decode(self.value)


@attrs.frozen
class _Rebuilt:
    value: object
    size: int

    def copy(self) -> object:
        return _rebuild(self.value)


@attrs.frozen
class _Copied:
    value: object
    size: int

    def copy(self) -> object:
        return copy.deepcopy(self.value)


@attrs.frozen
class _Pandas:
    """A frame or series of immutable cells, under pandas 3's copy-on-write."""

    value: pd.DataFrame | pd.Series[Any]
    size: int

    def copy(self) -> object:
        return self.value.copy(deep=False)


@attrs.frozen
class _PandasObjects:
    """A frame or series with columns of mutable objects, which pandas' copies would share."""

    value: pd.DataFrame | pd.Series[Any]
    size: int

    def copy(self) -> object:
        return _copy_cells(self.value)


@attrs.frozen
class _Array:
    value: np.ndarray[Any, Any]
    size: int

    def copy(self) -> object:
        return self.value.view()


class _Survey:
    """One walk over a value: is it immutable, is it plain, how large is it?

    Attributes:
        plain: Whether mutable parts are all exact dicts, lists, sets and bytearrays, each met
            once: such a value can be rebuilt without ``copy.deepcopy``.
        size: About how many bytes were seen.
    """

    __slots__ = ("_depth", "_met", "plain", "size")

    def __init__(self) -> None:
        self.plain = True
        self.size = 0
        self._depth = 0
        self._met: set[int] = set()

    def is_immutable(self, value: object) -> bool:
        kind = type(value)
        if kind in _ATOMS:
            self.size += _atom_size(value)
            return True
        if self._depth > _MAX_DEPTH:
            self.plain = False
            return False
        self._depth += 1
        try:
            return self._compound(kind, value)
        finally:
            self._depth -= 1

    def _compound(self, kind: type, value: Any) -> bool:
        self.size += _OVERHEAD
        if kind is tuple or kind is frozenset:
            return self._all(value)
        if kind is dict:
            return self._mutable(value, value.values(), value.keys())
        if kind is list or kind is set:
            return self._mutable(value, value)
        if kind is bytearray:
            self.size += len(value)
            return self._mutable(value, ())
        if isinstance(value, (Enum, type, PurePath)) or _is_frozen_scalar(value):
            return True
        parts = _frozen_parts(kind, value)
        if parts is not None and self._all(parts):
            return True
        self.plain = False
        return False

    def _mutable(self, value: object, *parts: Any) -> bool:
        if id(value) in self._met:
            self.plain = False  # an alias or a cycle: only deepcopy keeps it
            return False
        self._met.add(id(value))
        for part in parts:
            self._all(part)
        return False

    def _all(self, parts: Any) -> bool:
        immutable = True
        for part in parts:
            if type(part) in _ATOMS:  # spelt out: most parts are
                self.size += _atom_size(part)
            else:
                immutable &= self.is_immutable(part)
        return immutable


def _is_json(value: Any, met: set[int]) -> bool:
    """Whether *value* is a dict or list of exact JSON types that msgpack returns unchanged."""
    kind = type(value)
    if kind is dict:
        if not _JSON_KEYS.issuperset(map(type, value)):
            return False
        items = value.values()
    elif kind is list:
        items = value
    else:
        return False
    if id(value) in met or len(met) > _MAX_JSON_CONTAINERS:
        return False
    met.add(id(value))
    if _JSON_LEAVES.issuperset(map(type, items)):
        return True
    return all(type(item) in _JSON_LEAVES or _is_json(item, met) for item in items)


def _encoded(value: object) -> _Encoded | None:
    try:
        encoded = msgspec.msgpack.encode(value)
        _DECODER.decode(encoded)
    except (OverflowError, RecursionError, ValueError):
        return None  # an integer beyond 64 bits, half a surrogate pair, thousands of levels
    return _Encoded(encoded, len(encoded) + _OVERHEAD)


def _frozen_parts(kind: type, value: Any) -> tuple[object, ...] | None:
    """The fields of a frozen record, or ``None`` when *value* is none."""
    if issubclass(kind, tuple) and not hasattr(value, "__dict__"):
        return tuple(value)
    names = _frozen_fields(kind)
    return None if names is None else tuple([getattr(value, name) for name in names])


@functools.lru_cache(maxsize=1024)
def _frozen_fields(kind: type) -> tuple[str, ...] | None:
    if "__attrs_attrs__" in kind.__dict__ and _setattr_of(kind) is _FROZEN_SETATTR:
        return tuple(field.name for field in attrs.fields(kind))
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__ if kind.__struct_config__.frozen else None
    params = kind.__dict__.get("__dataclass_params__")
    if params is not None and params.frozen:
        return tuple(kind.__dict__["__dataclass_fields__"])
    return None


def _is_frozen_scalar(value: object) -> bool:
    """Whether *value* is a numpy or pandas scalar, or a named time zone."""
    if isinstance(value, dt.tzinfo):
        return True
    module = type(value).__module__.partition(".")[0]
    if module == "numpy":
        return isinstance(value, sys.modules["numpy"].generic) and value.dtype.char not in "OV"
    if module == "pandas":
        pandas = sys.modules["pandas"]
        return value is pandas.NA or isinstance(
            value, (pandas.Timestamp, pandas.Timedelta, pandas.Period, type(pandas.NaT))
        )
    return False


def _snapshot_frame_or_array(value: Any) -> Snapshot | None:
    pandas = sys.modules.get("pandas")
    if pandas is not None and type(value) in (pandas.DataFrame, pandas.Series):
        return _snapshot_pandas(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        # Over immutable bytes nobody can make a view writable again.
        private = numpy.frombuffer(value.tobytes(), dtype=value.dtype).reshape(value.shape)
        return _Array(private, value.nbytes + _OVERHEAD)
    return None


def _snapshot_pandas(value: Any) -> Snapshot:
    size = _pandas_size(value)
    columns = [value] if value.ndim == 1 else [value.iloc[:, at] for at in _object_columns(value)]
    labels = [value.index] if value.ndim == 1 else [value.index, value.columns]
    if all(_has_frozen_cells(column) for column in [*columns, *labels]):
        return _Pandas(value.copy(deep=False), size)
    try:
        return _PandasObjects(_copy_cells(value), size)
    except Exception as error:
        raise _not_shareable(value) from error


def _holds_objects(dtype: Any) -> bool:
    return bool(dtype == "object")


def _object_columns(frame: Any) -> list[int]:
    return [at for at, dtype in enumerate(frame.dtypes) if _holds_objects(dtype)]


def _has_frozen_cells(column: Any) -> bool:
    if column.dtype != object:
        return True
    if getattr(column, "nlevels", 1) > 1:
        return all(_has_frozen_cells(level) for level in column.levels)
    kind = sys.modules["pandas"].api.types.infer_dtype(column, skipna=True)
    return kind in _FROZEN_COLUMNS or all(map(is_immutable, column))


def _copy_cells(value: Any) -> Any:
    """A copy of a frame or series in which the objects in its cells are copies too."""
    if value.ndim == 1:
        return value.map(copy.deepcopy) if value.dtype == object else value.copy()
    result = value.copy(deep=False)
    for at in _object_columns(value):
        result.isetitem(at, value.iloc[:, at].map(copy.deepcopy).astype(object))
    return result


def _pandas_size(value: Any) -> int:
    # memory_usage() takes 200 µs for five columns; summing dtypes takes a few.
    size = _labels_size(value.index)
    if value.ndim == 1:
        return size + _labels_size(value)
    rows = len(value)
    for at, dtype in enumerate(value.dtypes):
        fixed = getattr(dtype, "itemsize", None)
        if fixed is not None and not _holds_objects(dtype):
            size += fixed * rows
        else:
            size += _labels_size(value.iloc[:, at])
    return size + _OVERHEAD * (len(value.columns) + 8)


def _labels_size(column: Any) -> int:
    return int(column.nbytes) * (8 if column.dtype == object else 1) + _OVERHEAD


def _snapshot_by_copy(value: object, size: int) -> Snapshot:
    try:
        return _Copied(copy.deepcopy(value), max(size, sys.getsizeof(value, _OVERHEAD)))
    except Exception as error:
        raise _not_shareable(value) from error


def _not_shareable(value: object) -> NotShareable:
    msg = (
        f"a {type(value).__qualname__} cannot be shared between callers, because it cannot be "
        f"copied; return plain data, a frame or a frozen attrs class"
    )
    return NotShareable(msg)


def _rebuild(value: Any) -> Any:
    """A copy of plain containers around the same immutable leaves."""
    copier = _REBUILDERS.get(type(value))
    return value if copier is None else copier(value)


def _rebuild_dict(value: dict[object, object]) -> dict[object, object]:
    result = value.copy()
    for key, item in value.items():
        copier = _REBUILDERS.get(type(item))
        if copier is not None:
            result[key] = copier(item)
    return result


def _rebuild_list(value: list[object]) -> list[object]:
    result = value.copy()
    for at, item in enumerate(value):
        copier = _REBUILDERS.get(type(item))
        if copier is not None:
            result[at] = copier(item)
    return result


_REBUILDERS: Final[Mapping[type, Callable[[Any], object]]] = {
    dict: _rebuild_dict,
    list: _rebuild_list,
    tuple: lambda value: tuple(map(_rebuild, value)),
    set: set.copy,
    bytearray: bytearray,
}


def _atom_size(value: object) -> int:
    if type(value) is str or type(value) is bytes:
        return len(value) + _OVERHEAD
    return _OVERHEAD // 2


@attrs.frozen
class _Sample:
    """Any frozen class, to learn what attrs puts into one."""


def _setattr_of(kind: type) -> object:
    return kind.__setattr__


_FROZEN_SETATTR: Final = _setattr_of(_Sample)
