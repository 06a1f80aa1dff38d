"""When a call joins a flight: what the store says of its tags, and what became of it meanwhile."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from argo_mw import Argo, Outcome, UpstreamError
from argo_mw.plugin import LayerActed, context_of, operation
from argo_mw.store import Freshness, TagSnapshot
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_coalesce import plugin

_names = itertools.count()


@operation(timeout=10.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


def held(*script: object) -> Scripted:
    upstream = Scripted("a", ["bars"], *script, retries=0)
    upstream.gate.clear()
    return upstream


def settings_of(store: str, **config: object) -> dict[str, object]:
    return {
        "argo": {"shared": store, "strict": True},
        "plugins": {"coalesce": {"distributed": False, **config}},
    }


def open_argo(
    upstream: Scripted, clock: FakeClock, store: str | None = None, **config: object
) -> Argo:
    settings = settings_of(store or f"memory://joining-{next(_names)}", **config)
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def ask(argo: Argo) -> asyncio.Task[object]:
    return asyncio.create_task(argo.call("bars", symbol="AAPL"))


@pytest.mark.parametrize(
    ("says", "asked"), [(Freshness.FRESH, 1), (Freshness.STALE, 1), (Freshness.MISS, 2)]
)
async def test_where_versions_are_not_known_the_store_says_whether_a_flight_is_joined(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, says: Freshness, asked: int
) -> None:
    upstream = held()

    async def check(_: TagSnapshot) -> Freshness:
        return says

    async with open_argo(upstream, clock) as argo:
        callers = [ask(argo)]
        await settle()
        versions = context_of(argo).tag_versions
        monkeypatch.setattr(versions, "peek", lambda _: Freshness.UNKNOWN)
        monkeypatch.setattr(versions, "check", check)
        callers.append(ask(argo))
        await settle()
        upstream.gate.set()
        assert ["AAPL", "AAPL"] == await asyncio.gather(*callers)
    assert asked == len(upstream.asked)


@pytest.mark.parametrize(
    ("meanwhile", "got"),
    [("nothing", "first"), ("it lands", "first"), ("it fails", "second"), ("all leave", "second")],
)
async def test_a_flight_that_is_joined_is_still_under_way_or_has_an_answer_once_the_store_has_said(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, meanwhile: str, got: str
) -> None:
    failure = UpstreamError("down", upstream="a")
    upstream, said = (
        held(failure if meanwhile == "it fails" else "first", "second"),
        asyncio.Event(),
    )
    async with open_argo(upstream, clock, failure_ttl=0.0) as argo:
        first = ask(argo)
        await settle()
        versions = context_of(argo).tag_versions

        async def slow_check(_: TagSnapshot) -> Freshness:
            await said.wait()
            return Freshness.FRESH

        monkeypatch.setattr(versions, "peek", lambda _: Freshness.UNKNOWN)
        monkeypatch.setattr(versions, "check", slow_check)
        later = ask(argo)
        await settle()
        if meanwhile == "all leave":
            first.cancel()
        elif meanwhile != "nothing":
            upstream.gate.set()
        await settle()
        assert not later.done()
        said.set()
        await settle()
        upstream.gate.set()
        assert got == await later
        await asyncio.gather(first, return_exceptions=True)
    assert (1 if got == "first" else 2) == len(upstream.asked)


async def test_a_failure_is_shared_also_where_the_store_must_say_whether_it_may_be(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = held(UpstreamError("down", upstream="a"), "second")
    upstream.gate.set()
    async with open_argo(upstream, clock, failure_ttl=0.5) as argo:
        versions = context_of(argo).tag_versions
        monkeypatch.setattr(versions, "peek", lambda _: Freshness.UNKNOWN)
        monkeypatch.setattr(versions, "check", fresh)
        for _ in range(2):
            with pytest.raises(UpstreamError, match="down"):
                await ask(argo)
    assert 1 == len(upstream.asked)


async def fresh(_: TagSnapshot) -> Freshness:
    return Freshness.FRESH


@pytest.mark.parametrize(
    ("killed", "later", "flights"),
    [([], ["x"], 2), (["x"], [], 1), (["x"], ["x"], 1), (["x"], ["y"], 2), (["x"], ["x", "y"], 2)],
)
async def test_a_flight_is_joined_while_no_layer_is_killed_that_it_may_have_passed(
    clock: FakeClock, killed: list[str], later: list[str], flights: int
) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        events, versions = capture_events(argo), context_of(argo).tag_versions
        callers = []
        for names in (killed, later):
            versions.ban([f"layer:{name}" for name in names])
            callers.append(ask(argo))
            await settle()
        upstream.gate.set()
        await asyncio.gather(*callers)
        began = [one for one in events.of(LayerActed) if "flight began" == one.action]
    assert flights == len(began)


async def test_a_load_from_before_a_change_of_settings_answers_the_flights_from_after_it(
    clock: FakeClock,
) -> None:
    upstream, store = held(), "memory://joining-changed"
    async with open_argo(upstream, clock, store) as argo:
        callers = [ask(argo)]
        await settle()
        await argo.reload(settings_of(store, failure_ttl=9.0))
        patient = argo.options(max_age=50.0)  # in a flight of its own
        callers.append(asyncio.create_task(patient.call("bars", symbol="AAPL")))
        await settle()
        upstream.gate.set()
        assert ["AAPL", "AAPL"] == await asyncio.gather(*callers)
    assert 1 == len(upstream.asked)


@pytest.mark.parametrize(("invalidated", "loads"), [("source:y", 1), ("source:x", 2)])
async def test_a_load_answers_no_other_flight_once_a_tag_that_it_found_was_invalidated(
    clock: FakeClock, invalidated: str, loads: int
) -> None:
    upstream = held(*(lambda _: Outcome("bars", tags=frozenset({"source:x"})) for _ in range(2)))
    async with open_argo(upstream, clock) as argo:
        await context_of(argo).tag_versions.load(["source:x"])
        patient = argo.options(max_age=50.0)  # in a flight of its own
        callers = [ask(argo), asyncio.create_task(patient.call("bars", symbol="AAPL"))]
        await settle()
        await argo.invalidate(invalidated)
        upstream.gate.set()
        assert ["bars", "bars"] == await asyncio.gather(*callers)
    assert loads == len(upstream.asked)
