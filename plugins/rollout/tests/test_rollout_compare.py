"""What distinguishes a served answer from a fresh one: age moves prices, and changes nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from attrs import frozen
from msgspec import Struct

from argo_mw_rollout.compare import Difference, compare


@frozen
class Quote:
    symbol: str
    price: float


class Tick(Struct):
    price: float


@dataclass
class Last:
    price: float
    size: int


@pytest.mark.parametrize(
    ("served", "fresh", "distance"),
    [
        (100.0, 100.0, 0.0),
        (101, 100.0, 0.01),
        ({"price": 99.0, "symbol": "A"}, {"price": 100.0, "symbol": "A"}, 0.01),
        ([1.0, 2.2], [1.0, 2.0], 0.1),
        (Quote("A", 102.0), Quote("A", 100.0), 0.02),
        (Tick(102.0), Tick(100.0), 0.02),
        (math.nan, math.nan, 0.0),
        (math.nan, 1.0, math.inf),
        (None, None, 0.0),
        (Decimal("99.0"), Decimal("100.0"), 0.01),
        (np.float32(99.0), np.float32(100.0), 0.01),
        (np.array([99.0, 1.0]), np.array([100.0, 1.0]), 0.01),
        ("99.0", "100.0", 0.01),
        ("1.0%", "1.01%", 0.01 / 1.01),
        (Last(99.0, 5), Last(100.0, 800), 0.01),
        ({"lastPrice": "99.0", "volume": "6"}, {"lastPrice": "100.0", "volume": "800"}, 0.01),
        (
            {"price": 99.0, "book": {"size": 5.0}},
            {"price": 99.0, "book": {"size": 5.05}},
            0.05 / 5.05,
        ),
    ],
)
def test_numbers_are_apart_by_a_share(served: object, fresh: object, distance: float) -> None:
    found = compare(served, fresh)
    assert found.distance == pytest.approx(distance)
    assert found.unequal == ""


@pytest.mark.parametrize(
    ("served", "fresh"),
    [
        (Quote("A", 1.0), Quote("B", 1.0)),
        ({"a": 1}, {"b": 1}),
        ([1.0], [1.0, 2.0]),
        (None, 1.0),
        ("x", "y"),
        (True, 1.0),
        (1.0, "1.0"),
        (np.array([1.0]), np.array([1.0, 2.0])),
        ({"price": 1.0, "note": "a"}, {"price": 1.0, "note": "b"}),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}),
    ],
)
def test_what_is_no_number_is_wrong(served: object, fresh: object) -> None:
    assert compare(served, fresh).wrong(0.05)


def test_a_number_too_far_away_is_wrong_and_an_old_one_is_not() -> None:
    assert not compare(103.0, 100.0).wrong(0.05)
    assert compare(150.0, 100.0).wrong(0.05)
    assert compare(math.nan, 100.0).wrong(0.05)


def bars(*closes: float, start: str = "2026-01-01") -> pd.DataFrame:
    index = pd.date_range(start, periods=len(closes), freq="1min")
    return pd.DataFrame({"close": closes, "volume": range(len(closes))}, index=index)


def test_a_served_table_may_lack_the_newest_rows() -> None:
    found = compare(bars(1.0, 2.0, 3.0), bars(1.0, 2.0, 3.1, 3.3))
    assert not found.wrong(0.1)
    assert found.distance == pytest.approx(0.3 / 3.3)


def test_a_row_of_the_past_does_not_change() -> None:
    assert compare(bars(1.0, 2.5, 3.0), bars(1.0, 2.0, 3.0)).wrong(0.5)


def test_another_symbol_s_table_is_wrong() -> None:
    assert compare(bars(10.0, 20.0, 30.0), bars(1.0, 2.0, 3.0)).wrong(0.05)


def test_tables_of_other_columns_or_without_rows_are_wrong() -> None:
    assert compare(bars(1.0), bars(1.0).rename(columns={"close": "open"})).wrong(0.05)
    assert compare(bars(1.0).iloc[:0], bars(1.0)).wrong(0.05)
    assert not compare(bars(1.0).iloc[:0], bars(1.0).iloc[:0]).wrong(0.05)


def test_deep_and_long_values_end() -> None:
    deep: list[object] = []
    deep.append(deep)
    assert not compare(deep, deep).wrong(0.05)
    assert not compare([1.0] * 100_000, [1.0] * 100_000).wrong(0.05)


NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize("write", [lambda moment: moment, str, datetime.isoformat])
def test_a_moment_that_time_has_moved_is_not_wrong_and_another_one_is(write) -> None:
    def quote(moment: datetime) -> dict[str, object]:
        return {"price": 1.0, "at": write(moment)}

    assert compare(quote(NOON), quote(NOON + timedelta(minutes=2))) == Difference()
    assert compare(quote(NOON), quote(NOON + timedelta(days=28))).wrong(0.05)


def article(number: int) -> dict[str, object]:
    return {"title": f"News {number}", "sentiment": (-1) ** number * 0.5}


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_list_of_records_that_has_moved_on_is_old_and_not_wrong(*, newest_first: bool) -> None:
    def window(start: int, end: int) -> list[object]:
        found = [article(number) for number in range(start, end)]
        return found[::-1] if newest_first else found

    assert compare(window(0, 10), window(3, 13)) == Difference()
    assert compare(window(0, 10), window(0, 12)) == Difference()
    assert compare(window(0, 10), window(8, 18)).wrong(0.05)
    assert compare(window(0, 10), window(0, 5)).wrong(0.05)


def test_a_record_of_the_past_does_not_change() -> None:
    def rows(*closes: float, first: int = 0) -> list[dict[str, object]]:
        return [{"n": f"bar {first + n}", "close": close} for n, close in enumerate(closes)]

    served = rows(1.0, 2.0, 3.0, 4.0)
    assert compare(served, rows(2.0, 3.0, 4.1, 4.2, first=1)) == Difference(
        pytest.approx(0.2 / 4.2)
    )
    assert compare(served, rows(2.0, 3.3, 4.1, 4.2, first=1)).wrong(0.2)
