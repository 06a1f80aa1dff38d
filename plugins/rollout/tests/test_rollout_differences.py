"""How much a block tells of the next is measured, and decides how long the blocks are."""

import json

import numpy as np
import pytest

from argo_mw_rollout.statistics import METRICS, Arm, Block
from argo_mw_rollout.statistics.differences import Differences
from argo_mw_rollout.statistics.metrics import FIELDS
from argo_mw_rollout.statistics.sequence import interval
from argo_mw_rollout.statistics.subjects import Baseline, Subjects

CALLS, REQUESTS = FIELDS.index("calls"), FIELDS.index("requests")
AT = list(METRICS).index("requests")


def arm(requests: float) -> Arm:
    sums = np.zeros((1, len(FIELDS)))
    sums[0, CALLS], sums[0, REQUESTS] = 100.0, requests
    return Arm(["A"], sums)


def differences(more: np.ndarray, *, restarted_at: int = -1) -> Differences:
    """Return those of blocks in which treatment has so many requests *more* than control's 100."""
    before = Subjects()
    before.add(["A"], arm(100.0).sums)
    baseline, found = Baseline(before), Differences()
    for number, one in enumerate(more):
        if number == restarted_at:
            found = Differences.of_data(json.loads(json.dumps(found.as_data())))
        found.add(Block(30.0 * number, 30.0, arm(100.0 + one), arm(100.0)), baseline)
    return found


def dependent(random: np.random.Generator, correlation: float, blocks: int) -> np.ndarray:
    """Return differences each of which is in part the one before."""
    noise = random.normal(0.0, 5.0, blocks)
    for number in range(1, blocks):
        noise[number] = (
            correlation * noise[number - 1] + (1 - correlation**2) ** 0.5 * noise[number]
        )
    return noise


def test_blocks_that_tell_nothing_of_each_other_are_seldom_made_longer() -> None:
    random = np.random.default_rng(11)
    longer = [
        int(differences(random.normal(0.0, 5.0, 60)).chosen().length[AT]) > 1 for _ in range(200)
    ]

    # A correlation of two standard errors has chance make in 2.3 % of cases; 10 are 3 sigma more.
    assert sum(longer) <= 10


@pytest.mark.parametrize(("correlation", "least"), [(0.6, 2), (0.9, 8)])
def test_blocks_that_tell_of_the_next_are_made_longer(correlation: float, least: int) -> None:
    random = np.random.default_rng(12)
    lengths = [
        int(differences(dependent(random, correlation, 400)).chosen().length[AT]) for _ in range(20)
    ]

    assert min(lengths) >= least


def test_what_is_left_of_the_correlation_widens_the_interval() -> None:
    chosen = differences(np.tile([5.0, 5.0, 5.0, -5.0, -5.0, -5.0], 4)).chosen()

    # Of 23 neighbours 16 have one sign and 7 have two: 9/24, which is 1.8 standard errors.
    assert 1 == int(chosen.length[AT])
    assert 1.0 + 2.0 * (9 / 24 - 24**-0.5) == pytest.approx(float(chosen.spread[AT]))


def test_all_that_is_left_counts_once_blocks_have_shown_that_they_depend_on_each_other() -> None:
    steps = np.repeat([5.0, 5.0, 5.0, -5.0, -5.0, -5.0], 2)
    chosen = differences(np.tile(steps, 4)).chosen()

    assert 2 == int(chosen.length[AT])
    assert 1.0 + 2.0 * (9 / 24) == pytest.approx(float(chosen.spread[AT]))


def test_dependent_blocks_without_an_effect_are_hardly_ever_outside() -> None:
    random = np.random.default_rng(16)
    outside = 0
    for _ in range(60):
        found = differences(dependent(random, 0.8, 192)).chosen()
        low, high = interval(found.sums, 0.025, spread=found.spread)
        outside += int(low[AT] > 0.0 or high[AT] < 0.0)

    # With alpha 0.025 for each side 3 of 60 may be, at any look; 8 is 3 sigma more.
    assert outside <= 8


def test_neighbours_are_remembered_over_a_restart() -> None:
    more = dependent(np.random.default_rng(14), 0.5, 101)
    whole, restarted = differences(more), differences(more, restarted_at=33)

    assert whole.as_data() == restarted.as_data()


def test_the_effect_itself_is_no_correlation() -> None:
    more = 30.0 + np.random.default_rng(15).normal(0.0, 5.0, 200)
    chosen = differences(more).chosen()

    assert 1 == int(chosen.length[AT])
    assert 0.3 == pytest.approx(float(chosen.sums.effect()[AT]), abs=0.02)
