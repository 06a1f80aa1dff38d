"""Quotas hold, in one process and over several that share a store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, cycle, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import Action, Argo, Outcome, QuotaExceeded, UpstreamError
from argo_mw.chain.quota import Quota
from argo_mw.model.guard import Request, Result
from argo_mw.plugin import (
    Call,
    Clock,
    Left,
    Limits,
    RequestSent,
    Standing,
    Upstream,
    context_of,
    hookimpl,
    operation,
)
from argo_mw.store import Count, Epochs, OpenShared
from argo_mw.store.memory import MemoryShared
from argo_mw.testing import (
    FakeClock,
    FakePlugin,
    Scripted,
    SlowStore,
    capture_events,
    settle,
)


@operation(name="paged")
def paged() -> object:
    """An answer in pages."""


def quota(shared, clock, **limits: int) -> Quota:
    upstream = Scripted("a", ["bars"], limits=Limits(**limits)).upstream
    return Quota(upstream, shared, clock)


REQUEST = Request(Scripted("a", ["bars"]).upstream, ())


async def charge(guard: Quota) -> bool:
    try:
        await guard.reserve(REQUEST)
    except QuotaExceeded:
        return False
    return True


async def pushed_back(guard: Quota, error: UpstreamError) -> None:
    remaining = guard.settle(REQUEST, (error,))
    assert remaining is not None
    await remaining


@pytest.mark.parametrize("name", ["per_second", "per_minute", "per_day", "concurrency"])
@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_would_let_nothing_pass_is_refused(name: str, limit: int) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: limit})


async def test_a_day_s_quota_is_shared_by_all_who_share_the_store() -> None:
    """The 26th request is sent by none of eight processes, and the refusal says when."""
    clock = FakeClock(wall=86_400.0 * 20_000 + 3_600)
    shared = MemoryShared(clock=clock)
    guards = [quota(shared, clock, per_day=25) for _ in range(8)]
    sent = [await charge(guards[n % 8]) for n in range(40)]
    assert sent == [True] * 25 + [False] * 15
    with pytest.raises(
        QuotaExceeded, match="25 per day.* is used up; ask again in 82800 s"
    ) as error:
        await guards[0].reserve(REQUEST)
    assert error.value.retry_at == 86_400.0 * 20_001
    await clock.advance(82_800)
    assert await charge(guards[3])


async def test_a_second_is_waited_out_and_a_minute_refused() -> None:
    clock = FakeClock(wall=1_000_000_020.5)
    guard = quota(MemoryShared(clock=clock), clock, per_second=2, per_minute=3)
    assert [await charge(guard), await charge(guard)] == [True, True]
    third = asyncio.create_task(charge(guard))
    await clock.advance(0.4)
    assert not third.done()
    await clock.advance(0.2)
    assert await third
    assert not await charge(guard)


async def test_what_was_never_sent_is_given_back() -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_day=1, concurrency=1)
    assert await charge(guard)
    await guard.release(REQUEST)
    assert await charge(guard)
    assert guard.settle(REQUEST, ()) is None
    assert not await charge(guard)


async def test_a_refusal_by_one_window_charges_no_other() -> None:
    clock = FakeClock(wall=1_000_000_020.0)
    guard = quota(MemoryShared(clock=clock), clock, per_minute=1, per_day=2)
    assert [await charge(guard), await charge(guard), await charge(guard)] == [True, False, False]
    await clock.advance(60)
    assert await charge(guard)


async def test_requests_at_once_wait_for_a_place() -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, concurrency=1)
    assert await charge(guard)
    second = asyncio.create_task(charge(guard))
    await settle()
    assert not second.done()
    assert guard.settle(REQUEST, ()) is None
    assert await second


async def test_windows_are_charged_when_a_place_is_free() -> None:
    """What waits for a place in one second and is sent in the next counts in the next."""
    clock = FakeClock(wall=1_000_000_000.0)
    guard = quota(MemoryShared(clock=clock), clock, per_second=1, concurrency=1)
    assert await charge(guard)
    waiting = asyncio.create_task(charge(guard))
    await settle()
    await clock.advance(2.0)
    assert not waiting.done()
    assert guard.settle(REQUEST, ()) is None
    assert await waiting
    assert guard.settle(REQUEST, ()) is None
    third = asyncio.create_task(charge(guard))
    await clock.advance(0.9)
    assert not third.done()
    await clock.advance(0.2)
    assert await third


async def test_who_is_refused_or_leaves_takes_no_place() -> None:
    clock = FakeClock(wall=1_000_000_000.0)
    guard = quota(MemoryShared(clock=clock), clock, per_second=1, per_day=2, concurrency=1)
    assert await charge(guard)
    assert guard.settle(REQUEST, ()) is None
    leaving = asyncio.create_task(charge(guard))
    await settle()
    leaving.cancel()
    await clock.advance(1.0)
    assert await charge(guard)
    assert guard.settle(REQUEST, ()) is None
    assert [False, False] == [await charge(guard), await charge(guard)]


async def test_what_is_given_back_late_is_given_to_the_window_it_was_taken_from() -> None:
    """Or the second that it is given back in would allow one more than its limit."""
    clock = FakeClock(wall=1_000_000_000.9)
    shared = MemoryShared(clock=clock)
    guard = quota(shared, clock, per_second=1)
    assert await charge(guard)
    await clock.advance(0.2)
    await guard.release(REQUEST)
    assert await charge(guard)
    second = asyncio.create_task(charge(guard))
    await settle()
    assert not second.done()
    await clock.advance(10.0)
    assert await second
    await clock.advance(10.0)
    assert [] == await shared.scan("argo:quota:")


async def test_a_further_request_of_an_answer_is_charged_and_takes_no_place() -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_minute=2, concurrency=1)
    await guard.reserve(REQUEST)
    await guard.charge_extra(REQUEST)
    with pytest.raises(QuotaExceeded, match="2 per minute"):
        await guard.charge_extra(REQUEST)


async def test_an_upstream_charges_the_further_pages_of_an_answer(open_argo, clock) -> None:
    def pages(wanted: int) -> FakePlugin:
        async def fetch(call: Call) -> Outcome:
            for _ in range(wanted - 1):
                await plugin.context.charge_extra(call)
            return Outcome(wanted)

        upstream = Upstream("pages", {"paged"}, fetch, limits=Limits(per_minute=3))
        plugin = FakePlugin(operations=[paged], upstreams=[upstream])
        return plugin

    async with open_argo(plugins={"pages": pages(3)}) as argo:
        events = capture_events(argo)
        assert 3 == await argo.call("paged")
        with pytest.raises(QuotaExceeded, match="3 per minute"):
            await argo.call("paged")
    assert [1, 0, 0] == [event.calls for event in events.of(RequestSent)]
    async with open_argo(plugins={"pages": pages(4)}) as argo:
        with pytest.raises(QuotaExceeded):
            await argo.call("paged")


async def test_what_the_upstream_says_is_believed_everywhere() -> None:
    clock = FakeClock()
    shared = MemoryShared(clock=clock)
    one, other = (quota(shared, clock, per_day=100) for _ in range(2))
    too_many = UpstreamError("slow", upstream="a", action=Action.RETRY, retry_after=30, status=429)
    await pushed_back(one, too_many)
    with pytest.raises(QuotaExceeded) as error:
        await other.reserve(REQUEST)
    assert error.value.retry_at == clock.time() + 30
    await clock.advance(30.1)
    assert await charge(other)


async def test_a_429_without_a_time_blocks_nobody() -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_day=100)
    await pushed_back(guard, UpstreamError("slow", upstream="a", status=429))
    assert await charge(guard)


async def test_without_the_store_nothing_is_sent(open_argo) -> None:
    upstream = Scripted("a", ["bars"], limits=Limits(per_day=5))
    config = {"argo": {"shared": "unreachable://", "strict": True}}
    async with open_argo(upstream, config=config) as argo:
        with pytest.raises(Exception, match="guard failed, so upstream 'a' is not asked"):
            await argo.call("bars", symbol="A")
    assert upstream.asked == []


async def test_what_costs_money_and_has_no_limit_is_refused(open_argo) -> None:
    upstream = Scripted("a", ["bars"], metered=True)
    async with open_argo(upstream) as argo:
        with pytest.raises(QuotaExceeded, match=r"set per_minute or per_day in \[upstreams.a\]"):
            await argo.call("bars", symbol="A")
    async with open_argo(upstream, config={"upstreams": {"a": {"per_day": 5}}}) as argo:
        assert await argo.call("bars", symbol="A") == "A"


async def test_a_quota_of_what_costs_money_is_lifted_only_where_that_is_said() -> None:
    clock = FakeClock()
    shared = MemoryShared(clock=clock)
    upstream = Upstream("a", ["paged"], _never_asked, metered=True)
    assert not await charge(Quota(upstream, shared, clock))
    assert await charge(Quota(upstream, shared, clock, lifted=True))


async def _never_asked(call: Call) -> Outcome:
    raise AssertionError


async def test_a_limit_of_requests_at_once_is_no_limit_of_money(open_argo) -> None:
    """Three at once are any number a day."""
    upstream = Scripted("a", ["bars"], limits=Limits(concurrency=3), metered=True)
    for config in ({}, {"concurrency": 5}):
        async with open_argo(upstream, config={"upstreams": {"a": config}}) as argo:
            with pytest.raises(QuotaExceeded, match="no limit on its rate"):
                await argo.call("bars", symbol="A")


@pytest.mark.parametrize("metered", [False, True])
@pytest.mark.parametrize("limit", ["per_second", "per_minute", "per_day", "concurrency"])
async def test_every_limit_can_be_lifted(open_argo, limit: str, metered: bool) -> None:
    upstream = Scripted("a", ["bars"], limits=Limits(**{limit: 1}), metered=metered)
    async with open_argo(upstream, config={"upstreams": {"a": {limit: 0}}}) as argo:
        asked = [argo.call("bars", symbol=f"{n}") for n in range(5)]
        assert ["0", "1", "2", "3", "4"] == await asyncio.gather(*asked)


async def test_a_store_that_has_lost_its_counts_lets_nothing_pass_until_the_window_ends(
    tmp_path,
) -> None:
    """In processes that charged it, and in one that is started after the loss."""
    clock = FakeClock(wall=86_400.0 * 20_000 + 3_600)
    store = SlowStore(clock=clock)

    def start() -> Quota:
        upstream = Scripted("a", ["bars"], limits=Limits(per_day=10, per_minute=9)).upstream
        handle = SlowStore(store, clock=clock)
        epochs = Epochs(handle, clock, url="redis://cache/0", state_dir=tmp_path)
        return Quota(upstream, handle, clock, epochs=epochs)

    running = [start(), start()]
    assert [True] * 4 == [await charge(running[n % 2]) for n in range(4)]
    store.forget()
    for guard in (*running, start()):
        with pytest.raises(QuotaExceeded, match="has lost what it counted") as error:
            await guard.reserve(REQUEST)
        assert 86_400.0 * 20_001 == error.value.retry_at
    await clock.advance(82_800)
    assert await charge(running[0])


class SlowToCount(MemoryShared):
    """A store that takes its time for each addition."""

    def __init__(self, clock: FakeClock, delays: Iterator[float]) -> None:
        super().__init__(clock=clock)
        self._delays = delays
        self._slow_clock = clock

    async def add(self, key: str, amount: int = 1, **more: Any) -> Count:
        await self._slow_clock.sleep(next(self._delays))
        count = await super().add(key, amount, **more)
        await self._slow_clock.sleep(next(self._delays))
        return count


async def test_a_request_whose_window_has_ended_while_it_was_charged_is_charged_again() -> None:
    clock = FakeClock(wall=1_000_000_020.9)
    guard = quota(SlowToCount(clock, chain([0.2], repeat(0.0))), clock, per_second=2)
    charging = asyncio.create_task(charge(guard))
    await clock.advance(0.2)
    await clock.advance(0.8)
    assert await charging
    assert Left(1, 2) == guard.standing().limits["second"]


class SlowGuard:
    """A guard that asks a remote service for permission."""

    name = "slow"

    def __init__(self, clock: FakeClock, delays: Iterator[float]) -> None:
        self._clock = clock
        self._delays = delays

    async def reserve(self, request: Request) -> None:
        await self._clock.sleep(next(self._delays))

    def settle(self, request: Request, result: Result) -> None:
        return None

    async def release(self, request: Request) -> None:
        return None


@given(
    delays=st.lists(st.sampled_from([0.0, 0.0, 0.2, 0.7, 2.0]), min_size=1, max_size=9),
    slow=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.6]), min_size=1, max_size=9),
    pauses=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=25),
)
@settings(max_examples=40, deadline=None)
def test_no_more_are_sent_in_a_window_than_its_limit_however_slow_guards_and_stores_are(
    delays: list[float], slow: list[float], pauses: list[float]
) -> None:
    asyncio.run(send_slowly(delays, slow, pauses))


async def send_slowly(delays: list[float], slow: list[float], pauses: list[float]) -> None:
    clock = FakeClock(wall=60.0 * 20_000_000 + 58.6)
    sent: list[float] = []

    async def fetch(call: Call) -> Outcome:
        sent.append(clock.time())
        return Outcome("page")

    limits = Limits(per_second=2, per_minute=8)
    plugin = SlowStorePlugin(
        operations=[paged],
        upstreams=[Upstream("u", ["paged"], fetch, limits=limits)],
        guards=lambda upstream: [SlowGuard(clock, cycle(delays))],
    )
    plugin.store = SlowToCount(clock, cycle(slow))
    config = {"argo": {"shared": f"slow://{id(plugin)}"}}  # another one for each example
    async with Argo.open(config, plugins={"p": plugin}, installed=False, clock=clock) as argo:
        opening = asyncio.ensure_future(context_of(argo).epochs.current())
        while not opening.done():  # in the time of a thread, and of the slow store
            await asyncio.sleep(0.001)
            await clock.advance(0.1)
        calls = []
        for pause in pauses:
            calls.append(asyncio.ensure_future(argo.call("paged")))
            await clock.advance(pause)
        for _ in range(60):
            await clock.advance(1.0)
        assert all(call.done() for call in calls)
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert len(sent) == sum(one == "page" for one in ended)
    assert {type(one) for one in ended} <= {str, QuotaExceeded}
    for seconds, limit in ((1, 2), (60, 8)):
        assert max(Counter(int(at // seconds) for at in sent).values(), default=0) <= limit


class SlowStorePlugin(FakePlugin):
    """Brings a store and a guard that are slow."""

    store: MemoryShared

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, OpenShared]:
        async def opened(url: str, clock: Clock) -> MemoryShared:
            return self.store

        return {"slow": opened}


async def test_a_quota_says_what_was_left_when_it_last_asked() -> None:
    """Of a window that began since, all is left."""
    clock = FakeClock()
    shared = MemoryShared(clock=clock)
    one, other = (quota(shared, clock, per_day=100, per_minute=2) for _ in range(2))
    assert {} == one.standing().limits
    assert await charge(one)
    assert await charge(other)
    assert {"minute": Left(1, 2), "day": Left(99, 100)} == one.standing().limits
    assert {"minute": Left(0, 2), "day": Left(98, 100)} == other.standing().limits
    assert not await charge(one)
    assert Left(0, 2) == one.standing().limits["minute"]
    await clock.advance(60.0)
    assert Left(2, 2) == one.standing().limits["minute"]


async def test_a_quota_says_whether_its_upstream_has_asked_to_be_left_alone() -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_day=100)
    assert {"pushed back": False} == guard.standing().states
    too_many = UpstreamError("slow", upstream="a", action=Action.RETRY, retry_after=30, status=429)
    await pushed_back(guard, too_many)
    assert {"pushed back": True} == guard.standing().states
    await clock.advance(30.1)
    assert {"pushed back": False} == guard.standing().states


async def test_a_quota_says_how_many_more_requests_may_be_under_way() -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, concurrency=2)
    assert {"at once": Left(2, 2)} == guard.standing().limits
    request = Request(REQUEST.upstream, ())
    await guard.reserve(request)
    assert {"at once": Left(1, 2)} == guard.standing().limits
    guard.settle(request, ())
    assert {"at once": Left(2, 2)} == guard.standing().limits


async def test_guards_say_how_they_stand_and_one_that_cannot_hides_no_other(open_argo) -> None:
    class Broken:
        name = "broken"

        async def reserve(self, request: Request) -> None: ...

        def settle(self, request: Request, result: object) -> None: ...

        async def release(self, request: Request) -> None: ...

        def standing(self) -> Standing:
            raise ValueError("a bug")

    plugin = FakePlugin(
        operations=[paged],
        upstreams=(Scripted("a", ["paged"], limits=Limits(per_day=3)),),
        guards=lambda upstream: [Broken()],
    )
    async with open_argo(plugins={"a": plugin}) as argo:
        await argo.call("paged")
        found = context_of(argo).standings()
    assert {("a", "quota"): Standing({"day": Left(2, 3)}, {"pushed back": False})} == found


@pytest.mark.parametrize(("ahead", "taken"), [(-1.0, True), (0.0, True), (60.0, False)])
async def test_a_pushback_that_a_store_has_kept_too_long_is_over(ahead: float, taken: bool) -> None:
    """A store whose clock is behind holds it for longer than its upstream asked for."""
    clock = FakeClock()
    shared = MemoryShared(clock=clock)
    guard = quota(shared, clock, per_minute=5)
    until = repr(clock.time() + ahead).encode()
    await shared.set("argo:quota:{a}:blocked", until, ttl=1e6)
    assert taken == await charge(guard)
    assert (not taken) == guard.standing().states["pushed back"]


@pytest.mark.parametrize(("seconds", "taken"), [(-1.0, True), (0.0, True), (60.0, False)])
async def test_only_a_pushback_of_some_time_is_remembered(seconds: float, taken: bool) -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_minute=5)
    await pushed_back(guard, UpstreamError("busy", upstream="a", retry_after=seconds, status=429))
    assert taken == await charge(guard)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.5, "would wait for 0.50 s"),
        (1.0, "would wait for 1.00 s"),
        (1.5, QuotaExceeded),
        (61.0, QuotaExceeded),
    ],
)
async def test_a_dry_run_says_what_a_request_would_wait_for(seconds: float, said: object) -> None:
    """As long as a request waits at most, and refuses beyond."""
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_minute=5)
    error = UpstreamError("busy", upstream="a", retry_after=seconds, status=429)
    await pushed_back(guard, error)
    if isinstance(said, str):
        assert said in await guard.dry_run(REQUEST)
    else:
        with pytest.raises(QuotaExceeded):
            await guard.dry_run(REQUEST)


async def test_a_request_waits_for_a_whole_second_if_it_must() -> None:
    clock = FakeClock(wall=1_000_000_020.0)
    guard = quota(MemoryShared(clock=clock), clock, per_second=1)
    assert await charge(guard)
    second = asyncio.create_task(charge(guard))
    await clock.advance(0.99)
    assert not second.done()
    await clock.advance(0.01)
    assert await second


@pytest.mark.parametrize(
    ("seconds", "believed"), [(60.0, 60.0), (86_400.0, 86_400.0), (1e6, 86_400.0)]
)
async def test_a_pushback_is_believed_for_a_day_at_most(seconds: float, believed: float) -> None:
    clock = FakeClock()
    shared = MemoryShared(clock=clock)
    guard = quota(shared, clock, per_minute=5)
    await pushed_back(guard, UpstreamError("busy", upstream="a", retry_after=seconds, status=429))
    with pytest.raises(QuotaExceeded, match="its own pushback.* ask again in") as error:
        await guard.reserve(REQUEST)
    assert clock.time() + believed == error.value.retry_at
    await clock.advance(believed)
    assert await charge(guard)
    assert None is await shared.get("argo:quota:{a}:blocked")


@pytest.mark.parametrize("status", [428, 430, 503, None])
def test_only_what_says_too_many_is_a_pushback(status: int | None) -> None:
    clock = FakeClock()
    guard = quota(MemoryShared(clock=clock), clock, per_minute=5)
    error = UpstreamError("busy", upstream="a", retry_after=60.0, status=status)
    assert None is guard.settle(REQUEST, (error,))


@pytest.mark.parametrize(
    ("limit", "seconds"), [("per_second", 1), ("per_minute", 60), ("per_day", 86_400)]
)
async def test_what_is_counted_is_kept_for_twice_its_window(limit: str, seconds: int) -> None:
    clock = FakeClock(wall=86_400.0 * 20_000)
    shared = MemoryShared(clock=clock)
    guard = quota(shared, clock, **{limit: 5})
    assert await charge(guard)
    key = f"argo:quota:{{a}}:{limit.removeprefix('per_')}:{86_400 * 20_000 // seconds}"
    await clock.advance(2.0 * seconds - 0.01)
    assert None is not await shared.get(key)
    await clock.advance(0.02)
    assert None is await shared.get(key)
