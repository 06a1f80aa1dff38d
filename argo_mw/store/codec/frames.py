"""Codecs of pandas' frames, series, indexes and scalars; imported when one is met.

Columns are encoded as Arrow IPC; labels, names and dtypes in a header of our own, because pyarrow's
pandas metadata turns labels that are not text into text. Numbers keep every bit: NaN stays NaN,
not null. The frequency of a DatetimeIndex is dropped: it is a hint, and data has holes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from attrs import define, field

from argo_mw.base.errors import NotEncodable
from argo_mw.store.codec.arrow import read_batch, write_batch
from argo_mw.store.codec.times import zone_from_plain, zone_to_plain

if TYPE_CHECKING:
    from argo_mw.store.codec.registry import Codecs

# Arrow packs booleans into bits and has dates of its own: they are encoded as integers.
_CARRIERS: Final = {"b": "u1", "m": "i8", "M": "i8"}
_INDEXES: Final = (pd.Index, pd.RangeIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.MultiIndex)
_MASKED: Final = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)


def register(codecs: Codecs) -> None:
    """Register pandas' types with *codecs*."""
    codecs.register(pd.DataFrame, "pandas.frame", _frame_to_plain, _frame_from_plain)
    codecs.register(pd.Series, "pandas.series", _series_to_plain, _series_from_plain)
    for kind in (*_INDEXES, pd.CategoricalIndex, pd.PeriodIndex):
        codecs.register(kind, f"pandas.{kind.__name__}", _index_alone, _index_from_alone)
    codecs.register(pd.Timestamp, "pandas.timestamp", _timestamp_to_plain, _timestamp_from_plain)
    codecs.register(pd.Timedelta, "pandas.timedelta", _timedelta_to_plain, _timedelta_from_plain)
    codecs.register(type(pd.NaT), "pandas.nat", lambda _: None, lambda _: pd.NaT)
    codecs.register(type(pd.NA), "pandas.na", lambda _: None, lambda _: pd.NA)


# -- frames, series, indexes -----------------------------------------------------------------


def _frame_to_plain(frame: pd.DataFrame) -> object:
    batch = _Batch()
    index = _index_to_plain(frame.index, batch)
    columns = [batch.add(frame.iloc[:, at].array) for at in range(frame.shape[1])]
    labels = _index_alone(frame.columns)
    return [index, columns, labels, _extras(frame), batch.to_bytes()]


def _frame_from_plain(plain: Any) -> pd.DataFrame:
    index, columns, labels, extras, data = plain
    batch = _Batch.from_bytes(data)
    rows = _index_from_plain(index, batch)
    arrays = [batch.take(column) for column in columns]
    frame = _assemble(arrays, rows)
    frame.columns = _index_from_alone(labels)
    return cast("pd.DataFrame", _with_extras(frame, extras))


def _assemble(arrays: list[Any], rows: pd.Index[Any]) -> pd.DataFrame:
    kinds = {array.dtype for array in arrays}
    if len(kinds) == 1 and isinstance(dtype := kinds.pop(), np.dtype):
        block = np.empty((len(arrays), len(rows)), dtype)
        for at, array in enumerate(arrays):
            block[at] = array
        return pd.DataFrame(block.T, index=rows, copy=False)
    return pd.DataFrame(dict(enumerate(arrays)), index=rows, columns=range(len(arrays)))


def _series_to_plain(series: pd.Series[Any]) -> object:
    batch = _Batch()
    index = _index_to_plain(series.index, batch)
    return [index, batch.add(series.array), series.name, _extras(series), batch.to_bytes()]


def _series_from_plain(plain: Any) -> pd.Series[Any]:
    index, column, name, extras, data = plain
    batch = _Batch.from_bytes(data)
    rows = _index_from_plain(index, batch)
    # A copy, because Arrow's memory is read-only and a series has to be writable.
    series = pd.Series(batch.take(column), index=rows, copy=True)
    series.name = name
    return cast("pd.Series[Any]", _with_extras(series, extras))


def _extras(value: pd.DataFrame | pd.Series[Any]) -> object:
    return [dict(value.attrs), value.flags.allows_duplicate_labels]


def _with_extras(value: Any, extras: Any) -> Any:
    attributes, duplicates = extras
    value.attrs.update(attributes)
    if not duplicates:
        value.flags.allows_duplicate_labels = False
    return value


def _index_alone(index: pd.Index[Any]) -> object:
    batch = _Batch()
    return [_index_to_plain(index, batch), batch.to_bytes()]


