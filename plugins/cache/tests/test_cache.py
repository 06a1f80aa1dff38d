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
from argo_mw.plugin import (
    AnswerSeen,
    Call,
    Layer,
    LayerActed,
    Next,
    Stream,
    Trouble,
    Upstream,
    layers_of,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import Cache, CacheConfig, CachePlugin, entry, loader
from argo_mw_cache.memory_level import MemoryLevel

pytestmark = pytest.mark.usefixtures("no_luck")


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars."""


@operation(scope="tenant", subject="symbol")
def notes(symbol: str) -> object:
    """A tenant's own notes."""


@operation(kind="compute", name="signal", subject="symbol")
def signal(symbol: str) -> object:
    """Made from bars."""


def open_argo(upstream: Scripted, clock: FakeClock, **config: object) -> Argo:
    settings: Mapping[str, object] = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"cache": config} if config else {},
    }
    asked = FakePlugin(operations=[bars, notes], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def memory_of(argo: Argo) -> MemoryLevel:
    (layer,) = [layer for layer in layers_of(argo) if layer.name == "cache"]
    assert isinstance(layer.middleware, Cache)
    return layer.middleware.memory


def counting(*more: object) -> Scripted:
    """Return an upstream whose answers are 1, 2, 3…"""
    count = iter(range(1, 100_000))
    return Scripted("a", ["bars", "notes"], *more, lambda _: next(count), retries=0)


async def test_an_answer_is_served_until_it_expires(clock: FakeClock) -> None:
    upstream = counting()
    async with open_argo(upstream, clock, ttl=60) as argo:
        assert 1 == await argo.call("bars", symbol="A")
        await clock.advance(59.9)
        outcome = await argo.outcome("bars", symbol="A")
        assert (1, ("cache",), ()) == (outcome.value, outcome.via, outcome.attempts)
        assert "layer:cache" in outcome.tags
        assert pytest.approx(59.9) == outcome.age(clock.time())
        await clock.advance(0.2)
        assert 2 == await argo.call("bars", symbol="A")


async def test_the_expiry_that_an_upstream_sets_is_kept(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: Outcome(1, expires_at=clock.time() + 5))
    async with open_argo(upstream, clock) as argo:
        outcome = await argo.outcome("bars", symbol="A")
        assert outcome.expires_at == clock.time() + 5
        await clock.advance(5)
        await argo.call("bars", symbol="A")
    assert 2 == len(upstream.asked)


async def test_an_answer_that_has_expired_on_arrival_is_not_kept(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: Outcome(1, expires_at=clock.time()))
    async with open_argo(upstream, clock) as argo:
        for _ in range(2):
            await argo.call("bars", symbol="A")
    assert 2 == len(upstream.asked)


async def test_tenants_do_not_share_answers_of_tenant_scope(clock: FakeClock) -> None:
    async with open_argo(counting(), clock) as argo:
        one, other = argo.options(tenant="one"), argo.options(tenant="other")
        assert [1, 2, 1] == [await c.call("notes", symbol="A") for c in (one, other, one)]
        assert [3, 3] == [await c.call("bars", symbol="A") for c in (one, other)]


# -- Invalidation ------------------------------------------------------------------------------


async def test_an_invalidated_answer_is_never_served_again(clock: FakeClock) -> None:
    async with open_argo(counting(), clock) as argo:
        await argo.call("bars", symbol="A")
        await argo.call("bars", symbol="B")
        await argo.invalidate("subject:A")
        assert [3, 2] == [await argo.call("bars", symbol=s) for s in "AB"]


async def test_an_invalidation_during_a_load_wins(clock: FakeClock) -> None:
    """What was asked before the change must not be kept after it."""
    upstream = counting()
    upstream.gate.clear()
    async with open_argo(upstream, clock) as argo:
        loading = asyncio.create_task(argo.call("bars", symbol="A"))
        await settle()
        await argo.invalidate("subject:A")
        upstream.gate.set()
        assert 1 == await loading
        assert 2 == await argo.call("bars", symbol="A")


async def test_an_answer_whose_own_tag_nobody_has_seen_before_is_kept(clock: FakeClock) -> None:
    days = iter(range(10))
    upstream = Scripted(
        "a", ["bars"], lambda _: Outcome(1, tags=frozenset({f"session:{next(days)}"}))
    )
    async with open_argo(upstream, clock) as argo:
        events = capture_events(argo)
        for symbol in "ABAB":
            await argo.call("bars", symbol=symbol)
        assert 2 == len(upstream.asked)
        assert [] == [e for e in events.of(LayerActed) if e.action == "skipped"]
        await argo.invalidate("session:0")
        await argo.call("bars", symbol="A")
        await argo.call("bars", symbol="B")
    assert ["A", "B", "A"] == [call.subject for call in upstream.asked]


async def test_an_answer_whose_own_tag_may_have_changed_is_not_kept_and_says_why(
    clock: FakeClock,
) -> None:
    upstream = Scripted("a", ["bars"], lambda _: Outcome(1, tags=frozenset({"session"})))
    async with open_argo(upstream, clock) as argo:
        await argo.invalidate("session")
        events = capture_events(argo)
        for _ in range(3):
            await argo.call("bars", symbol="A")
    assert 2 == len(upstream.asked)
    skipped = [event.detail for event in events.of(LayerActed) if event.action == "skipped"]
    assert ["session may have changed while it was loaded: not known before"] == skipped


async def test_an_answer_with_an_expired_tag_is_served_when_its_reload_fails(
    clock: FakeClock,
) -> None:
    upstream = counting(1, UpstreamError("down", upstream="a"), 2)
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await argo.expire("subject:A")
        outcome = await argo.outcome("bars", symbol="A")
        assert (1, "stale, because down") == (outcome.value, outcome.notes[-1].text)
        await clock.advance(CacheConfig().throttle)
        assert 2 == await argo.call("bars", symbol="A")


async def test_an_answer_is_invalidated_with_the_answers_it_was_made_from(clock: FakeClock) -> None:
    made = FakePlugin()

    async def compute(call: Call) -> Outcome:
        assert made.context is not None
        inner = await made.context.call(call, "bars", symbol=call.subject)
        return Outcome(("signal", inner.value))

    made = FakePlugin(operations=[signal], upstreams=[Upstream("s", {"signal"}, compute)])
    asked = FakePlugin(operations=[bars], upstreams=[counting()])
    plugins = {"cache": CachePlugin, "asked": asked, "made": made}
    config = {"argo": {"shared": "memory://"}}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        assert ("signal", 1) == await argo.call("signal", symbol="A")
        assert ("signal", 1) == await argo.call("signal", symbol="A")
        await argo.invalidate("op:bars")
        assert ("signal", 2) == await argo.call("signal", symbol="A")


@pytest.mark.parametrize("changes", ["before", "during", "after", "never"])
async def test_an_answer_is_kept_just_when_none_of_what_it_was_made_from_has_changed(
    clock: FakeClock, changes: str
) -> None:
    """The nested answer depends on a tag that its own upstream's layer looks after."""
    made, asked = FakePlugin(), FakePlugin()

    async def dated(call: Call, call_next: Next) -> Outcome:
        assert asked.context is not None
        price = await asked.context.tag_versions.load(["price:A"])
        outcome = await call_next(call)
        return outcome.evolve(tags=outcome.tags | price.tags, versions=price.versions)

    async def compute(call: Call) -> Outcome:
        assert made.context is not None
        inner = await made.context.call(call, "bars", symbol=call.subject)
        if changes == "during":
            await made.context.expire(["price:A"])
        return Outcome(("signal", inner.value))

    made = FakePlugin(operations=[signal], upstreams=[Upstream("s", {"signal"}, compute)])
    layer = Layer("dated", dated, after=("cache",), serves=lambda o: o.name == "bars")
    upstream = counting()
    asked = FakePlugin(operations=[bars], upstreams=[upstream], layer=layer)
    plugins = {"cache": CachePlugin, "dated": asked, "made": made}
    config = {"argo": {"shared": "memory://", "strict": True}}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        if changes == "before":
            await argo.expire("price:A")
        await argo.call("signal", symbol="A")
        if changes == "after":
            await argo.expire("price:A")
        await argo.call("signal", symbol="A")
    expected = {"before": 1, "during": 2, "after": 2, "never": 1}
    assert expected[changes] == len(upstream.asked)


# -- Failures ----------------------------------------------------------------------------------


async def test_an_old_answer_is_served_within_its_grace_when_upstreams_fail(
    clock: FakeClock,
) -> None:
    upstream = counting(1, UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock, ttl=60, grace=30) as argo:
        events = capture_events(argo)
        await argo.call("bars", symbol="A")
        await clock.advance(80)
        outcome = await argo.outcome("bars", symbol="A")
        assert 1 == outcome.value
        assert outcome.expires_at is not None
        assert outcome.expires_at < clock.time()
        upstream._script[:] = [UpstreamError("down", upstream="a")]
        await clock.advance(15)
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="A")
    assert "stale" in [e.action for e in events.of(LayerActed)]


