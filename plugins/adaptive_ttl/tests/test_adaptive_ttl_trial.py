"""The trial of the model against fixed spacing: what it costs to notice that it is worse."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_adaptive_ttl.spacing import FixedSpacing
from argo_mw_adaptive_ttl.trial import BLOCK, Trial

SPACING = 10.0
ONE = BLOCK * SPACING


def run(trial: Trial, ratio: float, blocks: int, *, seed: int = 1) -> int:
    """Add *blocks* in which the model's errors are *ratio* times the others; those it decided."""
    chance = random.Random(seed)
    decided = 0
    for _ in range(blocks):
        fixed = 1000.0 * chance.lognormvariate(0.0, 0.5)
        decided += not trial.fixed_decides
        model = fixed if trial.fixed_decides else fixed * ratio * chance.lognormvariate(0.0, 0.3)
        trial.add(ONE, model, fixed, SPACING)
    return decided


def test_a_model_that_is_worse_is_put_aside_within_days() -> None:
    trial = Trial()
    run(trial, 1.4, 15)

    assert trial.failures >= 1


@pytest.mark.parametrize("seed", range(5))
def test_trials_of_a_bad_model_become_rare(seed: int) -> None:
    """Over two years of sessions it decides in a small part of them."""
    decided = run(Trial(), 1.4, 500, seed=seed)

    assert decided < 100


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_is_better_keeps_deciding(seed: int) -> None:
    decided = run(Trial(), 0.8, 500, seed=seed)

    assert decided > 450


def test_one_jump_alone_puts_no_model_aside() -> None:
    """One block is no evidence, however large: luck decides where in a life a jump falls."""
    trial = Trial()
    for model in (900.0, 900.0, 1e6, 900.0, 900.0):
        trial.add(ONE, model, 1000.0, SPACING)

    assert not trial.fixed_decides


def test_a_model_that_has_become_better_gets_its_place_back() -> None:
    trial = Trial()
    run(trial, 1.5, 40)
    decided = run(trial, 0.7, 300)

    assert decided > 150
    assert not trial.fixed_decides


@given(
    moves=st.lists(st.floats(-100.0, 100.0), min_size=1, max_size=60),
    spacing=st.integers(2, 20),
)
def test_fixed_spacing_is_the_mean_over_all_moments_of_a_fetch(
    moves: list[float], spacing: int
) -> None:
    """Only the first fetch of a session has its place."""
    fixed = FixedSpacing(minutes=float(spacing))
    path = [0.0]
    for move in moves:
        error = fixed.add(move)
        path.append(path[-1] + move)
        seen = path[1:][-spacing:]
        served = seen if len(seen) == spacing else seen[:1]
        mean = sum((path[-1] - price) ** 2 for price in served) / len(served)

        assert pytest.approx(error, abs=1e-6) == mean


def walked(bounce: float, sigma: float = 5.0, minutes: int = 6000) -> FixedSpacing:
    chance = random.Random(2)
    fixed = FixedSpacing(minutes=SPACING)
    value = last = 0.0
    for _ in range(minutes):
        value += chance.gauss(0.0, sigma)
        seen = value + chance.choice((-bounce, bounce))
        fixed.add(seen - last)
        last = seen
    return fixed


def test_a_price_that_walks_is_worth_its_fetches() -> None:
    assert pytest.approx(walked(0.0).drift, abs=0.15) == 1.0


def test_a_price_that_bounces_between_bid_and_ask_is_not() -> None:
    """Of the variance of its minutes, sigma² of 25 and twice the bounce of 100, only 25 stay."""
    assert pytest.approx(walked(10.0).drift, abs=0.06) == 25.0 / 225.0
