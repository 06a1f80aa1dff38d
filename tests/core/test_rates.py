"""Rates hold when clocks are set, and what is not well is found out beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from argo_mw.app.findings import Finding
from argo_mw.app.rates import Growth, Rates
from argo_mw.app.watched_diagnosis import DIAGNOSIS_EVERY, PATIENCE, WatchedDiagnosis
from argo_mw.base.tasks import Tasks
from argo_mw.counters.counts import Counts, InstanceCounts
from argo_mw.testing import FakeClock

HOUR = 3_600.0


def counted(at: float, calls: int, started: float = 0.0) -> InstanceCounts:
    """What an instance has counted that makes ten calls a second, by its own clock *at*."""
    return InstanceCounts("one", "here", "", started, at, [Counts("bars", loads=calls)])


class Looking:
    """A reader that reads each two seconds, of an instance whose clock somebody sets."""

    def __init__(self, at: float = 10_000.0) -> None:
        self.rates = Rates()
        self.now = 50.0
        self.at = at
        self.calls = 1_000
        self.started = at - 100.0

    def read(self) -> Growth:
        return self.rates.read([counted(self.at, self.calls, self.started)], self.now)

    def later(self, seconds: float = 2.0) -> Growth:
        self.now += seconds
        self.at += seconds
        self.calls += round(10 * seconds)
        return self.read()


def of(growth: Growth) -> float:
    return growth.calls["one"]


def test_rates_are_right_at_once_after_the_clock_of_an_instance_was_put_back() -> None:
    looking = Looking()
    looking.read()
    assert [10.0] * 5 == [pytest.approx(of(looking.later())) for _ in range(5)]
    looking.at -= HOUR
    assert [10.0] * 20 == [pytest.approx(of(looking.later())) for _ in range(20)]


def test_rates_are_right_after_a_window_when_it_was_put_forward() -> None:
    looking = Looking()
    looking.read()
    looking.later()
    looking.at += HOUR
    found = [of(looking.later()) for _ in range(20)]
    assert all(0.0 <= rate <= 10.1 for rate in found)
    assert [10.0] * 10 == [pytest.approx(rate) for rate in found[10:]]


def test_an_instance_whose_clock_was_put_back_before_its_start_shows_no_rate_at_first() -> None:
    looking = Looking()
    looking.at -= HOUR
    assert 0.0 == of(looking.read())
    assert pytest.approx(10.0) == of(looking.later())


def test_a_publication_that_was_old_at_the_first_look_makes_no_rate_too_high() -> None:
    """Programs publish seldom until somebody looks."""
    looking = Looking()
    looking.read()
    looking.at += 58.0
    looking.calls += 580
    assert pytest.approx(10.0) == of(looking.later())


def test_an_instance_that_is_silent_does_nothing() -> None:
    looking = Looking()
    looking.read()
    looking.later()
    looking.now += 20.0
    assert 0.0 == of(looking.read())


class Doctor:
    """Finds what is not well, once it is let."""

    def __init__(self) -> None:
        self.visits = 0
        self.let = asyncio.Event()
        self.found: Sequence[Finding] = [Finding("it", "key", False, "has none\x1b[31m")]

    async def diagnose(self) -> Sequence[Finding]:
        self.visits += 1
        await self.let.wait()
        if not self.found:
            raise ValueError("a bug")
        return self.found


@pytest.fixture
async def tasks():
    tasks = Tasks()
    yield tasks
    await tasks.aclose()


async def test_no_reading_waits_for_a_diagnosis_but_the_first_and_that_for_two_seconds(
    tasks: Tasks, clock: FakeClock
) -> None:
    doctor = Doctor()
    diagnosis = WatchedDiagnosis(doctor.diagnose, clock, tasks)
    first = asyncio.create_task(diagnosis.problems())
    await clock.advance(PATIENCE)
    assert ("what argo-mw doctor finds is not known yet",) == await first
    doctor.let.set()
    assert ["it, key: has none\\x1b[31m"] == await diagnosis.problems()

    doctor.let.clear()
    await clock.advance(DIAGNOSIS_EVERY)
    assert ["it, key: has none\\x1b[31m"] == await diagnosis.problems()
    await asyncio.sleep(0)
    assert 2 == doctor.visits


async def test_a_diagnosis_is_made_once_for_all_screens_and_anew_after_half_a_minute(
    tasks: Tasks, clock: FakeClock
) -> None:
    doctor = Doctor()
    doctor.let.set()
    diagnosis = WatchedDiagnosis(doctor.diagnose, clock, tasks)
    await asyncio.gather(*(diagnosis.problems() for _ in range(5)))
    await clock.advance(DIAGNOSIS_EVERY - 1)
    await diagnosis.problems()
    assert 1 == doctor.visits
    await clock.advance(1)
    await diagnosis.problems()
    await asyncio.sleep(0)
    assert 2 == doctor.visits


async def test_a_diagnosis_that_fails_is_a_problem_and_is_made_again(
    tasks: Tasks, clock: FakeClock
) -> None:
    doctor = Doctor()
    doctor.let.set()
    doctor.found = ()
    diagnosis = WatchedDiagnosis(doctor.diagnose, clock, tasks)
    assert ["the diagnosis failed: ValueError: a bug"] == await diagnosis.problems()


async def test_a_look_that_is_given_up_leaves_the_diagnosis_to_others(
    tasks: Tasks, clock: FakeClock
) -> None:
    doctor = Doctor()
    diagnosis = WatchedDiagnosis(doctor.diagnose, clock, tasks)
    first = asyncio.create_task(diagnosis.problems())
    second = asyncio.create_task(diagnosis.problems())
    await asyncio.sleep(0)
    first.cancel()
    doctor.let.set()
    assert ["it, key: has none\\x1b[31m"] == await second
    assert first.cancelled()
