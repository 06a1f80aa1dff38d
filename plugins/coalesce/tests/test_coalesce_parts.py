"""What calls share a flight, how its callers are answered, and what travels between processes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from attrs import evolve

from argo_mw import (
    Action,
    Argo,
    Attempt,
    Cost,
    InvalidAnswer,
    Note,
    NotFound,
    Outcome,
    Refusal,
    SharedUnavailable,
    UpstreamError,
)
from argo_mw.model.call import make_call
from argo_mw.plugin import ALONE, Call, Codecs, Kept, context_of, layers_of, operation
from argo_mw.store import Lease
from argo_mw.testing import FakeClock, FakePlugin, Scripted, SlowStore, settle
from argo_mw_coalesce import plugin
from argo_mw_coalesce.distributed import DistributedCoalesce, _wake
from argo_mw_coalesce.flight import Flight
from argo_mw_coalesce.layer import Coalesce, flight_key
from argo_mw_coalesce.loads import Loads, _Load
from argo_mw_coalesce.recency import Recency
from argo_mw_coalesce.shared_result import SharedResult, result_of, write_result

_names = itertools.count()


@operation(timeout=60.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


def call(**changes: object) -> Call:
    return make_call(bars, {"symbol": "AAPL"}, tenant="").evolve(**changes)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


def open_argo(
    clock: FakeClock, *script: object, config: Mapping[str, object] | None = None
) -> tuple[Argo, Scripted]:
    """An application whose upstream answers when its gate is opened."""
    upstream = Scripted("a", ["bars"], *script, retries=0)
    upstream.gate.clear()
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    settings = {
        "argo": {"shared": f"memory://parts-{next(_names)}", "strict": True},
        "plugins": {"coalesce": dict(config or {})},
    }
    plugins = {"coalesce": plugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False), upstream


# -- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "demands"),
    [
        ({}, ""),
        ({"refresh": True}, "!"),
        ({"store": False}, "-"),
        ({"max_age": 2.0}, "<2.0"),
        ({"max_age": 0.0}, "<0.0"),
        ({"refresh": True, "store": False}, "!-"),
        ({"refresh": True, "store": False, "max_age": 2.0}, "!-<2.0"),
    ],
)
def test_calls_that_demand_different_things_share_no_flight(changes, demands: str) -> None:
    one = call(**changes)
    assert f"{one.key}{demands}" == flight_key(one)


# -- a flight --------------------------------------------------------------------------------------


async def test_a_single_caller_gets_the_value_itself_and_several_get_copies() -> None:
    outcome = Outcome({"close": [1.0]})
    for callers, itself in ((1, True), (2, False)):
        flight = Flight(lambda _: None)
        waiting = [asyncio.create_task(flight.wait()) for _ in range(callers)]
        await settle()
        assert (callers, callers, False) == (flight.waiting, flight.joined, flight.landed)
        flight.land(outcome)
        answers = [await one for one in waiting]
        assert itself == (answers[0] is outcome)
        assert callers == len({id(answer.value) for answer in answers})
        assert (0, True, False) == (flight.waiting, flight.landed, flight.failed)


async def test_a_flight_is_abandoned_by_the_last_that_leaves_unless_it_has_landed() -> None:
    abandoned: list[Flight] = []
    flight = Flight(abandoned.append)
    one, other = (asyncio.create_task(flight.wait()) for _ in range(2))
    await settle()
    one.cancel()
    await settle()
    assert ([], 1) == (abandoned, flight.waiting)
    other.cancel()
    await settle()
    assert ([flight], 0) == (abandoned, flight.waiting)


async def test_a_failure_is_given_to_each_caller_as_an_error_of_its_own() -> None:
    flight, error = Flight(lambda _: None), ValueError("down")
    waiting = [asyncio.create_task(flight.wait()) for _ in range(2)]
    await settle()
    flight.fail(error)
    raised = [one.exception() for one in waiting if await asyncio.wait([one])]
    assert [ValueError, ValueError] == [type(one) for one in raised]
    assert (error, True) == (raised[0], raised[1] is not error)
    assert flight.failed


# -- joining ---------------------------------------------------------------------------------------


def layer_of(argo: Argo, kind: type) -> object:
    [found] = [one.middleware for one in layers_of(argo) if isinstance(one.middleware, kind)]
    return found


async def test_what_would_become_of_a_call_is_explained(clock: FakeClock) -> None:
    argo, upstream = open_argo(clock)
    async with argo:
        coalesce, context = layer_of(argo, Coalesce), context_of(argo)
        assert isinstance(coalesce, Coalesce)
        one = context.make_call("bars", "", {"symbol": "AAPL"})
        assert "would start a flight" == coalesce.explain(one)
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        assert "would join a flight that 1 wait for" == coalesce.explain(one)
        alone = one.extended({ALONE: True})
        assert "would pass it on alone, as its caller asks for" == coalesce.explain(alone)
        await context.expire(["subject:AAPL"])
        assert "would join a flight that 1 wait for" == coalesce.explain(one)
        await context.invalidate(["subject:AAPL"])
        assert "would start a flight" == coalesce.explain(one)
        upstream.gate.set()
        await asking
        assert "would take what another flight of this process loads for it, if one does" == (
            Loads(context).explain(one)
        )


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, 1), (0.49, 1), (0.5, 2), (0.6, 2)])
async def test_a_failure_is_shared_until_its_time_is_over(
    clock: FakeClock, seconds: float, asked: int
) -> None:
    argo, upstream = open_argo(
        clock, UpstreamError("down", upstream="a"), config={"failure_ttl": 0.5}
    )
    upstream.gate.set()
    async with argo:
        for pause in (seconds, 0.0):
            with pytest.raises(UpstreamError):
                await argo.call("bars", symbol="AAPL")
            clock.stall(pause)  # whether or not the timer that forgets it has rung
    assert asked == len(upstream.asked)


@pytest.mark.parametrize(("bound", "asked"), [(1, 3), (2, 2), (3, 2)])
async def test_as_many_flights_are_under_way_as_are_allowed(
    clock: FakeClock, bound: int, asked: int
) -> None:
    argo, upstream = open_argo(clock, config={"max_flights": bound, "distributed": False})
    async with argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol=s)) for s in ("A", "B", "B")]
        await settle()
        upstream.gate.set()
        await asyncio.gather(*tasks)
    assert asked == len(upstream.asked)


async def test_a_bound_that_was_lowered_holds_at_once_for_further_calls(clock: FakeClock) -> None:
    argo, upstream = open_argo(clock)
    async with argo:
        before, context = layer_of(argo, Coalesce), context_of(argo)
        assert isinstance(before, Coalesce)
        asking = [asyncio.create_task(argo.call("bars", symbol=s)) for s in ("A", "B")]
        await settle()
        lowered = Coalesce(context, failure_ttl=0.0, max_flights=1)
        lowered.take_over(before)

        async def answered(call: Call) -> Outcome:
            return Outcome(len(lowered._flights))

        further = context.make_call("bars", "", {"symbol": "C"})
        assert 2 == (await lowered(further, answered)).value
        upstream.gate.set()
        await asyncio.gather(*asking)


# -- loads of several flights ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_age", "seconds", "serves"),
    [(None, 99.0, True), (2.0, 1.5, True), (2.0, 2.0, True), (2.0, 2.5, False), (0.0, 0.0, True)],
)
async def test_a_load_serves_calls_that_accept_its_age(
    clock: FakeClock, max_age: float | None, seconds: float, serves: bool
) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        loads, versions = layer_of(argo, Loads), context_of(argo).tag_versions
        assert isinstance(loads, Loads)
        load = _Load(await versions.load(["subject:AAPL"]), clock.monotonic())
        await clock.advance(seconds)
        assert serves == loads._serves(load, call(max_age=max_age))
        await versions.invalidate(["subject:AAPL"])
        assert not loads._serves(load, call(max_age=max_age))


async def test_the_flight_that_carries_out_a_load_is_one_of_its_waiters() -> None:
    load = _Load(None, 0.0)  # type: ignore[arg-type]
    assert load.join() is load.join()
    assert load.others is not None
    assert 1 == load.others.joined


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("down", upstream="a", action=Action.SWITCH, retry_after=3.0, status=503),
        InvalidAnswer("odd", upstream="a"),
        NotFound("none", upstream="a", status=404),
        Refusal("full", retry_at=5.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_published_with_all_its_fields(error: Exception) -> None:
    codecs = Codecs()
    data = write_result(codecs, "k", 7, SharedResult(error=error, at=3.0))
    result = result_of(codecs.decode(data, "k"))
    found = result.error
    assert (type(error), str(error)) == (type(found), str(found))
    for name in ("upstream", "action", "retry_after", "status", "retry_at"):
        assert getattr(error, name, None) == getattr(found, name, None)
    assert (7, 3.0, False) == (result.fence, result.at, result.empty)
    with pytest.raises(type(error)):
        result.unwrap()


async def test_an_answer_travels_and_what_is_neither_is_empty(clock: FakeClock) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        codecs, outcome = context_of(argo).codecs, Outcome("bars", upstream="a")
        read = result_of(
            codecs.decode(write_result(codecs, "k", 1, SharedResult(outcome, at=2.0)), "k")
        )
        assert (False, "bars") == (read.empty, read.unwrap().value)
        for error in (None, KeyError("of this process alone")):
            data = write_result(codecs, "k", 1, SharedResult(error=error, at=2.0))
            assert result_of(codecs.decode(data, "k")).empty


def _head(**changes: object) -> bytes:
    """Return the beginning of a stored result, with *changes* to what is right."""
    right = {"fence": 1, "at": 2.0, "versions": [], "kept_until": 0.0, "outcome": None}
    return msgspec.msgpack.encode(list({**right, **changes}.values()))


def test_an_answer_travels_with_all_that_is_known_about_it() -> None:
    codecs = Codecs()
    versions = (("op:quote", b"hard", b"soft"), ("*", b"h", b"s"))
    outcome = Outcome(
        {"close": 1.5},
        upstream="a",
        via=("race", "adaptive_ttl"),
        as_of=1.0,
        expires_at=9.0,
        tags=frozenset({"op:quote", "subject:AAPL"}),
        cost=Cost(usd=0.25, tokens_in=7, model="m"),
        attempts=(Attempt("b", 0.1, "failed", "down"), Attempt("a", 0.2, "ok", "", Cost(0.25))),
        notes=(Note("race", "a was faster"),),
        versions=versions,
        lacks=frozenset({"news"}),
    )
    result = SharedResult(outcome, None, 3.0, versions, 9.0)
    read = result_of(codecs.decode(write_result(codecs, "k", 7, result), "k"))
    assert evolve(result, fence=7) == read


@pytest.mark.parametrize("same", [True, False])
def test_a_value_that_a_cache_has_encoded_is_not_encoded_again(same: bool) -> None:
    """Unless a layer in between has put another one in its place."""
    codecs, value = Codecs(), [{"close": 1.5}]
    result = SharedResult(Outcome(value, upstream="a"), None, 3.0)
    kept = Kept(9.0, (("*", b"h", b"s"),), value=value if same else [2.0], part=codecs.part([2.0]))
    read = result_of(codecs.decode(write_result(codecs, "k", 7, result.as_kept(kept)), "k"))
    assert ([2.0] if same else value) == read.unwrap().value
    assert (9.0, kept.versions) == (read.kept_until, read.versions)
    assert value is result.unwrap().value


def test_a_time_of_numpys_travels_as_the_number_that_it_is() -> None:
    codecs, outcome = Codecs(), Outcome(1, as_of=np.float64(2.5))
    data = write_result(codecs, "k", 1, SharedResult(outcome))
    read = result_of(codecs.decode(data, "k"))
    assert Outcome(1, as_of=2.5) == read.outcome


@pytest.mark.parametrize(
    "record",
    [
        "texts",
        (1, 2.0, (), 0.0, None, None),
        [_head(), None],
        [_head(), None, None, None],
        ["no bytes", "bars", None],
        [b"", "bars", None],
        [_head(fence="1", outcome=Outcome(None)), "bars", None],
        [_head(at="2.0", outcome=Outcome(None)), "bars", None],
        [_head(versions=["a"], outcome=Outcome(None)), "bars", None],
        [_head(kept_until="3.0", outcome=Outcome(None)), "bars", None],
        [_head(outcome="bars"), "bars", None],
        [_head(), "bars", "an error"],
        [_head(), None, {"kind": "UpstreamError", "message": "down"}],
        [
            _head(),
            None,
            {"kind": "UpstreamError", "message": "x", "upstream": "a", "action": 5},
        ],
    ],
    ids=repr,
)
async def test_undecodable_data_is_an_empty_result(clock: FakeClock, record: object) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        codecs = context_of(argo).codecs
        result = result_of(codecs.decode(codecs.encode(record, "k"), "k"))
    assert (None, None, True) == (result.outcome, result.error, result.empty)


@pytest.mark.parametrize(
    ("takes_kept", "at", "until", "accepts"),
    [
        (True, 90.0, 105.5, True),
        (True, 90.0, 105.0, False),  # kept no more
        (True, 90.0, 104.5, False),
        (True, 90.0, 0.0, False),  # never kept
        (False, 90.0, 105.5, False),  # by a cache that would not have served it
        (True, 35.0, 105.5, True),
        (True, 34.9, 105.5, False),  # somebody has put it back
    ],
)
def test_a_kept_result_is_accepted_while_a_cache_serves_it(
    takes_kept: bool, at: float, until: float, accepts: bool
) -> None:
    recency = Recency(began=100.0, life=5.0, takes_kept=takes_kept)
    result = SharedResult(Outcome("bars"), at=at, kept_until=until)
    assert accepts == recency.accepts_kept(result, now=105.0)


def test_no_kept_result_is_accepted_where_nothing_says_that_a_cache_would_have_served_it() -> None:
    kept = SharedResult(Outcome("bars"), at=99.0, kept_until=200.0)
    assert not Recency(began=100.0, life=5.0).accepts_kept(kept, now=105.0)


# -- leases ----------------------------------------------------------------------------------------


class Watched(SlowStore):
    """A store that notes when leases are asked for and renewed, and by how much."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.clock = clock
        self.acquired: list[float] = []
        self.renewed: list[float] = []

    async def acquire_and_get(self, key, wanted, *, ttl):
        self.acquired.append(self.clock.monotonic())
        return await super().acquire_and_get(key, wanted, ttl=ttl)

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        self.renewed.append(self.clock.monotonic())
        return await super().renew(lease, ttl=ttl)


