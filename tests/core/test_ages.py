"""Ages: whatever is done to the wall clock, nothing is younger than it is, and nothing grows younger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Argo, Outcome
from argo_mw.base.ages import TOLERANCE, Ages
from argo_mw.plugin import Upstream, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin

CLOSE = 1e-6
"""Seconds: floats of the wall clock are exact to a quarter of a microsecond."""

seconds = st.floats(0.0, 100.0)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), seconds),
        st.tuples(st.just("step"), st.floats(-7200.0, 7200.0)),
        st.tuples(st.just("stamp"), st.just(0.0)),
        st.tuples(st.just("look"), st.just(0.0)),
    ),
    max_size=60,
)


@given(steps)
def test_nothing_is_younger_than_it_is_and_nothing_grows_younger(
    steps: list[tuple[str, float]],
) -> None:
    clock = FakeClock()
    ages = Ages(clock)
    stamps: list[tuple[float, float]] = []
    seen: dict[int, float] = {}
    for what, number in steps:
        if what == "pass":
            clock.stall(number)
        elif what == "step":
            clock.set_wall(clock.time() + number)
        elif what == "stamp":
            stamps.append((ages.observe(clock.monotonic()), clock.monotonic()))
        else:
            for index, (moment, at) in enumerate(stamps):
                age = ages.since(moment)
                assert age > clock.monotonic() - at - TOLERANCE - CLOSE
                assert age > seen.get(index, 0.0) - TOLERANCE - CLOSE
                seen[index] = age


def test_while_nothing_is_done_to_the_clock_ages_are_exact() -> None:
    clock = FakeClock()
    ages = Ages(clock)
    moment = ages.observe(clock.monotonic())
    for _ in range(1000):
        clock.stall(1.0)
        ages.observe(clock.monotonic())
    assert pytest.approx(1000.0) == ages.since(moment)
    assert pytest.approx(-5.0) == ages.since(clock.time() + 5.0)


def test_when_the_clock_has_caught_up_new_answers_are_as_old_as_they_are() -> None:
    clock = FakeClock()
    ages = Ages(clock)
    clock.set_wall(clock.time() - 60.0)
    ages.observe(clock.monotonic())
    clock.stall(61.0)
    moment = ages.observe(clock.monotonic())
    clock.stall(1.0)
    assert pytest.approx(1.0) == ages.since(moment)


def test_of_many_steps_none_is_forgotten() -> None:
    clock = FakeClock()
    ages = Ages(clock)
    moment = ages.observe(clock.monotonic())
    for _ in range(100):
        clock.set_wall(clock.time() - 1.0)
        ages.observe(clock.monotonic())
    assert pytest.approx(0.0, abs=CLOSE) == ages.since(moment)


@operation(subject="symbol")
def price(symbol: str) -> object:
    """A price."""


def opened(clock: FakeClock, *upstreams: Upstream) -> Argo:
    asked = FakePlugin(operations=[price], upstreams=upstreams)
    config = {"argo": {"shared": "memory://", "strict": True}}
    return Argo.open(config, clock=clock, plugins={"asked": asked}, installed=False)


@pytest.mark.parametrize("ahead", [60.0, 1e12, float("inf"), float("nan")])
async def test_no_answer_speaks_for_a_moment_after_it_has_come(ahead: float) -> None:
    clock = FakeClock()

    async def fetch(_: object) -> Outcome:
        return Outcome(1.0, as_of=clock.time() + ahead)

    async with opened(clock, Upstream("vendor", {"price"}, fetch)) as argo:
        outcome = await argo.outcome("price", symbol="A")
    assert clock.time() == outcome.as_of


async def test_the_age_of_an_answer_from_the_future_cannot_be_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    async with opened(clock) as argo:
        context = context_of(argo)
        now = clock.time()
        assert context.is_older(Outcome(1.0, as_of=now + 30.0), 1e9)
        assert context.is_older(Outcome(1.0, as_of=now + 40.0), 1e9)
        assert context.is_older(Outcome(1.0, as_of=float("nan")), 1e9)
        assert not context.is_older(Outcome(1.0, as_of=now - 5.0), 5.0)
        assert context.is_older(Outcome(1.0, as_of=now - 5.1), 5.0)
        assert not context.is_older(Outcome(1.0), 0.0)
    said = [one for one in caplog.messages if "30 s ahead" in one]
    assert 1 == len(said)
