"""Stores that half work, under three processes with 200 callers: see ``tests/bench/half_stores.py``."""

from __future__ import annotations

import pytest

from tests.bench.half_stores import FAULTS, measure

pytestmark = pytest.mark.soak
SECONDS = 3.0


@pytest.mark.parametrize("fault", FAULTS)
async def test_answers_stay_right_and_one_trouble_says_what_to_do(fault):
    found = await measure(FAULTS[fault], SECONDS)
    judged = ("wrong", "stale", "failed", "without_remedy", "troubles")
    assert {**dict.fromkeys(judged, 0), "troubles": 1} == {name: found[name] for name in judged}
