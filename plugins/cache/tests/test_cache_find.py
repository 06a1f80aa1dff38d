"""What is at hand: find and middleware agree, and one caller at a time looks into the store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping

import pytest

from argo_mw import Argo, ConfigError, NotFound, Outcome, UpstreamError
from argo_mw.plugin import Call, CallEnded, collect, context_of, layers_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import Cache, CachePlugin
from argo_mw_coalesce import plugin as coalesce

pytestmark = pytest.mark.usefixtures("no_luck")

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture
def store() -> str:
    return f"memory://cache-find-{next(_names)}"


def settings_of(store: str, **config: object) -> Mapping[str, object]:
    return {"argo": {"shared": store, "strict": True}, "plugins": {"cache": config}}


def instance(
    store: str,
    upstream: Scripted,
    clock: FakeClock,
    *,
    plugins: Mapping[str, object] | None = None,
    **config: object,
) -> Argo:
    return Argo.open(
        settings_of(store, **config),
        clock=clock,
        plugins={
            "cache": CachePlugin,
            "asked": FakePlugin(operations=[bars], upstreams=[upstream]),
            **(plugins or {}),
        },
        installed=False,
    )


def cache_of(argo: Argo) -> Cache:
    (layer,) = [layer for layer in layers_of(argo) if layer.name == "cache"]
    assert isinstance(layer.middleware, Cache)
    return layer.middleware


def call_of(argo: Argo, symbol: str = "A") -> Call:
    return context_of(argo).make_call("bars", "default", {"symbol": symbol})


async def loaded(call: Call) -> Outcome:
    """Stand for the rest of the chain."""
    return Outcome("loaded")


class Looks:
    """Counts and delays the looks of one instance into the store."""

    def __init__(self, argo: Argo) -> None:
        self.keys: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        shared = context_of(argo).shared
        self._get, self._get_many = shared.get, shared.get_many
        shared.get = self.get  # type: ignore[method-assign]
        shared.get_many = self.get_many  # type: ignore[method-assign, assignment]

    async def get(self, key: str) -> bytes | None:
        if key.startswith("argo:cache:"):
            self.keys.append(key)
            await self.gate.wait()
        return await self._get(key)

    async def get_many(self, keys: list[str]) -> object:
        self.keys += [key for key in keys if key.startswith("argo:cache:")]
        return await self._get_many(keys)


# -- find and middleware agree --------------------------------------------------------------------


async def nothing(argo: Argo, clock: FakeClock) -> None:
    """Leave the cache empty."""


async def kept(argo: Argo, clock: FakeClock) -> None:
    await argo.call("bars", symbol="A")
    await clock.advance(10)


async def expired(argo: Argo, clock: FakeClock) -> None:
    await argo.call("bars", symbol="A")
    await clock.advance(61)


async def invalidated(argo: Argo, clock: FakeClock) -> None:
    await argo.call("bars", symbol="A")
    await argo.invalidate("subject:A")


async def stale(argo: Argo, clock: FakeClock) -> None:
    await argo.call("bars", symbol="A")
    await argo.expire("subject:A")


State = Callable[[Argo, FakeClock], Awaitable[None]]


@pytest.mark.parametrize(
    ("state", "changes", "hit"),
    [
        (nothing, {}, False),
        (kept, {}, True),
        (kept, {"max_age": 20.0}, True),
        (kept, {"max_age": 5.0}, False),
        (kept, {"refresh": True}, False),
        (expired, {}, False),
        (invalidated, {}, False),
        (stale, {}, False),
    ],
)
@pytest.mark.parametrize("where", ["memory", "store"])
async def test_find_and_middleware_serve_the_same_answers(
    store: str, clock: FakeClock, state: State, changes: Mapping[str, object], hit: bool, where: str
) -> None:
    config = {"memory": where == "memory", "shared": where == "store", "soft_timeout": 0.0}
    async with instance(store, Scripted("a", ["bars"], "kept"), clock, ttl=60, **config) as argo:
        await state(argo, clock)
        cache, call = cache_of(argo), call_of(argo).evolve(**changes)
        found = cache.find(call)
        if where == "store" and not call.refresh:
            assert asyncio.iscoroutine(found)
        if asyncio.iscoroutine(found):
            found = await found
        served = await cache(call, loaded)
    assert (found is not None, served.value == "kept") == (hit, hit)
    if isinstance(found, Outcome):
        assert found == served


async def test_a_remembered_not_found_is_raised_from_memory_without_entering_the_chain(
    store: str, clock: FakeClock
) -> None:
    upstream = Scripted("a", ["bars"], NotFound("no ZZZ", upstream="a"))
    async with instance(store, upstream, clock, negative_ttl=10) as argo:
        with pytest.raises(NotFound):
            await argo.call("bars", symbol="ZZZ")
        events = capture_events(argo)
        with pytest.raises(NotFound, match="no ZZZ"):
            await argo.call("bars", symbol="ZZZ")
        assert [(True, NotFound)] == [(e.at_hand, type(e.error)) for e in events.of(CallEnded)]
        with pytest.raises(NotFound, match="no ZZZ"):
            await cache_of(argo)(call_of(argo, "ZZZ"), loaded)
    assert 1 == len(upstream.asked)


async def test_find_starts_no_look_for_a_refresh(store: str, clock: FakeClock) -> None:
    async with instance(store, Scripted("a", ["bars"]), clock) as argo:
        assert cache_of(argo).find(call_of(argo).evolve(refresh=True)) is None


# -- What find has missed -------------------------------------------------------------------------


async def test_the_middleware_looks_unless_the_call_says_that_find_has(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, Scripted("a", ["bars"]), clock) as argo:
        looks = Looks(argo)
        cache, call = cache_of(argo), call_of(argo)
        await cache(call.evolve(missed=("similarity",)), loaded)
        assert 1 == len(looks.keys)
        await cache(call_of(argo, "B").evolve(missed=("cache",)), loaded)
        assert 1 == len(looks.keys)


async def test_a_missed_call_is_still_answered_from_memory(store: str, clock: FakeClock) -> None:
    async with instance(store, Scripted("a", ["bars"], "kept"), clock) as argo:
        missed = call_of(argo).evolve(missed=("cache",))
        await argo.call("bars", symbol="A")
        assert "kept" == (await cache_of(argo)(missed, loaded)).value


async def test_an_old_answer_that_find_has_met_is_served_when_upstreams_fail(
    store: str, clock: FakeClock
) -> None:
    one = Scripted("a", ["bars"], "old")
    down = Scripted("a", ["bars"], UpstreamError("down", upstream="a"), retries=0)
    async with instance(store, one, clock, ttl=60) as first:
        await first.call("bars", symbol="A")
    await clock.advance(70)
    async with instance(store, down, clock, ttl=60) as second:
        looks = Looks(second)
        assert "old" == await second.call("bars", symbol="A")
        assert 1 == len(looks.keys)


async def test_without_memory_the_middleware_looks_again_for_an_old_answer(
    store: str, clock: FakeClock
) -> None:
    down = UpstreamError("down", upstream="a")
    upstream = Scripted("a", ["bars"], "old", down, retries=0)
    async with instance(store, upstream, clock, ttl=60, memory=False) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(70)
        assert "old" == await argo.call("bars", symbol="A")
        assert 0 == len(cache_of(argo).memory)


# -- One look at a time ---------------------------------------------------------------------------


@pytest.mark.parametrize("plugins", [{}, {"coalesce": coalesce}], ids=["alone", "coalesced"])
async def test_a_burst_of_equal_calls_looks_once(
    store: str, clock: FakeClock, plugins: Mapping[str, object]
) -> None:
    one, other = Scripted("a", ["bars"], "stored"), Scripted("a", ["bars"])
    async with instance(store, one, clock) as first:
        await first.call("bars", symbol="A")
        async with instance(store, other, clock, plugins=plugins) as second:
            looks = Looks(second)
            looks.gate.clear()
            burst = [asyncio.create_task(second.call("bars", symbol="A")) for _ in range(100)]
            await settle()
            looks.gate.set()
            assert {"stored"} == set(await asyncio.gather(*burst))
            assert 1 == len(looks.keys)
    assert [] == other.asked


async def test_a_burst_of_equal_calls_that_misses_looks_once(store: str, clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], "loaded")
    async with instance(store, upstream, clock, plugins={"coalesce": coalesce}) as argo:
        looks = Looks(argo)
        looks.gate.clear()
        burst = [asyncio.create_task(argo.call("bars", symbol="A")) for _ in range(100)]
        await settle()
        looks.gate.set()
        assert {"loaded"} == set(await asyncio.gather(*burst))
        assert 1 == len(looks.keys)
    assert 1 == len(upstream.asked)


async def test_another_caller_looks_when_the_one_that_looked_is_cancelled(
    store: str, clock: FakeClock
) -> None:
    one, other = Scripted("a", ["bars"], "stored"), Scripted("a", ["bars"])
    async with instance(store, one, clock) as first:
        await first.call("bars", symbol="A")
        async with instance(store, other, clock) as second:
            looks = Looks(second)
            looks.gate.clear()
            burst = [asyncio.create_task(second.call("bars", symbol="A")) for _ in range(3)]
            await settle()
            burst[0].cancel()
            await settle()
            looks.gate.set()
            assert ["stored", "stored"] == await asyncio.gather(*burst[1:])
            assert 2 == len(looks.keys)
    assert [] == other.asked


async def test_a_caller_that_joins_a_look_keeps_its_own_deadline(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, Scripted("a", ["bars"]), clock, store_timeout=5.0) as argo:
        looks = Looks(argo)
        looks.gate.clear()
        first = asyncio.create_task(argo.call("bars", symbol="A"))
        await settle()
        hurried = asyncio.create_task(argo.options(timeout=0.5).call("bars", symbol="A"))
        await clock.advance(0.6)
        with pytest.raises(TimeoutError):
            await hurried
        looks.gate.set()
        assert "A" == await first


async def test_no_look_is_left_behind(store: str, clock: FakeClock) -> None:
    async with instance(store, Scripted("a", ["bars"]), clock) as argo:
        await asyncio.gather(*(argo.call("bars", symbol=s) for s in "ABAB"))
        assert {} == cache_of(argo)._looks


# -- Life -----------------------------------------------------------------------------------------


async def test_gauges_follow_the_cache_in_use(store: str, clock: FakeClock) -> None:
    async with instance(store, Scripted("a", ["bars"]), clock, max_entries=10) as argo:

        def limit() -> float | None:
            (gauges,) = collect(argo, "register_gauges", context=context_of(argo)).values()
            (gauge,) = [g for g in gauges if g.name == "argo_mw.cache.entries.limit"]  # type: ignore[attr-defined]
            return gauge.read()

        assert 10 == limit()
        await argo.reload(settings_of(store, max_entries=20))
        assert 20 == limit()
        with pytest.raises(ConfigError):
            await argo.reload({**settings_of(store, max_entries=30), "flags": {"nothing": "on"}})
        assert 20 == limit()
