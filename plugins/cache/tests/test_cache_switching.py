"""What the cache kept before it was switched off is served again only if nothing was missed."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argo_mw import Argo, Outcome
from argo_mw.flags import OFF, ON, Rule
from argo_mw.flags.overlay import Overlay
from argo_mw.plugin import Call, Layer, Next, context_of, flags_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import CachePlugin

pytestmark = pytest.mark.usefixtures("no_luck")

TTL = 60.0
_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


def open_argo(clock: FakeClock, shared: str, **more: object) -> Argo:
    """Return an application whose upstream answers with the time."""

    def now(call: Call) -> Outcome:
        return Outcome(clock.monotonic())

    config = {
        "argo": {"shared": shared, "strict": True, "watch": False},
        "plugins": {"cache": {"ttl": TTL}},
    }
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"], now, retries=0)])
    plugins = {"cache": CachePlugin, "asked": asked, **more}
    return Argo.open(config, clock=clock, plugins=plugins, installed=False)


async def switch(argo: Argo, rule: Rule) -> None:
    """Set the flag as a command of another process does, and let *argo* take that up."""
    Overlay(context_of(argo).state_dir).update("cache", lambda _: rule)
    await argo.reload()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.just("A")),
        st.tuples(st.just("ask"), st.sampled_from("AB")),
        st.tuples(st.just("switch"), st.sampled_from(["kill", "revive"])),
        st.tuples(st.just("switch"), st.sampled_from(["off", "on"])),
        st.tuples(st.just("invalidate"), st.sampled_from(["subject:A", "op:bars"])),
        st.tuples(st.just("expire"), st.just("subject:A")),
        st.tuples(st.just("wait"), st.sampled_from(["1", "30", "61"])),
    ),
    min_size=15,
    max_size=40,
)


@pytest.mark.parametrize("store", ["alone", "shared"])
@given(steps=STEPS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_served_is_fresh_and_from_after_every_invalidation_and_kill(
    store: str, steps: list[tuple[str, str]]
) -> None:
    shared = "memory://" if store == "alone" else f"memory://switching-{next(_names)}"
    asyncio.run(drive(steps, shared))


async def drive(steps: list[tuple[str, str]], shared: str) -> None:
    clock = FakeClock(start=0.1)
    async with open_argo(clock, shared) as argo:
        await switch(argo, ON)
        rule = ON
        oldest = dict.fromkeys("AB", 0.0)
        for step, what in steps:
            await clock.advance(0.001)
            now = clock.monotonic()
            match step:
                case "ask":
                    got = await argo.call("bars", symbol=what)
                    assert isinstance(got, float)
                    assert got >= max(oldest[what], now - TTL)
                    if rule.killed or rule == OFF:
                        assert now == got
                case "invalidate" | "expire":
                    tags = argo.invalidate if step == "invalidate" else argo.expire
                    await tags(what)
                    oldest |= dict.fromkeys("A" if what == "subject:A" else "AB", now)
                case "switch":
                    before = rule
                    match what:
                        case "on" | "off":
                            rule = evolve(ON if what == "on" else OFF, killed=rule.killed)
                        case _:
                            rule = evolve(rule, killed=what == "kill")
                    await switch(argo, rule)
                    if rule.killed and not before.killed:
                        oldest = dict.fromkeys("AB", now)
                case "wait":
                    await clock.advance(float(what))
            await settle()


@pytest.mark.parametrize("shared", ["memory://", "sqlite"])
async def test_answers_outlive_a_flag_that_is_off_for_a_while(shared: str) -> None:
    """They have missed nothing: versions of tags are followed whatever the flag is."""
    clock = FakeClock(start=0.1)
    async with open_argo(clock, shared) as argo:
        first = await argo.call("bars", symbol="A")
        await switch(argo, OFF)
        await clock.advance(1.0)
        assert first != await argo.call("bars", symbol="A")
        await switch(argo, ON)
        assert first == await argo.call("bars", symbol="A")


async def test_no_instance_serves_what_it_kept_before_a_kill() -> None:
    """Neither does one that learns of it from the store alone, before it sees the flag change."""
    shared = f"memory://switching-{next(_names)}"
    clock = FakeClock(start=0.1)
    async with open_argo(clock, shared) as one, open_argo(clock, shared) as other:
        kept = [await argo.call("bars", symbol="A") for argo in (one, other)]
        await clock.advance(1.0)
        await switch(one, Rule(killed=True))
        await switch(one, ON)
        await settle()
        for argo in (one, other):
            assert await argo.call("bars", symbol="A") not in kept


class Marks:
    """A layer within the cache that marks what passes."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by("marks", "was here")


class Gate:
    """A layer around the cache that lets calls wait."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = asyncio.Event()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self.waiting.set()
        await self.opened.wait()
        return await call_next(call)


async def test_a_call_that_begins_to_load_after_the_kill_of_a_layer_leaves_nothing_behind() -> None:
    """It passes the layer, since it entered the chain before; only its own caller gets the answer."""
    gate = Gate()
    layers = {
        "marks": FakePlugin(layer=Layer("marks", Marks(), after=("cache",))),
        "gate": FakePlugin(layer=Layer("gate", gate, before=("cache",))),
    }
    async with open_argo(FakeClock(start=0.1), "memory://", **layers) as argo:
        early = asyncio.create_task(argo.outcome("bars", symbol="A"))
        await gate.waiting.wait()
        await flags_of(argo).kill("marks")
        gate.opened.set()
        assert "marks" in (await early).via
        assert "marks" not in (await argo.outcome("bars", symbol="A")).via
        await flags_of(argo).revive("marks")
        assert "marks" not in (await argo.outcome("bars", symbol="A")).via


async def test_an_answer_from_a_process_that_has_not_heard_of_a_kill_is_not_served() -> None:
    shared = f"memory://switching-{next(_names)}"
    marks = {"marks": FakePlugin(layer=Layer("marks", Marks(), after=("cache",)))}
    clock = FakeClock(start=0.1)
    async with open_argo(clock, shared, **marks) as one, open_argo(clock, shared, **marks) as other:
        await flags_of(one).kill("marks")
        for _ in range(2):  # the second one is kept: its tags were known before it was loaded
            await settle()
            assert "marks" in (await other.outcome("bars", symbol="A")).via
        await settle()
        assert "marks" not in (await one.outcome("bars", symbol="A")).via
