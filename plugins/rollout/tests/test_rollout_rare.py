"""Rare harm and unequal arms are judged exactly."""

import math

import numpy as np
import pytest

from argo_mw_rollout.statistics import rare, sample_ratio
from argo_mw_rollout.statistics.rare import Checked

BEFORE = Checked(10_000, 1)


def test_four_wrong_answers_among_few_are_certain_harm() -> None:
    found = rare.evidence_of_harm(Checked(200, 4), Checked(70, 0), BEFORE, 0.0005)

    assert found > math.log(1 / 0.002)


def test_answers_that_are_all_wrong_are_certain_harm_though_little_was_known_before() -> None:
    found = rare.evidence_of_harm(Checked(0, 12), Checked(3, 0), Checked(7, 0), 0.0005)

    assert found > math.log(1 / 0.001)


def test_one_wrong_answer_is_not() -> None:
    found = rare.evidence_of_harm(Checked(200, 1), Checked(70, 0), BEFORE, 0.0005)

    assert found < math.log(1 / 0.002)


def test_wrong_answers_in_control_excuse_those_in_treatment() -> None:
    treatment = Checked(200, 4)

    excused = rare.evidence_of_harm(treatment, Checked(68, 2), BEFORE, 0.0005)

    assert excused < 0


def test_without_a_known_share_little_is_certain() -> None:
    assert rare.evidence_of_harm(Checked(50, 2), Checked(10, 0), Checked(), 0.0005) < 3


@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("number", [20, 200])
def test_a_usual_share_of_which_little_is_known_is_not_taken_for_known(
    share: float, number: int
) -> None:
    random = np.random.default_rng(7)
    found = 0
    for _ in range(100):
        before = number_of(random.binomial(number, share), number)
        wrong, control = (random.binomial(n, share, 20).cumsum() for n in (160, 40))
        found += any(
            rare.evidence_of_harm(number_of(k, 160 * n), number_of(c, 40 * n), before, 0.0005)
            > math.log(200)
            for n, (k, c) in enumerate(zip(wrong, control, strict=True), 1)
        )

    # With alpha 0.005, none or one may be; with the share of so few taken for known, up to 10 are.
    assert found <= 2


def test_no_subject_counts_more_than_the_third_most_or_two() -> None:
    assert rare.spread({}) == 0
    assert rare.spread({"A": 1, "B": 9}) == 3
    assert rare.spread({"A": 90, "B": 9, "C": 5, "D": 1}) == 16


