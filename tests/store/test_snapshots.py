"""A caller who changes its copy of a snapshot changes no other copy."""

from __future__ import annotations

import copy
import copyreg
import datetime as dt
import sys
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
from tblib.pickling_support import pickle_exception

from argo_mw.base.array_snapshots import FrameSnapshot
from argo_mw.base.errors import NotShareable
from argo_mw.base.immutability import is_immutable
from argo_mw.base.snapshots import own_copy, snapshot


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
def test_an_immutable_value_is_returned_as_it_is(value):
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


def change_everything(value):
    """Change whatever can be changed in *value*."""
    if isinstance(value, dict):
        for item in list(value.values()):
            change_everything(item)
        value["changed"] = 1
    elif isinstance(value, list):
        for item in value:
            change_everything(item)
        value.append("changed")
    elif isinstance(value, (set, bytearray)):
        value.clear()
    elif isinstance(value, tuple):
        for item in value:
            change_everything(item)
    elif isinstance(value, (Frozen, Mutable)):
        change_everything(value.parts)


@pytest.mark.parametrize("value", MUTABLE, ids=lambda value: repr(value)[:30])
def test_a_change_of_one_copy_shows_in_no_other(value):
    pristine = copy.deepcopy(value)
    kept = snapshot(value)
    change_everything(value)
    first = kept.copy()
    assert pristine == first
    assert type(pristine) is type(first)
    change_everything(first)
    assert pristine == kept.copy()
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
def test_copies_of_any_plain_value_are_equal_and_independent(value):
    pristine = copy.deepcopy(value)
    kept = snapshot(value)
    change_everything(kept.copy())
    assert repr(pristine) == repr(kept.copy())
    assert kept.size > 0


def test_aliases_and_cycles_are_kept():
    shared = {1}
    first, second = snapshot([shared, shared]).copy()
    assert first is second
    cycle = [1]
    cycle.append(cycle)
    copied = snapshot(cycle).copy()
    assert copied is copied[1]
    assert copied is not cycle


def nested(levels):
    value = "innermost"
    for _ in range(levels):
        value = [value]
    return value


def test_what_a_hostile_answer_nests_in_itself_is_copied():
    """As deep as Python's reader of JSON reads it."""
    kept = snapshot(nested(700))
    assert kept.copy() is not kept.copy()
    assert str(nested(700)) == str(kept.copy())


def test_what_is_nested_too_deep_to_be_copied_is_refused_and_an_argument_is_handed_on():
    value = nested(5_000)
    with pytest.raises(NotShareable, match="cannot be copied"):
        snapshot(value)
    assert own_copy(value) is value


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
def test_a_write_to_one_copy_of_a_frame_shows_in_no_other(write):
    frame = minutes()
    frame.attrs["source"] = ["alpaca"]
    kept = snapshot(frame)
    before = copy.deepcopy(frame.attrs)
    pristine = frame.copy()
    changed = kept.copy()
    write(changed)
    write(frame)
    copied = kept.copy()
    assert_frame_equal(pristine, copied)
    assert before == copied.attrs
    assert ("at", None) == (copied.index.name, copied.columns.name)


def test_the_arrays_of_a_copied_frame_are_read_only():
    copied = snapshot(minutes()).copy()
    for array in (copied["open"].to_numpy(), copied[["open"]].to_numpy(), copied["open"].values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_copies_of_a_series_are_independent():
    series = minutes()["open"]
    kept = snapshot(series)
    pristine = series.copy()
    changed = kept.copy()
    changed.iloc[0] = 99
    series.iloc[1] = 99
    assert_series_equal(pristine, kept.copy())


def test_copies_share_no_objects_in_cells():
    """pandas' own copies, deep ones too, share the objects in cells."""
    frame = pd.DataFrame({"tags": [["a"], ["b"]], "text": ["x", "y"]})
    kept = snapshot(frame)
    frame.loc[0, "tags"].append("changed")
    changed = kept.copy()
    changed.loc[0, "tags"].append("changed")
    assert ["a"] == kept.copy().loc[0, "tags"]
    series = pd.Series([["a"]])
    kept = snapshot(series)
    kept.copy()[0].append("changed")
    assert ["a"] == kept.copy()[0]


def test_a_frame_of_immutable_objects_is_copied_on_write():
    frame = pd.DataFrame({"day": [dt.date(2024, 1, 1)], "text": pd.Series(["x"], dtype=object)})
    assert isinstance(snapshot(frame), FrameSnapshot)


def test_a_copied_array_cannot_be_made_writable():
    array = np.arange(6.0).reshape(2, 3)
    kept = snapshot(array)
    array[0, 0] = 99
    copied = kept.copy()
    with pytest.raises(ValueError, match="read-only"):
        copied[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        copied.flags.writeable = True
    with warnings.catch_warnings():
        # Deprecated since NumPy 2.5; a caller who still does it must not reach others.
        warnings.simplefilter("ignore", DeprecationWarning)
        copied.shape = (6,)
    assert np.arange(6.0).reshape(2, 3).tolist() == kept.copy().tolist()


def test_an_array_of_objects_is_copied():
    kept = snapshot(np.array([[1], [2, 3]], dtype=object))
    kept.copy()[0].append("changed")
    assert [1] == kept.copy()[0]


@pytest.mark.parametrize(
    "value", [threading.Lock(), (n for n in "ab"), {"lock": threading.Lock()}], ids=type
)
def test_a_value_that_cannot_be_copied_is_refused(value):
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


# -- errors, where dask's tblib copies those of the whole process in a way of its own -------------


@attrs.frozen
class FrozenError(Exception):
    rows: list[int]


class OwnError(Exception):
    def __deepcopy__(self, memo: dict[int, object]) -> OwnError:
        return OwnError("by its own means")


@pytest.fixture
def tblib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have these classes copied as they are if they were there when dask was imported."""
    for kind in (FrozenError, OwnError, ValueError):
        monkeypatch.setitem(copyreg.dispatch_table, kind, pickle_exception)


@pytest.mark.parametrize("loaded", [True, False], ids=["with pandas", "without"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_frozen_error_is_copied_where_tblib_would_set_its_fields(
    tblib: None, monkeypatch: pytest.MonkeyPatch, nested: bool, loaded: bool
) -> None:
    if not loaded:
        monkeypatch.delitem(sys.modules, "pandas")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copy.deepcopy(FrozenError([1]))
    inner = FrozenError([1])
    value = [ValueError("no", [inner]) if nested else inner, "more"]
    kept = snapshot(value)
    inner.rows.append(2)
    copies = [kept.copy() for _ in range(2)]
    errors = [one[0].args[1][0] if nested else one[0] for one in copies]
    assert [FrozenError] * 2 == [type(one) for one in errors]
    errors[0].rows.append(3)
    assert [1] == errors[1].rows
    assert errors[0] is not errors[1]


def test_fields_and_notes_of_errors_are_kept_and_aliases_stay_aliases(tblib: None) -> None:
    error = ValueError("no")
    error.add_note("seen twice")
    error.seen = [error.__notes__]  # type: ignore[attr-defined]
    first, second = snapshot((error, error)).copy()
    assert first is second
    assert ["seen twice"] == first.__notes__
    assert first.seen[0] is first.__notes__
    assert first.__notes__ is not error.__notes__


def test_an_error_with_means_of_its_own_is_copied_by_them(tblib: None) -> None:
    [made] = snapshot([OwnError("original")]).copy()
    assert "by its own means" == str(made)