def _index_from_alone(plain: Any) -> Any:
    index, data = plain
    return _index_from_plain(index, _Batch.from_bytes(data))


def _index_to_plain(index: pd.Index[Any], batch: _Batch) -> object:
    if type(index) is pd.RangeIndex:
        return ["range", index.start, index.stop, index.step, index.name]
    if isinstance(index, pd.MultiIndex):
        levels = [_index_to_plain(index.get_level_values(n), batch) for n in range(index.nlevels)]
        return ["multi", levels]
    if index.dtype == "object":
        return ["labels", index.tolist(), index.name]
    if (
        isinstance(index.dtype, pd.StringDtype)
        and not index.hasnans
        and len(index) <= _MAX_PLAIN_LABELS
    ):
        return ["text", index.tolist(), _text_to_plain(index.dtype), index.name]
    return ["values", batch.add(index.array), index.name]


def _index_from_plain(plain: Any, batch: _Batch) -> Any:
    kind, *rest = plain
    if kind == "range":
        start, stop, step, name = rest
        if len(range(start, stop, step)) > _MAX_ROWS:
            msg = f"an index of more than {_MAX_ROWS} rows"
            raise ValueError(msg)
        return pd.RangeIndex(start, stop, step, name=name)
    if kind == "multi":
        levels = [_index_from_plain(level, batch) for level in rest[0]]
        return pd.MultiIndex.from_arrays(levels, names=[level.name for level in levels])
    if kind == "labels":
        return _object_index(rest[0], rest[1])
    if kind == "text":
        return pd.Index(rest[0], dtype=_text_from_plain(rest[1]), name=rest[2])
    return pd.Index(batch.take(rest[0]), name=rest[1], copy=True)


_MAX_ROWS: Final = 2**26  # a range says in a few bytes how many rows there are
_MAX_PLAIN_LABELS: Final = 64  # more labels are cheaper as a record batch


def _object_index(labels: list[Any], name: Any) -> Any:
    return pd.Index(labels, dtype=object, name=name, tupleize_cols=False)


# -- columns ---------------------------------------------------------------------------------


@define(eq=False)
class _Batch:
    """Columns of one length that become an Arrow record batch, or come from one."""

    _columns: list[pa.Array] = field(factory=list)
    _at: int = 0

    def add(self, values: Any) -> object:
        """Add a column and return the plain data that :meth:`take` needs."""
        if type(values) is pd.arrays.NumpyExtensionArray:
            values = values.to_numpy()
        dtype = values.dtype
        if isinstance(dtype, np.dtype) and not dtype.hasobject:
            return ["numpy", self._put_numpy(np.asarray(values))]
        for kind, (matches, to_plain, _) in _KINDS.items():
            if matches(values):
                return [kind, to_plain(values, self)]
        msg = f"a column of dtype {dtype} cannot be stored; convert it to numbers, dates or text"
        raise NotEncodable(msg)

    def take(self, plain: Any) -> Any:
        """Return the next column, for which :meth:`add` returned *plain*."""
        kind, rest = plain
        if kind == "numpy":
            return self._next_numpy(rest)
        return _KINDS[kind][2](rest, self)

    def _put_numpy(self, values: np.ndarray[Any, Any]) -> str:
        dtype = values.dtype.newbyteorder("=")
        carrier = _CARRIERS.get(dtype.kind)
        native = np.ascontiguousarray(values, dtype)
        try:
            self._columns.append(pa.array(native.view(carrier) if carrier else native))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            msg = f"a column of dtype {dtype} cannot be stored; convert it to float64"
            raise NotEncodable(msg) from None
        return str(dtype.str)

    def _next_numpy(self, name: str) -> np.ndarray[Any, Any]:
        dtype = np.dtype(name)
        if dtype.hasobject:
            msg = "a column of Python objects is never decoded"
            raise ValueError(msg)
        values: np.ndarray[Any, Any] = self.next().to_numpy(zero_copy_only=True)
        return values.view(dtype) if dtype.kind in _CARRIERS else values

    def put(self, column: pa.Array) -> None:
        """Add an Arrow column as it is."""
        self._columns.append(column)

    def next(self) -> pa.Array:
        """Return the next Arrow column."""
        self._at += 1
        return self._columns[self._at - 1]

    def to_bytes(self) -> bytes:
        """Return the columns as bytes."""
        return write_batch(self._columns)

    @classmethod
    def from_bytes(cls, data: bytes) -> _Batch:
        """Read the result of :meth:`to_bytes`; the batch is validated before it is used."""
        return cls(read_batch(data))


