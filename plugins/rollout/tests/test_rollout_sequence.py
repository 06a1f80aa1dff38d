"""Confidence sequences agree with other implementations and keep their promise."""

import math

import numpy as np
import pytest

from argo_mw_rollout.statistics.sequence import Sums, boundary, half_width, interval, mixing

# From the tests of GrowthBook's gbstats (packages/stats/tests/frequentist/test_tests.py, MIT):
# SequentialOneSidedTreatment{Greater,Lesser}TTest of 3,000 and 3,461 values, alpha 0.05, tuned to
# 5,000. Their "s2" is the squared standard error times the number of values.
VALUES = 6461
ABSOLUTE = (0.23437666666666668, 0.12983081254184736)
RELATIVE = (0.5033610858562358, 0.3334122146400735)


@pytest.mark.parametrize(
    ("estimate", "low", "high"),
    [
        (ABSOLUTE, -0.12656844172804982, 0.5953217750613832),
        (RELATIVE, -0.42356454602790883, 1.4302867177403806),
    ],
)
def test_one_sided_sequences_agree_with_those_of_growthbook(
    estimate: tuple[float, float], low: float, high: float
) -> None:
    mean, error = estimate

    half = half_width(VALUES, error**2 * VALUES, 0.05, best_at=5000)

    assert low == pytest.approx(mean - half, abs=1e-9)
    assert high == pytest.approx(mean + half, abs=1e-9)


def test_the_bound_is_above_the_exact_one_of_the_normal_mixture_of_confseq() -> None:
    # From the tests of confseq (test/uniform_boundaries_unittest.cpp, MIT): the one-sided normal
    # mixture, tuned to a variance of 100, crosses 27.66071 there at alpha 0.05. The closed form is an
    # upper bound of it, and close.
    ours = float(boundary(100, 0.05, best_at=100)) * math.sqrt(100)

    assert 27.66071 <= ours <= 27.66071 * 1.01


def test_the_bound_of_confseq_holds_for_two_sides_too() -> None:
    # Two one-sided sequences at half of alpha are no narrower than the two-sided one: 30.35209.
    ours = float(boundary(100, 0.025, best_at=100)) * math.sqrt(100)

    assert 30.35209 <= ours <= 30.35209 * 1.01


def test_sequences_are_tightest_about_where_they_were_tuned_to() -> None:
    widths = {at: half_width(100, 1.0, 0.01, best_at=at) for at in (10, 50, 100, 200, 1000)}

    assert min(widths, key=lambda at: widths[at]) in (50, 100, 200)
    assert mixing(0.01, 100) == pytest.approx(10 * mixing(0.01, 1000))


def sums(x: list[float], w: list[float] | None = None) -> Sums:
    xs = np.array(x)[:, None]
    ws = np.ones_like(xs) if w is None else np.array(w)[:, None]
    products = (xs, ws, xs * xs, xs * ws, ws * ws)
    return Sums(*(one.sum(axis=0) for one in products))


def test_an_interval_is_what_the_bound_does_not_rule_out() -> None:
    x = np.random.default_rng(1).normal(0.3, 1.0, 200)
    w = np.random.default_rng(2).uniform(0.5, 1.5, 200)
    found = sums(list(x * w), list(w))

    for end in interval(found, 0.01):
        # At its ends the sum is exactly at the bound, with the variance around that end.
        sum_ = abs(float((x * w - end[0] * w).sum()))
        size = float(w.sum() ** 2 / (w**2).sum())
        bound = float(boundary(size, 0.01)) * math.sqrt(float(((x * w - end[0] * w) ** 2).sum()))
        assert bound == pytest.approx(sum_)


def test_a_few_blocks_are_never_enough() -> None:
    low, high = interval(sums([1.0] * 8), 0.001)

    assert (-math.inf, math.inf) == (float(low[0]), float(high[0]))


def test_many_equal_blocks_are() -> None:
    low, high = interval(sums([1.0] * 80), 0.001)

    assert (1.0, 1.0) == pytest.approx((float(low[0]), float(high[0])))


def test_a_wider_spread_widens_the_interval() -> None:
    found = sums(list(np.random.default_rng(3).normal(0, 1, 300)))

    narrow, wide = interval(found, 0.01), interval(found, 0.01, spread=1.5)

    assert wide[0][0] < narrow[0][0]
    assert wide[1][0] > narrow[1][0]


@pytest.mark.parametrize("tail", ["normal", "cauchy", "rare"])
def test_symmetric_differences_are_hardly_ever_outside_at_any_look(tail: str) -> None:
    random = np.random.default_rng(7)
    size = (2000, 400)
    values = {
        "normal": lambda: random.normal(0, 1, size),
        "cauchy": lambda: random.standard_cauchy(size),
        "rare": lambda: random.poisson(0.02, size) - random.poisson(0.02, size),
    }[tail]().astype(float)
    n = np.arange(1, 401)
    total, squares = values.cumsum(axis=1), (values**2).cumsum(axis=1)

    above = total > boundary(n, 0.01) * np.sqrt(squares)

    # 2,000 sequences, each looked at 400 times: 20 may be outside at some look; 33 is 3 sigma more.
    assert int((above & (squares > 0)).any(axis=1).sum()) <= 33
