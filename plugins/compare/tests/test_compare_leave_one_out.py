"""What each layer brings, and when a difference is none."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from argo_mw_compare.experiment import Observations
from argo_mw_compare.figures import Figures, figures
from argo_mw_compare.interval import interval, ratio_interval
from argo_mw_compare.leave_one_out import left_out
from argo_mw_compare.report import headline, layers_of
from argo_mw_compare.variants import Variant


def seeds_of(variant: str, **known: list[float]) -> dict[int, Figures]:
    empty = evolve(figures(Observations(Variant(variant))), requests=None, usd=None)
    count = len(next(iter(known.values())))
    return {
        seed: evolve(empty, **{name: values[seed] for name, values in known.items()})
        for seed in range(count)
    }


class TestInterval:
    def test_it_is_students(self):
        found = interval([1.0, 2.0, 3.0])
        assert 2.0 == found.mean
        assert pytest.approx(4.30 / math.sqrt(3)) == found.half

    def test_one_value_says_nothing_of_others(self):
        assert math.isinf(interval([1.0]).half)

    def test_equal_values_leave_no_doubt(self):
        assert (2.0, 2.0) == (interval([2.0] * 4).low, interval([2.0] * 4).high)

    def test_a_ratio_is_that_of_the_means(self):
        found = ratio_interval([2.0, 4.0, 6.0], [4.0, 8.0, 12.0])
        assert found is not None
        assert (0.5, 0.5, 0.5) == (found.mean, found.low, found.high)

    def test_there_is_no_ratio_to_nothing(self):
        assert ratio_interval([1.0, 1.0], [0.0, 0.0]) is None


class TestLeaveOneOut:
    def test_a_layer_pays_where_a_figure_is_worse_without_it(self):
        [found] = left_out(
            {
                "all": seeds_of("all", requests=[50, 52, 48, 50], usd=[1, 2, 3, 4]),
                "-cache": seeds_of("-cache", requests=[100, 104, 96, 100], usd=[4, 3, 2, 1]),
            }
        )
        assert ("cache", True, False) == (found.layer, found.pays, found.better_left_out)
        assert "brings requests −50 % (−50 to −50); USD: inside the noise." == found.in_words

    def test_a_layer_that_only_costs_is_better_left_out(self):
        [found] = left_out(
            {
                "all": seeds_of("all", requests=[60, 61, 59, 60]),
                "-race": seeds_of("-race", requests=[50, 51, 49, 50]),
            }
        )
        assert (False, True) == (found.pays, found.better_left_out)
        assert found.in_words.startswith("costs requests +20 % (")
        assert "`parallel_fetching`" in found.in_words
        assert found.as_dict()["met"] is False

    def test_a_difference_inside_the_noise_is_called_that(self):
        [found] = left_out(
            {
                "all": seeds_of("all", p99_ms=[1000, 3000, 2000]),
                "-race": seeds_of("-race", p99_ms=[1500, 1400, 2500]),
            }
        )
        assert (False, False) == (found.pays, found.better_left_out)
        assert found.in_words.startswith("no difference beyond the noise; ")

    def test_a_difference_of_less_than_a_hundredth_is_none(self):
        [found] = left_out(
            {
                "all": seeds_of("all", p99_ms=[2001.0] * 3),
                "-race": seeds_of("-race", p99_ms=[2002.0] * 3),
            }
        )
        assert ["noise"] == [one.verdict for one in found.effects]

    def test_two_seeds_are_too_few_to_judge_by(self):
        several = {
            name: seeds_of(name, requests=[1.0, 2.0]) for name in ("all", "-race", "baseline")
        }
        assert [] == left_out(several)

    def test_the_page_shows_it(self):
        several = left_out(
            {
                "all": seeds_of("all", requests=[1.0] * 3),
                "-cache": seeds_of("-cache", requests=[2.0] * 3),
            }
        )
        assert "<tr><th>cache</th><td>brings requests −50 %" in layers_of(several)
        assert "" == layers_of([])


SUMMARY = {"calls_ratio": 0.2, "usd_ratio": 0.26, "p50_miss_ratio": 0.14, "error_bp_ratio": 0.9}


class TestHeadline:
    def test_it_says_what_was_saved_in_a_sentence(self):
        expected = (
            "0.20 × the requests, 0.26 × the dollars, signals 7.1 × as fast when they must ask, "
            "prices no staler."
        )
        assert expected == headline(SUMMARY)

    @pytest.mark.parametrize(
        ("bounds", "ending"),
        [
            ([0.8, 1.4], "prices as stale within the noise."),
            ([1.05, 1.15], "prices 1.10 × as stale."),
            (None, "prices 1.10 × as stale."),
        ],
    )
    def test_it_says_it_when_prices_are_staler(self, bounds, ending):
        staler = {**SUMMARY, "error_bp_ratio": 1.1, "error_bp_ratio_interval": bounds}
        assert headline(staler).endswith(ending)

    def test_prices_that_are_fresher_inside_the_noise_are_not_called_so(self):
        noisy = {**SUMMARY, "error_bp_ratio_interval": [0.3, 1.7]}
        assert headline(noisy).endswith("prices as stale within the noise.")

    def test_nothing_measured_is_no_headline(self):
        assert "" == headline({"calls_ratio": None})