def _is_text(values: Any) -> bool:
    if isinstance(values.dtype, pd.StringDtype):
        return True
    return bool(values.dtype == "object") and all(type(v) is str or v is None for v in values)


def _put_text(values: Any, batch: _Batch) -> object:
    missing = np.asarray(pd.isna(values), bool)
    texts = pa.array(np.asarray(values, object), pa.large_string(), mask=missing)
    batch.put(texts)
    return _text_to_plain(values.dtype)


def _take_text(plain: Any, batch: _Batch) -> Any:
    texts = batch.next().to_pylist()
    if plain == "object":
        # An index, because pandas would infer a text dtype from an array of objects.
        return _object_index(texts, None)
    return pd.array(texts, dtype=_text_from_plain(plain))


def _text_to_plain(dtype: Any) -> object:
    return "object" if dtype == "object" else [dtype.storage, dtype.na_value is pd.NA]


def _text_from_plain(plain: Any) -> Any:
    storage, nullable = plain
    return pd.StringDtype(storage, na_value=pd.NA if nullable else np.nan)


def _put_zoned(values: Any, batch: _Batch) -> object:
    naive = np.asarray(values.tz_convert("UTC").tz_localize(None))
    return [batch._put_numpy(naive), zone_to_plain(values.tz)]


def _take_zoned(plain: Any, batch: _Batch) -> Any:
    name, zone = plain
    naive = pd.DatetimeIndex(batch._next_numpy(name), copy=True)
    return naive.tz_localize("UTC").tz_convert(zone_from_plain(zone)).array


def _put_category(values: Any, batch: _Batch) -> object:
    return [batch._put_numpy(values.codes), _index_alone(values.categories), values.ordered]


def _take_category(plain: Any, batch: _Batch) -> Any:
    name, categories, ordered = plain
    codes = batch._next_numpy(name)
    dtype = pd.CategoricalDtype(_index_from_alone(categories), ordered)
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _put_masked(values: Any, batch: _Batch) -> object:
    missing = np.asarray(values.isna())
    plain = values.to_numpy(values.dtype.numpy_dtype, na_value=values.dtype.numpy_dtype.type(0))
    return [batch._put_numpy(plain), batch._put_numpy(missing), values.dtype.name]


def _take_masked(plain: Any, batch: _Batch) -> Any:
    name, mask, dtype = plain
    values, missing = batch._next_numpy(name).copy(), batch._next_numpy(mask).copy()
    kind: Any = pd.api.types.pandas_dtype(dtype)
    return kind.construct_array_type()(values, missing)


def _put_period(values: Any, batch: _Batch) -> object:
    return [batch._put_numpy(values.asi8), values.freqstr]


def _take_period(plain: Any, batch: _Batch) -> Any:
    name, freq = plain
    make: Any = pd.PeriodIndex
    return make.from_ordinals(batch._next_numpy(name).copy(), freq=freq).array


_Kind = tuple[Callable[[Any], bool], Callable[[Any, _Batch], object], Callable[[Any, _Batch], Any]]
_KINDS: Final[Mapping[str, _Kind]] = {
    "zoned": (lambda v: isinstance(v.dtype, pd.DatetimeTZDtype), _put_zoned, _take_zoned),
    "category": (lambda v: isinstance(v, pd.Categorical), _put_category, _take_category),
    "masked": (lambda v: isinstance(v, _MASKED), _put_masked, _take_masked),
    "period": (lambda v: isinstance(v.dtype, pd.PeriodDtype), _put_period, _take_period),
    "text": (_is_text, _put_text, _take_text),
}


# -- scalars ---------------------------------------------------------------------------------


def _timestamp_to_plain(value: pd.Timestamp) -> object:
    return [value.to_datetime64().astype("i8").item(), value.unit, zone_to_plain(value.tz)]


def _timestamp_from_plain(plain: Any) -> pd.Timestamp:
    count, unit, zone = plain
    naive = pd.Timestamp(np.datetime64(count, unit))
    return naive if zone is None else naive.tz_localize("UTC").tz_convert(zone_from_plain(zone))


def _timedelta_to_plain(value: pd.Timedelta) -> object:
    return [value.to_timedelta64().astype("i8").item(), value.unit]


def _timedelta_from_plain(plain: Any) -> pd.Timedelta:
    count, unit = plain
    return pd.Timedelta(np.timedelta64(count, unit))
