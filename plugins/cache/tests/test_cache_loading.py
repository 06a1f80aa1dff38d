"""How long a look takes at most, and what a load leaves behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from argo_mw import Argo, NotFound, Outcome, SharedUnavailable
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    Call,
    Found,
    LayerActed,
    Stream,
    Trouble,
    context_of,
    layers_of,
    operation,
)
from argo_mw.store import snapshot
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import Cache, CachePlugin
from argo_mw_cache.stored_answer import store_key

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture
def store() -> str:
    return f"memory://cache-loading-{next(_names)}"


def instance(store: str, clock: FakeClock, *script: object, **config: object) -> Argo:
    upstream = Scripted("a", ["bars"], *script)
    return Argo.open(
        {"argo": {"shared": store, "strict": True}, "plugins": {"cache": config}},
        clock=clock,
        plugins={
            "cache": CachePlugin,
            "asked": FakePlugin(operations=[bars], upstreams=[upstream]),
        },
        installed=False,
    )


def cache_of(argo: Argo) -> Cache:
    (layer,) = [layer for layer in layers_of(argo) if layer.name == "cache"]
    assert isinstance(layer.middleware, Cache)
    return layer.middleware


def call_of(argo: Argo) -> Call:
    return context_of(argo).make_call("bars", "default", {"symbol": "A"})


async def awaited(found: Found) -> Outcome | None:
    assert found is not None
    return found if isinstance(found, Outcome) else await found


# -- how long a look takes -------------------------------------------------------------------------


async def test_a_look_ends_after_twice_the_time_of_the_store(store: str, clock: FakeClock) -> None:
    async with instance(store, clock, store_timeout=0.4) as argo:
        assert 0.8 == cache_of(argo).find_timeout


@pytest.mark.parametrize("versions", [True, False])
async def test_a_caller_waits_no_longer_for_what_hangs(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, versions: bool
) -> None:
    """Versions that must be read, or the look of another caller."""

    async def hang(*_: object, **__: object) -> None:
        await clock.sleep(1e6)

    async with instance(store, clock, "old") as argo, instance(store, clock) as other:
        cache, call = cache_of(argo), call_of(argo)
        if versions:
            await argo.call("bars", symbol="A")
            await context_of(other).invalidate(["subject:A"])
            await settle()
            monkeypatch.setattr(context_of(argo).tag_versions, "check", hang)
            waiting = [asyncio.create_task(awaited(cache.find(call)))]
        else:
            monkeypatch.setattr(cache._shared, "ask", hang)
            waiting = [asyncio.create_task(awaited(cache.find(call))) for _ in range(2)]
        await clock.advance(0.49)
        assert not any(one.done() for one in waiting)
        await clock.advance(0.02)
        assert waiting[-1].done()
        assert None is waiting[-1].result()
        waiting[0].cancel()
        await asyncio.wait(waiting)


async def test_what_another_instance_has_stored_is_found_where_memory_is_out_of_date(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, clock, "old", "new") as one, instance(store, clock) as other:
        assert "old" == await one.call("bars", symbol="A") == await other.call("bars", symbol="A")
        await context_of(one).invalidate(["subject:A"])
        assert "new" == await one.call("bars", symbol="A")
        await settle()
        found = await awaited(cache_of(other).find(call_of(other)))
        assert found is not None
        assert "new" == found.value


async def test_a_checked_hit_in_memory_makes_no_look_into_the_store(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked(*_: object) -> None:
        raise AssertionError

    async with instance(store, clock, "kept") as argo:
        await argo.call("bars", symbol="A")
        context_of(argo).tag_versions._mirror.forget("subject:A")
        cache = cache_of(argo)
        monkeypatch.setattr(cache._shared, "ask", looked)
        found = cache.find(call_of(argo))
        assert not isinstance(found, Outcome)
        answer = await awaited(found)
        assert answer is not None
        assert "kept" == answer.value


@pytest.mark.parametrize("shared", [True, False])
async def test_a_dry_run_looks_into_the_store_for_what_memory_does_not_hold(
    store: str, clock: FakeClock, shared: bool
) -> None:
    async with instance(store, clock, "kept", shared=shared) as argo:
        cache, call = cache_of(argo), call_of(argo)
        nowhere = "neither in memory nor in the shared store" if shared else "not in memory"
        assert nowhere in await cache.dry_run(call)
        await argo.call("bars", symbol="A")
        assert (await cache.dry_run(call)).startswith("would hit: the answer in memory is fresh")
        cache.memory.clear()
        there = (
            "would hit: the answer in the shared store" if shared else "would miss: not in memory"
        )
        assert (await cache.dry_run(call)).startswith(there)


# -- what a load leaves behind ---------------------------------------------------------------------


@pytest.fixture
async def opened(store: str, clock: FakeClock) -> AsyncIterator[tuple[Argo, Cache, Call]]:
    async with instance(store, clock, negative_ttl=10.0, early=1.0) as argo:
        yield argo, cache_of(argo), call_of(argo)


async def test_the_load_time_of_an_entry_is_how_long_its_upstream_took(
    opened, clock: FakeClock
) -> None:
    _, cache, call = opened

    async def slow(call: Call) -> Outcome:
        await clock.advance(2.5)
        return Outcome("bars", expires_at=clock.time() + 100.0)

    await cache(call, slow)
    entry = cache.memory.get(call.key)
    assert entry is not None
    assert pytest.approx(2.5) == entry.times.eagerness
    assert pytest.approx(clock.monotonic() + 100.0) == entry.times.fresh_until


@pytest.mark.parametrize(
    ("changes", "ttl", "kept"), [({}, 10.0, 1), ({"store": False}, 10.0, 0), ({}, 0.0, 0)]
)
async def test_not_found_is_kept_only_where_answers_may_be_kept(
    store: str, clock: FakeClock, changes: dict[str, bool], ttl: float, kept: int
) -> None:
    async def none(call: Call) -> Outcome:
        raise NotFound("none", upstream="a")

    async with instance(store, clock, negative_ttl=ttl) as argo:
        cache = cache_of(argo)
        with pytest.raises(NotFound):
            await cache(call_of(argo).evolve(**changes), none)
        assert kept == len(cache.memory)


async def test_a_stream_is_offered_to_other_instances_once_it_is_complete(opened) -> None:
    argo, cache, call = opened
    events = capture_events(argo)

    async def chunks() -> AsyncIterator[str]:
        yield "one"

    async def streamed(call: Call) -> Outcome:
        return Outcome(Stream(chunks(), engine_of(argo).tasks))

    outcome = await cache(call, streamed)
    assert 0 == len(cache.memory)
    assert ["one"] == [chunk async for chunk in outcome.value.read()]
    await settle()
    assert 1 == len(cache.memory)
    actions = [event.action for event in events.of(LayerActed)]
    there = await context_of(argo).shared.get(store_key(call)) is not None
    assert there or "local" in actions


async def test_a_stream_that_what_it_depends_on_outlived_is_not_kept(opened) -> None:
    argo, cache, call = opened
    goes_on = asyncio.Event()

    async def chunks() -> AsyncIterator[str]:
        yield "one"
        await goes_on.wait()

    async def streamed(call: Call) -> Outcome:
        return Outcome(Stream(chunks(), engine_of(argo).tasks))

    outcome = await cache(call, streamed)
    await argo.invalidate("subject:A")
    goes_on.set()
    assert ["one"] == [chunk async for chunk in outcome.value.read()]
    await settle()
    assert 0 == len(cache.memory)


@pytest.mark.parametrize(("away", "said"), [(True, 0), (False, 1)])
async def test_it_is_said_that_a_kind_of_answer_cannot_be_stored_and_not_that_the_store_is_away(
    opened, monkeypatch: pytest.MonkeyPatch, away: bool, said: int
) -> None:
    argo, cache, call = opened
    events = capture_events(argo)

    async def refuse(*_: object, **__: object) -> None:
        msg = "away"
        raise SharedUnavailable(msg)

    async def answer(call: Call) -> Outcome:
        return Outcome("bars" if away else Unknown())

    if away:
        monkeypatch.setattr(context_of(argo).shared, "set", refuse)
    await cache(call, answer)
    assert said == sum("cache of bars" == trouble.where for trouble in events.of(Trouble))
    actions = [event.action for event in events.of(LayerActed)]
    assert ("unreachable" if away else "local") in actions


class Unknown:
    """A value that no codec knows."""


@pytest.mark.parametrize(("less", "kept"), [(0, 1), (1, 0)])
async def test_an_answer_of_the_largest_size_is_kept_and_none_that_is_larger(
    store: str, clock: FakeClock, less: int, kept: int
) -> None:
    value = ["bars"] * 100
    size = snapshot(value).size

    async def answer(call: Call) -> Outcome:
        return Outcome(value)

    async with instance(store, clock, max_value_bytes=size - less) as argo:
        assert value == (await cache_of(argo)(call_of(argo), answer)).value
        assert kept == len(cache_of(argo).memory)


@pytest.mark.parametrize(("left", "kept"), [(0.5, 1), (0.0, 0), (-0.5, 0)])
async def test_an_answer_is_kept_that_has_not_expired_when_it_comes(
    store: str, clock: FakeClock, left: float, kept: int
) -> None:
    async def answer(call: Call) -> Outcome:
        return Outcome("bars", expires_at=clock.time() + left)

    async with instance(store, clock) as argo:
        await cache_of(argo)(call_of(argo), answer)
        assert kept == len(cache_of(argo).memory)
