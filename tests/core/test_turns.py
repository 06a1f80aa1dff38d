"""Turns: when a loop lets others go on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from argo_mw.base import turns
from argo_mw.base.turns import Turns


class Clocks:
    """The two clocks that turns are measured by."""

    def __init__(self) -> None:
        self.passed = 100.0
        self.computed = 7.0
        self.readings = 0

    def perf_counter(self) -> float:
        return self.passed

    def thread_time(self) -> float:
        self.readings += 1
        return self.computed

    def compute(self, seconds: float) -> None:
        self.passed += seconds
        self.computed += seconds

    def wait(self, seconds: float) -> None:
        self.passed += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(turns, "perf_counter", clocks.perf_counter)
    monkeypatch.setattr(turns, "thread_time", clocks.thread_time)
    return clocks


def test_who_computes_gives_others_their_turn_within_ten_milliseconds(clocks: Clocks) -> None:
    due = Turns().due
    found = []
    for _ in range(30):
        clocks.compute(0.001)
        found.append(due())
    since = [at for at, is_due in enumerate(found) if is_due]
    assert since
    assert since[0] < 11
    assert all(later - before <= 6 for before, later in pairwise(since))


def test_nothing_is_due_for_what_has_waited(clocks: Clocks) -> None:
    due = Turns().due
    for _ in range(1_000):
        clocks.wait(0.02)
        clocks.compute(0.000_004)
        assert not due()


def test_the_threads_clock_is_read_only_once_so_much_time_has_passed(clocks: Clocks) -> None:
    due = Turns().due
    for _ in range(10_000):
        clocks.wait(0.000_02)
        assert not due()
    assert clocks.readings <= 0.2 / 0.005 + 1
