"""Rounds by the calendar of an exchange, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from argo_mw import Outcome
from argo_mw.plugin import BadParameter, ConfigError, Context
from argo_mw.testing import FakeClock, FakePlugin
from argo_mw_fleet import Round, Schedule
from argo_mw_fleet.rounds import rounds


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def dues(schedule: Schedule, since: str, count: int) -> list[str]:
    moment, found = at(since), []
    for _ in range(count):
        moment = schedule.next_after(moment)
        found.append(f"{datetime.fromtimestamp(moment, UTC):%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("calendar", "since", "expected"),
    [
        # Before the opening, on its moment, and at the end of the day before a weekend.
        ("XNYS", "2026-03-02 12:00", ["03-02 14:30", "03-02 16:30", "03-02 18:30", "03-02 20:30"]),
        ("XNYS", "2026-03-02 14:30", ["03-02 16:30", "03-02 18:30"]),
        ("XNYS", "2026-03-06 20:31", ["03-09 13:30", "03-09 15:30"]),
        # Thanksgiving, and the early close on the day after it.
        ("XNYS", "2026-11-25 20:30", ["11-27 14:30", "11-27 16:30", "11-30 14:30"]),
        # A lunch break in Tokyo: the afternoon begins anew.
        ("XTKS", "2026-03-01 23:00", ["03-02 00:00", "03-02 02:00", "03-02 03:30", "03-02 05:30"]),
        # The end of a month, and of a year.
        ("XNYS", "2026-12-31 20:30", ["01-04 14:30"]),
        ("", "2026-03-07 01:59", ["03-07 02:00", "03-07 04:00"]),
    ],
)
def test_rounds_are_due_while_an_exchange_trades(calendar, since, expected) -> None:
    assert expected == dues(Schedule(7200.0, calendar), since, len(expected))


def test_a_calendar_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="such as XNYS"):
        Schedule(60.0, "XXXX").next_after(at("2026-03-02 12:00"))


@pytest.mark.parametrize("every", [0.0, -1.0, 1e-9, float("inf"), float("nan")])
def test_rounds_are_a_tenth_of_a_second_apart_at_least(every: float) -> None:
    with pytest.raises(ValueError, match="every"):
        Schedule(every)


class AtOnce(ThreadPoolExecutor):
    """An executor that runs what it gets before it returns, so that no time passes meanwhile."""

    def submit(self, work, /, *args, **kwargs):
        done: Future[object] = Future()
        done.set_result(work(*args, **kwargs))
        return done


@pytest.fixture(autouse=True)
async def calendars_are_read_at_once() -> None:
    asyncio.get_running_loop().set_default_executor(AtOnce())


class Slow:
    """Answers after a time, and notices rounds that overlap."""

    def __init__(self, clock: FakeClock, takes: Sequence[float]) -> None:
        self._clock = clock
        self._takes = list(takes)
        self.began: list[float] = []
        self.under_way = 0

    async def map(self, operation, subjects, /, **parameters) -> dict[str, Outcome | Exception]:
        assert 0 == self.under_way
        self.under_way += 1
        try:
            self.began.append(self._clock.time())
            await self._clock.sleep(self._takes.pop(0))
        finally:
            self.under_way -= 1
        return {subject: Outcome(parameters["days"]) for subject in subjects}


class Warned:
    """As much of a context as rounds need."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.warnings: list[str] = []

    def warn_once(self, where: str, what: str) -> None:
        self.warnings.append(f"{where}: {what}")


async def watched(takes: Sequence[float], count: int) -> tuple[list[Round], Warned]:
    clock = FakeClock(wall=at("2026-03-02 12:00"))
    slow, context = Slow(clock, takes), Warned(clock)
    found: list[Round] = []

    async def watch() -> None:
        going = rounds(slow, _as_context(context), "price", ["X"], Schedule(60.0), {"days": 7})
        async for one in going:
            found.append(one)
            if len(found) == count:
                await going.aclose()
                return

    watching = asyncio.create_task(watch())
    await clock.advance(1000.0)
    await watching
    return found, context


def _as_context(context: object) -> Context:
    return context  # type: ignore[return-value]


async def test_rounds_begin_when_they_are_due() -> None:
    found, context = await watched([5.0, 5.0, 5.0], 3)
    start = at("2026-03-02 12:00")
    assert [60.0, 120.0, 180.0] == [one.began - start for one in found]
    assert [(0, False)] * 3 == [(one.missed, one.behind) for one in found]
    assert [5.0] * 3 == [one.ended - one.due for one in found]
    assert [7] == [one.value for one in found[0].answers.values() if isinstance(one, Outcome)]
    assert [] == context.warnings


async def test_rounds_that_fall_behind_leave_some_out_and_say_so() -> None:
    found, context = await watched([150.0, 5.0, 60.0, 5.0], 4)
    start = at("2026-03-02 12:00")
    assert [60.0, 240.0, 300.0, 420.0] == [one.began - start for one in found]
    assert [0, 2, 0, 0] == [one.missed for one in found]
    assert (
        "rounds of price: they fall behind: one over 1 subjects took 150 s" in context.warnings[0]
    )
    assert "add workers" in context.warnings[0]


async def test_a_round_ends_with_the_loop_over_rounds() -> None:
    clock = FakeClock(wall=at("2026-03-02 12:00"))
    slow = Slow(clock, [1000.0])
    going = rounds(slow, _as_context(Warned(clock)), "price", ["X"], Schedule(60.0), {"days": 7})
    watching = asyncio.ensure_future(anext(going))
    await clock.advance(70.0)
    assert 1 == slow.under_way
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert (0, 0) == (slow.under_way, clock.pending)


async def test_a_fleet_says_when_rounds_are_due(workers) -> None:
    """A command asks it, which knows no calendar itself."""
    async with workers("a", plugin=lambda _: FakePlugin()) as (fleet, _):
        weekend = at("2026-03-06 21:30")
        due = await fleet.next_round(weekend, every=60.0, calendar="XNYS")
        assert at("2026-03-09 13:30") == due
        assert at("2026-03-06 21:31") == await fleet.next_round(weekend, every=60.0)
        with pytest.raises(BadParameter, match="tenth of a second"):
            await fleet.next_round(weekend, every=0.01)
