"""Histograms: quantiles within a percent, and sums of histograms that lose nothing."""

from __future__ import annotations

import math
import random

import pytest

from argo_mw.plugin import Histogram

LOGNORMAL = random.Random(7)
VALUES = [LOGNORMAL.lognormvariate(-3.0, 1.5) for _ in range(20_000)]


def of(*values: float) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 0.95, 0.99, 0.999, 1.0])
def test_a_quantile_is_within_1_1_percent(share: float) -> None:
    exact = sorted(VALUES)[int(share * (len(VALUES) - 1))]
    assert exact == pytest.approx(of(*VALUES).quantile(share), rel=0.0111)


def test_the_mean_is_exact() -> None:
    assert of(*VALUES).mean == pytest.approx(sum(VALUES) / len(VALUES))


def test_merged_histograms_are_that_of_all_values() -> None:
    merged = of(*VALUES[:500])
    merged.merge(of(*VALUES[500:]))
    assert of(*VALUES) == merged


def test_values_counted_together_count_as_they_do_one_by_one() -> None:
    values = [*VALUES[:500], 0.0, -1.0, math.nan, 1e-300, 2.0**-20, 2.0**31, math.inf]
    together = Histogram()
    together.add_all(values)
    assert of(*values) == together
    assert of(*values).sum == pytest.approx(together.sum)


def test_zeros_of_others_count_in() -> None:
    histogram = of(1.0, 1.0)
    assert histogram.quantile(0.5, zeros=8) == 0.0
    assert histogram.quantile(0.95, zeros=8) == pytest.approx(1.0, rel=0.0111)


def test_nothing_counted_has_no_quantile_and_no_mean() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().mean is None


def test_what_is_no_number_is_not_counted() -> None:
    assert of(math.nan).count == 0


def test_buckets_are_bounded_whatever_is_counted() -> None:
    histogram = of(1e-300, -1.0, 0.0, math.inf, 1e300)
    for exponent in range(-1000, 1000):
        histogram.add(1.07**exponent)
    assert len(histogram.buckets) <= 1_632
    assert histogram.count == 2_005


def test_a_bucket_holds_its_upper_bound_as_opentelemetry_s_do() -> None:
    assert of(1.0).buckets == {-1: 1}
    assert of(2.0).buckets == {31: 1}
    assert of(2.0000001).buckets == {32: 1}


def test_values_above_are_counted_by_bucket() -> None:
    assert of(0.0, 0.5, 1.0, 2.0, 4.0).above(1.0) == 2
    assert of(0.0, 0.5).above(0.0) == 1


def test_what_is_read_back_is_equal() -> None:
    histogram = of(*VALUES, 0.0)
    assert Histogram.of_data(histogram.as_data()) == histogram


@pytest.mark.parametrize("data", [[], [1, 2.0], ["x", 1.0, b""], [0, 0.0, b"\xc1"], [0, 0.0, "x"]])
def test_other_data_is_refused(data: list[object]) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram.of_data(data)
