"""Snapshots of pandas' frames and series and of numpy's arrays. Imports neither library itself.

And deep copies of objects that hold such frames, or errors that a library has ways of its own to
copy: what :func:`copy.deepcopy` alone would copy wrongly, it finds copied in its memo.
"""

from __future__ import annotations

import copy
import copyreg
import gc
import sys
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from argo_mw.base.immutability import ATOMS, OVERHEAD, is_immutable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_MAX_OBJECTS: Final = 1_000_000
_TBLIB: Final = "tblib.pickling_support"
_NO_DATA: Final = (type, ModuleType, FunctionType, BuiltinFunctionType)
# What pandas' infer_dtype calls columns of immutable objects; it is five times faster than looking
# at each cell.
_FROZEN_COLUMNS: Final = frozenset(
    {"string", "bytes", "boolean", "integer", "floating", "mixed-integer-float", "decimal"}
    | {"datetime", "datetime64", "date", "time", "timedelta", "period", "empty"}
)


def array_snapshot(
    value: Any,
) -> FrameSnapshot | ObjectFrameSnapshot | ArraySnapshot | None:
    """Return a snapshot of a frame, series or array; ``None`` for anything else."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and type(value) in (pandas.DataFrame, pandas.Series):
        return _snapshot_pandas(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        # A view of immutable bytes cannot be made writable again.
        private = numpy.frombuffer(value.tobytes(), dtype=value.dtype).reshape(value.shape)
        return ArraySnapshot(private, value.nbytes + OVERHEAD)
    return None


def copied_apart(value: object) -> Sequence[Any]:
    """Return what in *value* ``copy.deepcopy`` alone would copy wrongly.

    That is frames and series that hold objects, since pandas copies the cells and not what they
    hold; and errors, once dask is imported: its tblib lets all errors of the process be copied in a
    way of its own, which sets the fields of frozen ones and fails.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None and _TBLIB not in sys.modules:
        return ()
    found: list[Any] = []
    met: dict[int, object] = {}
    waiting = [value]
    while waiting and len(met) < _MAX_OBJECTS:
        one = waiting.pop()
        if id(one) in met or isinstance(one, _NO_DATA) or type(one) in ATOMS:
            continue
        met[id(one)] = one
        if isinstance(one, BaseException) and _is_copied_by_tblib(type(one)):
            found.append(one)
            waiting += one.__reduce_ex__(4)[1:]
        elif pandas is None or not isinstance(one, (pandas.DataFrame, pandas.Series, pandas.Index)):
            waiting += _parts(one)
        elif _holds_open_cells(one):
            found.append(one)
    return found


def _is_copied_by_tblib(kind: type[BaseException]) -> bool:
    reducer = copyreg.dispatch_table.get(kind)
    return getattr(reducer, "__module__", "") == _TBLIB and not hasattr(kind, "__deepcopy__")


def _holds_open_cells(value: Any) -> bool:
    if isinstance(value, sys.modules["pandas"].Index):
        return not _has_frozen_labels(value)
    dtypes = [value.dtype] if value.ndim == 1 else value.dtypes
    return any(map(_holds_objects, [*dtypes, value.index.dtype])) or bool(_own_attributes(value))


def _parts(value: Any) -> Sequence[object]:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        # The garbage collector knows no parts of it.
        return list(value.flat) if value.dtype == object else ()
    return gc.get_referents(value)


def copies_apart(parts: Sequence[Any]) -> dict[int, object]:
    """Return the memo in which ``copy.deepcopy`` finds the copies of *parts*."""
    memo: dict[int, object] = {}
    for part in reversed(parts):  # what an error holds comes after it
        if isinstance(part, BaseException):
            _copy_error(part, memo)
        else:
            memo[id(part)] = _copy_cells(part)
    return memo


def _copy_error(error: BaseException, memo: dict[int, object]) -> None:
    """Copy *error* into *memo* as ``copy.deepcopy`` does without tblib."""
    make, arguments, *state = cast("tuple[Any, ...]", error.__reduce_ex__(4))
    made = memo[id(error)] = make(*copy.deepcopy(arguments, memo))
    if state and state[0]:
        made.__setstate__(copy.deepcopy(state[0], memo))