@pytest.mark.parametrize("age", [10.0, 80.0])
async def test_an_answer_that_is_too_old_for_its_caller_does_not_stand_in(
    clock: FakeClock, age: float
) -> None:
    """Whether it has expired or not: ``max_age`` holds in the grace period too."""
    upstream = counting(1, UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock, ttl=60, grace=300) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(age)
        with pytest.raises(UpstreamError):
            await argo.options(max_age=5.0).call("bars", symbol="A")
        assert 1 == await argo.options(max_age=100.0).call("bars", symbol="A")


async def test_an_invalidated_answer_is_not_served_within_the_grace(clock: FakeClock) -> None:
    upstream = counting(1, UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await argo.invalidate("subject:A")
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="A")


async def test_a_not_found_is_remembered_for_negative_ttl(clock: FakeClock) -> None:
    upstream = counting(NotFound("no ZZZ", upstream="a"), NotFound("no ZZZ", upstream="a"))
    async with open_argo(upstream, clock, negative_ttl=10) as argo:
        errors = []
        for _ in range(3):
            with pytest.raises(NotFound, match="no ZZZ") as caught:
                await argo.call("bars", symbol="ZZZ")
            errors.append(caught.value)
        assert 1 == len(upstream.asked)
        assert 3 == len({id(e) for e in errors})
        await clock.advance(11)
        with pytest.raises(NotFound):
            await argo.call("bars", symbol="ZZZ")
    assert 2 == len(upstream.asked)


