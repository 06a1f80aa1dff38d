"""What layers in shadow would have done: measured, counted, and told."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Cost, Outcome
from argo_mw.cli.counters import as_dict
from argo_mw.counters.counts import total
from argo_mw.counters.shadow_result import ShadowResult
from argo_mw.counters.tally import Tally
from argo_mw.model.call import make_call
from argo_mw.model.distance import how_far
from argo_mw.plugin import Call, LayerActed, Shadowed, context_of, operation
from argo_mw.testing import FakeClock, Scripted, capture_events

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


hits = st.lists(
    st.builds(
        Shadowed,
        layer=st.just("cache"),
        call=st.builds(call, st.just("A")),
        would_hit=st.booleans(),
        distance=st.none() | st.floats(0, 10),
        saved=st.builds(Cost, usd=st.none() | st.integers(0, 9), requests=st.integers(0, 3)),
    ),
    max_size=30,
)


def counted(events: list[Shadowed]) -> ShadowResult:
    result = ShadowResult()
    for event in events:
        result.count(event)
    return result


@given(hits, hits)
def test_results_add_up_and_are_read_back(one: list[Shadowed], other: list[Shadowed]) -> None:
    added = counted(one)
    added.add(counted(other))
    assert counted(one + other) == added == ShadowResult.of_data(added.as_data())
    seen = [e.distance for e in one + other if e.would_hit and e.distance is not None]
    assert (len(seen), max(seen, default=0.0)) == (added.compared, added.furthest)
    assert sum(distance > 2**-20 for distance in seen) == added.unequal


@pytest.mark.parametrize("data", [None, {}, {"calls": "1", "distances": [0, 0.0, b"\x80"]}, []])
def test_what_is_no_result_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="not a result of a layer in shadow"):
        ShadowResult.of_data(data)


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


def test_results_of_a_bounded_number_of_layers_are_kept() -> None:
    tally = Tally("bars", (), FakeClock())
    for number in range(100):
        tally.shadowed(Shadowed(f"layer {number}", call(), False))
    assert 64 == len(tally.counts().shadows)


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
        assert 1 == context.counters.shadow("cache", "bars").hits


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
        assert 0 == context.counters.shadow("cache", "odd").compared


async def test_the_fleet_reads_what_each_instance_has_counted(open_argo) -> None:
    config = {"argo": {"shared": "memory://shadows", "strict": True}}
    async with (
        open_argo(Scripted("a", ["bars"]), config=config) as one,
        open_argo(Scripted("a", ["bars"]), config=config) as other,
    ):
        answer = Outcome(101.0, cost=Cost(usd=2.0, requests=1.0))
        for argo in (one, other):
            context = context_of(argo)
            context.report_shadow("cache", call(), answer, kept=Outcome(101.0))
            assert await context.counters.publish()
        found = await context_of(one).counters.read("fleet")
        [counts] = total(c for instance in found for c in instance.counts)
        [shown] = [as_dict(counts)["shadows"]]
    result = counts.shadows["cache"]
    assert (2, 2, 2.0, 4.0, 0) == (
        result.calls,
        result.hits,
        result.requests,
        result.usd,
        result.unequal,
    )
    assert isinstance(shown, dict)
    assert 0.0 == shown["cache"]["p95_distance"]
