"""Processes that share a store make one load, whatever becomes of the lease's holder."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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
    Unsupported,
    UpstreamError,
)
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    Call,
    Codecs,
    Layer,
    LayerActed,
    Next,
    Trouble,
    Upstream,
    context_of,
    flags_of,
    hookimpl,
    layers_of,
    operation,
)
from argo_mw.store import Freshness, Lease
from argo_mw.testing import FakeClock, FakePlugin, Scripted, SlowStore, capture_events, settle
from argo_mw_coalesce import plugin
from argo_mw_coalesce.distributed import (
    CHANNEL,
    LOAD_START,
    DistributedCoalesce,
)
from argo_mw_coalesce.recency import CLOCK_DIFFERENCE, Recency
from argo_mw_coalesce.shared_result import SharedResult, result_of, write_result

_names = itertools.count()


@operation(timeout=60.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@operation(kind="compute", name="signal", subject="symbol")
def signal(symbol: str) -> object:
    """Made from bars."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


@pytest.fixture
def store() -> str:
    return f"memory://coalesce-{next(_names)}"


def instance(
    store: str,
    upstream: Scripted,
    clock: FakeClock | None,
    flags: dict[str, object] | None = None,
    also: dict[str, object] | None = None,
    **config: object,
) -> Argo:
    asked = FakePlugin(operations=[bars, signal], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked, **(also or {})}
    given = {**settings(store, **config), "flags": flags or {}}
    return Argo.open(given, clock=clock, plugins=plugins, installed=False)


def settings(store: str, **config: object) -> dict[str, object]:
    return {
        "argo": {"shared": store, "strict": True},
        "plugins": {"coalesce": {"lease_ttl": 3.0, **config}},
    }


