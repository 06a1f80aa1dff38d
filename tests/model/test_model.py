"""Promises that hold whatever happens, in whatever order: a model, driven by chance."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.model.world import Violation

EXAMPLES, STEPS = 20, 50
IN_MAKE_TEST = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_promises_hold_for_a_thousand_steps() -> None:
    run_state_machine_as_test(Machine, settings=IN_MAKE_TEST)
