"""Tolerances of slots, and where prompts are found in calls."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_similarity.search.slot_index import SlotIndex
from argo_mw_similarity.slots import Tolerance, mismatch, parse_tolerance


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10bp", Tolerance(relative=0.001)),
        ("0.5%", Tolerance(relative=0.005)),
        ("1", Tolerance(absolute=1.0)),
        ("1 point", Tolerance(absolute=1.0)),
        (2, Tolerance(absolute=2.0)),
        ("5min", Tolerance(absolute=300.0)),
        ("any", Tolerance(ignored=True)),
        ("exact", Tolerance()),
    ],
)
def test_a_tolerance_is_read(text: object, expected: Tolerance) -> None:
    assert parse_tolerance(text, slot="s") == expected


@pytest.mark.parametrize("text", ["about 3", "", True, "-1", "1 parsec"])
def test_a_wrong_tolerance_names_its_slot(text: object) -> None:
    with pytest.raises(ValueError, match="slot 'rsi'"):
        parse_tolerance(text, slot="rsi")


@given(st.floats(1, 1e6), st.floats(-0.0009, 0.0009))
def test_ten_basis_points_are_ten_basis_points(price: float, share: float) -> None:
    tolerance = parse_tolerance("10bp", slot="price")
    assert tolerance.covers(price * (1 + share), price)
    assert not tolerance.covers(price * 1.0011, price)


@pytest.mark.parametrize("odd", [math.nan, math.inf, "3", None, True])
def test_what_is_no_number_must_be_equal(odd: object) -> None:
    assert not Tolerance(absolute=5.0).covers(odd, 3.0)


def test_large_integers_are_told_apart() -> None:
    """Identifiers and times in nanoseconds have more digits than a float."""
    order = 2**53
    assert not Tolerance().covers(order + 1, order)
    assert Tolerance(absolute=1.0).covers(order + 1, order)
    assert not Tolerance(absolute=1.0).covers(order + 2, order)


def test_a_tolerance_is_as_wide_below_zero() -> None:
    tolerance = parse_tolerance("10bp", slot="carry")
    assert tolerance.covers(-2.001, -2.0)
    assert not tolerance.covers(-2.003, -2.0)
    assert not tolerance.covers(2.0, -2.0)


def test_other_slots_are_another_template() -> None:
    assert mismatch({"a": 1}, {"b": 1}, {}) == "a"
    assert mismatch({"a": 1}, {"a": 2}, {}) == "a"
    assert mismatch({"a": 1}, {"a": "1"}, {}) == "a"
    assert mismatch({"a": 1}, {"a": 1}, {}) == ""


odd = st.sampled_from([True, None, "3", "x", math.nan, math.inf, 10**400, 2**60, 2**60 + 1])
values = st.floats(-10, 10) | st.integers(-10, 10) | odd
tolerance = st.builds(Tolerance, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.1])) | (
    st.just(Tolerance(ignored=True))
)


@given(
    st.lists(st.fixed_dictionaries({"a": values}, optional={"b": values}), max_size=40),
    st.fixed_dictionaries({"a": values}, optional={"b": values}),
    st.fixed_dictionaries({}, optional={"a": tolerance, "b": tolerance}),
    st.sets(st.integers(1, 40)),
)
def test_the_index_misses_no_entry_that_will_do(
    known: list[dict[str, object]],
    asked: dict[str, object],
    tolerances: dict[str, Tolerance],
    removed: set[int],
) -> None:
    index = SlotIndex()
    for number, slots in enumerate(known, 1):
        index.add(number, slots)
    for number in removed:
        index.remove(number)
    left = {n: slots for n, slots in enumerate(known, 1) if n not in removed}
    expected = [n for n, slots in left.items() if not mismatch(asked, slots, tolerances)]
    found = index.search(asked, tolerances)
    assert set(expected) <= set(found) <= set(left)
    assert sorted(found, reverse=True) == found


def test_the_index_forgets_what_left_and_keeps_its_order() -> None:
    index = SlotIndex()
    for number in range(1, 1001):
        index.add(number, {"a": 1.0})
        index.remove(number - 8)
    assert list(range(1000, 992, -1)) == index.search({"a": 1.0}, {})
