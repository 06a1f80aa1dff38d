"""Equal calls share one flight, and no caller can spoil it for the others."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping

import pytest

from argo_mw import Argo, DeadlineExceeded, NotShareable, Outcome, ScopeConflict, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    Call,
    Layer,
    LayerActed,
    Next,
    Stream,
    Upstream,
    context_of,
    flags_of,
    layers_of,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_coalesce import Coalesce, plugin


@operation(timeout=10.0, subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars."""


@operation(scope="tenant", name="notes", subject="symbol")
def notes(symbol: str) -> object:
    """A tenant's own notes."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


def open_argo(
    upstream: Scripted,
    clock: FakeClock,
    also: Mapping[str, object] | None = None,
    **config: object,
) -> Argo:
    settings: Mapping[str, object] = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"coalesce": config} if config else {},
    }
    asked = FakePlugin(operations=[bars, notes], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked, **(also or {})}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


class Marks:
    """A layer that marks what passes."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by("marks", "was here")


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
        assert {"AAPL"} == set(await asyncio.gather(*tasks))
    assert 1 == len(upstream.asked)


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
    assert ["AAPL"] * 7 == [a for a in answers if a == "AAPL"]
    assert (1, 0) == (len(upstream.asked), upstream.cancelled)


async def test_a_caller_cancelled_before_its_flight_has_begun_disturbs_no_other(
    clock: FakeClock,
) -> None:
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, clock) as argo:
        leader = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        follower = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await asyncio.sleep(0)
        leader.cancel()
        assert "AAPL" == await follower
    assert 1 == len(upstream.asked)


async def test_the_last_caller_who_leaves_cancels_the_request(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        for task in tasks:
            task.cancel()
        await settle()
        assert 1 == upstream.cancelled
        assert [] == engine_of(argo).tasks.names


async def test_a_flight_that_is_being_cancelled_is_not_joined(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        first = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        first.cancel()
        second = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        upstream.gate.set()
        assert "AAPL" == await second
    assert 2 == len(upstream.asked)


async def test_a_flight_from_before_the_kill_of_a_layer_is_joined_no_more(
    clock: FakeClock,
) -> None:
    """Callers that were there get its answer. The flights share what they load inside of it."""
    upstream = held()
    marks = FakePlugin(layer=Layer("marks", Marks(), after=("coalesce",)))
    async with open_argo(upstream, clock, also={"marks": marks}) as argo:

        def ask() -> asyncio.Task[Outcome]:
            return asyncio.create_task(argo.outcome("bars", symbol="AAPL"))

        early = [ask(), ask()]
        await settle()
        await flags_of(argo).kill("marks")
        late = [ask(), ask()]
        await settle()
        upstream.gate.set()
        assert [True, True] == ["marks" in (await one).via for one in early]
        assert [False, False] == ["marks" in (await one).via for one in late]
    assert 1 == len(upstream.asked)


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
        assert "AAPL" == await patient
    assert 1 == len(upstream.asked)


async def test_a_hung_load_does_not_wedge_its_key(clock: FakeClock) -> None:
    upstream = held(timeout=60.0)
    async with open_argo(upstream, clock, failure_ttl=0.0) as argo:
        hung = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(10.5)
        with pytest.raises(DeadlineExceeded):
            await hung
        upstream.gate.set()
        assert "AAPL" == await argo.call("bars", symbol="AAPL")


async def test_a_failure_is_shared_for_a_short_time_with_later_callers_too(
    clock: FakeClock,
) -> None:
    upstream = held(UpstreamError("down", upstream="a"), "fine")
    async with open_argo(upstream, clock, failure_ttl=0.5) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(5)]
        await settle()
        upstream.gate.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(UpstreamError, match="down"):
            await argo.call("bars", symbol="AAPL")
        assert 1 == len(upstream.asked)
        await clock.advance(0.6)
        assert "fine" == await argo.call("bars", symbol="AAPL")
    assert 5 == len({id(e) for e in errors})


async def test_the_traceback_of_an_error_does_not_grow_with_its_callers(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], UpstreamError("down", upstream="a"), retries=0)
    lengths = []
    async with open_argo(upstream, clock) as argo:
        for _ in range(5):
            with pytest.raises(UpstreamError) as caught:
                await argo.call("bars", symbol="AAPL")
            lengths.append(len(caught.traceback))
    assert 1 == len(set(lengths[1:]))


async def test_callers_cannot_change_the_answers_of_others(clock: FakeClock) -> None:
    upstream = held({"closes": [1, 2]})
    async with open_argo(upstream, clock) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        upstream.gate.set()
        one, other, last = await asyncio.gather(*tasks)
    one["closes"].append(3)
    assert ({"closes": [1, 2]}, {"closes": [1, 2]}) == (other, last)


async def test_an_answer_that_cannot_be_shared_goes_to_one_caller_and_others_learn_why(
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


async def test_each_caller_gets_a_handle_of_one_stream(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock) as argo:
        stream = Stream.of(["a", "b"], engine_of(argo).tasks)
        upstream._script[:] = [Outcome(stream)]
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(2)]
        await settle()
        upstream.gate.set()
        one, other = await asyncio.gather(*tasks)
        assert one is not other
        assert [["a", "b"]] * 2 == [[c async for c in s.read()] for s in (one, other)]


