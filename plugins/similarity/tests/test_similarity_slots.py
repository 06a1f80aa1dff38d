"""Tolerances of slots, and where prompts are found in calls."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_other_slots_are_another_template() -> None:
    assert mismatch({"a": 1}, {"b": 1}, {}) == "a"
    assert mismatch({"a": 1}, {"a": 2}, {}) == "a"
    assert mismatch({"a": 1}, {"a": "1"}, {}) == "a"
    assert mismatch({"a": 1}, {"a": 1}, {}) == ""
