"""A flight gives a stream to its callers, or ends it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from argo_mw.plugin import Outcome, Stream, Tasks, TimeLimitExceeded, fail_at
from argo_mw.testing import FakeClock
from argo_mw_coalesce.flight import Flight


async def endless() -> AsyncIterator[int]:
    for number in itertools.count():
        yield number


@pytest.mark.parametrize("callers", [1, 2])
async def test_a_stream_ends_whose_callers_leave_as_it_lands(callers: int) -> None:
    """Nobody else could end it: its connection would stay open until it is collected."""
    flight, stream = Flight(lambda _: None), Stream(endless(), Tasks())
    waiting = [asyncio.create_task(flight.wait()) for _ in range(callers)]
    await asyncio.sleep(0)
    flight.land(Outcome(stream))
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    assert [True] * callers == [one.cancelled() for one in waiting]
    assert stream.aborted


async def test_a_stream_that_a_caller_gets_does_not_end_with_one_that_leaves_as_it_lands() -> None:
    flight, stream = Flight(lambda _: None), Stream(endless(), Tasks())
    stays, leaves = (asyncio.create_task(flight.wait()) for _ in range(2))
    await asyncio.sleep(0)
    flight.land(Outcome(stream))
    leaves.cancel()
    await asyncio.wait([stays, leaves])
    got = stays.result().value
    assert isinstance(got, Stream)
    assert not got.aborted
    assert 0 == await anext(got.read())
    got.abort("the test is over")


@pytest.mark.parametrize("callers", [1, 2])
async def test_a_stream_goes_on_for_all_callers_that_have_got_it(callers: int) -> None:
    flight, stream = Flight(lambda _: None), Stream(endless(), Tasks())
    waiting = [asyncio.create_task(flight.wait()) for _ in range(callers)]
    await asyncio.sleep(0)
    flight.land(Outcome(stream))
    outcomes = await asyncio.gather(*waiting)
    assert not stream.aborted
    for outcome in outcomes:
        assert isinstance(outcome.value, Stream)
        assert 0 == await anext(outcome.value.read())
    stream.abort("the test is over")


class Odd:
    """A value whose attributes cannot be read."""

    def __getattribute__(self, name: str) -> object:
        if name == "__dict__":
            raise RuntimeError(name)
        return super().__getattribute__(name)


async def test_callers_of_a_value_that_cannot_be_looked_at_get_its_error() -> None:
    """Otherwise they would wait for ever: no caller waits for the task that lands a flight."""
    flight = Flight(lambda _: None)
    waiting = [asyncio.create_task(flight.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    flight.land(Outcome(Odd()))
    await asyncio.wait(waiting)
    assert [RuntimeError] * 2 == [type(one.exception()) for one in waiting]


@pytest.mark.parametrize(("ends", "abandoned"), [(None, 0), (False, 0), (True, 1)])
async def test_a_flight_goes_on_whose_last_caller_has_no_more_time_unless_it_asked_otherwise(
    ends: bool | None, abandoned: int
) -> None:
    clock, left = FakeClock(start=0.1), []
    flight = Flight(left.append)
    wait = flight.wait() if ends is None else flight.wait(ends_with_caller=ends)
    waiting = asyncio.create_task(fail_at(wait, clock.monotonic() + 1.0, clock))
    await clock.advance(1.0)
    assert isinstance(waiting.exception(), TimeLimitExceeded)
    assert abandoned == len(left)


async def test_a_flight_is_abandoned_by_a_last_caller_whose_wait_is_thrown_away() -> None:
    """As by a program that ends in the middle of it."""
    left: list[Flight] = []
    flight = Flight(left.append)
    wait = flight.wait()
    wait.send(None)
    wait.close()
    assert [flight] == left
