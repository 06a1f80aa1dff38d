"""The shared level: other instances find answers, restarts keep them, none is served wrongly."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from argo_mw import Argo, Note, Outcome, SharedUnavailable, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    AnswerSeen,
    LayerActed,
    LayerBypassed,
    Trouble,
    context_of,
    layers_of,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import CachePlugin
from argo_mw_cache.stored_answer import store_key

pytestmark = pytest.mark.usefixtures("no_luck")

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture
def shared() -> str:
    """A store for the instances of one test."""
    return f"memory://cache-{next(_names)}"


def instance(store: str, upstream: Scripted, clock: FakeClock | None, **config: object) -> Argo:
    argo = {"shared": store, "strict": True, **config.pop("argo", {})}  # type: ignore[dict-item]
    settings = {"argo": argo, "plugins": {"cache": config} if config else {}}
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def counting(*first: object) -> Scripted:
    count = iter(range(1, 100_000))
    return Scripted("a", ["bars"], *first, lambda _: next(count), retries=0)


async def test_another_instance_finds_the_answer(shared: str, clock: FakeClock) -> None:
    frame = pd.DataFrame({"close": [1.0, 2.0]})
    one, other = Scripted("a", ["bars"], lambda _: frame), Scripted("a", ["bars"])
    async with instance(shared, one, clock) as first, instance(shared, other, clock) as second:
        loaded = await first.outcome("bars", symbol="A")
        await clock.advance(30)
        events = capture_events(second)
        found = await second.outcome("bars", symbol="A")
        assert found.value.equals(frame)  # type: ignore[attr-defined]
        assert (found.as_of, found.expires_at) == (loaded.as_of, loaded.expires_at)
        assert ("cache",) == found.via
        assert ["shared"] == [e.source for e in events.of(AnswerSeen)]
        await second.call("bars", symbol="A")
        assert ["shared hit", "hit"] == [e.action for e in events.of(LayerActed)]
        await clock.advance(95)
        await second.call("bars", symbol="A")
    assert (1, 1) == (len(one.asked), len(other.asked))


async def test_what_an_answer_lacks_is_read_from_the_store_and_is_tried_again_soon(
    shared: str, clock: FakeClock
) -> None:
    half = Outcome("half", lacks=frozenset({"page 2", "page 3"}))
    one, other = Scripted("a", ["bars"], half, "whole"), Scripted("a", ["bars"])
    async with instance(shared, one, clock) as first, instance(shared, other, clock) as second:
        for argo in (first, second, second):
            outcome = await argo.outcome("bars", symbol="A")
            assert ("half", half.lacks) == (outcome.value, outcome.lacks)
        why = second.explain("bars", symbol="A")[0].text
        assert why.endswith("for another 60 s; it lacks page 2, page 3, and is tried again then")
        await clock.advance(61)
        outcome = await first.outcome("bars", symbol="A")
        assert ("whole", frozenset()) == (outcome.value, outcome.lacks)
        assert "lacks" not in first.explain("bars", symbol="A")[0].text
    assert (2, 0) == (len(one.asked), len(other.asked))


def forget(argo: Argo) -> None:
    """Forget the answers in memory."""
    [layer] = layers_of(argo)
    layer.middleware.memory.clear()  # type: ignore[union-attr]


async def test_an_old_answer_that_somebody_puts_back_is_served_until_its_own_expiry(
    shared: str, clock: FakeClock
) -> None:
    """And it is no news to instances that have read a later one."""
    one, other = counting(), Scripted("a", ["bars"], "loaded anew")
    async with instance(shared, one, clock) as first, instance(shared, other, clock) as second:
        await first.call("bars", symbol="A")
        store = context_of(second).shared
        [key] = await store.scan("argo:cache:")
        old = await store.get(key)
        assert old is not None
        await clock.advance(1.0)
        forget(first)
        await store.delete([key])
        assert 2 == await first.call("bars", symbol="A")
        assert 2 == await second.call("bars", symbol="A")
        events = capture_events(second)
        await store.set(key, old)
        forget(second)
        assert 1 == await second.call("bars", symbol="A")
        assert [] == events.of(AnswerSeen)
        clock.stall(
            90_000.0
        )  # at once: by its timers this day would take as long as a hundred tests
        await clock.advance(0.0)
        await store.set(key, old)
        assert "loaded anew" == await second.call("bars", symbol="A")


async def test_an_answer_that_a_clock_ahead_has_dated_is_not_given_to_callers_with_max_age(
    shared: str, clock: FakeClock
) -> None:
    ahead = FakeClock(wall=clock.time() + 30.0)
    one, other = counting(), counting()
    async with instance(shared, one, ahead) as first, instance(shared, other, clock) as second:
        await first.call("bars", symbol="A")
        events = capture_events(second)
        assert 1 == await second.call("bars", symbol="A")
        assert 0 == len(other.asked)
        assert 1 == await second.options(max_age=5.0).call("bars", symbol="A")
        assert 1 == len(other.asked)
    (trouble,) = events.of(Trouble)
    assert "30 s ahead" in trouble.what


async def test_the_age_of_a_stored_answer_does_not_shrink_when_the_clock_is_put_back(
    shared: str, clock: FakeClock
) -> None:
    upstream = counting()
    async with instance(shared, upstream, clock, memory=False) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(20.0)
        clock.set_wall(clock.time() - 19.0)
        assert 1 == await argo.options(max_age=21.0).call("bars", symbol="A")
        assert 2 == await argo.options(max_age=5.0).call("bars", symbol="A")


async def test_answers_survive_a_restart_in_the_embedded_store(tmp_path: Path) -> None:
    upstream = counting()
    for _ in range(3):
        async with instance(f"sqlite:///{tmp_path / 'shared.db'}", upstream, None) as argo:
            assert 1 == await argo.call("bars", symbol="A")
    assert 1 == len(upstream.asked)


async def test_an_invalidation_reaches_the_memory_of_every_instance(
    shared: str, clock: FakeClock
) -> None:
    one, other = counting(), counting("other's")
    async with instance(shared, one, clock) as first, instance(shared, other, clock) as second:
        await first.call("bars", symbol="A")
        assert 1 == await second.call("bars", symbol="A")
        await second.invalidate("subject:A")
        await settle()
        assert 2 == await first.call("bars", symbol="A")
        assert 2 == await second.call("bars", symbol="A")
    assert [] == other.asked


async def test_a_write_that_lands_after_an_invalidation_is_never_served(
    shared: str, clock: FakeClock
) -> None:
    slow, other = counting(), counting("newer")
    slow.gate.clear()
    async with instance(shared, slow, clock) as first, instance(shared, other, clock) as second:
        loading = asyncio.create_task(first.call("bars", symbol="A"))
        await settle()
        await second.invalidate("subject:A")
        await settle()
        slow.gate.set()
        assert 1 == await loading
        assert "newer" == await second.call("bars", symbol="A")


async def test_an_expired_answer_of_another_instance_is_served_when_upstreams_fail(
    shared: str, clock: FakeClock
) -> None:
    down = Scripted("a", ["bars"], UpstreamError("down", upstream="a"), retries=0)
    async with instance(shared, counting(), clock, ttl=60) as first:
        await first.call("bars", symbol="A")
    await clock.advance(70)
    async with instance(shared, down, clock, ttl=60) as second:
        outcome = await second.outcome("bars", symbol="A")
    assert (1, "stale, because down") == (outcome.value, outcome.notes[-1].text)


async def test_an_old_answer_is_served_when_a_newer_one_takes_too_long(
    shared: str, clock: FakeClock
) -> None:
    upstream = counting()
    async with instance(shared, upstream, clock, ttl=60, soft_timeout=0.5) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(61)
        upstream.gate.clear()
        asking = asyncio.create_task(argo.outcome("bars", symbol="A"))
        await clock.advance(0.6)
        outcome = await asking
        assert (1, 2) == (outcome.value, len(upstream.asked))
        assert "stale, because a newer one takes longer than 0.5 s" == outcome.notes[-1].text
        upstream.gate.set()
        await settle()
        assert 2 == await argo.call("bars", symbol="A")
    assert (2, 0) == (len(upstream.asked), upstream.cancelled)


async def test_a_value_without_a_codec_stays_in_memory_and_is_reported_once(
    shared: str, clock: FakeClock
) -> None:
    class Odd:
        def __deepcopy__(self, memo: object) -> Odd:
            return self

    upstream = Scripted("a", ["bars"], lambda _: Odd())
    async with instance(shared, upstream, clock) as argo:
        events = capture_events(argo)
        for symbol in "ABAB":
            await argo.call("bars", symbol=symbol)
    assert 2 == len(upstream.asked)
    assert 2 == [e.action for e in events.of(LayerActed)].count("local")
    assert 1 == len(events.of(Trouble))


@pytest.mark.parametrize(
    ("symbol", "beside"),
    [
        ("half \ud800", {}),
        ("A", {"lacks": frozenset({"half \ud800"})}),
        ("A", {"notes": (Note("a", "half \ud800"),)}),
    ],
    ids=["subject", "lacks", "note"],
)
async def test_an_answer_with_odd_words_beside_it_stays_in_memory_too(
    shared: str, clock: FakeClock, symbol: str, beside: dict[str, Any]
) -> None:
    upstream = Scripted("a", ["bars"], Outcome(1, **beside))
    async with instance(shared, upstream, clock) as argo:
        events = capture_events(argo)
        assert [1, 1] == [await argo.call("bars", symbol=symbol) for _ in range(2)]
    assert 1 == len(upstream.asked)
    assert "local" in [e.action for e in events.of(LayerActed)]
    assert [] == events.of(LayerBypassed)


async def test_the_shared_level_can_be_switched_off(shared: str, clock: FakeClock) -> None:
    upstream = counting()
    for _ in range(2):
        async with instance(shared, upstream, clock, shared=False) as argo:
            await argo.call("bars", symbol="A")
    assert 2 == len(upstream.asked)


async def test_signed_answers_are_read_with_their_key_only(shared: str, clock: FakeClock) -> None:
    upstream = counting()
    for key in ("one", "one", "two", None):
        argo = {"signing_key": key} if key else {}
        async with instance(shared, upstream, clock, argo=argo, ttl=60) as opened:
            await opened.call("bars", symbol="A")
    assert 3 == len(upstream.asked)


@hypothesis_settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_mutated_bytes_in_the_store_are_a_miss(clock: FakeClock, data: st.DataObject) -> None:
    """Mutated, truncated and foreign bytes: no exception, no execution, no wrong value."""
    shared = f"memory://cache-{next(_names)}"

    async def run() -> None:
        async with instance(shared, Scripted("a", ["bars"], "right"), clock) as first:
            await first.call("bars", symbol="A")
            call, _ = engine_of(first).pipeline.calls.get("bars", "default", {"symbol": "A"})
            stored = await context_of(first).shared.get(store_key(call))
            assert stored is not None
            mutated = bytearray(stored)
            for _ in range(data.draw(st.integers(1, 4))):
                mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(
                    st.integers(0, 255)
                )
            broken = data.draw(
                st.sampled_from(
                    [bytes(mutated), stored[: len(stored) // 2], b"", b"\x80\x04K\x01."]
                )
                | st.binary(max_size=64)
            )
            await context_of(first).shared.set(store_key(call), broken)
        upstream = Scripted("a", ["bars"], "loaded")
        async with instance(shared, upstream, clock) as second:
            events = capture_events(second)
            answer = await second.call("bars", symbol="A")
            expected = "right" if broken == stored else "loaded"
            assert answer == expected
            actions = [e.action for e in events.of(LayerActed)]
            assert ("undecodable" in actions) == (broken != stored)

    asyncio.run(run())


async def test_an_answer_under_another_key_is_not_served(shared: str, clock: FakeClock) -> None:
    """Moved under another key, the same bytes are not an answer."""
    upstream = counting()
    async with instance(shared, upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        ask = engine_of(argo).pipeline.calls.get
        one, other = (ask("bars", "default", {"symbol": s})[0] for s in "AB")
        stored = await context_of(argo).shared.get(store_key(one))
        assert stored is not None
        await context_of(argo).shared.set(store_key(other), stored)
        assert 2 == await argo.call("bars", symbol="B")


async def test_every_read_is_compared_with_the_current_tag_versions(
    shared: str, clock: FakeClock
) -> None:
    """Also when the head of an earlier read is remembered."""
    async with instance(shared, counting(), clock, memory=False) as argo:

        async def ask() -> object:
            return await argo.call("bars", symbol="A")

        assert [1, 1, 1] == [await ask() for _ in range(3)]
        context_of(argo).tag_versions._on_gap()  # as when the channel is made anew
        await settle()
        assert [1, 1] == [await ask() for _ in range(2)]
        await argo.invalidate("subject:A")
        assert [2, 2] == [await ask() for _ in range(2)]


async def test_a_stored_answer_is_announced_once_however_often_it_is_read(
    shared: str, clock: FakeClock
) -> None:
    async with instance(shared, counting(), clock, memory=False, ttl=60.0) as argo:
        events = capture_events(argo)
        for _ in range(3):
            await argo.call("bars", symbol="A")
        assert ["upstream", "shared"] == [e.source for e in events.of(AnswerSeen)]
        await clock.advance(61.0)
        for _ in range(3):
            await argo.call("bars", symbol="A")
        assert [1, 1, 2, 2] == [e.outcome.value for e in events.of(AnswerSeen)]


async def test_only_one_head_is_remembered_per_question(shared: str, clock: FakeClock) -> None:
    """Each load writes another head; earlier ones are of no use."""
    one, other = (
        instance(shared, counting(), clock),
        instance(shared, counting(), clock, memory=False),
    )
    async with one, other:
        level = engine_of(other).pipeline.contributions["cache"].layers[0].middleware._shared  # type: ignore[attr-defined]
        for number in range(1, 6):
            await one.invalidate("subject:A")
            await settle()
            assert number == await one.call("bars", symbol="A")
            assert number == await other.call("bars", symbol="A")
        assert 1 == len(level._codec._heads)


async def test_tag_versions_that_come_too_late_make_a_miss(
    shared: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = counting()
    async with (
        instance(shared, upstream, clock) as first,
        instance(shared, upstream, clock) as argo,
    ):
        await first.call("bars", symbol="A")
        monkeypatch.setattr(context_of(argo).tag_versions, "check", _forever)
        asking = asyncio.create_task(argo.options(timeout=2.0).outcome("bars", symbol="A"))
        events = capture_events(argo)
        await clock.advance(0.3)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert "unreachable" in [e.action for e in events.of(LayerActed)]


async def _forever(_: object) -> None:
    await asyncio.Event().wait()


async def test_an_unreachable_store_costs_no_answer(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], Outcome("x"))
    async with instance("unreachable://", upstream, clock) as argo:
        events = capture_events(argo)
        assert ["x", "x"] == [await argo.call("bars", symbol="A") for _ in range(2)]
        assert "unreachable" in [e.action for e in events.of(LayerActed)]
    assert 1 == len(upstream.asked)


@pytest.mark.parametrize("first", ["refused", "slow"])
async def test_a_store_that_refuses_an_answer_alone_is_reported_and_not_one_that_is_slow(
    shared: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    sets = iter([first])

    async def set_(*_: object, **__: object) -> None:
        if next(sets, "refused") == "slow":
            await asyncio.Event().wait()
        msg = "the value is too large"
        raise SharedUnavailable(msg)

    async with instance(shared, counting(), clock) as argo:
        events = capture_events(argo)
        monkeypatch.setattr(context_of(argo).shared, "set", set_)
        asking = asyncio.create_task(argo.call("bars", symbol="A"))
        await clock.advance(5.0)
        await asking
        await settle()
        troubles = [trouble.where for trouble in events.of(Trouble)]
    assert (["cache"] if first == "refused" else []) == troubles