class Marks:
    """A layer that marks what passes."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by("marks", "was here")


def held(*script: object) -> Scripted:
    upstream = Scripted("a", ["bars", "signal"], *script, retries=0)
    upstream.gate.clear()
    return upstream


def ask(argo: Argo, operation: str = "bars") -> asyncio.Task[Outcome]:
    return asyncio.create_task(argo.outcome(operation, symbol="AAPL"))


def distributed_of(argo: Argo) -> DistributedCoalesce:
    [layer] = [layer for layer in layers_of(argo) if layer.name == "coalesce.distributed"]
    assert isinstance(layer.middleware, DistributedCoalesce)
    return layer.middleware


def stop_renewing(argo: Argo) -> None:
    """As in a process that has died, or stalled."""
    distributed_of(argo)._start_renewing = lambda _: None  # type: ignore[method-assign]


async def test_two_processes_make_one_load_and_both_get_the_answer(
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
    assert (1, 0) == (len(one.asked), len(other.asked))
    assert "joined elsewhere" in [e.action for e in events.of(LayerActed)]


async def test_a_failure_is_shared_with_other_processes_too(store: str, clock: FakeClock) -> None:
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
            assert 503 == caught.value.status


async def test_a_holder_that_dies_is_replaced_after_its_lease(store: str, clock: FakeClock) -> None:
    dead, other = held(), held("from the other")
    first = instance(store, dead, clock)
    await first.__aenter__()
    async with instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        stop_renewing(first)
        waiting = ask(second)
        await clock.advance(2.5)
        assert [] == other.asked
        other.gate.set()
        await clock.advance(1.0)
        assert "from the other" == (await waiting).value
        holding.cancel()
    await first.aclose()
    assert 1 == len(other.asked)


async def test_a_slow_holder_renews_its_lease(store: str, clock: FakeClock) -> None:
    slow, other = held("slow"), held()
    async with instance(store, slow, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await clock.advance(20)
        assert [] == other.asked
        slow.gate.set()
        assert ["slow", "slow"] == [(await holding).value, (await waiting).value]


async def test_a_holder_whose_callers_have_left_releases_the_lease_at_once(
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
        assert "from the other" == (await waiting).value
    assert 1 == one.cancelled


async def test_a_result_from_before_the_call_does_not_answer_it(
    store: str, clock: FakeClock
) -> None:
    upstream = held("first", "second")
    upstream.gate.set()
    async with instance(store, upstream, clock) as argo:
        assert "first" == (await ask(argo)).value
        await clock.advance(0.001)
        assert "second" == (await ask(argo)).value


async def test_a_call_that_acquires_the_lease_just_after_a_load_takes_its_result(
    store: str, clock: FakeClock
) -> None:
    """The other's load ended between this call's look into the cache and its lease."""
    one, other = held("one"), held("other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        shared = context_of(second).shared
        acquire = shared.acquire_and_get

        async def slow_acquire(
            key: str, wanted: str, *, ttl: float
        ) -> tuple[Lease | None, bytes | None]:
            one.gate.set()
            await holding
            await settle()
            return await acquire(key, wanted, ttl=ttl)

        shared.acquire_and_get = slow_acquire  # type: ignore[method-assign]
        assert "one" == (await ask(second)).value
    assert [] == other.asked


async def test_a_store_that_is_slow_to_take_a_result_is_reported_and_delays_no_caller(
    store: str, clock: FakeClock
) -> None:
    one = held("one")
    one.gate.set()
    async with instance(store, one, clock, store_timeout=1.5) as first:
        events = capture_events(first)

        async def never(*_: object, **__: object) -> bool:
            return await asyncio.Event().wait()

        context_of(first).shared.settle = never  # type: ignore[method-assign]
        asking = ask(first)
        await clock.advance(1.6)
        assert "one" == (await asking).value
        [trouble] = events.of(Trouble)
        assert trouble.what.endswith("published: the shared store took longer than 1.5 s")


async def test_a_holder_whose_lease_lasts_answers_before_the_store_has_its_result(
    store: str, clock: FakeClock
) -> None:
    one = held("one")
    one.gate.set()
    async with instance(store, one, clock) as first:
        shared, published = context_of(first).shared, asyncio.Event()
        settle_lease = shared.settle

        async def slow_settle(*what: Any, **more: Any) -> bool:
            await published.wait()
            return await settle_lease(*what, **more)

        shared.settle = slow_settle  # type: ignore[method-assign]
        assert "one" == (await ask(first)).value
        assert [] == await context_of(first).shared.scan("argo:result:")
        published.set()
    async with instance(store, held(), clock) as second:
        assert 1 == len(await context_of(second).shared.scan("argo:result:"))


async def test_a_load_from_before_an_invalidation_does_not_answer_a_call_from_after_it(
    store: str, clock: FakeClock
) -> None:
    """Neither in the same process nor in another."""
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
        assert "before" == (await early).value
        assert "before" not in ((await late).value, (await elsewhere).value)


async def test_a_flight_from_before_an_invalidation_elsewhere_is_joined_no_more(
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
        assert ("before", "after") == ((await early).value, (await late).value)


async def test_a_result_that_passed_a_layer_which_is_killed_here_is_not_taken(
    store: str, clock: FakeClock
) -> None:
    one, other = held(), held()
    other.gate.set()
    also = {"marks": FakePlugin(layer=Layer("marks", Marks(), after=("coalesce.distributed",)))}
    async with (
        instance(store, one, clock, also=also) as first,
        instance(store, other, clock, also=also) as second,
    ):
        loading = ask(first)
        await settle()
        await flags_of(second).kill("marks")
        waiting = ask(second)
        await settle()
        assert [] == other.asked
        one.gate.set()
        await clock.advance(1)
        assert "marks" in (await loading).via
        assert "marks" not in (await waiting).via
    assert 1 == len(other.asked)


async def test_no_lease_is_asked_for_before_the_subscription_to_results(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = held()
    async with instance(store, upstream, clock) as argo:
        shared, hears = context_of(argo).shared, asyncio.Event()
        subscribe = shared.subscribe

        async def slowly(*args: Any, **named: Any) -> Any:
            await hears.wait()
            return await subscribe(*args, **named)

        monkeypatch.setattr(shared, "subscribe", slowly)
        asking = ask(argo)
        await settle()
        assert [] == upstream.asked
        hears.set()
        upstream.gate.set()
        assert "AAPL" == (await asking).value


async def test_without_the_store_every_process_loads(clock: FakeClock) -> None:
    one, other = held("one"), held("other")
    async with (
        instance("unreachable://", one, clock) as first,
        instance("unreachable://", other, clock) as second,
    ):
        tasks = [ask(first), ask(second)]
        await settle()
        one.gate.set()
        other.gate.set()
        assert ["one", "other"] == [(await t).value for t in tasks]


async def test_a_lease_is_released_once_the_store_is_reachable(
    store: str, clock: FakeClock
) -> None:
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


async def test_a_store_that_sends_no_messages_shares_results_and_leaves_nothing_to_repeat(
    store: str, clock: FakeClock
) -> None:
    one, other = held("one"), held("other")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:

        async def refuse(*_: object) -> None:
            msg = "no channels"
            raise SharedUnavailable(msg)

        context_of(first).shared.publish = refuse  # type: ignore[method-assign]
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        one.gate.set()
        assert "one" == (await holding).value
        await settle()
        assert [] == [name for name in tasks_of(first) if "coalesce:release" in name]
        await clock.advance(0.02)
        assert waiting.done()
        assert "one" == (await waiting).value
    assert [] == other.asked


async def test_a_result_is_taken_even_if_the_lease_cannot_be_released(
    store: str, clock: FakeClock
) -> None:
    one, other = held("one"), held("other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        shared = context_of(second).shared
        acquire = shared.acquire_and_get

        async def away(*_: object) -> bool:
            msg = "a hiccup"
            raise SharedUnavailable(msg)

        async def slow_acquire(
            key: str, wanted: str, *, ttl: float
        ) -> tuple[Lease | None, bytes | None]:
            one.gate.set()
            await holding
            await settle()
            shared.release = away  # type: ignore[method-assign]
            return await acquire(key, wanted, ttl=ttl)

        shared.acquire_and_get = slow_acquire  # type: ignore[method-assign]
        assert "one" == (await ask(second)).value
    assert [] == other.asked


async def test_a_process_whose_clock_is_ahead_takes_the_result_that_it_waited_for(
    store: str, clock: FakeClock
) -> None:
    one, other, ahead = held("one"), held("other"), FakeClock(start=0.1)
    ahead.set_wall(clock.time() + 2.0)
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, ahead) as second:
        holding = ask(first)
        await settle()
        waiting = ask(second)
        await settle()
        one.gate.set()
        assert ["one", "one"] == [(await holding).value, (await waiting).value]
    assert [] == other.asked


async def test_a_holder_that_stalled_takes_the_answer_of_its_successor(
    store: str, clock: FakeClock
) -> None:
    """Otherwise the caches outside would replace the newer answer with its older one."""
    one, other = held("older"), held("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        stop_renewing(first)
        waiting = ask(second)
        await clock.advance(3.5)
        assert 1 == len(other.asked)
        other.gate.set()
        assert "newer" == (await waiting).value
        one.gate.set()
        assert "newer" == (await holding).value


async def test_a_holder_that_stalled_keeps_its_answer_while_there_is_no_newer_one(
    store: str, clock: FakeClock
) -> None:
    one, other = held("older"), held("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        stop_renewing(first)
        waiting = ask(second)
        await clock.advance(3.5)
        one.gate.set()
        assert "older" == (await holding).value
        assert not waiting.done()
        other.gate.set()
        assert "newer" == (await waiting).value


async def test_a_caller_that_leaves_between_lease_and_load_releases_the_lease(
    store: str, clock: FakeClock
) -> None:
    one, other = held("one"), held("other")
    other.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:

        async def never(*_: object) -> SharedResult:
            return await asyncio.Event().wait()  # type: ignore[return-value]

        distributed_of(first)._find_result = never  # type: ignore[method-assign]
        leaving = ask(first)
        await settle()
        leaving.cancel()
        await settle()
        asking = ask(second)
        await settle()
        assert asking.done()
        assert "other" == (await asking).value


async def test_an_answer_that_cannot_be_encoded_stays_with_its_holder(
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
        assert "from the other" == (await waiting).value


async def test_every_process_computes_for_itself(store: str, clock: FakeClock) -> None:
    one, other = held(), held()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        tasks = [ask(first, "signal"), ask(second, "signal")]
        await settle()
        assert (1, 1) == (len(one.asked), len(other.asked))
        for upstream in (one, other):
            upstream.gate.set()
        await asyncio.gather(*tasks)


async def test_two_processes_share_the_embedded_store(tmp_path: Path) -> None:
    """The same over SQLite, on the machine's own clock."""
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    one, other = held("loaded"), held()
    async with instance(store, one, None) as first, instance(store, other, None) as second:
        holding = ask(first)
        await one.arrived.wait()
        waiting = ask(second)
        distributed = distributed_of(second)
        while not any(key.startswith("argo:result:") for key in distributed._waiting):
            await asyncio.sleep(0)
        one.gate.set()
        assert ["loaded", "loaded"] == [(await holding).value, (await waiting).value]
    assert [] == other.asked


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("x", upstream="a", action=Action.RETRY, retry_after=2.0, status=429),
        NotFound("x", upstream="a", status=404),
        InvalidAnswer("x", upstream="a"),
        Unsupported("x", upstream="a"),
    ],
)
def test_errors_of_upstreams_arrive_as_they_were(error: UpstreamError) -> None:
    codecs = Codecs()
    data = write_result(codecs, "key", 1, SharedResult(error=error))
    read = result_of(codecs.decode(data, "key")).error
    assert isinstance(read, UpstreamError)
    assert type(error) is type(read)
    assert vars(error) == vars(read)


