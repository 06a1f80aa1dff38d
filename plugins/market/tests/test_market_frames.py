"""The schema of frames, whatever order bars come in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_market import COLUMNS, make_frame
from argo_mw_market.frames import problem_of

BAR = [10.0, 12.0, 9.0, 11.0, 100.0]


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_bars_are_ascending_without_duplicates_and_of_two_the_later_counts(
    seconds: list[int],
) -> None:
    values = np.array([[*BAR[:4], float(row)] for row in range(len(seconds))])
    frame = make_frame(np.array(seconds, np.float64), values)
    assert sorted(set(seconds)) == [int(t.timestamp()) for t in frame.index]
    last = {second: float(row) for row, second in enumerate(seconds)}
    assert [last[s] for s in sorted(last)] == frame["volume"].tolist()


def test_the_schema_is_the_documented_one() -> None:
    frame = make_frame(np.array([0.0, 86_400.0]), np.array([BAR, BAR]))
    assert "time" == frame.index.name
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert "UTC" == str(frame.index.tz)
    assert ["open", "high", "low", "close", "volume"] == frame.columns.tolist()
    assert {np.dtype("float64")} == set(frame.dtypes)
    assert problem_of(frame) is None


@pytest.mark.parametrize("bad", [[np.nan, *BAR[1:]], [0.0, *BAR[1:]], [*BAR[:4], -1.0]])
def test_impossible_prices_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="not a number"):
        make_frame(np.array([0.0]), np.array([bad]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NoneType"),
        (make_frame(np.array([]), np.array([])), "no bars"),
        (pd.DataFrame({"close": [1.0]}), "DatetimeIndex"),
        (make_frame(np.array([0.0]), np.array([BAR])).drop(columns="volume"), "volume"),
    ],
)
def test_the_reason_why_a_value_is_no_answer_is_given(value: object, text: str) -> None:
    assert text in str(problem_of(value))


def test_the_columns_are_shared_so_that_frames_stay_small() -> None:
    frame = make_frame(np.array([0.0]), np.array([BAR]))
    assert COLUMNS.equals(frame.columns)