def distributed_over(argo: Argo, store: Watched) -> DistributedCoalesce:
    layer = DistributedCoalesce(context_of(argo), lease_ttl=3.0, result_ttl=5.0, store_timeout=1.0)
    layer._shared = store
    return layer


async def test_a_lease_is_surely_held_for_nine_tenths_of_its_life_and_renewed_by_thirds(
    clock: FakeClock,
) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        store = Watched(clock)
        layer = distributed_over(argo, store)
        began = clock.monotonic()
        held = await layer._look_and_acquire("r", _recent(clock), call())
        assert not isinstance(held, SharedResult)
        assert held is not None
        assert pytest.approx(began + 2.7) == held.until
        timer = layer._renew_later(held)
        await clock.advance(2.5)
        assert pytest.approx([began + 1.0, began + 2.0]) == store.renewed
        assert pytest.approx(began + 4.7) == held.until
        assert held.renewing is not None
        held.renewing.cancel()
        timer.cancel()


async def test_a_waiting_process_asks_for_the_lease_ever_later_up_to_an_eighth_of_its_life(
    clock: FakeClock,
) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        store = Watched(clock)
        layer = distributed_over(argo, store)
        assert await store.acquire(f"argo:flight:{{{call().branch_key}}}", ttl=1e6)
        began = clock.monotonic()
        waiting = asyncio.create_task(layer._result_or_lease("r", _recent(clock), call()))
        for _ in range(250):
            await clock.advance(0.005)
        waiting.cancel()
        await asyncio.wait([waiting])
        waits = [later - sooner for sooner, later in itertools.pairwise(store.acquired)]
        assert began == store.acquired[0]
        assert pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.375], abs=0.006) == waits[:7]
        assert {} == layer._waiting