def test_a_refusal_arrives_with_the_time_to_come_back() -> None:
    codecs = Codecs()
    full = QuotaExceeded("full", retry_at=9.0)
    data = write_result(codecs, "key", 1, SharedResult(error=full))
    read = result_of(codecs.decode(data, "key")).error
    assert isinstance(read, Refusal)
    assert 9.0 == read.retry_at


def test_a_result_that_only_its_holder_can_use_arrives_empty() -> None:
    codecs = Codecs()
    for result in (
        SharedResult(error=ValueError("mine")),
        SharedResult(outcome=Outcome(object())),
        SharedResult(outcome=Outcome(1, upstream="half a pair \ud800")),
        SharedResult(outcome=Outcome(1, as_of=object())),  # type: ignore[arg-type]
    ):
        assert result_of(codecs.decode(write_result(codecs, "key", 1, result), "key")).empty
    five = codecs.encode((1, 2, 3, 4, 5), "key")
    for data in (b"", b"garbage", codecs.encode([1, 2], "key"), five):
        assert SharedResult() == result_of(codecs.decode(data, "key"))


async def test_the_plugins_flag_switches_all_its_layers(store: str, clock: FakeClock) -> None:
    one, other = held("one"), held("other")
    one.gate.set()
    other.gate.set()
    off = {"coalesce": "off"}
    async with (
        instance(store, one, clock, off) as first,
        instance(store, other, clock, off) as second,
    ):
        assert [] == list(layers_of(first))
        tasks = [ask(argo) for argo in (first, first, second)]
        assert ["one", "one", "other"] == [(await task).value for task in tasks]
        await first.reload({**settings(store), "flags": {"coalesce": "on"}})
        names = ["coalesce", "coalesce.loads", "coalesce.distributed"]
        assert names == [layer.name for layer in layers_of(first)]
    assert (2, 1) == (len(one.asked), len(other.asked))


