"""What layers in shadow would have done: measured, counted, and told."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Cost, Outcome
from argo_mw.chain.shadow_results import ShadowResult, ShadowResults
from argo_mw.model.call import make_call
from argo_mw.model.distance import how_far
from argo_mw.plugin import Call, LayerActed, Shadowed, context_of, operation
from argo_mw.testing import Scripted, capture_events

from .conftest import bars


def call(symbol: str = "A") -> Call:
    return make_call(bars, {"symbol": symbol, "days": 1}, tenant="")


@pytest.mark.parametrize(
    ("kept", "fresh", "distance"),
    [
        (101.0, 100.0, 0.01), (99, 100, 0.01), (-1.0, 1.0, 2.0), (0, 0.0, 0.0), (1, 0, math.inf),
        (math.nan, math.nan, 0.0), (math.nan, 1.0, math.inf), ("a", "a", 0.0), ("a", "b", 1.0),
        (True, False, 1.0), (True, 1, 0.0), ([1, 2], [1, 2], 0.0), ({"a": 1}, {"a": 2}, 1.0),
        (None, 3.0, 1.0),
    ],
)  # fmt: skip
def test_how_far_two_answers_are_apart(kept: object, fresh: object, distance: float) -> None:
    assert pytest.approx(distance) == how_far(kept, fresh)


def test_frames_are_equal_or_not() -> None:
    frame = pd.DataFrame({"close": [1.0, 2.0]})
    assert 0.0 == how_far(frame, frame.copy())
    assert 1.0 == how_far(frame, frame + 1)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_share_of_kept_answers_does_not_pass_its_quantile(
    distances: list[float], share: float
) -> None:
    result = ShadowResult()
    for distance in distances:
        result.count(Shadowed("cache", call(), True, distance, Cost(requests=1.0)))
    quantile = result.quantile(share)
    assert quantile is not None
    assert sum(one <= quantile for one in distances) >= share * len(distances)
    assert sum(one < quantile for one in distances) < share * len(distances) + 1
    assert (len(distances), max(distances)) == (result.compared, result.furthest)


def test_a_result_is_told_in_one_line() -> None:
    result = ShadowResult()
    assert "it was shown no call yet" == str(result)
    result.count(Shadowed("cache", call(), False))
    assert "of 1 calls it would have answered 0" == str(result)
    result.count(Shadowed("cache", call(), True, 0.0, Cost(usd=0.01, requests=0.5)))
    assert (
        "of 2 calls it would have answered 1 (50%), saved 0.5 requests and 0.01 USD; all of 1 kept "
        "answers were equal to the new one"
    ) == str(result)


def test_results_take_a_bounded_amount_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    results = ShadowResults()
    for number in range(1_200):
        one = operation(name=f"o{number}")(lambda: None)
        results.count(Shadowed("cache", make_call(one, {}, tenant=""), False))
    assert 1_000 == len(results.all)
    result = ShadowResult()
    for number in range(3_000):
        result.count(Shadowed("cache", call(), True, float(number)))
    assert 1_000 == len(result._sample)
    assert pytest.approx(1_500, rel=0.25) == result.quantile(0.5)


async def test_a_report_is_an_event_an_action_and_a_count(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        context = context_of(argo)
        events = capture_events(argo)
        answer = Outcome(101.0, cost=Cost(usd=2.0, requests=1.0))
        context.report_shadow("cache", call(), answer, kept=None, why="nothing")
        context.report_shadow("cache", call(), answer, kept=Outcome(100.0))
        [missed, hit] = events.of(Shadowed)
        assert ["would-miss", "would-hit"] == [one.action for one in events.of(LayerActed)]
        assert (False, None, "nothing") == (missed.would_hit, missed.distance, missed.why)
        assert (True, 2.0) == (hit.would_hit, hit.saved.usd)
        assert pytest.approx(1 / 101) == hit.distance
        assert 1 == context.shadow_results.of("cache", "bars").hits


async def test_answers_that_cannot_be_compared_cost_nothing(open_argo) -> None:
    def refuse(kept: object, fresh: object) -> float:
        raise TypeError

    odd = operation(name="odd", distance=refuse)(lambda: None)
    async with open_argo(operations=(odd,)) as argo:
        context = context_of(argo)
        events = capture_events(argo)
        asked = context.make_call("odd", "", {})
        context.report_shadow("cache", asked, Outcome(1), kept=Outcome(2))
        assert [None] == [one.distance for one in events.of(Shadowed)]
        assert 0 == context.shadow_results.of("cache", "odd").compared