def number_of(wrong: int, total: int) -> Checked:
    return Checked(total - wrong, wrong)


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_answers_that_always_differ_are_no_harm(share: float) -> None:
    def seen(number: int) -> Checked:
        return Checked(number * (1 - share), number * share)

    for number in (10, 100, 10_000):
        found = rare.evidence_of_harm(seen(number), seen(number // 4), seen(number), 0.0005)
        assert found < 0


def test_harm_that_is_not_there_is_hardly_ever_found_at_any_look() -> None:
    random = np.random.default_rng(5)
    share, margin, found = 0.002, 0.0005, 0
    before = Checked(100_000 * (1 - share), 100_000 * share)
    for _ in range(400):
        wrong = random.binomial(20, share + margin, 100).cumsum()
        found += any(
            rare.evidence_of_harm(Checked(20 * n - k, k), Checked(), before, margin) > math.log(20)
            for n, k in enumerate(wrong, 1)
        )

    # With alpha 0.05, 20 of 400 may be; 33 is 3 sigma more.
    assert found <= 33


def test_harm_at_the_limit_is_hardly_ever_taken_for_safe() -> None:
    random = np.random.default_rng(6)
    share, limit, found = 0.002, 0.002, 0
    before = Checked(100_000 * (1 - share), 100_000 * share)
    for _ in range(400):
        wrong = random.binomial(100, share + limit, 60).cumsum()
        found += any(
            rare.evidence_of_safety(Checked(100 * n - k, k), Checked(), before, limit)
            > math.log(20)
            for n, k in enumerate(wrong, 1)
        )

    assert found <= 33


@pytest.mark.parametrize("wrong", [0, 1, 5])
def test_shares_that_were_never_usual_do_not_make_harm_safe(wrong: int) -> None:
    seen = number_of(wrong, 9_000)

    little, much = (
        rare.evidence_of_safety(seen, Checked(), Checked(right, 0), 0.001) for right in (100, 10**9)
    )

    # Were all shares equally likely at first, one wrong answer would pass where 100 were right.
    assert much == pytest.approx(little)


def test_a_share_that_is_usual_is_no_harm() -> None:
    seen, usual = number_of(200, 100_000), number_of(2_000, 1_000_000)

    assert rare.evidence_of_safety(seen, Checked(), usual, 0.001) > math.log(1 / 0.005)
    assert rare.evidence_of_safety(seen, Checked(), Checked(1_000_000, 0), 0.001) < 0


def test_enough_right_answers_are_safe() -> None:
    needed = rare.checks_needed(0.0, 0.001, 0.005)

    assert needed == pytest.approx(6_400, rel=0.02)
    assert rare.evidence_of_safety(
        Checked(needed * 1.01, 0), Checked(), Checked(1e9, 0), 0.001
    ) >= math.log(1 / 0.005)


def test_bounds_leave_open_what_was_seen() -> None:
    low, high = rare.bounds(Checked(95, 5), 0.025)

    assert 0 < low < 0.05 < high < 0.2
    assert rare.bounds(Checked(0, 0), 0.025) == (0.0, 1.0)
    assert rare.bounds(Checked(50, 0), 0.025)[0] == 0.0
    assert rare.bounds(Checked(0, 50), 0.025)[1] == 1.0


def test_arms_of_the_right_sizes_are_no_mismatch() -> None:
    assert sample_ratio.mismatch(20, 22, 10.0) is None
    assert sample_ratio.mismatch(150, 50, 75.0) is None


def test_the_evidence_of_a_mismatch_is_the_ratio_of_beta_binomial_and_binomial() -> None:
    from scipy.stats import betabinom, binom

    ours = sample_ratio.evidence(30, 10, 0.5)

    expected = betabinom.logpmf(30, 40, 10, 10) - binom.logpmf(30, 40, 0.5)
    assert expected == pytest.approx(ours)


def test_arms_of_the_right_sizes_are_hardly_ever_taken_for_a_mismatch() -> None:
    random = np.random.default_rng(8)
    found = 0
    for _ in range(1000):
        treatment = (random.random(200) < 0.5).cumsum()
        found += any(
            sample_ratio.evidence(int(k), n - int(k), 0.5) > math.log(20)
            for n, k in enumerate(treatment, 1)
        )

    # With alpha 0.05, 50 of 1,000 may be; 71 is 3 sigma more.
    assert found <= 71


def test_a_mismatch_names_the_instance_that_brings_it() -> None:
    found = sample_ratio.mismatch(
        20, 90, 10.0, sources={"a": (10, 10), "b": (0, 70), "c": (10, 10)}
    )

    assert found is not None
    assert "instance b brings it (0 to 70)" in found.cause


def test_a_mismatch_names_subjects_in_both_arms() -> None:
    found = sample_ratio.mismatch(50, 50, 10.0, both=tuple(f"S{n}" for n in range(9)))

    assert found is not None
    assert found.cause.startswith("9 subjects were seen in both arms (S0, S1, S2)")


def test_an_arm_without_any_subject_names_an_override() -> None:
    found = sample_ratio.mismatch(0, 40, 10.0)

    assert found is not None
    assert found.cause == "no call was ever in treatment: an override above the flag decides"


def test_subjects_that_are_missing_everywhere_are_named_so() -> None:
    found = sample_ratio.mismatch(40, 100, 10.0, sources={"a": (40, 100)})

    assert found is not None
    assert found.cause.startswith("subjects of treatment are missing everywhere")