async def test_two_tenants_share_no_flight_of_a_tenant_operation(clock: FakeClock) -> None:
    upstream = held(lambda call: call.tenant)
    async with open_argo(upstream, clock) as argo:
        tasks = [
            asyncio.create_task(argo.options(tenant=t).call("notes", symbol="AAPL")) for t in "ab"
        ]
        await settle()
        upstream.gate.set()
        assert ["a", "b"] == await asyncio.gather(*tasks)


async def test_a_flight_runs_in_a_copy_of_the_context_of_the_caller_that_starts_it(
    clock: FakeClock,
) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="no caller")
    seen: list[str] = []

    def answer(call: Call) -> str:
        seen.append(who.get())
        who.set("changed within")
        return seen[-1]

    async def ask(name: str) -> tuple[object, str]:
        who.set(name)
        return await argo.call("bars", symbol="AAPL"), who.get()

    async with open_argo(Scripted("a", ["bars"], answer), clock) as argo:
        found = await asyncio.gather(ask("first"), ask("second"))
    assert [("first", "first"), ("first", "second")] == found
    assert ["first"] == seen


async def test_a_shared_load_asks_on_behalf_of_no_tenant_whose_function_started_it(
    clock: FakeClock,
) -> None:
    """A public operation asks, and may not ask a tenant's, also when a tenant started its load."""

    async def prices(call: Call) -> Outcome:
        return Outcome(await argo.call("notes", symbol=call.subject))

    own = Upstream("own", {"notes"}, _of_tenant)
    asked = FakePlugin(
        operations=[bars, notes], upstreams=[own, Upstream("prices", {"bars"}, prices)]
    )
    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        clock=clock,
        plugins={"coalesce": plugin, "asked": asked},
        installed=False,
    )

    @argo.wrap(name="mine", scope="tenant", subject="symbol")
    async def mine(symbol: str) -> object:
        return await argo.call("bars", symbol=symbol)

    async with argo:
        for tenant in ("acme", "default"):
            with pytest.raises(ScopeConflict, match="bars is public, .* it asks notes"):
                await argo.options(tenant=tenant).call("mine", symbol="AAPL")


async def _of_tenant(call: Call) -> Outcome:
    raise AssertionError


@pytest.mark.parametrize(("later", "loads"), [(0.9, 1), (1.1, 2)])
async def test_callers_with_a_max_age_join_no_load_that_began_before_that(
    clock: FakeClock, later: float, loads: int
) -> None:
    upstream = held()
    async with open_argo(upstream, clock, distributed=False) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL"))]
        await clock.advance(later)
        tasks += [
            asyncio.create_task(argo.options(max_age=1.0).call("bars", symbol="AAPL"))
            for _ in range(2)
        ]
        await settle()
        upstream.gate.set()
        await asyncio.gather(*tasks)
    assert loads == len(upstream.asked)


async def test_a_load_that_fails_fails_every_flight_that_waits_for_it(clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"], UpstreamError("down", upstream="a"), retries=0)
    upstream.gate.clear()
    async with open_argo(upstream, clock, distributed=False) as argo:
        first = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        second = asyncio.create_task(argo.options(max_age=50.0).call("bars", symbol="AAPL"))
        await settle()
        upstream.gate.set()
        await settle()
        assert first.done()
        assert second.done()
        errors = [first.exception(), second.exception()]
    assert ["down", "down"] == [str(error) for error in errors]
    assert 1 == len(upstream.asked)


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
    assert 2 == len(upstream.asked)


async def test_calls_beyond_the_bound_are_passed_on_alone(clock: FakeClock) -> None:
    upstream = held()
    async with open_argo(upstream, clock, max_flights=1) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol=s)) for s in ("A", "B", "B")]
        await settle()
        upstream.gate.set()
        assert ["A", "B", "B"] == await asyncio.gather(*tasks)
    assert 3 == len(upstream.asked)


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
        assert ["AAPL", "AAPL"] == await asyncio.gather(*tasks)
    assert 1 == len(upstream.asked)


async def test_joins_are_announced_and_explain_describes_the_flight(clock: FakeClock) -> None:
    upstream = held(UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock) as argo:
        events = capture_events(argo)

        def explained() -> str:
            return argo.explain("bars", symbol="AAPL")[0].text

        assert "would start a flight" == explained()
        tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        assert "would join a flight that 3 wait for" == explained()
        upstream.gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert "would share the failure of a moment ago" == explained()
    actions = [event.action for event in events.of(LayerActed)]
    assert ["flight began", "joined", "joined", "flight failed"] == actions


async def test_a_join_looks_again_when_it_is_awaited_later(clock: FakeClock) -> None:
    """A layer outside may wait between the look for a flight and the join."""
    upstream = held("first", "second")
    async with open_argo(upstream, clock) as argo:
        coalesce = layers_of(argo)[0].middleware
        assert isinstance(coalesce, Coalesce)
        call = context_of(argo).make_call("bars", "default", {"symbol": "AAPL"})
        first = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        early, late = coalesce.find(call), coalesce.find(call)
        joined = asyncio.create_task(early)
        await settle()
        upstream.gate.set()
        assert ["first", "first"] == [await first, (await joined).value]
        assert await late is None
        assert await coalesce.find(call) is None
