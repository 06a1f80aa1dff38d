"""Known answers return at once: fresh, bounded, safe to share, and never over an invalidation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Action, Argo, NotFound, Outcome, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import AnswerSeen, Call, LayerActed, Stream, Trouble, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import entry, layer, plugin
from argo_mw_cache.memory import Memory


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars."""


@operation(scope="tenant", subject="symbol")
def notes(symbol: str) -> object:
    """A tenant's own notes."""


@operation(kind="compute", name="signal", subject="symbol")
def signal(symbol: str) -> object:
    """Made from bars."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter takes nothing off, and nobody is drawn to refresh early."""
    monkeypatch.setattr(layer.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(entry.random, "random", lambda: 0.0)


def open_argo(upstream: Scripted, clock: FakeClock, **config: object) -> Argo:
    settings: Mapping[str, object] = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"cache": config} if config else {},
    }
    asked = FakePlugin(operations=[bars, notes], upstreams=[upstream])
    plugins = {"cache": plugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def counting(*more: object) -> Scripted:
    """An upstream whose answers can be told apart."""
    count = iter(range(1, 100_000))
    return Scripted("a", ["bars", "notes"], *more, lambda _: next(count), retries=0)


async def test_an_answer_is_served_until_it_expires(clock: FakeClock) -> None:
    upstream = counting()
    async with open_argo(upstream, clock, ttl=60) as argo:
        assert await argo.call("bars", symbol="A") == 1
        await clock.advance(59.9)
        outcome = await argo.outcome("bars", symbol="A")
        assert (outcome.value, outcome.via, outcome.attempts) == (1, ("cache",), ())
        assert "layer:cache" in outcome.tags
        assert outcome.age(clock.time()) == pytest.approx(59.9)
        await clock.advance(0.2)
        assert await argo.call("bars", symbol="A") == 2


async def test_who_set_an_expiry_is_obeyed(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: Outcome(1, expires_at=clock.time() + 5))
    async with open_argo(upstream, clock) as argo:
        outcome = await argo.outcome("bars", symbol="A")
        assert outcome.expires_at == clock.time() + 5
        await clock.advance(5)
        await argo.call("bars", symbol="A")
    assert len(upstream.asked) == 2


async def test_what_has_expired_already_is_not_kept(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: Outcome(1, expires_at=clock.time()))
    async with open_argo(upstream, clock) as argo:
        for _ in range(2):
            await argo.call("bars", symbol="A")
    assert len(upstream.asked) == 2


async def test_tenants_do_not_share_what_is_their_own(clock: FakeClock) -> None:
    async with open_argo(counting(), clock) as argo:
        one, other = argo.options(tenant="one"), argo.options(tenant="other")
        assert [await c.call("notes", symbol="A") for c in (one, other, one)] == [1, 2, 1]
        assert [await c.call("bars", symbol="A") for c in (one, other)] == [3, 3]


# -- Invalidation ------------------------------------------------------------------------------


async def test_an_invalidated_answer_is_never_served_again(clock: FakeClock) -> None:
    async with open_argo(counting(), clock) as argo:
        await argo.call("bars", symbol="A")
        await argo.call("bars", symbol="B")
        await argo.invalidate("subject:A")
        assert [await argo.call("bars", symbol=s) for s in "AB"] == [3, 2]


async def test_an_invalidation_during_a_load_wins(clock: FakeClock) -> None:
    """What was asked before the change must not be kept after it."""
    upstream = counting()
    upstream.gate.clear()
    async with open_argo(upstream, clock) as argo:
        loading = asyncio.create_task(argo.call("bars", symbol="A"))
        await settle()
        await argo.invalidate("subject:A")
        upstream.gate.set()
        assert await loading == 1
        assert await argo.call("bars", symbol="A") == 2


async def test_an_expired_tag_makes_a_load_but_serves_when_that_fails(clock: FakeClock) -> None:
    upstream = counting(1, UpstreamError("down", upstream="a"), 2)
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await argo.expire("subject:A")
        outcome = await argo.outcome("bars", symbol="A")
        assert (outcome.value, outcome.notes[-1].text) == (1, "stale, because down")
        assert await argo.call("bars", symbol="A") == 2


async def test_what_an_answer_was_made_from_invalidates_it(clock: FakeClock) -> None:
    from argo_mw.plugin import Upstream

    made = FakePlugin()

    async def compute(call: Call) -> Outcome:
        assert made.context is not None
        inner = await made.context.call(call, "bars", symbol=call.subject)
        return Outcome(("signal", inner.value))

    made = FakePlugin(operations=[signal], upstreams=[Upstream("s", {"signal"}, compute)])
    asked = FakePlugin(operations=[bars], upstreams=[counting()])
    plugins = {"cache": plugin, "asked": asked, "made": made}
    config = {"argo": {"shared": "memory://"}}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        assert await argo.call("signal", symbol="A") == ("signal", 1)
        assert await argo.call("signal", symbol="A") == ("signal", 1)
        await argo.invalidate("op:bars")
        assert await argo.call("signal", symbol="A") == ("signal", 2)


# -- Failures ----------------------------------------------------------------------------------


async def test_within_the_grace_an_old_answer_is_better_than_none(clock: FakeClock) -> None:
    upstream = counting(1, UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock, ttl=60, grace=30) as argo:
        events = capture_events(argo)
        await argo.call("bars", symbol="A")
        await clock.advance(80)
        outcome = await argo.outcome("bars", symbol="A")
        assert outcome.value == 1
        assert outcome.expires_at is not None
        assert outcome.expires_at < clock.time()
        upstream._script[:] = [UpstreamError("down", upstream="a")]
        await clock.advance(15)
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="A")
    assert "stale" in [e.action for e in events.of(LayerActed)]


