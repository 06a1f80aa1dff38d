"""Snapshots of pandas' frames and series and of numpy's arrays. Imports neither library itself."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs

from argo_mw.base.immutability import ATOMS, OVERHEAD, is_immutable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_MAX_OBJECTS: Final = 1_000_000
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


def frames_of_objects(value: object) -> Sequence[Any]:
    """Return the frames and series in *value* with objects in their cells.

    ``copy.deepcopy`` shares those objects: pandas copies the cells and not what they hold.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return ()
    found: list[Any] = []
    met: dict[int, object] = {}
    waiting = [value]
    while waiting and len(met) < _MAX_OBJECTS:
        one = waiting.pop()
        if id(one) in met or isinstance(one, _NO_DATA) or type(one) in ATOMS:
            continue
        met[id(one)] = one
        if not isinstance(one, (pandas.DataFrame, pandas.Series)):
            waiting += gc.get_referents(one)
        elif any(map(_holds_objects, [one.dtype] if one.ndim == 1 else one.dtypes)):
            found.append(one)
    return found


def copies_of_cells(frames: Sequence[Any]) -> dict[int, object]:
    """Return the memo with which ``copy.deepcopy`` copies the cells of *frames* too."""
    return {id(frame): _copy_cells(frame) for frame in frames}


def _snapshot_pandas(value: Any) -> FrameSnapshot | ObjectFrameSnapshot:
    size = _pandas_size(value)
    columns = [value] if value.ndim == 1 else [value.iloc[:, at] for at in _object_columns(value)]
    labels = [value.index] if value.ndim == 1 else [value.index, value.columns]
    if all(_has_frozen_cells(column) for column in [*columns, *labels]):
        return FrameSnapshot(value.copy(deep=False), size)
    return ObjectFrameSnapshot(_copy_cells(value), size)


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
    """Copy a frame or series, and the objects in its cells too."""
    if value.ndim == 1:
        return value.map(copy.deepcopy) if value.dtype == object else value.copy()
    result = value.copy(deep=False)
    for at in _object_columns(value):
        result.isetitem(at, value.iloc[:, at].map(copy.deepcopy).astype(object))
    return result


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
    """A frame or series with mutable objects in cells, which pandas' own copies would share."""

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
