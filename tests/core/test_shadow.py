"""Shadow: a layer is shown calls and their answers, and serves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from argo_mw import Argo, ConfigError, Outcome, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.chain.shadow import MAX_CONCURRENT, TIMEOUT
from argo_mw.plugin import Call, Layer, LayerBypassed, Next, context_of
from argo_mw.testing import FakeClock, Scripted, capture_events, settle

SHADOW = {"flags": {"watcher": "shadow"}}


async def through(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


class Watcher:
    """A layer that would shout, and notes what it is shown."""

    def __init__(self, look: Callable[[], Awaitable[object]] | None = None) -> None:
        self.shown: list[tuple[str, object]] = []
        self._look = look

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by("watcher", "shouted")

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        self.shown.append((call.subject, outcome.value))
        if self._look is not None:
            await self._look()

    def layer(self, **more: object) -> Layer:
        return Layer("watcher", self, **{"slot": "similarity", **more})  # type: ignore[arg-type]


async def test_it_is_shown_each_answer_and_serves_none(open_argo: Callable[..., Argo]) -> None:
    watcher, upstream = Watcher(), Scripted("a", ["bars"])
    async with open_argo(upstream, layers=(watcher.layer(),), config=SHADOW) as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
        await settle()
    assert ((), ()) == (outcome.via, outcome.notes)
    assert [("AAPL", outcome.value)] == watcher.shown
    assert 1 == len(upstream.asked)


@pytest.mark.parametrize("slot", ["coalesce", "similarity"])
async def test_it_is_shown_them_on_either_side_of_the_upstreams_choice(
    open_argo: Callable[..., Argo], slot: str
) -> None:
    watcher = Watcher()
    layers = (watcher.layer(slot=slot),)
    async with open_argo(Scripted("a", ["bars"]), layers=layers, config=SHADOW) as argo:
        await argo.call("bars", symbol="AAPL")
        await settle()
    assert ["AAPL"] == [subject for subject, _ in watcher.shown]


async def test_it_is_not_shown_an_error(open_argo: Callable[..., Argo]) -> None:
    watcher = Watcher()
    upstream = Scripted("a", ["bars"], UpstreamError("down", upstream="a"))
    async with open_argo(upstream, layers=(watcher.layer(),), config=SHADOW) as argo:
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="AAPL")
        await settle()
    assert [] == watcher.shown


async def test_it_hides_no_answer_that_is_at_hand(open_argo: Callable[..., Argo]) -> None:
    """A layer that acts would have to see the answer pass; one in shadow need not."""
    watcher = Watcher()

    class Known:
        async def __call__(self, call: Call, call_next: Next) -> Outcome:
            return await call_next(call)

        def find(self, call: Call) -> Outcome:
            return Outcome("known")

    known = Layer("known", Known(), slot="cache")
    layers = (watcher.layer(slot="coalesce"), known)
    async with open_argo(Scripted("a", ["bars"]), layers=layers, config=SHADOW) as argo:
        assert "known" == await argo.call("bars", symbol="AAPL")


async def test_nobody_waits_for_it(open_argo: Callable[..., Argo]) -> None:
    watcher = Watcher(asyncio.Event().wait)
    async with open_argo(Scripted("a", ["bars"]), layers=(watcher.layer(),), config=SHADOW) as argo:
        for number in range(MAX_CONCURRENT + 10):
            await argo.call("bars", symbol=f"S{number}")
        await settle()
        assert MAX_CONCURRENT == len(watcher.shown)
        assert MAX_CONCURRENT == context_of(argo).tasks.names.count("argo-mw:shadow:watcher")
    assert [] == engine_of(argo).tasks.names


async def test_one_that_hangs_is_let_go_and_told(
    open_argo: Callable[..., Argo], clock: FakeClock
) -> None:
    watcher = Watcher(asyncio.Event().wait)
    async with open_argo(Scripted("a", ["bars"]), layers=(watcher.layer(),), config=SHADOW) as argo:
        events = capture_events(argo)
        await argo.call("bars", symbol="AAPL")
        await settle()
        await clock.advance(TIMEOUT)
        await settle()
        assert [] == context_of(argo).tasks.names
        assert ["watcher"] == [e.layer for e in events.of(LayerBypassed)]


async def test_one_that_fails_is_told_and_nobody_is_hurt(open_argo: Callable[..., Argo]) -> None:
    async def fail() -> None:
        msg = "no"
        raise ValueError(msg)

    watcher = Watcher(fail)
    async with open_argo(Scripted("a", ["bars"]), layers=(watcher.layer(),), config=SHADOW) as argo:
        events = capture_events(argo)
        await argo.call("bars", symbol="AAPL")
        await settle()
    assert ["no"] == [str(e.error) for e in events.of(LayerBypassed)]


async def test_single_subjects_may_be_served_while_others_are_shown(
    open_argo: Callable[..., Argo],
) -> None:
    watcher = Watcher()
    config = {"flags": {"watcher": {"state": "shadow", "subjects": {"TSLA": "on", "F": "off"}}}}
    async with open_argo(Scripted("a", ["bars"]), layers=(watcher.layer(),), config=config) as argo:
        assert ("watcher",) == (await argo.outcome("bars", symbol="TSLA")).via
        assert () == (await argo.outcome("bars", symbol="AAPL")).via
        await argo.outcome("bars", symbol="F")
        await settle()
    assert ["AAPL"] == [subject for subject, _ in watcher.shown]


async def test_a_kill_ends_it(open_argo: Callable[..., Argo]) -> None:
    watcher = Watcher()
    config = {"flags": {"watcher": {"state": "shadow", "killed": True}}}
    async with open_argo(Scripted("a", ["bars"]), layers=(watcher.layer(),), config=config) as argo:
        await argo.call("bars", symbol="AAPL")
        await settle()
    assert [] == watcher.shown


async def test_an_explanation_says_so(open_argo: Callable[..., Argo]) -> None:
    layers = (Watcher().layer(),)
    async with open_argo(Scripted("a", ["bars"]), layers=layers, config=SHADOW) as argo:
        layer, *_ = argo.explain("bars", symbol="AAPL")
    assert ("watcher", False) == (layer.name, layer.on)
    assert "would see the answer, and serve nothing" == layer.text


@pytest.mark.parametrize("rule", ["shadow", {"state": "shadow", "subjects": {"TSLA": "on"}}])
@pytest.mark.parametrize("flag", ["watcher", "upstream.a"])
async def test_what_cannot_shadow_refuses_to(
    open_argo: Callable[..., Argo], flag: str, rule: object
) -> None:
    layers = (Layer("watcher", through),) if flag == "watcher" else ()
    with pytest.raises(ConfigError, match=f"'{flag}' cannot shadow; set it to 'off', 'on' or a"):
        async with open_argo(
            Scripted("a", ["bars"]), layers=layers, config={"flags": {flag: rule}}
        ):
            pass
