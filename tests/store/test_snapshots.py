"""What is lent to one caller cannot be changed under another's feet."""

from __future__ import annotations

import copy
import datetime as dt
import threading
import warnings
from decimal import Decimal
from enum import Enum
from uuid import uuid4
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from argo_mw.base.errors import NotShareable
from argo_mw.store.snapshots import is_immutable, snapshot


@attrs.frozen
class Frozen:
    symbol: str
    parts: object = ()


@attrs.define
class Mutable:
    parts: list[int]


class Colour(Enum):
    RED = 1


def minutes(rows=4):
    index = pd.date_range("2024-03-08", periods=rows, freq="min", tz="UTC", name="at")
    return pd.DataFrame({"open": np.arange(rows) + 0.5, "volume": np.arange(rows)}, index=index)


IMMUTABLE = [
    *(None, True, 5, 2.5, 1j, "text", b"bytes", range(3), Decimal("1.5"), uuid4(), Colour.RED),
    *(dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")), dt.date(2024, 1, 1), dt.timedelta(1)),
    *((1, ("a", frozenset({2}))), frozenset({1, (2,)})),
    *(Frozen("AAPL", (1, 2)), Frozen("AAPL", Frozen("MSFT"))),
    *(np.float64(1.5), np.datetime64("2024-01-01"), pd.Timestamp("2024-01-01"), pd.NaT, pd.NA),
]


@pytest.mark.parametrize("value", IMMUTABLE, ids=lambda value: type(value).__name__)
def test_what_cannot_change_is_lent_as_it_is(value):
    assert is_immutable(value)
    assert value is snapshot(value).copy()


MUTABLE = [
    {"a": 1},
    {"news": [{"title": "x", "scores": [1, 2.5, None]}]},
    [1, [2, [3]]],
    {1: [2], (3, 4): {"a": {5}}},
    ([1], {2}),
    {"big": 2**70, "list": []},
    {1, 2},
    bytearray(b"x"),
    Mutable([1, 2]),
    Frozen("AAPL", [1, 2]),
    Frozen("AAPL", Mutable([1])),
    {"at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "rows": [Decimal(1)]},
    {"frame in a dict": [1], "tuple": (1, [2])},
    ["\ud800"],
]


def scribble(value):
    """Change whatever can be changed in *value*."""
    if isinstance(value, dict):
        for item in list(value.values()):
            scribble(item)
        value["scribbled"] = 1
    elif isinstance(value, list):
        for item in value:
            scribble(item)
        value.append("scribbled")
    elif isinstance(value, (set, bytearray)):
        value.clear()
    elif isinstance(value, tuple):
        for item in value:
            scribble(item)
    elif isinstance(value, (Frozen, Mutable)):
        scribble(value.parts)


@pytest.mark.parametrize("value", MUTABLE, ids=lambda value: repr(value)[:30])
def test_nobody_sees_what_another_does(value):
    pristine = copy.deepcopy(value)
    protected = snapshot(value)
    scribble(value)
    first = protected.copy()
    assert pristine == first
    assert type(pristine) is type(first)
    scribble(first)
    assert pristine == protected.copy()
    assert not is_immutable(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=15,
)


@given(plain)
def test_any_plain_value_is_lent_equal_and_apart(value):
    pristine = copy.deepcopy(value)
    protected = snapshot(value)
    scribble(protected.copy())
    assert repr(pristine) == repr(protected.copy())
    assert protected.size > 0


def test_aliases_and_cycles_are_kept():
    shared = {1}
    first, second = snapshot([shared, shared]).copy()
    assert first is second
    cycle = [1]
    cycle.append(cycle)
    lent = snapshot(cycle).copy()
    assert lent is lent[1]
    assert lent is not cycle


# -- frames ----------------------------------------------------------------------------------

WRITES = {
    "cell": lambda frame: frame.iloc.__setitem__((0, 0), 99),
    "mask": lambda frame: frame.loc.__setitem__((frame["volume"] > 1, "open"), 0),
    "column": lambda frame: frame.__setitem__("open", 0),
    "new column": lambda frame: frame.__setitem__("x", 1),
    "dropped column": lambda frame: frame.pop("volume"),
    "in place": lambda frame: frame.drop(columns="open", inplace=True),
    "sorted": lambda frame: frame.sort_index(ascending=False, inplace=True),
    "index": lambda frame: setattr(frame, "index", range(len(frame))),
    "index name": lambda frame: setattr(frame.index, "name", "other"),
    "column labels": lambda frame: setattr(frame, "columns", ["p", "q"]),
    "column name": lambda frame: setattr(frame.columns, "name", "other"),
    "attributes": lambda frame: frame.attrs["source"].append("other"),
    "new attribute": lambda frame: frame.attrs.__setitem__("new", 1),
    "update": lambda frame: frame.update(frame * 2),
}


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_frame_written_to_by_one_caller_is_whole_for_the_next(write):
    frame = minutes()
    frame.attrs["source"] = ["alpaca"]
    protected = snapshot(frame)
    before = copy.deepcopy(frame.attrs)
    pristine = frame.copy()
    borrowed = protected.copy()
    write(borrowed)
    write(frame)
    lent = protected.copy()
    assert_frame_equal(pristine, lent)
    assert before == lent.attrs
    assert (lent.index.name, lent.columns.name) == ("at", None)


def test_the_arrays_of_a_lent_frame_are_read_only():
    lent = snapshot(minutes()).copy()
    for array in (lent["open"].to_numpy(), lent[["open"]].to_numpy(), lent["open"].values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_a_series_is_lent_apart():
    series = minutes()["open"]
    protected = snapshot(series)
    pristine = series.copy()
    borrowed = protected.copy()
    borrowed.iloc[0] = 99
    series.iloc[1] = 99
    assert_series_equal(pristine, protected.copy())


def test_objects_in_cells_are_lent_apart():
    """pandas' own copies, deep ones too, share the objects in cells."""
    frame = pd.DataFrame({"tags": [["a"], ["b"]], "text": ["x", "y"]})
    protected = snapshot(frame)
    frame.loc[0, "tags"].append("scribbled")
    borrowed = protected.copy()
    borrowed.loc[0, "tags"].append("scribbled")
    assert protected.copy().loc[0, "tags"] == ["a"]
    series = pd.Series([["a"]])
    protected = snapshot(series)
    protected.copy()[0].append("scribbled")
    assert protected.copy()[0] == ["a"]


def test_objects_that_cannot_change_cost_nothing():
    frame = pd.DataFrame({"day": [dt.date(2024, 1, 1)], "text": pd.Series(["x"], dtype=object)})
    assert type(snapshot(frame)).__name__ == "_Pandas"


def test_an_array_is_lent_read_only_for_good():
    array = np.arange(6.0).reshape(2, 3)
    protected = snapshot(array)
    array[0, 0] = 99
    lent = protected.copy()
    with pytest.raises(ValueError, match="read-only"):
        lent[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        lent.flags.writeable = True
    with warnings.catch_warnings():
        # Deprecated since NumPy 2.5; whoever still does it must not reach others.
        warnings.simplefilter("ignore", DeprecationWarning)
        lent.shape = (6,)
    assert np.arange(6.0).reshape(2, 3).tolist() == protected.copy().tolist()


def test_an_array_of_objects_is_copied():
    protected = snapshot(np.array([[1], [2, 3]], dtype=object))
    protected.copy()[0].append("scribbled")
    assert protected.copy()[0] == [1]


@pytest.mark.parametrize(
    "value", [threading.Lock(), (n for n in "ab"), {"lock": threading.Lock()}], ids=type
)
def test_what_cannot_be_copied_is_refused_and_said(value):
    with pytest.raises(NotShareable, match="cannot be copied"):
        snapshot(value)


# -- sizes -----------------------------------------------------------------------------------


def test_sizes_are_about_right():
    assert 1_000_000 < snapshot("x" * 1_000_000).size < 1_010_000
    assert 8_000 < snapshot([float(n) for n in range(1_000)]).size < 80_000
    rows = 10_000
    frame = minutes(rows)
    assert rows * 24 < snapshot(frame).size < rows * 24 + 5_000
    text = pd.DataFrame({"a": ["word"] * rows})
    assert rows * 4 < snapshot(text).size < rows * 40
    assert 8 * rows < snapshot(np.zeros(rows)).size < 8 * rows + 200