async def test_an_invalidated_answer_is_not_served_within_the_grace(clock: FakeClock) -> None:
    upstream = counting(1, UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await argo.invalidate("subject:A")
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="A")


async def test_that_there_is_no_such_thing_is_remembered_for_a_while(clock: FakeClock) -> None:
    upstream = counting(NotFound("no ZZZ", upstream="a"), NotFound("no ZZZ", upstream="a"))
    async with open_argo(upstream, clock, negative_ttl=10) as argo:
        errors = []
        for _ in range(3):
            with pytest.raises(NotFound, match="no ZZZ") as caught:
                await argo.call("bars", symbol="ZZZ")
            errors.append(caught.value)
        assert len(upstream.asked) == 1
        assert len({id(e) for e in errors}) == 3
        await clock.advance(11)
        with pytest.raises(NotFound):
            await argo.call("bars", symbol="ZZZ")
    assert len(upstream.asked) == 2


async def test_negative_answers_can_be_left_out(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], NotFound("no", upstream="a"))
    async with open_argo(upstream, clock, negative_ttl=0) as argo:
        for _ in range(2):
            with pytest.raises(NotFound):
                await argo.call("bars", symbol="ZZZ")
    assert len(upstream.asked) == 2


async def test_a_not_found_is_not_papered_over_with_an_old_answer(clock: FakeClock) -> None:
    upstream = counting(1, NotFound("delisted", upstream="a", action=Action.STOP))
    async with open_argo(upstream, clock, ttl=60) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(61)
        with pytest.raises(NotFound, match="delisted"):
            await argo.call("bars", symbol="A")


# -- Freshness ---------------------------------------------------------------------------------


async def test_max_age_asks_for_a_newer_answer(clock: FakeClock) -> None:
    async with open_argo(counting(), clock) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(10)
        assert await argo.options(max_age=20).call("bars", symbol="A") == 1
        assert await argo.options(max_age=5).call("bars", symbol="A") == 2
        assert await argo.call("bars", symbol="A") == 2


async def test_a_reader_shortly_before_the_expiry_refreshes_in_the_background(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = counting()
    upstream.gate.clear()
    async with open_argo(upstream, clock, ttl=60) as argo:
        first = asyncio.create_task(argo.call("bars", symbol="A"))
        await clock.advance(2)
        upstream.gate.set()
        await first
        await clock.advance(59)
        assert await argo.call("bars", symbol="A") == 1
        assert len(upstream.asked) == 1
        monkeypatch.setattr(entry.random, "random", lambda: 0.9)
        assert await argo.call("bars", symbol="A") == 1
        await settle()
        assert await argo.call("bars", symbol="A") == 2
    assert len(upstream.asked) == 2


@given(st.floats(0.001, 10), st.floats(0, 3), st.floats(1, 1000))
def test_early_refreshes_begin_where_they_are_possible(
    load_time: float, early: float, fresh_until: float
) -> None:
    times = entry.Times.of(fresh_until, load_time=load_time, early=early, grace=1.0)
    assert times.early_from <= times.fresh_until < times.stale_until
    assert times.wants_refresh(fresh_until)


async def test_jitter_only_shortens(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer.random, "uniform", lambda low, high: low)
    async with open_argo(counting(), clock, ttl=100, jitter=0.2) as argo:
        outcome = await argo.outcome("bars", symbol="A")
    assert outcome.expires_at == pytest.approx(clock.time() + 80)


# -- Sharing -----------------------------------------------------------------------------------


async def test_a_caller_cannot_change_what_others_get(clock: FakeClock) -> None:
    frame = pd.DataFrame({"close": np.arange(3.0)})
    upstream = Scripted("a", ["bars"], lambda _: frame)
    async with open_argo(upstream, clock) as argo:
        first, second = [await argo.call("bars", symbol="A") for _ in range(2)]
        for caller in (first, second):
            caller.loc[0, "close"] = 99.0
            caller["open"] = 1.0
        frame.loc[0, "close"] = -1.0
        third = await argo.call("bars", symbol="A")
    assert third.equals(pd.DataFrame({"close": np.arange(3.0)}))


async def test_what_cannot_be_shared_is_not_kept_and_said_once(clock: FakeClock) -> None:
    import threading

    upstream = Scripted("a", ["bars"], lambda _: threading.Lock())
    async with open_argo(upstream, clock) as argo:
        events = capture_events(argo)
        for _ in range(3):
            await argo.call("bars", symbol="A")
    assert len(upstream.asked) == 3
    assert len(events.of(Trouble)) == 1


async def test_a_stream_is_kept_once_it_is_complete_and_replayed(clock: FakeClock) -> None:
    released = asyncio.Event()

    async def chunks() -> AsyncIterator[str]:
        yield "first"
        await released.wait()
        yield "last"

    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, clock) as argo:
        upstream._script[:] = [lambda _: Stream(chunks(), engine_of(argo).tasks)]
        stream = await argo.call("bars", symbol="A")
        assert isinstance(stream, Stream)
        assert await stream.first() == "first"
        await argo.call("bars", symbol="A")  # too early: the first answer is not complete yet
        assert len(upstream.asked) == 2
        released.set()
        assert [chunk async for chunk in stream.read()] == ["first", "last"]
        replayed = await argo.outcome("bars", symbol="A")
        assert isinstance(replayed.value, Stream)
        assert [chunk async for chunk in replayed.value.read()] == ["first", "last"]
        assert len(upstream.asked) == 2
        assert "cache" in replayed.via