@pytest.mark.parametrize("tag", ["layer:cache", "op:bars", "subject:ZZZ"])
async def test_a_not_found_is_forgotten_with_each_of_its_tags(clock: FakeClock, tag: str) -> None:
    upstream = counting(NotFound("no ZZZ", upstream="a"), 2)
    async with open_argo(upstream, clock, negative_ttl=10) as argo:
        with pytest.raises(NotFound):
            await argo.call("bars", symbol="ZZZ")
        await argo.invalidate(tag)
        assert 2 == await argo.call("bars", symbol="ZZZ")


async def test_no_not_found_is_remembered_when_negative_ttl_is_0(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], NotFound("no", upstream="a"))
    async with open_argo(upstream, clock, negative_ttl=0) as argo:
        for _ in range(2):
            with pytest.raises(NotFound):
                await argo.call("bars", symbol="ZZZ")
    assert 2 == len(upstream.asked)


async def test_a_not_found_is_not_replaced_by_an_old_answer(clock: FakeClock) -> None:
    upstream = counting(1, NotFound("delisted", upstream="a", action=Action.STOP))
    async with open_argo(upstream, clock, ttl=60) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(61)
        with pytest.raises(NotFound, match="delisted"):
            await argo.call("bars", symbol="A")


# -- Freshness ---------------------------------------------------------------------------------


async def test_max_age_gets_a_newer_answer(clock: FakeClock) -> None:
    async with open_argo(counting(), clock) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(10)
        assert 1 == await argo.options(max_age=20).call("bars", symbol="A")
        assert 2 == await argo.options(max_age=5).call("bars", symbol="A")
        assert 2 == await argo.call("bars", symbol="A")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("pass"), st.floats(0.0, 30.0)),
            st.tuples(st.just("step"), st.floats(-3600.0, 3600.0)),
            st.tuples(st.just("ask"), st.sampled_from([None, 1.0, 10.0])),
        ),
        max_size=30,
    )
)
async def test_whatever_is_done_to_the_wall_clock_no_answer_is_older_than_max_age(
    steps: list[tuple[str, float | None]],
) -> None:
    clock = FakeClock(start=0.1)
    upstream = Scripted("a", ["bars"], lambda _: clock.monotonic())
    async with open_argo(upstream, clock, ttl=1e6) as argo:
        for what, number in steps:
            if what == "pass":
                await clock.advance(number or 0.0)
            elif what == "step":
                clock.set_wall(clock.time() + (number or 0.0))
            else:
                loaded_at = await argo.options(max_age=number).call("bars", symbol="A")
                assert isinstance(loaded_at, float)
                assert number is None or clock.monotonic() - loaded_at < number + 0.01


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
        assert 1 == await argo.call("bars", symbol="A")
        assert 1 == len(upstream.asked)
        monkeypatch.setattr(entry.random, "random", lambda: 0.9)
        assert 1 == await argo.call("bars", symbol="A")
        await settle()
        assert 2 == await argo.call("bars", symbol="A")
    assert 2 == len(upstream.asked)


@given(st.floats(0.001, 10), st.floats(0, 3), st.floats(1, 1000))
def test_early_refreshes_begin_where_they_are_possible(
    load_time: float, early: float, fresh_until: float
) -> None:
    times = entry.Times.of(fresh_until, load_time=load_time, early=early, grace=1.0)
    assert times.early_from <= times.fresh_until < times.stale_until
    assert times.wants_refresh(fresh_until)


async def test_jitter_only_shortens(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.random, "uniform", lambda low, high: low)
    async with open_argo(counting(), clock, ttl=100, jitter=0.2) as argo:
        outcome = await argo.outcome("bars", symbol="A")
    assert pytest.approx(clock.time() + 80) == outcome.expires_at


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


