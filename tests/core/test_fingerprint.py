"""Keys are the same wherever a question is asked, and differ when questions differ."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import itertools
import subprocess
import sys
import uuid
from decimal import Decimal

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import BadParameter
from argo_mw.base.fingerprint import encode, fingerprint_named
from argo_mw.plugin import fingerprint


class Side(enum.Enum):
    BUY = 1
    SELL = 2


@frozen
class Point:
    x: int
    y: int


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "value",
    [np.longdouble("1.5"), np.clongdouble(1), np.datetime64("NaT"), np.timedelta64("NaT")],
    ids=repr,
)
def test_scalars_of_numpy_that_no_plain_value_equals_are_refused(value: object) -> None:
    with pytest.raises(BadParameter, match="no stable fingerprint"):
        fingerprint(value)


def test_values_of_different_types_have_different_fingerprints() -> None:
    """What compares equal in Python is not therefore the same question."""
    values = [
        1, 1.0, "1", True, b"1", None, Decimal(1), Side.BUY, [1], (1,), {1}, {"1": 1}, Point(1, 1),
        dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.time(1), dt.timedelta(1), uuid.UUID(int=1), "", b"", [], (), {}, "None", "True",
    ]  # fmt: skip
    prints = [fingerprint(value) for value in values]
    assert len(values) == len(set(prints))


def test_the_order_of_named_arguments_does_not_matter() -> None:
    expected = fingerprint_named({"a": 1, "b": [2, 3], "c": {"x": 1, "y": 2}}, of="bars")
    assert expected == fingerprint_named({"c": {"y": 2, "x": 1}, "b": [2, 3], "a": 1}, of="bars")


def test_the_same_instant_in_two_zones_is_one_question() -> None:
    noon = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
    eight = noon.astimezone(dt.timezone(dt.timedelta(hours=-4)))
    assert fingerprint(noon) == fingerprint(eight)


def test_equal_numbers_of_one_type_are_one_question() -> None:
    assert fingerprint(0.0) == fingerprint(-0.0)
    assert fingerprint(Decimal("1.0")) == fingerprint(Decimal("1.00"))
    assert fingerprint(float("nan")) == fingerprint(-float("nan"))


class Mode(enum.Flag):
    FAST = 1
    SAFE = 2


class Bits(enum.IntFlag, boundary=enum.KEEP):
    LOW = 1


def test_decimals_beyond_the_context_s_precision_differ_too() -> None:
    """Arithmetic would round them to 28 digits, or to whatever the thread has set."""
    values = [Decimal(10**40), Decimal(10**40 + 1), Decimal("1." + "0" * 40 + "1"), Decimal(1)]
    prints = [fingerprint(value) for value in values]
    assert len(values) == len(set(prints))
    with decimal.localcontext(prec=3):
        assert prints == [fingerprint(value) for value in values]
    assert fingerprint(Decimal("1E+999999999999999999")) != fingerprint(Decimal("1E+999999"))
    assert fingerprint(Decimal("-0.00")) == fingerprint(Decimal(0))


def test_flags_without_a_name_have_fingerprints() -> None:
    values = [Mode(0), Mode.FAST, Mode.FAST | Mode.SAFE, Bits(0), Bits(8), Bits(9)]
    assert len(values) == len({fingerprint(value) for value in values})


def test_instants_beyond_what_utc_can_write_have_fingerprints() -> None:
    east, west = dt.timezone(dt.timedelta(hours=5)), dt.timezone(dt.timedelta(hours=-5))
    first, last = dt.datetime.min.replace(tzinfo=east), dt.datetime.max.replace(tzinfo=west)
    assert len({fingerprint(v) for v in (first, last, dt.datetime.min, dt.datetime.max)}) == 4


@given(plain, plain)
def test_different_values_never_share_an_encoding(one: object, other: object) -> None:
    same = repr(one) == repr(other)
    if same:
        assert encode(one) == encode(other)
    elif type(one) is not type(other) or one != other:
        assert encode(one) != encode(other)


@given(st.lists(plain, min_size=2, max_size=3))
def test_encodings_are_prefix_free(values: list[object]) -> None:
    """Two lists are equal only when each of their elements is, wherever they are cut."""
    for one, other in itertools.combinations(values, 2):
        first, second = encode(one), encode(other)
        if first != second:
            assert not first.startswith(second)
            assert not second.startswith(first)


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    """Hash randomisation and addresses have no part in it."""
    value = {"symbols": {"AAPL", "MSFT", "GOOG"}, "since": dt.date(2024, 1, 2), "side": "buy"}
    program = (
        "import datetime as dt; from argo_mw.plugin import fingerprint; "
        "print(fingerprint({'symbols': {'GOOG', 'AAPL', 'MSFT'}, "
        "'since': dt.date(2024, 1, 2), 'side': 'buy'}))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert fingerprint(value) == told.stdout.decode().strip()


@pytest.mark.parametrize("value", [object(), lambda: 1, open, {"a": [1, object()]}])
def test_what_has_no_stable_content_is_refused_by_name(value: object) -> None:
    with pytest.raises(BadParameter, match="parameter 'when' of bars"):
        fingerprint_named({"when": value}, of="bars")


def test_the_error_names_the_way_to_the_culprit() -> None:
    with pytest.raises(
        BadParameter, match=r"parameter 'filters' of bars\['a'\]\[1\] is a builtins"
    ):
        fingerprint_named({"filters": {"a": [1, object()]}}, of="bars")


def test_what_is_nested_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(BadParameter, match="levels deep"):
        fingerprint(endless)
