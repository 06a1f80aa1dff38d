"""Drawn minutes add up to the real day, whatever the day."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw_sandbox.bridge import DayBar, bridge

prices = st.floats(1.0, 900.0).map(lambda price: round(price, 4))


@st.composite
def days(draw: st.DrawFn) -> DayBar:
    four = sorted(draw(st.tuples(prices, prices, prices, prices)))
    middle = draw(st.permutations(four[1:3]))
    return DayBar(middle[0], four[3], four[0], middle[1], float(draw(st.integers(0, 10**8))))


@settings(max_examples=60, deadline=None)
@given(day=days(), minutes=st.integers(2, 400), seed=st.integers(0, 2**31))
def test_the_minutes_add_up_to_the_day(day: DayBar, minutes: int, seed: int) -> None:
    bars = bridge(day, 0, minutes, (seed,))
    assert minutes == len(bars)
    assert day.open == bars.open[0]
    assert day.close == bars.close[-1]
    assert day.high == bars.high.max()
    assert day.low == bars.low.min()
    assert day.volume == bars.volume.sum()
    assert (bars.volume >= 0).all()


@settings(max_examples=30, deadline=None)
@given(day=days(), seed=st.integers(0, 2**31))
def test_every_minute_is_a_possible_bar(day: DayBar, seed: int) -> None:
    bars = bridge(day, 0, 390, (seed,))
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (np.diff(bars.time) == 60).all()


def test_equal_seeds_draw_equal_paths() -> None:
    day = DayBar(10.0, 11.0, 9.0, 10.5, 1000.0)
    assert bridge(day, 0, 390, (1,)).close.tolist() == bridge(day, 0, 390, (1,)).close.tolist()
    assert bridge(day, 0, 390, (1,)).close.tolist() != bridge(day, 0, 390, (2,)).close.tolist()


def test_a_day_without_a_range_stays_at_its_price() -> None:
    bars = bridge(DayBar(5.0, 5.0, 5.0, 5.0, 10.0), 0, 390, (0,))
    assert {5.0} == set(bars.close.tolist()) | set(bars.high.tolist()) | set(bars.low.tolist())
