"""What befalls ramps: no calls, clocks that are set, stores that forget, judges that die, people."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from argo_mw import SharedUnavailable
from argo_mw.plugin import BadParameter, Watch
from argo_mw_rollout.controller import RampController
from argo_mw_rollout.plan import Plan
from argo_mw_rollout.ramp import LEARNING, Intent, Ramp
from argo_mw_rollout.ramps import Ramps

from .conftest import FLAG, FakeCounters, World
from .test_rollout_controller import HARMLESS, corrupt

DAY = 86_400.0


async def in_first_step(world: World, seconds: float = 2_400.0, plan: Plan = HARMLESS) -> None:
    await world.start(plan)
    await world.pass_by(seconds)
    assert world.flags.now == "25%"


# Calls


@pytest.mark.parametrize("arm", ["treatment", "control", "both"])
async def test_calls_that_stop_hold_a_ramp_and_it_says_so(world: World, arm: str) -> None:
    await in_first_step(world)
    world.counters.mute = {"treatment", "control", ""} if arm == "both" else {arm}
    await world.pass_by(2400)
    ramp = await world.ramp()
    assert ramp.loud
    assert "no call of " + ("treatment and control" if arm == "both" else arm) in ramp.hold
    assert world.flags.now == "25%"
    assert [e.what for e in ramp.journal].count("hold") == 1
    world.counters.mute = set()
    await world.pass_by(2400)
    assert [rule for _, rule in world.flags.history][:2] == ["25%", "50%"]


async def test_a_ramp_without_any_call_from_its_first_step_on_is_not_just_warming_up(
    world: World,
) -> None:
    await world.start(HARMLESS)
    await world.pass_by(1700)
    world.counters.mute = {"treatment", "control", ""}
    await world.pass_by(3600)
    ramp = await world.ramp()
    assert ramp.step == "25%"
    assert ramp.loud
    assert "no call of treatment and control" in ramp.hold


# Clocks


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
async def test_a_ramp_goes_on_after_all_clocks_were_set(world: World, jump: float) -> None:
    controller = world.controller()
    await world.start(HARMLESS)
    await world.pass_by(2400, controller)
    assert world.flags.now == "25%"
    world.clock.set_wall(world.clock.time() + jump)
    world.flags.history = [(at + min(jump, 0.0), rule) for at, rule in world.flags.history]
    await world.pass_by(900, controller)
    assert world.flags.now == "25%", "no step is shorter for it"
    assert "clock" in [entry.what for entry in (await world.ramp()).journal]
    world.counters.harm = corrupt
    await world.pass_by(1800, controller)
    assert (await world.ramp()).status == "rolled back"


async def test_a_judge_whose_clock_alone_is_wrong_loses_no_counts(world: World) -> None:
    await in_first_step(world)
    right = world.clock.time()
    world.counters.clocks = {"one": 0.0, "two": 0.0}
    world.clock.set_wall(right + DAY)
    world.counters.clocks = {"one": -DAY, "two": -DAY}
    await world.pass_by(60)
    assert (await world.ramp()).next_block * 30.0 <= right + 120


async def test_an_instance_with_another_clock_holds_the_ramp_and_is_named(world: World) -> None:
    world.counters.instances = ("one", "three", "two")
    await in_first_step(world)
    world.counters.clocks = {"three": -3 * 3600.0}
    await world.pass_by(2400)
    ramp = await world.ramp()
    assert ramp.loud
    assert "the clock of instance three is 10800 s behind the others'" in ramp.hold
    assert world.flags.now == "25%"
    world.counters.harm = corrupt
    await world.pass_by(3600)
    assert (await world.ramp()).status == "rolled back"


# Stores


@pytest.mark.parametrize("leads", [True, False], ids=["the judge", "one that was the judge"])
async def test_a_store_that_has_lost_a_ramp_gets_it_back(world: World, *, leads: bool) -> None:
    controller = world.controller()
    await world.start(HARMLESS)
    await world.pass_by(2400, controller)
    before = await world.ramp()
    await world.shared.delete(["argo:rollout:of:" + FLAG, "argo:rollout:flags"])
    if not leads:
        await controller.resign()
        other = world.controller()
        await other.look()
        await controller.look()
        controller = other
    await world.pass_by(60, controller)
    ramp = await world.ramp()
    assert (ramp.step, ramp.started) == ("25%", before.started)
    assert "given back" in [entry.what for entry in ramp.journal]
    assert await Ramps(world.context()).flags() == [FLAG]


async def test_a_store_that_was_put_back_to_an_older_state_takes_no_step_again(
    world: World,
) -> None:
    controller = world.controller()
    await world.start(HARMLESS)
    await world.pass_by(1200, controller)
    old = await world.shared.get("argo:rollout:of:" + FLAG)
    await world.pass_by(3600, controller)
    assert world.flags.now == "50%"
    await world.shared.set("argo:rollout:of:" + FLAG, old)
    await world.pass_by(300, controller)
    assert (await world.ramp()).step == "50%"
    assert [rule for _, rule in world.flags.history] == ["25%", "50%"]


@pytest.mark.parametrize("seed", range(40))
async def test_a_damaged_ramp_is_refused_or_read_and_never_breaks_a_judge(
    world: World, seed: int
) -> None:
    await in_first_step(world)
    dice = random.Random(seed)
    data = (await world.ramp()).as_data()
    for _ in range(3):
        name = dice.choice(sorted(data))
        data[name] = dice.choice([None, -1, "nonsense", [], {}, [["x"]], {"a": None}, float("nan")])
    key = "argo:rollout:of:" + FLAG
    await world.shared.set(key, world.context().codecs.encode(data, key))
    await world.pass_by(120)
    assert world.flags.now in ("25%", "off", "50%")
    assert not world.flags.rolled_back


# Judges


class Dying(RampController):
    """A judge that is killed before it can say anything."""

    def _announce(self, ramp: Ramp) -> None:
        raise SharedUnavailable("killed")


async def test_a_rollback_whose_judge_dies_is_said_by_the_next(world: World) -> None:
    await in_first_step(world)
    world.counters.harm = corrupt
    dying = Dying(world.context(), lambda: world.config)
    for _ in range(120):
        if (await world.ramp()).ended:
            break
        await world.clock.advance(30.0)
        try:
            await dying.look()
        except SharedUnavailable:
            dying.lease = None
    world.announced.clear()
    world.said.clear()
    await world.pass_by(120)
    assert [what for what, _ in world.announced].count("rolled back") == 1
    assert len([line for line in world.said if "rolled back" in line]) == 1


async def test_after_a_rollback_a_revived_flag_is_off(world: World) -> None:
    await in_first_step(world)
    world.counters.harm = corrupt
    await world.pass_by(3600)
    assert world.flags.rolled_back
    assert world.flags.now == "off"


async def test_what_cannot_be_watched_holds_the_ramp_where_people_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(counters: FakeCounters, watch: Watch) -> None:
        msg = "at most 8 flags are watched at once"
        raise BadParameter(msg)

    monkeypatch.setattr(FakeCounters, "watch", refuse)
    await world.start(HARMLESS)
    await world.pass_by(120)
    ramp = await world.ramp()
    assert ramp.loud
    assert "at most 8 flags" in ramp.hold


async def test_a_hold_is_noted_once_while_only_its_numbers_change(world: World) -> None:
    ramp = await world.start(HARMLESS)
    for number in range(30):
        ramp = ramp.held(float(number), f"of {number} subjects {number / 2} are missing", loud=True)
    assert [entry.what for entry in ramp.journal] == ["hold"]
    assert ramp.hold == "of 29 subjects 14.5 are missing"
    assert ramp.held(31.0, "", loud=False).journal[-1].what == "goes on"


# People


async def test_what_people_do_is_announced_by_the_judge(world: World) -> None:
    ramp = await world.start(HARMLESS)
    noted = ramp.noted(world.clock.time(), "paused", "lunch")
    await Ramps(world.context()).change(FLAG, lambda _: evolve(noted, status="paused"))
    await world.pass_by(60)
    assert ("paused", f"{FLAG}: paused: lunch") in world.announced
    assert (await world.ramp()).untold == 0


async def test_a_flag_that_is_on_meanwhile_is_not_learnt_as_usual(world: World) -> None:
    await world.start(HARMLESS)
    await world.flags.set(FLAG, "10%", fleet=True)
    await world.pass_by(2400)
    ramp = await world.ramp()
    assert ramp.place == LEARNING
    assert ramp.loud
    assert "something else than off" in ramp.hold


async def test_an_intent_of_another_kind_is_no_ramp(world: World) -> None:
    ramp = await world.start(intent=Intent("set", "off"))
    assert Ramp.of_data(ramp.as_data()).intent == ramp.intent


async def test_a_judge_without_the_flag_leaves_the_ramp_to_another(world: World) -> None:
    await world.start(HARMLESS)
    context = world.context()
    context.flags = type("Without", (), {"all": {}, "stale": ""})()
    strange = RampController(context, lambda: world.config)
    await strange.look()
    assert strange.lease is None
    assert not (await world.ramp()).hold
    other = world.controller()
    await other.look()
    assert other.lease is not None
    await other.resign()
    for _ in range(4):
        await strange.look()
    ramp = await world.ramp()
    assert ramp.loud
    assert "does not exist on the instance that judges" in ramp.hold