async def test_its_first_caller_cannot_change_what_an_upstream_holds(clock: FakeClock) -> None:
    held = [1, 2]
    async with open_argo(Scripted("a", ["bars"], lambda _: Outcome(held)), clock) as argo:
        value = await argo.call("bars", symbol="A")
        value.append(3)
    assert [1, 2] == held


async def test_a_value_that_cannot_be_copied_is_not_kept_and_reported_once(
    clock: FakeClock,
) -> None:
    import threading

    upstream = Scripted("a", ["bars"], lambda _: threading.Lock())
    async with open_argo(upstream, clock) as argo:
        events = capture_events(argo)
        for _ in range(3):
            await argo.call("bars", symbol="A")
    assert 3 == len(upstream.asked)
    assert 1 == len(events.of(Trouble))


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
        assert "first" == await stream.first()
        await argo.call("bars", symbol="A")  # too early: the first answer is not complete yet
        assert 2 == len(upstream.asked)
        released.set()
        assert ["first", "last"] == [chunk async for chunk in stream.read()]
        replayed = await argo.outcome("bars", symbol="A")
        assert isinstance(replayed.value, Stream)
        assert ["first", "last"] == [chunk async for chunk in replayed.value.read()]
        assert 2 == len(upstream.asked)
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
        assert "first" == await anext(reader)
        await reader.aclose()  # type: ignore[attr-defined]
        again = await argo.outcome("bars", symbol="A")
        assert "cache" not in again.via
        assert 2 == len(upstream.asked)
        again.value.abort("the test is over")  # type: ignore[attr-defined]


# -- Bounds ------------------------------------------------------------------------------------


async def test_memory_is_bounded_by_entries_and_bytes(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: "x" * 1_000)
    async with open_argo(upstream, clock, max_entries=50, max_bytes=20_000) as argo:
        memory = memory_of(argo)
        for number in range(500):
            await argo.call("bars", symbol=f"S{number}")
            assert memory.bytes <= 20_000
        assert 10 < len(memory) <= 50
        memory.clear()
        assert (0, 0) == (len(memory), memory.bytes)


async def test_a_value_that_is_too_large_is_not_kept_and_announced(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], lambda _: "x" * 10_000)
    async with open_argo(upstream, clock, max_value_bytes=1_000) as argo:
        events = capture_events(argo)
        for _ in range(2):
            await argo.call("bars", symbol="A")
    assert 2 == len(upstream.asked)
    details = [e.detail for e in events.of(LayerActed) if e.action == "skipped"]
    assert details[0].startswith("bars of 10064 bytes is not kept")


async def test_frequent_answers_outlive_rare_ones(clock: FakeClock) -> None:
    upstream = counting()
    async with open_argo(upstream, clock, max_entries=20, ttl=3_600) as argo:
        for number in range(200):
            await argo.call("bars", symbol="POPULAR")
            await argo.call("bars", symbol=f"S{number}")
    assert 1 == len([c for c in upstream.asked if c.subject == "POPULAR"])


async def test_expired_entries_are_swept_out_by_stores(clock: FakeClock) -> None:
    async with open_argo(counting(), clock, ttl=1, grace=1) as argo:
        for number in range(100):
            await argo.call("bars", symbol=f"OLD{number}")
        await clock.advance(5)
        for number in range(60):
            await argo.call("bars", symbol=f"NEW{number}")
        assert 60 == len(memory_of(argo))


# -- Under way ---------------------------------------------------------------------------------


async def test_flipping_the_flag_keeps_the_answers(clock: FakeClock) -> None:
    upstream = counting()
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        base = {"argo": {"shared": "memory://", "strict": True}}
        for flip in range(100):
            await argo.reload({**base, "flags": {"cache": "on" if flip % 2 else "off"}})
        assert 1 == await argo.call("bars", symbol="A")


async def test_events_say_what_happened_and_explain_what_would_happen(clock: FakeClock) -> None:
    async with open_argo(counting(), clock, ttl=60) as argo:
        events = capture_events(argo)

        def explained() -> str:
            return argo.explain("bars", symbol="A")[0].text

        assert "would miss: not in memory (0 answers are)" == explained()
        await argo.call("bars", symbol="A")
        assert "would hit: the answer in memory is fresh for another 60 s" == explained()
        await argo.call("bars", symbol="A")
        await argo.expire("subject:A")
        assert "would miss: by its tags' versions the answer in memory is stale" == explained()
        await argo.call("bars", symbol="A")
        await clock.advance(70)
        assert "would miss: the answer in memory expired 10 s ago" == explained()
    actions = [event.action for event in events.of(LayerActed)]
    assert ["miss", "store", "hit", "miss", "joined", "store"] == actions
    assert 2 == len(events.of(AnswerSeen))