async def test_an_aborted_stream_is_never_kept(clock: FakeClock) -> None:
    async def chunks() -> AsyncIterator[str]:
        yield "first"
        await asyncio.Event().wait()

    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, clock) as argo:
        upstream._script[:] = [lambda _: Stream(chunks(), engine_of(argo).tasks)]
        stream = await argo.call("bars", symbol="A")
        assert isinstance(stream, Stream)
        reader = stream.read()
        assert await anext(reader) == "first"
        await reader.aclose()  # type: ignore[attr-defined]
        again = await argo.outcome("bars", symbol="A")
        assert "cache" not in again.via
        assert len(upstream.asked) == 2
        again.value.abort("the test is over")  # type: ignore[attr-defined]


# -- Bounds ------------------------------------------------------------------------------------


async def test_memory_is_bounded_by_entries_and_bytes(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: "x" * 1_000)
    async with open_argo(upstream, clock, max_entries=50, max_bytes=20_000) as argo:
        cache = engine_of(argo).pipeline.contributions["cache"].layer
        assert cache is not None
        memory: Memory = cache.middleware.memory  # type: ignore[attr-defined]
        for number in range(500):
            await argo.call("bars", symbol=f"S{number}")
            assert memory.bytes <= 20_000
        assert 10 < len(memory) <= 50
        memory.clear()
        assert (len(memory), memory.bytes) == (0, 0)


async def test_a_value_that_is_too_large_is_not_kept_and_told(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: "x" * 10_000)
    async with open_argo(upstream, clock, max_value_bytes=1_000) as argo:
        events = capture_events(argo)
        for _ in range(2):
            await argo.call("bars", symbol="A")
    assert len(upstream.asked) == 2
    told = [e.detail for e in events.of(LayerActed) if e.action == "skipped"]
    assert told[0].startswith("bars of 10064 bytes is not kept")


async def test_what_is_asked_often_outlives_what_is_asked_once(clock: FakeClock) -> None:
    upstream = counting()
    async with open_argo(upstream, clock, max_entries=20, ttl=3_600) as argo:
        for number in range(200):
            await argo.call("bars", symbol="POPULAR")
            await argo.call("bars", symbol=f"S{number}")
    assert len([c for c in upstream.asked if c.subject == "POPULAR"]) == 1


async def test_expired_entries_are_swept_out_by_stores(clock: FakeClock) -> None:
    async with open_argo(counting(), clock, ttl=1, grace=1) as argo:
        cache = engine_of(argo).pipeline.contributions["cache"].layer
        assert cache is not None
        for number in range(100):
            await argo.call("bars", symbol=f"OLD{number}")
        await clock.advance(5)
        for number in range(60):
            await argo.call("bars", symbol=f"NEW{number}")
        assert len(cache.middleware.memory) == 60  # type: ignore[attr-defined]


# -- Under way ---------------------------------------------------------------------------------


async def test_a_flag_flip_empties_no_cache(clock: FakeClock) -> None:
    upstream = counting()
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        base = {"argo": {"shared": "memory://", "strict": True}}
        for flip in range(100):
            await argo.reload({**base, "flags": {"cache": "on" if flip % 2 else "off"}})
        assert await argo.call("bars", symbol="A") == 1


async def test_it_tells_what_it_did_and_what_it_would_do(clock: FakeClock) -> None:
    async with open_argo(counting(), clock, ttl=60) as argo:
        events = capture_events(argo)

        def told() -> str:
            return argo.explain("bars", symbol="A")[0].text

        assert told() == "would miss: not in memory (0 answers are)"
        await argo.call("bars", symbol="A")
        assert told() == "would hit: the answer in memory is fresh for another 60 s"
        await argo.call("bars", symbol="A")
        await argo.expire("subject:A")
        assert told() == "would miss: the answer in memory is stale by its tags' stamps"
        await argo.call("bars", symbol="A")
        await clock.advance(70)
        assert told() == "would miss: the answer in memory expired 10 s ago"
    assert [e.action for e in events.of(LayerActed)] == ["miss", "store", "hit", "miss", "store"]
    assert len(events.of(AnswerSeen)) == 2
