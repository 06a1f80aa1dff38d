"""Equal calls share one flight, and no caller can spoil it for the others."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping

import pytest

from argo_mw import Argo, DeadlineExceeded, NotShareable, Outcome, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import LayerActed, Stream, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_coalesce import plugin


@operation(timeout=10.0, subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars."""


@operation(scope="tenant", name="notes", subject="symbol")
def notes(symbol: str) -> object:
    """A tenant's own notes."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def open_argo(upstream: Scripted, clock: FakeClock, **config: object) -> Argo:
    settings: Mapping[str, object] = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"coalesce": config} if config else {},
    }
    asked = FakePlugin(operations=[bars, notes], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def held(*script: object, **more: object) -> Scripted:
    """An upstream that waits until its gate is opened."""
    upstream = Scripted("a", ["bars", "notes"], *script, retries=0, **more)
    upstream.gate.clear()
    return upstream


async def test_ten_thousand_equal_calls_make_one_upstream_call(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(10_000)]
        await settle()
        upstream.gate.set()
        assert set(await asyncio.gather(*tasks)) == {"AAPL"}
    assert len(upstream.asked) == 1


async def test_cancelling_any_caller_disturbs_no_other(clock: FakeClock) -> None:
    """The first, which started the flight, and others from the middle."""
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(10)]
        await settle()
        for leaving in (tasks[0], tasks[4], tasks[9]):
            leaving.cancel()
        await settle()
        upstream.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [a for a in answers if a == "AAPL"] == ["AAPL"] * 7
    assert (len(upstream.asked), upstream.cancelled) == (1, 0)


async def test_a_caller_cancelled_before_its_flight_has_begun_disturbs_no_other(
    clock: FakeClock,
) -> None:
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, clock) as argo:
        leader = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        follower = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await asyncio.sleep(0)
        leader.cancel()
        assert await follower == "AAPL"
    assert len(upstream.asked) == 1


async def test_the_last_caller_who_leaves_cancels_the_request(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        for task in tasks:
            task.cancel()
        await settle()
        assert upstream.cancelled == 1
        assert engine_of(argo).tasks.names == []


async def test_nobody_joins_a_flight_that_is_being_cancelled(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        first = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        first.cancel()
        second = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        upstream.gate.set()
        assert await second == "AAPL"
    assert len(upstream.asked) == 2


async def test_a_short_deadline_does_not_shorten_the_others_flight(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        hasty = asyncio.create_task(argo.options(timeout=1.0).call("bars", symbol="AAPL"))
        await settle()
        patient = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(1.5)
        with pytest.raises(DeadlineExceeded):
            await hasty
        upstream.gate.set()
        assert await patient == "AAPL"
    assert len(upstream.asked) == 1


async def test_a_hung_load_does_not_wedge_its_key(clock: FakeClock) -> None:
    upstream = held(timeout=60.0)
    async with open_argo(upstream, clock, share_failures=0.0) as argo:
        hung = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(10.5)
        with pytest.raises(DeadlineExceeded):
            await hung
        upstream.gate.set()
        assert await argo.call("bars", symbol="AAPL") == "AAPL"


async def test_a_failure_is_shared_and_for_a_short_time_with_who_comes_later(
    clock: FakeClock,
) -> None:
    upstream = held(UpstreamError("down", upstream="a"), "fine")
    async with open_argo(upstream, clock, share_failures=0.5) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(5)]
        await settle()
        upstream.gate.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(UpstreamError, match="down"):
            await argo.call("bars", symbol="AAPL")
        assert len(upstream.asked) == 1
        await clock.advance(0.6)
        assert await argo.call("bars", symbol="AAPL") == "fine"
    assert len({id(e) for e in errors}) == 5


async def test_an_error_s_traceback_does_not_grow_with_its_callers(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], UpstreamError("down", upstream="a"), retries=0)
    lengths = []
    async with open_argo(upstream, clock) as argo:
        for _ in range(5):
            with pytest.raises(UpstreamError) as caught:
                await argo.call("bars", symbol="AAPL")
            lengths.append(len(caught.traceback))
    assert len(set(lengths[1:])) == 1


async def test_callers_cannot_change_each_other_s_answer(clock: FakeClock) -> None:
    upstream = held({"closes": [1, 2]})
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        upstream.gate.set()
        one, other, last = await asyncio.gather(*tasks)
    one["closes"].append(3)
    assert (other, last) == ({"closes": [1, 2]}, {"closes": [1, 2]})


async def test_what_cannot_be_shared_goes_to_one_caller_and_others_learn_why(
    clock: FakeClock,
) -> None:
    import threading

    lock = threading.Lock()
    upstream = held(lambda _: lock)
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        upstream.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0] is lock
    assert [type(a) for a in answers[1:]] == [NotShareable, NotShareable]


async def test_a_stream_is_shared_as_it_is(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        stream = Stream.of(["a", "b"], engine_of(argo).tasks)
        upstream._script[:] = [Outcome(stream)]
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(2)]
        await settle()
        upstream.gate.set()
        assert await asyncio.gather(*tasks) == [stream, stream]


async def test_two_tenants_fly_alone_where_answers_are_their_own(clock: FakeClock) -> None:
    upstream = held(lambda call: call.tenant)
    async with open_argo(upstream, clock) as argo:
        tasks = [
            asyncio.create_task(argo.options(tenant=t).call("notes", symbol="AAPL")) for t in "ab"
        ]
        await settle()
        upstream.gate.set()
        assert await asyncio.gather(*tasks) == ["a", "b"]


async def test_a_flight_sees_no_caller_s_context(clock: FakeClock) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    upstream = Scripted("a", ["bars"], lambda call: who.get())
    async with open_argo(upstream, clock) as argo:
        who.set("the first caller")
        assert await argo.call("bars", symbol="AAPL") == "nobody"


async def test_callers_who_want_it_newer_do_not_join_those_who_do_not_mind(
    clock: FakeClock,
) -> None:
    upstream = held()
    async with open_argo(upstream, clock, fleet=False) as argo:
        tasks = [
            asyncio.create_task(caller.call("bars", symbol="AAPL"))
            for caller in (argo, argo.options(max_age=1.0), argo.options(max_age=1.0))
        ]
        await settle()
        upstream.gate.set()
        await asyncio.gather(*tasks)
    assert len(upstream.asked) == 2


async def test_equal_questions_share_a_flight_over_the_edge_of_a_minute(clock: FakeClock) -> None:
    """No time is part of a key: a burst is not split, and an hour later is another flight."""
    clock.set_wall(59.999)
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        one = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(0.002)
        other = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        upstream.gate.set()
        await asyncio.gather(one, other)
        await clock.advance(3_600)
        await argo.call("bars", symbol="AAPL")
    assert len(upstream.asked) == 2


async def test_beyond_the_bound_calls_fly_alone(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock, most=1) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol=s)) for s in ("A", "B", "B")]
        await settle()
        upstream.gate.set()
        assert await asyncio.gather(*tasks) == ["A", "B", "B"]
    assert len(upstream.asked) == 3


async def test_shutdown_ends_a_flight_with_an_error_for_its_callers(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        waiting = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
    with pytest.raises(DeadlineExceeded, match="stopped by shutdown"):
        await waiting


async def test_a_flag_flipped_under_way_does_not_split_a_flight(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        base = {"argo": {"shared": "memory://", "strict": True}}
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL"))]
        await settle()
        for flip in range(1_000):
            await argo.reload({**base, "flags": {"upstream.a": "on" if flip % 2 else "100%"}})
        tasks.append(asyncio.create_task(argo.call("bars", symbol="AAPL")))
        await settle()
        upstream.gate.set()
        assert await asyncio.gather(*tasks) == ["AAPL", "AAPL"]
    assert len(upstream.asked) == 1


async def test_it_tells_who_joined_and_what_it_would_do(clock: FakeClock) -> None:
    upstream = held(UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock) as argo:
        events = capture_events(argo)

        def told() -> str:
            return argo.explain("bars", symbol="AAPL")[0].text

        assert told() == "would start a flight"
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        assert told() == "would join a flight that 3 wait for"
        upstream.gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert told() == "would share the failure of a moment ago"
    assert [e.action for e in events.of(LayerActed)] == ["joined", "joined"]