def _snapshot_pandas(value: Any) -> FrameSnapshot | ObjectFrameSnapshot:
    size = _pandas_size(value)
    columns = [value] if value.ndim == 1 else [value.iloc[:, at] for at in _open_columns(value)]
    labels = [value.index] if value.ndim == 1 else [value.index, value.columns]
    if all(map(_has_frozen_cells, columns)) and all(map(_has_frozen_labels, labels)):
        return FrameSnapshot(value.copy(deep=False), size)
    return ObjectFrameSnapshot(_copy_cells(value), size)


def _holds_objects(dtype: Any) -> bool:
    return bool(dtype == "object")


def _object_columns(frame: Any) -> list[int]:
    return [at for at, dtype in enumerate(frame.dtypes) if _holds_objects(dtype)]


def _open_columns(frame: Any) -> list[int]:
    return [at for at, dtype in enumerate(frame.dtypes) if _is_open(dtype)]


def _is_open(dtype: Any) -> bool:
    """Return whether callers of one column of *dtype* could change it for each other.

    pandas protects the cells and not the objects in them; of the arrays of its own it gives away
    some as numpy's, writable: of nullable numbers, categories, sparse numbers and periods.
    """
    if isinstance(dtype, sys.modules["numpy"].dtype):
        return bool(dtype.hasobject)
    pandas = sys.modules["pandas"]
    if isinstance(dtype, pandas.StringDtype):
        return bool(dtype.storage != "pyarrow")
    return not isinstance(dtype, (pandas.ArrowDtype, pandas.DatetimeTZDtype))


def _has_frozen_cells(column: Any) -> bool:
    if column.dtype != object:
        return not _is_open(column.dtype)
    return _are_frozen(column)


def _has_frozen_labels(labels: Any) -> bool:
    if labels.nlevels > 1:
        return all(map(_has_frozen_labels, labels.levels))
    return labels.dtype != object or _are_frozen(labels)


def _are_frozen(cells: Any) -> bool:
    kind = sys.modules["pandas"].api.types.infer_dtype(cells, skipna=True)
    return kind in _FROZEN_COLUMNS or all(map(is_immutable, cells))


def _copy_cells(value: Any) -> Any:
    """Copy a frame, series or index, and the objects in it too."""
    if isinstance(value, sys.modules["pandas"].Index):
        return _copy_labels(value)
    result = _copy_column(value) if value.ndim == 1 else value.copy()
    if value.ndim > 1:
        for at in _object_columns(value):
            result.isetitem(at, _copy_column(value.iloc[:, at]))
    if not _has_frozen_labels(value.index):
        result.index = _copy_labels(value.index)
    for name in _own_attributes(value):
        object.__setattr__(result, name, deep_copy(getattr(value, name)))
    return result


def _own_attributes(value: Any) -> Sequence[str]:
    """Return the attributes that a subclass of pandas' has its copies share."""
    pandas = sys.modules["pandas"]
    if type(value) in (pandas.DataFrame, pandas.Series):
        return ()
    return [name for name in value._metadata if name != "_name" and hasattr(value, name)]


def _copy_column(column: Any) -> Any:
    if column.dtype != object:
        return column.copy()
    return column.map(deep_copy).astype(object)


def _copy_labels(labels: Any) -> Any:
    if labels.nlevels > 1:
        return labels.set_levels([_copy_labels(level) for level in labels.levels])
    cells = list(map(deep_copy, labels))
    return sys.modules["pandas"].Index(cells, dtype=labels.dtype, name=labels.name)


def deep_copy(value: object) -> object:
    """Copy *value*, which may hold frames, and the objects in their cells too."""
    return copy.deepcopy(value, copies_apart(copied_apart(value)))


def _pandas_size(value: Any) -> int:
    # memory_usage() takes 30 times as long as summing the sizes of dtypes.
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
    return size + OVERHEAD * (len(value.columns) + 8)


def _labels_size(column: Any) -> int:
    return int(column.nbytes) * (8 if column.dtype == object else 1) + OVERHEAD


@attrs.frozen
class FrameSnapshot:
    """A frame or series of immutable cells, copied on write by pandas 3."""

    value: pd.DataFrame | pd.Series[Any]
    size: int

    def copy(self) -> object:
        return self.value.copy(deep=False)


@attrs.frozen
class ObjectFrameSnapshot:
    """A frame or series with open columns, which pandas' shallow copies would share."""

    value: pd.DataFrame | pd.Series[Any]
    size: int

    def copy(self) -> object:
        return _copy_cells(self.value)


@attrs.frozen
class ArraySnapshot:
    """An array of numbers over immutable bytes."""

    value: np.ndarray[Any, Any]
    size: int

    def copy(self) -> object:
        return self.value.view()
