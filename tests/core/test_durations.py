"""Durations as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Argo, BadParameter, ConfigError
from argo_mw.base.durations import seconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h30m", 5_400.0),
        ("1.5 h", 5_400.0),
        ("250ms", 0.25),
        (" 1d 12h ", 129_600.0),
        ("2w", 1_209_600.0),
        (45, 45.0),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read(written: float | str, expected: float) -> None:
    assert pytest.approx(expected) == seconds(written)


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "2", "m", "2x", "-2m", "2m-", "m2", "1h 30", "9" * 100 + "s"),
        *(-1, math.inf, math.nan, True, None, b"2m"),
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(BadParameter, match="is not a duration; write seconds, or a text such as"):
        seconds(written)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from("smhdw")), min_size=1, max_size=5))
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    whole = "".join(f"{number}{unit}" for number, unit in parts)
    assert pytest.approx(sum(seconds(f"{n}{u}") for n, u in parts)) == seconds(whole)


def test_a_configured_duration_is_a_number_or_a_text() -> None:
    for written in (120, "2m"):
        settings = Argo.open({"operations": {"bars": {"ttl": written}}}, installed=False).settings
        assert 120.0 == settings.operations["bars"].ttl
    with pytest.raises(ConfigError, match=r"operations\.bars\.ttl: expected seconds, or a text"):
        Argo.open({"operations": {"bars": {"ttl": "soon"}}}, installed=False)
