"""In shadow the cache says what it would have served, how far that is off, and what it would save."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argo_mw import Argo, Cost, Outcome
from argo_mw.plugin import ASKED_AT, Call, Shadowed, context_of, layers_of, operation
from argo_mw.store import snapshot
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import CachePlugin, shadow
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.layer import Cache
from argo_mw_cache.shadow import CacheShadow

from .conftest import Opened

TTL = 60.0


@operation(subject="symbol")
def price(symbol: str) -> float:
    """The price of one symbol."""


def open_argo(
    clock: FakeClock, flag: str, answer: Callable[[Call], object], **table: object
) -> Argo:
    plain = {"ttl": TTL, "jitter": 0.0, "early": 0.0, "grace": 0.0}
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "flags": {"cache": flag},
        "plugins": {"cache": {**plain, **table}},
    }
    upstream = Scripted("a", ["price"], answer, retries=0)
    plugins = {"cache": CachePlugin, "asked": FakePlugin(operations=[price], upstreams=[upstream])}
    return Argo.open(config, clock=clock, plugins=plugins, installed=False)


def at_the_time(clock: FakeClock, usd: float | None = 0.5) -> Callable[[Call], Outcome]:
    """An upstream whose price is the time, in seconds since the test began, and 100."""
    began = clock.monotonic()
    cost = Cost(usd=usd, requests=1.0)
    return lambda call: Outcome(100.0 + clock.monotonic() - began, cost=cost)


async def test_it_compares_what_it_keeps_with_each_newer_answer_until_that_expires() -> None:
    clock = FakeClock(start=0.1)
    async with open_argo(clock, "shadow", at_the_time(clock)) as argo:
        events = capture_events(argo)
        for wait in (0, 30, 29, 2, 1):
            await clock.advance(wait)
            assert () == (await argo.outcome("price", symbol="A")).via
            await settle()
        seen = events.of(Shadowed)
        result = context_of(argo).counters.shadow("cache", "price")
        text = argo.explain("price", symbol="A")[0].text
    assert [False, True, True, False, True] == [event.would_hit for event in seen]
    distances = [event.distance for event in seen if event.would_hit]
    assert pytest.approx([30 / 130, 59 / 159, 1 / 162]) == distances
    assert (5, 3, 3.0, 1.5) == (result.calls, result.hits, result.requests, result.usd)
    assert "of 5 calls it would have answered 3 (60%), saved 3 requests and 1.5 USD" in text
    assert "3 of 3 kept answers differed from the new one" in text


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("ABC")),
        st.tuples(st.just("wait"), st.sampled_from(["1", "29", "61"])),
        st.tuples(st.just("invalidate"), st.sampled_from(["subject:A", "op:price", "subject:B"])),
    ),
    min_size=8,
    max_size=40,
)


@given(steps=STEPS, entries=st.sampled_from([1, 2, 100]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_would_have_answered_just_what_the_cache_answers(
    steps: list[tuple[str, str]], entries: int
) -> None:
    asyncio.run(compare(steps, entries))


async def compare(steps: list[tuple[str, str]], entries: int) -> None:
    clock = FakeClock(start=0.1)
    answer = at_the_time(clock)
    async with (
        open_argo(clock, "on", answer, max_entries=entries) as acting,
        open_argo(clock, "shadow", answer, max_entries=entries) as shadowing,
    ):
        events = capture_events(shadowing)
        for step, what in steps:
            await clock.advance(0.001)
            if step == "wait":
                await clock.advance(float(what))
            elif step == "invalidate":
                await acting.invalidate(what)
                await shadowing.invalidate(what)
            else:
                served = await acting.outcome("price", symbol=what)
                fresh = await shadowing.outcome("price", symbol=what)
                await settle()
                said = events.of(Shadowed)[-1]
                assert ("cache" in served.via) == said.would_hit
                if said.would_hit:
                    assert isinstance(served.value, float)
                    assert isinstance(fresh.value, float)
                    off = abs(served.value - fresh.value) / fresh.value
                    assert pytest.approx(off) == said.distance


async def test_what_came_after_the_question_would_not_have_answered_it() -> None:
    """Of two calls at once, neither would have found the answer to the other."""
    clock = FakeClock(start=0.1)
    gate = asyncio.Event()

    async with open_argo(clock, "shadow", lambda call: 1.0) as argo:
        events = capture_events(argo)

        @argo.wrap(name="slowly")
        async def slowly() -> float:
            await gate.wait()
            return 1.0

        asking = [asyncio.create_task(slowly()) for _ in range(2)]
        await settle()
        await clock.advance(1.0)
        gate.set()
        await asyncio.gather(*asking)
        await settle()
        await slowly()
        await settle()
    assert [False, False, True] == [event.would_hit for event in events.of(Shadowed)]


async def test_a_caller_that_wants_a_newer_answer_would_not_have_been_served() -> None:
    clock = FakeClock(start=0.1)

    def dated(call: Call) -> Outcome:
        return Outcome(1.0, as_of=clock.time())

    async with open_argo(clock, "shadow", dated) as argo:
        events = capture_events(argo)
        for max_age in (None, 5.0, 20.0):
            await argo.options(max_age=max_age).call("price", symbol="A")
            await settle()
            await clock.advance(10.0)
    assert [False, False, True] == [event.would_hit for event in events.of(Shadowed)]


async def test_what_it_keeps_is_bounded_and_never_served() -> None:
    clock = FakeClock(start=0.1)
    answer = at_the_time(clock)
    async with open_argo(clock, "shadow", answer, max_entries=10, max_bytes=1 << 20) as argo:
        for number in range(50):
            await argo.call("price", symbol=f"S{number}")
        await settle()
        [layer] = layers_of(argo)
        assert isinstance(layer.middleware, Cache)
        assert layer.middleware._shadow is not None
        assert 10 == len(layer.middleware._shadow)
        assert 0 == len(layer.middleware.memory)
        await argo.reload({**_config(argo), "flags": {"cache": "on"}})
        assert () == (await argo.outcome("price", symbol="S49")).via


def _config(argo: Argo) -> dict[str, object]:
    return {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"cache": dict(argo.settings.plugins["cache"])},
    }


async def test_an_unknown_cost_is_not_counted_as_zero() -> None:
    clock = FakeClock(start=0.1)
    async with open_argo(clock, "shadow", at_the_time(clock, usd=None)) as argo:
        for _ in range(2):
            await argo.call("price", symbol="A")
            await settle()
        result = context_of(argo).counters.shadow("cache", "price")
    assert (1, 0.0) == (result.unpriced, result.usd)
    assert "and what 1 calls cost" in str(result)


async def test_an_answer_that_has_expired_on_arrival_would_have_answered_nobody() -> None:
    clock = FakeClock(start=0.1)

    def expired(call: Call) -> Outcome:
        return Outcome(1.0, expires_at=clock.time() - 1.0)

    async with open_argo(clock, "shadow", expired) as argo:
        events = capture_events(argo)
        for _ in range(2):
            await argo.outcome("price", symbol="A")
            await settle()
    assert [False, False] == [event.would_hit for event in events.of(Shadowed)]


async def test_an_answer_made_of_what_was_invalidated_meanwhile_would_answer_nobody() -> None:
    clock = FakeClock(start=0.1)
    answers: list[Outcome] = []
    async with open_argo(clock, "shadow", lambda call: answers.pop(0)) as argo:
        events = capture_events(argo)
        made_of = await context_of(argo).tag_versions.load({"subject:A"})
        await argo.invalidate("subject:A")
        answers += [Outcome(1.0, versions=made_of.versions), Outcome(1.0), Outcome(1.0)]
        while answers:
            await argo.call("price", symbol="A")
            await settle()
    assert [False, False, True] == [event.would_hit for event in events.of(Shadowed)]


# -- by itself -------------------------------------------------------------------------------------


async def test_an_answer_would_be_kept_in_shadow_for_as_long_as_a_cache_keeps_it(
    opened: Opened, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.95

    monkeypatch.setattr(shadow.random, "uniform", uniform)
    seen = CacheShadow(CacheConfig(ttl=100.0, jitter=0.25), opened.context)
    assert pytest.approx(95.0) == seen._ttl(Outcome("bars"))
    assert [(0.75, 1.0)] == drawn
    assert 7.0 == seen._ttl(Outcome("bars", expires_at=clock.time() + 7.0))


@pytest.mark.parametrize(("ttl", "kept"), [(0.5, 1), (0.0, 0), (-0.5, 0)])
async def test_in_shadow_an_answer_is_kept_that_has_not_expired(
    opened: Opened, clock: FakeClock, ttl: float, kept: int
) -> None:
    seen = CacheShadow(CacheConfig(), opened.context)
    await seen.see(opened.call, Outcome("bars", expires_at=clock.time() + ttl))
    assert kept == len(seen)


@pytest.mark.parametrize(("less", "kept"), [(0, 1), (1, 0)])
async def test_in_shadow_an_answer_of_the_largest_size_is_kept_and_none_that_is_larger(
    opened: Opened, less: int, kept: int
) -> None:
    size = snapshot(["bars"] * 100).size
    seen = CacheShadow(CacheConfig(max_value_bytes=size - less), opened.context)
    await seen.see(opened.call, Outcome(["bars"] * 100))
    assert kept == len(seen)


@pytest.mark.parametrize(
    ("seconds", "change", "hit"),
    [(0.0, "", True), (9.9, "", True), (10.0, "", False), (5.0, "invalidate", False)],
)
async def test_in_shadow_an_answer_would_have_been_served_until_it_expires(
    opened: Opened, clock: FakeClock, seconds: float, change: str, hit: bool
) -> None:
    events = capture_events(opened.argo)
    seen = CacheShadow(CacheConfig(), opened.context)
    for pause in (0.0, seconds):
        clock.stall(pause)
        if pause and change:
            await opened.context.invalidate(["subject:AAPL"])
        asked = opened.call.extended({ASKED_AT: clock.monotonic()})
        await seen.see(asked, Outcome("bars", expires_at=clock.time() + 10.0))
    assert [False, hit] == [event.would_hit for event in events.of(Shadowed)]


@pytest.mark.parametrize(("invalidated", "hit"), [("source:y", True), ("source:x", False)])
async def test_in_shadow_an_answer_depends_on_what_it_was_made_from(
    opened: Opened, clock: FakeClock, invalidated: str, hit: bool
) -> None:
    events = capture_events(opened.argo)
    seen = CacheShadow(CacheConfig(), opened.context)
    outcome = Outcome("bars", tags=frozenset({"source:x"}))
    for _ in range(2):
        await seen.see(opened.call.extended({ASKED_AT: clock.monotonic()}), outcome)
        await opened.context.invalidate([invalidated])
    assert [False, hit] == [event.would_hit for event in events.of(Shadowed)]
