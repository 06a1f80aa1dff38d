"""The judge of a fleet: it takes each step once, rolls back what does harm, and holds without data."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from argo_mw import SharedUnavailable
from argo_mw.plugin import Codecs, Shared, SubjectCounts
from argo_mw_rollout.plan import Plan
from argo_mw_rollout.ramp import LEARNING

from .conftest import FLAG, World

LOOSE = {
    "errors": 0.2,
    "slow": 5.0,
    "slowest": 9.0,
    "requests": 2.0,
    "usd": 9.0,
    "distance": 9.0,
    "wrong": 0.02,
}
HARMLESS = Plan(steps=("25%", "50%", "on"), signals=(), guardrails=LOOSE)


def corrupt(counts: SubjectCounts, dice: random.Random) -> None:
    counts.wrong = counts.audits


async def test_subjects_are_watched_before_anything_is_changed(world: World) -> None:
    await world.start()
    await world.pass_by(600)
    ramp = await world.ramp()
    assert ramp.place == LEARNING
    assert world.flags.history == []
    assert world.counters.watching[FLAG].slow["quote"] == pytest.approx((0.38, 0.396), rel=0.02)


async def test_a_harmless_layer_gets_every_step_once(world: World) -> None:
    await world.start(HARMLESS)
    await world.pass_by(6 * 3600)
    ramp = await world.ramp()
    assert ramp.status == "done", ramp.hold
    assert [rule for _, rule in world.flags.history] == ["25%", "50%", "on"]
    assert [entry.what for entry in ramp.journal] == ["step", "step", "step", "done"]
    assert world.counters.watching == {}


async def test_each_step_lasts_as_long_as_the_plan_says(world: World) -> None:
    await world.start(HARMLESS)
    began = world.clock.time()
    await world.pass_by(6 * 3600)
    moments = [at - began for at, _ in world.flags.history]
    assert moments[0] >= 1800
    assert moments[1] - moments[0] >= 1800


async def test_wrong_answers_are_rolled_back_and_it_is_said_everywhere(world: World) -> None:
    world.counters.harm = corrupt
    await world.start(HARMLESS)
    await world.pass_by(2 * 3600)
    ramp = await world.ramp()
    assert ramp.status == "rolled back"
    assert len(world.flags.rolled_back) == 1
    assert "wrong" in world.flags.rolled_back[0]
    assert [what for what, _ in world.announced].count("rolled back") == 1
    assert any("rolled back" in line for line in world.said)
    assert ramp.journal[-1].evidence
    await world.pass_by(3600)
    assert (await world.ramp()).status == "rolled back"


async def test_a_paused_ramp_takes_no_step_and_is_still_rolled_back(world: World) -> None:
    await world.start(HARMLESS)
    await world.pass_by(2400)
    assert [rule for _, rule in world.flags.history] == ["25%"]
    ramp = await world.ramp()
    await world.start(status="paused", **{n: getattr(ramp, n) for n in _KEPT})
    await world.pass_by(4 * 3600)
    assert [rule for _, rule in world.flags.history] == ["25%"]
    world.counters.harm = corrupt
    await world.pass_by(3600)
    assert (await world.ramp()).status == "rolled back"


_KEPT = ("plan", "since", "place", "judge", "next_block", "slow", "journal", "fence")


async def test_without_data_a_ramp_holds_and_says_so(world: World) -> None:
    await world.start(HARMLESS)
    await world.pass_by(2400)
    world.counters.silent = True
    await world.pass_by(6 * 3600)
    ramp = await world.ramp()
    assert ramp.loud
    assert "no instance publishes counters" in ramp.hold
    assert [rule for _, rule in world.flags.history] == ["25%"]
    assert any("no instance publishes" in line for line in world.said)


async def test_numbers_that_are_none_hold_a_ramp(world: World) -> None:
    def nonsense(counts: SubjectCounts, dice: random.Random) -> None:
        counts.usd = float("nan")

    world.counters.harm = nonsense
    await world.start(HARMLESS)
    await world.pass_by(6 * 3600)
    ramp = await world.ramp()
    assert ramp.loud
    assert "not a number" in ramp.hold
    assert [rule for _, rule in world.flags.history] == ["25%"]


async def test_a_flag_that_someone_sets_by_hand_holds_the_ramp(world: World) -> None:
    await world.start(HARMLESS)
    await world.pass_by(2400)
    await world.flags.set(FLAG, "off", fleet=True)
    await world.pass_by(3600)
    ramp = await world.ramp()
    assert ramp.loud
    assert "sets the flag to something else" in ramp.hold
    assert world.flags.now == "off"


async def test_a_layer_that_cannot_shadow_goes_on_without(world: World) -> None:
    world.flags.refused.add("shadow")
    await world.start(Plan(steps=("shadow", "5%", "on"), signals=()))
    await world.pass_by(2400)
    assert [rule for _, rule in world.flags.history] == ["5%"]


async def test_a_second_judge_does_nothing_while_the_first_holds_the_lease(world: World) -> None:
    first, second = world.controller(), world.controller()
    await world.start(HARMLESS)
    await first.look()
    await second.look()
    assert first.lease is not None
    assert second.lease is None
    await first.resign()
    await second.look()
    assert second.lease is not None


async def test_a_bug_holds_the_ramp_loudly_and_the_judge_goes_on(world: World) -> None:
    def broken(counts: SubjectCounts, dice: random.Random) -> None:
        raise ZeroDivisionError

    await world.start(HARMLESS)
    await world.pass_by(2400)
    world.counters.harm = broken
    await world.pass_by(3600)
    assert [rule for _, rule in world.flags.history] == ["25%"]
    assert [line for line in world.said if "ZeroDivisionError" in line]
    world.counters.harm = corrupt
    await world.pass_by(3600)
    assert (await world.ramp()).status == "rolled back"


async def test_a_ramp_of_another_version_holds_and_the_others_are_judged(world: World) -> None:
    await world.start(HARMLESS)
    key = "argo:rollout:of:other"
    await world.shared.set(key, b"nonsense")
    names = Codecs().encode(["other", FLAG], "argo:rollout:flags")
    await world.shared.set("argo:rollout:flags", names)
    await world.pass_by(2400)
    assert any("'other' holds" in line for line in world.said)
    assert world.flags.now == "25%"


async def test_statistics_of_another_version_hold_the_ramp(world: World) -> None:
    await world.start(HARMLESS, judge={"version": 99})
    await world.pass_by(60)
    ramp = await world.ramp()
    assert ramp.loud
    assert "abort it, and start it again" in ramp.hold


class Mortal:
    """A store that a process no longer reaches after so many operations: it was killed there."""

    def __init__(self, store: Shared, operations: int) -> None:
        self._store = store
        self._left = operations

    def __getattr__(self, name: str) -> Callable[..., object]:
        async def operation(*args: object, **kwargs: object) -> object:
            if self._left <= 0:
                msg = "killed"
                raise SharedUnavailable(msg)
            self._left -= 1
            return await getattr(self._store, name)(*args, **kwargs)

        return operation


async def history_with(world: World, deaths: random.Random | None) -> tuple[object, ...]:
    """The history of a ramp whose judge is killed again and again."""
    await world.start(HARMLESS)
    controller = world.controller()
    for _ in range(500):
        await world.clock.advance(30.0)
        if deaths is not None and deaths.random() < 0.3:
            # Another begins, after the lease of the last has run out, and soon dies too.
            controller = world.controller(Mortal(world.shared, deaths.randrange(1, 14)))
        try:
            await controller.look()
        except SharedUnavailable:
            controller = world.controller()
        if (await world.ramp()).ended and (await world.ramp()).intent is None:
            break
    ramp = await world.ramp()
    steps = [entry.why.partition(":")[0] for entry in ramp.journal if entry.what == "step"]
    verdicts = [entry.evidence for entry in ramp.journal if entry.what == "rolled back"]
    return ramp.status, steps, [rule for _, rule in world.flags.history], len(verdicts)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("harm", [None, corrupt], ids=["harmless", "harmful"])
async def test_a_judge_that_is_killed_anywhere_leaves_the_same_to_the_next(
    world: World, seed: int, harm: Callable[..., None] | None
) -> None:
    if harm is not None:
        world.counters.harm = harm
    status, steps, history, rollbacks = await history_with(world, random.Random(seed))
    if harm is None:
        assert (status, rollbacks) == ("done", 0)
        assert steps == history == ["25%", "50%", "on"]
    else:
        assert (status, rollbacks) == ("rolled back", 1)
        assert steps == ["25%"]
        assert history == ["25%", "off"]
        assert len(world.flags.rolled_back) == 1


async def test_a_judge_whose_lease_has_run_out_writes_nothing(world: World) -> None:
    old, new = world.controller(), world.controller()
    await world.start(HARMLESS)
    await old.look()
    stale = old.lease
    await world.clock.advance(30.0)
    await new.look()
    old.lease = stale
    before = await world.ramp()
    await old.look()
    assert await world.ramp() == before
    assert old.lease is None
    assert new.lease is not None
