"""The replay clock moves the date and leaves durations alone."""

from datetime import UTC, datetime, timedelta

import pytest

from argo_mw_sandbox import ReplayClock
from argo_mw_sandbox.clock import parse_instant

START = datetime(2012, 11, 16, 20, tzinfo=UTC)


class Ticks:
    """A hand-moved monotonic clock."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_replayed_time_runs_at_its_speed() -> None:
    ticks = Ticks()
    clock = ReplayClock(START, speed=60, monotonic=ticks)
    ticks.now += 2
    assert START + timedelta(minutes=2) == clock.now()


def test_a_held_clock_stands_still() -> None:
    ticks = Ticks()
    clock = ReplayClock(START, speed=0, monotonic=ticks)
    ticks.now += 1000
    assert clock.now() == START


def test_a_change_of_speed_keeps_the_instant() -> None:
    ticks = Ticks()
    clock = ReplayClock(START, speed=10, monotonic=ticks)
    ticks.now += 3
    clock.set(speed=1)
    assert START + timedelta(seconds=30) == clock.now()


def test_the_replay_can_jump_and_advance() -> None:
    clock = ReplayClock(START, speed=0)
    clock.set(datetime(2000, 3, 1))
    clock.advance(3600)
    assert datetime(2000, 3, 1, 1, tzinfo=UTC) == clock.now()


@pytest.mark.parametrize("speed", [-1.0, float("inf"), float("nan")])
def test_an_impossible_speed_is_refused_and_changes_nothing(speed: float) -> None:
    clock = ReplayClock(START, speed=0)
    with pytest.raises(ValueError, match="speed"):
        clock.set(datetime(2001, 1, 1, tzinfo=UTC), speed=speed)
    assert clock.now() == START


async def test_sleeps_and_timers_keep_real_time() -> None:
    clock = ReplayClock(START, speed=0)
    rung: list[str] = []
    clock.call_at(clock.monotonic(), lambda: rung.append("now"))
    await clock.sleep(0)
    await clock.sleep(0)
    assert rung == ["now"]


def test_dates_are_read_as_utc_and_nonsense_is_explained() -> None:
    assert datetime(2013, 3, 1, tzinfo=UTC) == parse_instant("2013-03-01")
    with pytest.raises(ValueError, match="write 2013-03-01"):
        parse_instant("yesterday")
