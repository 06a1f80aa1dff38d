"""One load for all instances that share a store, whatever becomes of its holder."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pandas as pd
import pytest
from argo_mw_coalesce.fleet import Fleet
from argo_mw_coalesce.landing import Landing, read_landing, write_landing

from argo_mw import (
    Action,
    Argo,
    Cost,
    InvalidAnswer,
    NotFound,
    Outcome,
    QuotaExceeded,
    Refusal,
    SharedUnavailable,
    UpstreamError,
)
from argo_mw.app.application import engine_of
from argo_mw.plugin import Call, Codecs, LayerActed, Trouble, context_of, operation
from argo_mw.store import Lease
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_coalesce import plugin

_names = itertools.count()


@operation(timeout=60.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@operation(kind="compute", name="signal", subject="symbol")
def signal(symbol: str) -> object:
    """Made from bars."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> str:
    return f"memory://fleet-{next(_names)}"


def instance(store: str, upstream: Scripted, clock: FakeClock | None, **config: object) -> Argo:
    settings = {
        "argo": {"shared": store, "strict": True},
        "plugins": {"coalesce": {"lease": 3.0, **config}},
    }
    asked = FakePlugin(operations=[bars, signal], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def held(*script: object) -> Scripted:
    upstream = Scripted("a", ["bars", "signal"], *script, retries=0)
    upstream.gate.clear()
    return upstream


def ask(argo: Argo, operation: str = "bars") -> asyncio.Task[Outcome]:
    return asyncio.create_task(argo.outcome(operation, symbol="AAPL"))


async def test_two_instances_make_one_load_and_both_get_the_answer(
    store: str, clock: FakeClock
) -> None:
    frame = pd.DataFrame({"close": [1.0, 2.0]})
    one, other = held(lambda _: Outcome(frame, cost=Cost(usd=0.5))), held()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        events = capture_events(second)
        holding = ask(first)
        await settle()
        waiting = [ask(second) for _ in range(20)]
        await settle()
        one.gate.set()
        answers = await asyncio.gather(holding, *waiting)
    assert all(a.value.equals(frame) for a in answers)  # type: ignore[attr-defined]
    assert (len(one.asked), len(other.asked)) == (1, 0)
    assert "joined elsewhere" in [e.action for e in events.of(LayerActed)]


async def test_a_failure_is_shared_with_the_fleet_too(store: str, clock: FakeClock) -> None:
    one = held(UpstreamError("down", upstream="a", status=503))
    async with instance(store, one, clock) as first, instance(store, held(), clock) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        one.gate.set()
        for task in (holding, waiting):
            with pytest.raises(UpstreamError, match="down") as caught:
                await task
            assert caught.value.status == 503


async def test_a_holder_that_dies_is_replaced_after_its_lease(store: str, clock: FakeClock) -> None:
    dead, other = held(), held("from the other")
    first = instance(store, dead, clock)
    await first.__aenter__()
    async with instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        renewing = next(t for t in asyncio.all_tasks() if "coalesce:renew" in t.get_name())
        renewing.cancel()
        waiting = ask(second)
        await clock.advance(2.5)
        assert other.asked == []
        other.gate.set()
        await clock.advance(1.0)
        assert (await waiting).value == "from the other"
        holding.cancel()
    await first.aclose()
    assert len(other.asked) == 1


async def test_a_slow_holder_renews_its_lease(store: str, clock: FakeClock) -> None:
    slow, other = held("slow"), held()
    async with instance(store, slow, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await clock.advance(20)
        assert other.asked == []
        slow.gate.set()
        assert [(await holding).value, (await waiting).value] == ["slow", "slow"]


async def test_a_holder_whose_callers_have_left_frees_the_question_at_once(
    store: str, clock: FakeClock
) -> None:
    one, other = held(), held("from the other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        holding.cancel()
        await clock.advance(0.01)
        assert (await waiting).value == "from the other"
    assert one.cancelled == 1


async def test_an_answer_of_before_is_not_taken_for_the_one_that_is_waited_for(
    store: str, clock: FakeClock
) -> None:
    upstream = held("first", "second")
    upstream.gate.set()
    async with instance(store, upstream, clock) as argo:
        assert (await ask(argo)).value == "first"
        await clock.advance(0.001)
        assert (await ask(argo)).value == "second"


async def test_who_comes_just_too_late_for_a_flight_takes_what_has_landed(
    store: str, clock: FakeClock
) -> None:
    """Between its own look into the cache and the lease, the other's load has ended."""
    one, other = held("one"), held("other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        fleet = engine_of(second).pipeline.contributions["coalesce"].layer.middleware._fleet  # type: ignore[union-attr]
        acquire = fleet._acquire

        async def slow_acquire(call: object) -> object:
            one.gate.set()
            await holding
            return await acquire(call)

        fleet._acquire = slow_acquire
        assert (await ask(second)).value == "one"
    assert other.asked == []


async def test_a_store_that_takes_too_long_to_keep_an_answer_is_named_and_holds_up_nobody(
    store: str, clock: FakeClock
) -> None:
    one = held("one")
    one.gate.set()
    async with instance(store, one, clock, shared_timeout=1.5) as first:
        events = capture_events(first)
        fleet = engine_of(first).pipeline.contributions["coalesce"].layer.middleware._fleet  # type: ignore[union-attr]

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        fleet._put = never
        asking = ask(first)
        await clock.advance(1.6)
        assert (await asking).value == "one"
        [trouble] = events.of(Trouble)
        assert trouble.what.endswith("others: the shared store took longer than 1.5 s")


async def test_an_answer_from_before_an_invalidation_is_not_for_who_asks_after_it(
    store: str, clock: FakeClock
) -> None:
    """In the same process and in another."""
    one, other = held("before", "after"), held("after too")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        early = ask(first)
        await settle()
        await first.invalidate("subject:AAPL")
        late, elsewhere = ask(first), ask(second)
        await settle()
        one.gate.set()
        await clock.advance(1)
        assert (await early).value == "before"
        assert "before" not in ((await late).value, (await elsewhere).value)


async def test_a_flight_from_before_an_invalidation_elsewhere_takes_no_more_callers(
    store: str, clock: FakeClock
) -> None:
    one = held("before", "after")
    async with instance(store, one, clock) as first, instance(store, held(), clock) as second:
        early = ask(first)
        await settle()
        await second.invalidate("subject:AAPL")
        await settle()
        late = ask(first)
        await settle()
        one.gate.set()
        await clock.advance(1)
        assert ((await early).value, (await late).value) == ("before", "after")


async def test_without_the_store_everyone_loads(clock: FakeClock) -> None:
    one, other = held("one"), held("other")
    async with (
        instance("unreachable://", one, clock) as first,
        instance("unreachable://", other, clock) as second,
    ):
        tasks = [ask(first), ask(second)]
        await settle()
        one.gate.set()
        other.gate.set()
        assert [(await t).value for t in tasks] == ["one", "other"]


async def test_a_lease_is_freed_once_the_store_can_be_told(store: str, clock: FakeClock) -> None:
    one, other = held(1), held(2)
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        shared, released = context_of(first).shared, context_of(first).shared.release

        async def away(*_: object, **__: object) -> None:
            msg = "a hiccup"
            raise SharedUnavailable(msg)

        shared.set_fenced = shared.release = away  # type: ignore[method-assign, assignment]
        one.gate.set()
        assert 1 == (await holding).value
        shared.release = released  # type: ignore[method-assign]
        other.gate.set()
        await clock.advance(3.0 / 8 + 0.01)
        await clock.advance(3.0 / 8 + 0.01)
        assert waiting.done()
        assert 2 == (await waiting).value


def fleet_of(argo: Argo) -> Fleet:
    return engine_of(argo).pipeline.contributions["coalesce"].layer.middleware._fleet  # type: ignore[union-attr, no-any-return]


async def test_what_has_landed_is_taken_even_if_the_lease_cannot_be_given_back(
    store: str, clock: FakeClock
) -> None:
    one, other = held("one"), held("other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        fleet = fleet_of(second)
        acquire = fleet._acquire

        async def away(*_: object) -> bool:
            msg = "a hiccup"
            raise SharedUnavailable(msg)

        async def slow_acquire(call: Call) -> Lease | None:
            one.gate.set()
            await holding
            context_of(second).shared.release = away  # type: ignore[method-assign]
            return await acquire(call)

        fleet._acquire = slow_acquire  # type: ignore[method-assign]
        assert (await ask(second)).value == "one"
    assert other.asked == []


async def test_whose_clock_is_ahead_takes_what_has_landed_while_they_waited(
    store: str, clock: FakeClock
) -> None:
    one, other, ahead = held("one"), held("other"), FakeClock()
    ahead.set_wall(clock.time() + 2.0)
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, ahead) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        one.gate.set()
        assert [(await holding).value, (await waiting).value] == ["one", "one"]
    assert other.asked == []


async def test_a_holder_who_was_held_up_takes_the_answer_of_who_took_over(
    store: str, clock: FakeClock
) -> None:
    """Else the caches outside would put its older answer over the newer one."""
    one, other = held("older"), held("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        renewing = next(t for t in asyncio.all_tasks() if "coalesce:renew" in t.get_name())
        renewing.cancel()
        waiting = ask(second)
        await clock.advance(3.5)
        assert len(other.asked) == 1
        other.gate.set()
        assert (await waiting).value == "newer"
        one.gate.set()
        assert (await holding).value == "newer"


async def test_a_holder_who_was_held_up_keeps_its_answer_while_there_is_no_newer_one(
    store: str, clock: FakeClock
) -> None:
    one, other = held("older"), held("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        renewing = next(t for t in asyncio.all_tasks() if "coalesce:renew" in t.get_name())
        renewing.cancel()
        waiting = ask(second)
        await clock.advance(3.5)
        one.gate.set()
        assert (await holding).value == "older"
        assert not waiting.done()
        other.gate.set()
        assert (await waiting).value == "newer"


async def test_who_leaves_between_lease_and_load_gives_the_lease_back(
    store: str, clock: FakeClock
) -> None:
    one, other = held("one"), held("other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:

        async def never(*_: object) -> Landing:
            return await asyncio.Event().wait()  # type: ignore[return-value]

        fleet_of(first)._landed = never  # type: ignore[method-assign]
        leaving = ask(first)
        await settle()
        leaving.cancel()
        await settle()
        asking = ask(second)
        await settle()
        assert asking.done()
        assert (await asking).value == "other"


async def test_an_answer_that_cannot_travel_is_kept_by_its_holder(
    store: str, clock: FakeClock
) -> None:
    value = object()
    one, other = held(lambda _: value), held("from the other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        one.gate.set()
        assert (await holding).value is value
        await clock.advance(0.01)
        assert (await waiting).value == "from the other"


async def test_what_is_computed_is_computed_everywhere(store: str, clock: FakeClock) -> None:
    one, other = held(), held()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        tasks = [ask(first, "signal"), ask(second, "signal")]
        await settle()
        assert (len(one.asked), len(other.asked)) == (1, 1)
        for upstream in (one, other):
            upstream.gate.set()
        await asyncio.gather(*tasks)


async def test_two_instances_share_the_embedded_store(tmp_path: Path) -> None:
    """The same over SQLite, on the machine's own clock."""
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    one, other = held("loaded"), held()
    async with instance(store, one, None) as first, instance(store, other, None) as second:
        holding = ask(first)
        await one.arrived.wait()
        waiting = ask(second)
        fleet_waits = "argo:landing:"
        layer = engine_of(second).pipeline.contributions["coalesce"].layer
        assert layer is not None
        fleet = layer.middleware._fleet  # type: ignore[attr-defined]
        while not any(place.startswith(fleet_waits) for place in fleet._waiting):
            await asyncio.sleep(0)
        one.gate.set()
        assert [(await holding).value, (await waiting).value] == ["loaded", "loaded"]
    assert other.asked == []


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("x", upstream="a", action=Action.RETRY, retry_after=2.0, status=429),
        NotFound("x", upstream="a", status=404),
        InvalidAnswer("x", upstream="a"),
    ],
)
def test_errors_of_upstreams_travel_whole(error: UpstreamError) -> None:
    codecs = Codecs()
    data = write_landing(codecs, "here", 1, Landing(error=error))
    read = read_landing(codecs, "here", data).error
    assert isinstance(read, UpstreamError)
    assert type(read) is type(error)
    assert vars(read) == vars(error)


def test_a_refusal_travels_with_its_time() -> None:
    codecs = Codecs()
    full = QuotaExceeded("full", retry_at=9.0)
    data = write_landing(codecs, "here", 1, Landing(error=full))
    read = read_landing(codecs, "here", data).error
    assert isinstance(read, Refusal)
    assert read.retry_at == 9.0


def test_what_only_its_holder_can_use_lands_empty() -> None:
    codecs = Codecs()
    for landing in (Landing(error=ValueError("mine")), Landing(outcome=Outcome(object()))):
        assert read_landing(codecs, "here", write_landing(codecs, "here", 1, landing)).empty
    five = codecs.encode((1, 2, 3, 4, 5), "here")
    for data in (b"", b"garbage", codecs.encode([1, 2], "here"), five):
        assert read_landing(codecs, "here", data) == Landing()