def _recent(clock: FakeClock) -> Recency:
    return Recency(clock.time(), 5.0)


async def test_waiting_callers_are_woken_once_whichever_has_left() -> None:
    loop = asyncio.get_running_loop()
    left, stays, woken = (loop.create_future() for _ in range(3))
    left.cancel()
    woken.set_result(None)
    _wake([left, woken, stays])
    assert stays.done()


@pytest.mark.parametrize("done", [True, False])
async def test_closing_ends_the_subscription_or_the_attempt_at_one(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    answers, closed = asyncio.Event(), []

    class Heard:
        async def aclose(self) -> None:
            closed.append("closed")

    async def subscribe(*_: object, **__: object) -> Heard:
        await answers.wait()
        return Heard()

    argo, _ = open_argo(clock)
    async with argo:
        store = Watched(clock)
        monkeypatch.setattr(store, "subscribe", subscribe)
        layer = distributed_over(argo, store)
        if done:
            answers.set()
        subscribing = asyncio.create_task(layer._subscribed())
        await settle()
        for _ in range(2):
            await layer.close()
        await asyncio.wait([subscribing])
        assert (["closed"] if done else []) == closed
        assert done != subscribing.cancelled()


async def test_a_refused_subscription_is_tried_again_a_second_later(
    clock: FakeClock,
) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        layer = distributed_over(argo, Watched(clock))
        layer._try_again_at = clock.monotonic() + 1.0
        for seconds in (0.5, 0.5):
            with pytest.raises(SharedUnavailable, match="cannot be received"):
                await layer._subscribed()
            await clock.advance(seconds)
        await layer._subscribed()
        await layer.close()


async def test_a_flight_that_nobody_waits_for_ends_as_cancelled(clock: FakeClock) -> None:
    argo, _ = open_argo(clock)
    async with argo:
        coalesce = layer_of(argo, Coalesce)
        assert isinstance(coalesce, Coalesce)
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        [flight] = coalesce._flights.values()
        assert flight.task is not None
        asking.cancel()
        await asyncio.wait([asking, flight.task])
        assert flight.task.cancelled()
        assert {} == coalesce._flights