async def test_a_share_of_calls_passes_through_both_halves(store: str, clock: FakeClock) -> None:
    """The flag is decided once per call: no flight without its lease, no lease without a flight."""
    upstream = Scripted("a", ["bars"])
    flags = {"coalesce": {"percent": 50, "by": "subject"}}
    async with instance(store, upstream, clock, flags) as argo:
        for number in range(20):
            await argo.outcome("bars", symbol=f"S{number}")
    marked = [LOAD_START in call.extensions for call in upstream.asked]
    assert {True, False} == set(marked)


async def test_a_call_without_a_load_start_passes_through(store: str, clock: FakeClock) -> None:
    """As one that is beyond the bound of flights."""
    one, other = held("one"), held("other")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        holding = ask(first)
        await settle()
        call = context_of(second).make_call("bars", "default", {"symbol": "AAPL"}).bind("a")
        answer = Outcome("passed through")

        async def call_next(passed: Call) -> Outcome:
            assert passed is call
            return answer

        assert answer is await distributed_of(second)(call, call_next)
        one.gate.set()
        await holding


async def test_a_new_configuration_ends_the_old_subscription(store: str, clock: FakeClock) -> None:
    upstream = Scripted("a", ["bars"])
    async with instance(store, upstream, clock) as argo:
        await ask(argo)
        before = distributed_of(argo)
        subscribing = before._subscribing
        assert subscribing is not None
        changed = settings(store, lease_ttl=9.0)
        await argo.reload(changed)
        assert distributed_of(argo) is not before
        await clock.advance(3600.0)
        assert before._subscribing is None
        assert "AAPL" == (await ask(argo)).value


class SlowDriver:
    """Brings the store ``slow://``, whose answers take turns of the loop."""

    def __init__(self, store: SlowStore) -> None:
        self._store = store

    @hookimpl
    def register_shared_drivers(self) -> dict[str, object]:
        async def open_slow(url: str, clock: object) -> SlowStore:
            return SlowStore(self._store, clock=self._store.clock, turns=self._store.turns)

        return {"slow": open_slow}


def slow_instance(store: SlowStore, answers: Callable[[], Awaitable[None]]) -> Argo:
    async def fetch(call: Call) -> Outcome:
        await answers()
        return Outcome(call.subject)

    asked = FakePlugin(operations=[bars], upstreams=[Upstream("a", {"bars"}, fetch)])
    plugins = {"coalesce": plugin, "asked": asked, "driver": SlowDriver(store)}
    given = settings(f"slow://{next(_names)}")
    return Argo.open(given, clock=store.clock, plugins=plugins, installed=False)


