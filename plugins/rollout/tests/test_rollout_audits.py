"""Audits are as many as are allowed, and of what tells most."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from argo_mw import Outcome
from argo_mw.testing import FakeClock
from argo_mw_rollout.audits import Audits
from argo_mw_rollout.config import RolloutConfig


class Place:
    """A context in which a call's subject is the arm that it is in."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.counters = SimpleNamespace(watched={"bold": None, "elsewhere": None})
        self.flags = SimpleNamespace(all={"bold": None})
        self.tasks = SimpleNamespace(spawn=self._spawn)
        self.audited: list[str] = []

    def flag(self, name: str, call: SimpleNamespace) -> SimpleNamespace:
        assert name == "bold"
        return SimpleNamespace(arm=call.subject)

    def _spawn(self, name: str, auditing) -> None:
        self.audited.append(auditing.cr_frame.f_locals["call"].subject)
        auditing.close()


def serve(audits: Audits, place: Place, number: int, *, treatment: float) -> None:
    """Serve so many answers, of which those in an arm are shown four times as often."""
    dice = random.Random(1)
    for _ in range(number):
        at = dice.random()
        arm = "treatment" if at < treatment else "control" if at > 1 - treatment else ""
        weight = 4 if arm else 16
        if dice.random() * weight < 1:
            call = SimpleNamespace(subject=arm, operation=SimpleNamespace(kind="fetch"))
            audits._served(call, Outcome(1.0), "", weight)
            audits._running = 0


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def audits(place: Place) -> Audits:
    return Audits(place, RolloutConfig)


def test_most_audits_are_of_treatment(audits: Audits, place: Place) -> None:
    serve(audits, place, 40_000, treatment=0.1)

    assert place.audited.count("treatment") == pytest.approx(304, rel=0.1)
    assert place.audited.count("control") == pytest.approx(76, rel=0.1)
    assert len(place.audited) <= 400


def test_before_a_flag_has_arms_any_call_is_audited(audits: Audits, place: Place) -> None:
    serve(audits, place, 40_000, treatment=0.0)

    assert place.audited == [""] * len(place.audited)
    assert len(place.audited) == pytest.approx(380, rel=0.1)


def test_without_a_watched_flag_nothing_is_audited(audits: Audits, place: Place) -> None:
    place.counters.watched = {}
    serve(audits, place, 10_000, treatment=0.1)

    assert place.audited == []


def priced(served: object, fresh: object) -> float | None:
    return None if fresh is None else abs(served[0] - fresh[0])  # type: ignore[index]


@pytest.mark.parametrize(
    ("served", "fresh", "counted"),
    [
        ((1.0, "a"), (1.02, "b"), [(False, pytest.approx(0.02))]),
        ((1.0, "a"), (1.5, "a"), [(True, pytest.approx(0.5))]),
        ((1.0, "a"), None, []),
        ("broken", (1.0, "a"), []),
    ],
)
async def test_an_operation_says_itself_how_far_answers_are_apart(
    place: Place, served: object, fresh: object, counted: list[object]
) -> None:
    found: list[object] = []

    async def ask_afresh(call: object, upstream: str) -> Outcome:
        return Outcome(fresh)

    place.ask_afresh = ask_afresh
    place.warn_once = lambda where, what: None
    place.announce = lambda *what: None
    place.counters.audited = lambda call, wrong, distance: found.append((wrong, distance))
    asked = SimpleNamespace(operation=SimpleNamespace(name="quote", distance=priced))
    await Audits(place, RolloutConfig)._audit(asked, Outcome(served))

    assert found == counted
