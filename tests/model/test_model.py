"""Promises that hold whatever happens, in whatever order: a model, driven by chance.

Two instances of an application share a store that comes and goes. Callers of two tenants come,
leave and run out of time, upstreams lie and hang, the world changes, flags flip. After every step,
and whenever everything has been let end, :class:`~tests.model.world.World` checks what must hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from argo_mw.chain.sender import Sender
from argo_mw.store import TagVersions
from argo_mw.store.memory import MemoryShared
from argo_mw.store.tag_reader import TagReader
from tests.model.machine import Machine
from tests.model.promises import Violation
from tests.model.store import HELD_UP, LIMIT, State
from tests.model.world import World

IN_MAKE_TEST = settings(
    max_examples=20,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    # An example is as long as a run may be: shrinking one takes minutes, and is for `make soak`.
    phases=[Phase.generate],
)
IN_MAKE_SOAK = settings(
    IN_MAKE_TEST,
    max_examples=1_000,
    stateful_step_count=100,
    derandomize=False,
    phases=[Phase.generate, Phase.shrink],
    print_blob=True,
)


class HeldUp(Machine):
    """Stores that are locked or hang, apart: more states for all would make each of them rare."""

    states = HELD_UP


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Write no log: hostile upstreams fill it."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_promises_hold_for_a_thousand_steps() -> None:
    run_state_machine_as_test(Machine, settings=IN_MAKE_TEST)


def test_promises_hold_for_a_thousand_steps_while_the_store_is_locked_or_hangs() -> None:
    run_state_machine_as_test(HeldUp, settings=IN_MAKE_TEST)


@pytest.mark.soak
@pytest.mark.parametrize("machine", [Machine, HeldUp])
def test_promises_hold_for_a_hundred_thousand_steps(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=IN_MAKE_SOAK)


# -- the model can fail ------------------------------------------------------------------------


@frozen
class Same:
    """A snapshot that hands out what it was given."""

    value: object
    size: int = 0

    def copy(self) -> object:
        return self.value


async def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


async def add_without_limit(self: MemoryShared, key: str, amount: int = 1, **how: object) -> object:
    return await _add(self, key, amount, ttl=how.get("ttl"))  # type: ignore[arg-type]


_add = MemoryShared.add
Patch = Callable[[pytest.MonkeyPatch], None]

FAULTS: dict[str, tuple[str, Patch]] = {
    "a key without the tenant": (
        "tenant",
        lambda patch: patch.setattr("argo_mw.model.call._scope", lambda *_: ""),
    ),
    "a release that is skipped": (
        "reservation",
        lambda patch: patch.setattr(Sender, "_release", nothing),
    ),
    "a snapshot that hands out one object": (
        "copy",
        lambda patch: patch.setattr("argo_mw.model.copies.snapshot", Same),
    ),
    "one exception object for all": (
        "own error",
        lambda patch: patch.setattr("argo_mw.model.copies.copy_error", lambda error: error),
    ),
    "an invalidation that is lost": (
        "invalidated",
        lambda patch: patch.setattr(TagVersions, "invalidate", nothing),
    ),
    "a channel that is relied upon while it is closed": (
        "invalidated",
        lambda patch: patch.setattr(TagReader, "must_read", False),
    ),
    "a lease that is kept": (
        "lease",
        lambda patch: patch.setattr(MemoryShared, "release", nothing),
    ),
    "a counter without a limit": (
        "quota|budget",
        lambda patch: patch.setattr(MemoryShared, "add", add_without_limit),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_within_a_thousand_steps(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise, patch = FAULTS[fault]
    patch(monkeypatch)
    with pytest.raises(Violation, match=f"^({promise}):"):
        run_state_machine_as_test(Machine, settings=IN_MAKE_TEST)


# -- what the model has found ------------------------------------------------------------------

Steps = Callable[[World], None]


def leave_while_leasing(world: World) -> None:
    world.ask(0, "complete", "AAA", "red")
    world.run(world.turns(2))
    world.leave(0)


def leave_before_a_late_grant(world: World) -> None:
    world.run(world.turn(0, "late", 0.4))
    world.run(world.flip(0, "coalesce", "off"))
    world.run(world.flip(0, "cache", "off"))
    for tenths in range(1, 20):
        world.ask(0, "quote", "AAA", "red")
        world.run(world.advance(tenths / 10))
        world.leave(0)
        world.check()


def bill(what: str) -> Steps:
    def steps(world: World) -> None:
        world.model.bill = what
        world.ask(0, "complete", "AAA", "red")
        world.run(world.advance(1.0))
        world.check()

    return steps


def ask_after_an_overrun(*, evicted: bool) -> Steps:
    def steps(world: World) -> None:
        bill("twice")(world)
        world.run(world.check_quiet())
        if evicted:
            world.evict()
        world.model.bill = "honest"
        world.ask(1, "complete", "BBB", "blue")
        world.run(world.advance(1.0))
        world.check()

    return steps


def ask_while(state: State) -> Steps:
    """Nobody waits for longer than the driver's limit, nor one behind another, nor ever again."""

    def steps(world: World) -> None:
        world.run(world.turn(0, state, 0.0))
        for number in range(20):
            world.ask(0, "quote", f"S{number % 4}", "red")
        world.run(world.advance(2 * LIMIT))
        world.check()
        assert 0 == world.waiting
        world.ask(0, "note", "AAA", "red")
        world.run(world.turns(200))
        world.check()
        assert 0 == world.waiting

    return steps


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(ask_while("locked"), id="a locked store"),
        pytest.param(ask_while("hung"), id="a store that hangs"),
        pytest.param(leave_while_leasing, id="leave while leasing"),
        pytest.param(leave_before_a_late_grant, id="leave before a late grant"),
        pytest.param(bill("negative"), id="a negative bill"),
        pytest.param(bill("huge"), id="a huge bill"),
        pytest.param(ask_after_an_overrun(evicted=False), id="an overrun"),
        pytest.param(
            ask_after_an_overrun(evicted=True), id="an overrun, and the store evicts values"
        ),
    ],
)
def test_promises_hold_in_what_was_found(steps: Steps, tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.run(world.open())
        steps(world)
        world.run(world.check_quiet())
    finally:
        world.run(world.close())
        world.loop.close()