async def five_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_whenever_a_caller_leaves_the_next_one_waits_for_no_lease(
    turns: int, elsewhere: bool
) -> None:
    """At every turn of the loop, in the same process or in another."""
    for left_after in range(90):
        clock = FakeClock(start=0.1)
        store = SlowStore(clock=clock, turns=turns)
        async with slow_instance(store, five_turns) as one, slow_instance(store, five_turns) as two:
            leaving = ask(one)
            for _ in range(left_after):
                await asyncio.sleep(0)
            leaving.cancel()
            next_one = ask(two if elsewhere else one)
            await clock.advance(0.05)
            assert next_one.done(), f"it left after {left_after} turns"
            assert "AAPL" == (await next_one).value
            await settle()
            assert [] == store.leases
            assert [] == [name for name in tasks_of(one) + tasks_of(two) if "renew" in name]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["come", "come", "leave", "turn", "wait", "flicker", "close"]),
            st.integers(0, 40),
        ),
        max_size=50,
    ),
    st.integers(0, 2),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_callers_that_come_leave_and_time_out_leave_no_lease_and_no_task(
    steps: list[tuple[str, int]], turns: int
) -> None:
    asyncio.run(drive(steps, turns))


async def drive(steps: list[tuple[str, int]], turns: int) -> None:
    clock = FakeClock(start=0.1)
    store = SlowStore(clock=clock, turns=turns)
    callers: list[asyncio.Task[Outcome]] = []

    async def a_while() -> None:
        await clock.sleep(0.1)

    one, two = slow_instance(store, a_while), slow_instance(store, five_turns)
    async with one, two:
        for step, number in steps:
            match step:
                case "come":
                    asked = (one, two)[number % 2].options(timeout=0.02 * (1 + number))
                    callers.append(asyncio.create_task(asked.outcome("bars", symbol="AAPL")))
                case "leave" if callers:
                    callers[number % len(callers)].cancel()
                case "turn":
                    for _ in range(number):
                        await asyncio.sleep(0)
                case "wait":
                    await clock.advance(number / 100)
                case "flicker":
                    store.away = not store.away
                case "close" if number == 0:
                    store.away = False
                    await one.aclose()
        store.away = False
        await clock.advance(120.0)
        await asyncio.gather(*callers, return_exceptions=True)
        await clock.advance(10.0)
        assert [] == store.leases
        assert [] == [name for name in tasks_of(two) if "coalesce:subscribe" not in name]
    assert [] == store.leases


def tasks_of(argo: Argo) -> list[str]:
    return engine_of(argo).tasks.names


async def test_an_old_result_that_somebody_puts_back_is_for_no_later_call(
    store: str, clock: FakeClock
) -> None:
    """It is signed with the right key, and was a result of the same question once."""
    one, other = held("old"), held("new")
    one.gate.set()
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await ask(first)
        shared = context_of(second).shared
        [key] = await shared.scan("argo:result:")
        old = await shared.get(key)
        assert old is not None
        await clock.advance(3_600.0)
        lease = await shared.acquire(key.replace("result", "flight", 1), ttl=60.0)
        assert lease is not None
        asking = ask(second)
        await settle()
        await shared.set(key, old)
        await shared.publish(CHANNEL, key.encode())
        await shared.release(lease)
        other.gate.set()
        await clock.advance(10.0)
        assert "new" == (await asking).value


@pytest.mark.parametrize("versions", [(), ("nonsense",), (["a", b"", b""],)], ids=repr)
async def test_a_result_whose_versions_cannot_be_read_is_not_used(
    store: str, clock: FakeClock, versions: tuple[object, ...]
) -> None:
    """Nothing says whether one of its tags was invalidated: another version of the program wrote it."""
    async with instance(store, Scripted("a", ["bars"]), clock) as argo:
        result = SharedResult(outcome=Outcome(1), versions=versions)
        assert Freshness.MISS is await distributed_of(argo)._freshness(result)


@pytest.mark.parametrize(
    ("at", "fence", "recent"),
    [
        (99.0, 7, False),  # the one that was there, from before the call
        (100.0, 7, True),
        (101.0, 7, True),
        (99.0, 8, True),  # a later one, by a clock that is behind
        (100.0 - 10.0 - CLOCK_DIFFERENCE, 8, True),
        (99.9 - 10.0 - CLOCK_DIFFERENCE, 8, False),  # an old one that was put back
    ],
)
def test_a_result_is_recent_by_its_time_or_its_fence(at: float, fence: int, recent: bool) -> None:
    recency = Recency(began=100.0, life=10.0)
    recency.accepts(SharedResult(at=50.0, fence=7))
    assert recent == recency.accepts(SharedResult(at=at, fence=fence))
