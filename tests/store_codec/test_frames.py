"""Decoding an encoded frame or array restores every bit and label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from argo_mw.base.errors import NotEncodable
from argo_mw.store.codec import Codecs, Undecodable

CODECS = Codecs()


def round_trip(value):
    decoded = CODECS.decode(CODECS.encode(value, "here"), "here")
    assert not isinstance(decoded, Undecodable), decoded
    return decoded


def minutes(rows=10, tz="UTC", unit="ns"):
    return pd.date_range("2024-03-08", periods=rows, freq="min", tz=tz, unit=unit)


COLUMNS = {
    "floats with NaN": pd.Series([1.5, np.nan, np.inf, -0.0]),
    "float32": pd.Series([1.5, np.nan], dtype="float32"),
    "float16": pd.Series([1.5, 2], dtype="float16"),
    "integers": pd.Series([1, -(2**63), 2**63 - 1]),
    "unsigned": pd.Series([0, 2**64 - 1], dtype="uint64"),
    "booleans": pd.Series([True, False]),
    "dates": pd.Series(pd.to_datetime(["2024-01-01", None])),
    "dates in seconds": pd.Series(np.array(["2024-01-01", "NaT"], "M8[s]")),
    "durations": pd.Series(pd.to_timedelta([1, None], unit="h")),
    "zoned dates": pd.Series(pd.to_datetime(["2024-11-03 05:30", None]).tz_localize("UTC")),
    "dates over a clock change": pd.Series(
        pd.date_range("2024-11-03", periods=5, freq="h", tz="America/New_York")
    ),
    "dates at a fixed offset": pd.Series(minutes(3, tz="+02:00")),
    "text": pd.Series(["a", None, "ü€"]),
    "objects that are text": pd.Series(["a", None, "b"], dtype=object),
    "nullable text": pd.Series(["a", None], dtype="string"),
    "text in Python": pd.Series(["a", None], dtype=pd.StringDtype("python")),
    "nullable integers": pd.Series([1, None, 2**60], dtype="Int64"),
    "nullable floats": pd.Series([1.5, None], dtype="Float32"),
    "nullable booleans": pd.Series([True, None], dtype="boolean"),
    "categories": pd.Series(["a", "b", None], dtype=pd.CategoricalDtype(["b", "a"], ordered=True)),
    "categories of dates": pd.Series(minutes(3)).astype("category"),
    "periods": pd.Series(pd.period_range("2024", periods=3, freq="M")),
    "nothing": pd.Series([], dtype="float64"),
    "a name that is not text": pd.Series([1], name=("a", 1)),
}


@pytest.mark.parametrize("series", COLUMNS.values(), ids=COLUMNS)
def test_a_series_is_restored_exactly(series):
    assert_series_equal(series, round_trip(series), check_exact=True, check_freq=False)


@pytest.mark.parametrize("series", COLUMNS.values(), ids=COLUMNS)
def test_a_column_is_restored_exactly_beside_others(series):
    frame = pd.DataFrame({"one": series, "two": range(len(series)), "three": 0.5})
    assert_frame_equal(frame, round_trip(frame), check_exact=True, check_freq=False)


INDEXES = {
    "range": pd.RangeIndex(2, 12, 2, name="n"),
    "minutes": minutes(5).rename("at"),
    "minutes in New York": minutes(5, tz="America/New_York"),
    "naive minutes in seconds": minutes(5, tz=None, unit="s"),
    "text": pd.Index(["a", "b", "c", "d", "e"], name="symbol"),
    "much text": pd.Index([str(n) for n in range(100)]),
    "mixed": pd.Index(["a", 1, (2, 3), None, 2.5], dtype=object),
    "two levels": pd.MultiIndex.from_product([["AAPL", "MSFT"], minutes(2)], names=["s", None]),
    "floats": pd.Index([0.5, np.nan]),
    "doubles": pd.Index([1, 1, 2]),
    "categories": pd.CategoricalIndex(["a", "b", "a"]),
    "empty": pd.DatetimeIndex([], tz="UTC"),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_an_index_is_restored_exactly(index):
    frame = pd.DataFrame({"x": np.arange(len(index))}, index=index)
    assert_index_equal(index, round_trip(frame).index, exact=True, check_freq=False)
    assert_index_equal(index, round_trip(index), exact=True, check_freq=False)


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_column_labels_are_restored_exactly(index):
    frame = pd.DataFrame(np.zeros((2, len(index))), columns=index)
    assert_frame_equal(frame, round_trip(frame), check_column_type=True, check_freq=False)


def test_attributes_and_flags_of_a_frame_are_restored():
    frame = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    frame.attrs = {"source": "alpaca", "pages": (1, 2)}
    decoded = round_trip(frame)
    assert frame.attrs == decoded.attrs
    assert not decoded.flags.allows_duplicate_labels


def test_a_frame_without_columns_keeps_its_rows():
    frame = pd.DataFrame(index=minutes(3))
    assert_frame_equal(frame, round_trip(frame), check_freq=False)


def test_a_decoded_frame_can_be_written_to():
    for frame in (
        pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}),
    ):
        decoded = round_trip(frame)
        decoded.iloc[0, 0] = 9
        decoded["c"] = 1
        assert decoded.iloc[0, 0] == 9
    series = round_trip(pd.Series([1, 2]))
    series.iloc[0] = 9
    assert series.tolist() == [9, 2]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [[1], [2]]}),
        pd.DataFrame({"a": ["x", 1]}),
        pd.DataFrame({"a": [1j]}),
        pd.DataFrame({"a": pd.arrays.IntervalArray.from_breaks([0, 1, 2])}),
        pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}),
        pd.DataFrame({"a": [1]}, index=pd.Index([object()], dtype=object)),
    ],
    ids=["lists", "mixed", "complex", "intervals", "sparse", "labels"],
)
def test_a_frame_that_could_not_be_restored_is_refused(frame):
    with pytest.raises(NotEncodable):
        CODECS.encode(frame)


ARRAYS = {
    "matrix": np.arange(12.0).reshape(3, 4),
    "transposed": np.arange(12.0).reshape(3, 4).T,
    "sliced": np.arange(12.0)[::2],
    "empty": np.empty((0, 3)),
    "scalar": np.array(5),
    "big-endian": np.arange(3, dtype=">i4"),
    "complex": np.array([1j]),
    "dates": np.array(["2024-01-01", "NaT"], "M8[ns]"),
    "text": np.array(["a", "ü"]),
    "records": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_is_restored_exactly(array):
    decoded = round_trip(array)
    np.testing.assert_array_equal(array, decoded, strict=True)
    assert array.dtype == decoded.dtype
    assert decoded.flags.writeable


@pytest.mark.parametrize(
    "scalar",
    [np.float32(1.5), np.int8(-3), np.bool_(True), np.datetime64("2024-01-01", "D"), np.str_("é")],
    ids=repr,
)
def test_a_numpy_scalar_is_restored_exactly(scalar):
    decoded = round_trip(scalar)
    assert (type(scalar), scalar) == (type(decoded), decoded)


@pytest.mark.parametrize(
    "scalar",
    [
        pd.Timestamp("2024-01-01 10:00:00.123456789", tz="America/New_York"),
        pd.Timestamp("2024-01-01").as_unit("s"),
        pd.Timedelta(5, "us"),
    ],
    ids=repr,
)
def test_a_pandas_scalar_is_restored_exactly(scalar):
    decoded = round_trip(scalar)
    assert (type(scalar), scalar, scalar.unit) == (type(decoded), decoded, decoded.unit)


def test_missing_scalars_are_restored_as_the_same_object():
    assert pd.NaT is round_trip(pd.NaT)
    assert pd.NA is round_trip(pd.NA)


def test_arrays_of_objects_are_refused():
    with pytest.raises(NotEncodable, match="Python objects"):
        CODECS.encode(np.array([object()]))
