"""The simulated service of the bench of rollout is what it says, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from argo_mw.chain import find
from argo_mw_rollout.statistics.metrics import FIELDS
from tests.bench.rollout import HARMS, TWICE, upper
from tests.bench.rollout_stage import ramps, service
from tests.bench.rollout_stage.fixed import calls_needed
from tests.bench.rollout_stage.hits import uncounted
from tests.bench.rollout_stage.service import NONE, Effect, Service

COLUMN = {name: number for number, name in enumerate(FIELDS)}


def totals(effect: Effect, blocks: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Return what was counted in treatment and control in two hours at one half."""
    found = Service(1, 0.0).blocks(0.0, blocks, 50.0, effect)
    arms = ([one.treatment.sums for one in found], [one.control.sums for one in found])
    return np.sum(arms[0], axis=(0, 1)), np.sum(arms[1], axis=(0, 1))


def test_the_rates_are_those_that_are_stated() -> None:
    _, control = totals(NONE)
    calls = control[COLUMN["calls"]]

    assert calls == pytest.approx(18_000, rel=0.1)
    assert control[COLUMN["slow"]] / calls == pytest.approx(0.05, rel=0.4)
    assert control[COLUMN["requests"]] / calls == pytest.approx(service.REQUESTS, rel=0.25)


def test_audits_are_one_call_in_a_hundred() -> None:
    treatment, control = totals(NONE)
    audits = COLUMN["audits"]

    both = treatment[0] + control[0]
    assert treatment[audits] + control[audits] == pytest.approx(0.01 * both, rel=0.05)
    assert treatment[audits] / control[audits] == pytest.approx(4.0, rel=0.2)


def test_a_harm_changes_treatment_alone() -> None:
    treatment, control = totals(Effect(errors=0.02, usd=1.3))
    before = totals(NONE)

    assert treatment[COLUMN["errors"]] > 3 * before[0][COLUMN["errors"]]
    assert control[COLUMN["errors"]] < 2 * before[1][COLUMN["errors"]] + 20


@pytest.mark.parametrize("factor", [0.7, 1.1])
def test_requests_change_by_what_the_effect_says_at_every_hour(factor: float) -> None:
    """A call that always needs a request would hide a part of a harm, which then is no false one."""
    calls, requests = COLUMN["calls"], COLUMN["requests"]
    changed, usual = (
        [
            one.treatment.sums.sum(axis=0)
            for one in Service(2).blocks(0.0, 4, 50.0, effect, 21_600.0)
        ]
        for effect in (Effect(requests=factor), NONE)
    )
    for one, other in zip(changed, usual, strict=True):
        ratio = one[requests] / one[calls] / (other[requests] / other[calls])
        assert ratio == pytest.approx(factor, abs=0.012)


def test_a_seed_gives_the_same_ramp() -> None:
    one, two = (ramps.run(3, hours=0.5, steps=(10.0,)) for _ in range(2))

    assert one == two


def test_every_guardrail_has_a_harm_of_twice_its_margin() -> None:
    assert set(ramps.RULES.guarded) == set(TWICE)


@pytest.mark.parametrize("name", HARMS)
def test_a_test_of_fixed_size_needs_less_than_two_hours_of_calls(name: str) -> None:
    _, metric, size = HARMS[name]

    assert 1_000 < calls_needed(metric, size, ramps.RULES, 10.0) < 36_000


def test_the_bound_of_no_event_in_a_thousand_is_three_in_a_thousand() -> None:
    assert upper(0, 1000) == pytest.approx(0.003, rel=0.01)
    assert upper(1000, 1000) == 1.0


def test_counting_is_taken_out_for_a_while_only() -> None:
    before = find._asking
    with uncounted():
        assert find._asking is not before
    assert find._asking is before
