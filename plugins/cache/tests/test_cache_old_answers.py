"""Old answers are served while nothing newer can be had, in time, and without asking for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from argo_mw import Argo, DeadlineExceeded, NotFound, Outcome, UpstreamError
from argo_mw.plugin import Call, CallEnded, Layer, LayerBypassed, Next, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_cache import CachePlugin, entry
from argo_mw_cache.throttle import Throttle
from argo_mw_coalesce import plugin as coalesce

pytestmark = pytest.mark.usefixtures("no_luck")

OPERATION_TIMEOUT = 30.0
TTL = 60.0


@operation(timeout=OPERATION_TIMEOUT, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture(params=["on", "off"])
def coalescing(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_argo(
    upstream: Scripted,
    clock: FakeClock,
    coalescing: str = "on",
    timeout: float = OPERATION_TIMEOUT,
    **config: object,
) -> Argo:
    settings = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"cache": {"ttl": TTL, **config}, "coalesce": {"failure_ttl": 0.0}},
        "operations": {"bars": {"timeout": timeout}},
        "flags": {"coalesce": coalescing},
    }
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "coalesce": coalesce, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def source(*script: object) -> Scripted:
    return Scripted("a", ["bars"], *script, retries=0, timeout=1_000.0)


async def answer_within(
    argo: Argo, clock: FakeClock, seconds: float, **options: float
) -> Outcome | BaseException:
    """Return what a caller gets that is answered within *seconds*."""
    caller = asyncio.create_task(argo.options(**options).outcome("bars", symbol="A"))  # type: ignore[arg-type]
    await clock.advance(seconds)
    assert caller.done()
    return caller.exception() or caller.result()


@pytest.mark.parametrize("soft", [0.0, 0.5, 2.0, 100.0])
@pytest.mark.parametrize("callers", [0.3, 2.0, 10.0, 50.0])
@pytest.mark.parametrize("operations", [0.4, 2.0, 20.0])
async def test_a_caller_gets_the_old_answer_in_time_while_the_source_hangs(
    coalescing: str, soft: float, callers: float, operations: float
) -> None:
    """Whichever of its own timeout, the operation's and ``soft_timeout`` is the shortest."""
    clock, upstream = FakeClock(start=0.1), source("old", "new")
    async with open_argo(upstream, clock, coalescing, operations, soft_timeout=soft) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        outcome = await answer_within(argo, clock, callers, timeout=callers)
        assert isinstance(outcome, Outcome)
        assert "old" == outcome.value
        assert outcome.notes[-1].text.startswith("stale, because ")
        upstream.gate.set()
        await settle()


async def test_callers_of_one_flight_get_the_old_answer_each_in_its_own_time() -> None:
    clock, upstream = FakeClock(start=0.1), source({"price": 1})
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        callers = {
            seconds: asyncio.create_task(argo.options(timeout=seconds).call("bars", symbol="A"))
            for seconds in (0.5, 1.0, 1.5, 30.0)
        }
        for seconds in (0.5, 1.0, 1.5, 2.0):
            await clock.advance(0.5)
            assert [s <= seconds or seconds >= 2.0 for s in callers] == [
                caller.done() for caller in callers.values()
            ]
        answers = [await caller for caller in callers.values()]
        assert [{"price": 1}] * 4 == answers
        assert 4 == len({id(answer) for answer in answers})
        assert (2, 0) == (len(upstream.asked), upstream.cancelled)


async def test_a_caller_gets_an_old_answer_of_the_store_in_time_too() -> None:
    """Where none is kept in memory."""
    clock, upstream = FakeClock(start=0.1), source("old")
    config = {
        "argo": {"shared": "memory://old-answers", "strict": True},
        "plugins": {"cache": {"ttl": TTL, "memory": False}},
    }
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "coalesce": coalesce, "asked": asked}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        outcome = await answer_within(argo, clock, 1.0, timeout=1.0)
        assert isinstance(outcome, Outcome)
        assert "old" == outcome.value


async def test_the_load_goes_on_and_its_answer_is_kept(coalescing: str) -> None:
    clock, upstream = FakeClock(start=0.1), source("old", "new")
    async with open_argo(upstream, clock, coalescing) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        await answer_within(argo, clock, 1.0, timeout=1.0)
        upstream.gate.set()
        await settle()
        assert "new" == await argo.call("bars", symbol="A")
    assert (2, 0) == (len(upstream.asked), upstream.cancelled)


async def test_a_first_load_whose_callers_timed_out_is_kept() -> None:
    clock, upstream = FakeClock(start=0.1), source("slow")
    upstream.gate.clear()
    async with open_argo(upstream, clock) as argo:
        late = await answer_within(argo, clock, 1.0, timeout=1.0)
        assert isinstance(late, DeadlineExceeded)
        upstream.gate.set()
        await settle()
        assert "slow" == await argo.call("bars", symbol="A")
    assert 1 == len(upstream.asked)


async def test_no_answer_stands_in_that_must_not(coalescing: str) -> None:
    """One that was invalidated, is older than its caller accepts, or is out of its grace."""
    for prepare, options in (
        ("invalidate", {}),
        ("wait", {}),
        ("nothing", {"max_age": 10.0}),
    ):
        clock, upstream = FakeClock(start=0.1), source("old")
        async with open_argo(upstream, clock, coalescing, grace=100.0) as argo:
            await argo.call("bars", symbol="A")
            await clock.advance(TTL + 1)
            if prepare == "invalidate":
                await argo.invalidate("subject:A")
            elif prepare == "wait":
                await clock.advance(100.0)
            upstream.gate.clear()
            late = await answer_within(argo, clock, 1.0, timeout=1.0, **options)
            assert isinstance(late, DeadlineExceeded), prepare
            upstream.gate.set()
            await settle()


async def test_an_answer_invalidated_while_its_caller_waits_does_not_stand_in() -> None:
    clock, upstream = FakeClock(start=0.1), source("old")
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        caller = asyncio.create_task(argo.options(timeout=1.0).call("bars", symbol="A"))
        await clock.advance(0.5)
        await argo.invalidate("subject:A")
        await clock.advance(0.6)
        assert isinstance(caller.exception(), DeadlineExceeded)


async def test_a_call_that_an_old_answer_ends_is_announced_with_it() -> None:
    clock, upstream = FakeClock(start=0.1), source("old")
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        events = capture_events(argo)
        await answer_within(argo, clock, 1.0, timeout=1.0)
        ended = [event for event in events.of(CallEnded) if not event.call.refresh]
        assert ["old"] == [event.outcome and event.outcome.value for event in ended]


class Broken:
    """A layer whose old answers cannot be used."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    def find(self, call: Call) -> None:
        return None

    def stand_in(self, call: Call) -> Outcome | None:
        raise RuntimeError


@pytest.mark.parametrize("closed", [False, True])
async def test_a_layer_whose_old_answer_fails_is_reported(closed: bool) -> None:
    """The next layer is asked, unless the first one fails closed."""
    clock, upstream = FakeClock(start=0.1), source("old")
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    layer = Layer("broken", Broken(), before=("coalesce",), fail_closed=closed)
    plugins = {
        "broken": FakePlugin(layer=layer),
        "coalesce": coalesce,
        "cache": CachePlugin,
        "asked": asked,
    }
    config = {"argo": {"shared": "memory://"}}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(130.0)
        upstream.gate.clear()
        events = capture_events(argo)
        got = await answer_within(argo, clock, 1.0, timeout=1.0)
        assert isinstance(got, DeadlineExceeded if closed else Outcome)
        assert closed or ["broken"] == [event.layer for event in events.of(LayerBypassed)]


# -- Failing sources -----------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.5])
async def test_a_failing_source_is_asked_once_in_each_interval(
    coalescing: str, pause: float
) -> None:
    clock = FakeClock(start=0.1)
    upstream = source("old", UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock, coalescing, throttle=2.0) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        began = clock.monotonic()
        for _ in range(20):
            outcome = await argo.outcome("bars", symbol="A")
            assert ("old", "stale, because down") == (outcome.value, outcome.notes[-1].text)
            await clock.advance(pause)
        assert len(upstream.asked) - 1 <= 1 + (clock.monotonic() - began) / 2.0


async def test_a_source_that_hangs_is_asked_once_in_each_interval(coalescing: str) -> None:
    """Also a load that nobody waits for any more."""
    clock, upstream = FakeClock(start=0.1), source("old")
    async with open_argo(upstream, clock, coalescing, timeout=4.0, throttle=6.0) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        for _ in range(40):  # 20 seconds: a load of 4 s, then 6 s of rest, twice
            outcome = await answer_within(argo, clock, 0.5, timeout=0.5)
            assert isinstance(outcome, Outcome)
        assert 1 + 2 == len(upstream.asked)


async def test_a_source_that_works_again_is_asked_as_before() -> None:
    clock = FakeClock(start=0.1)
    upstream = source("old", UpstreamError("down", upstream="a"), "new", "newer")
    async with open_argo(upstream, clock, throttle=2.0) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        assert "old" == await argo.call("bars", symbol="A")
        await clock.advance(2.1)
        assert "new" == await argo.call("bars", symbol="A")
        await argo.expire("subject:A")
        assert "newer" == await argo.call("bars", symbol="A")


async def test_without_an_old_answer_a_failing_source_is_asked_by_every_caller() -> None:
    clock, upstream = FakeClock(start=0.1), source(UpstreamError("down", upstream="a"))
    async with open_argo(upstream, clock, "off") as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await argo.call("bars", symbol="A")
    assert 3 == len(upstream.asked)


async def test_not_found_is_no_failure_of_the_source() -> None:
    clock = FakeClock(start=0.1)
    upstream = source("old", NotFound("gone", upstream="a"))
    async with open_argo(upstream, clock, negative_ttl=0.0) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        for _ in range(2):
            with pytest.raises(NotFound):
                await argo.call("bars", symbol="A")
    assert 3 == len(upstream.asked)


async def test_a_caller_that_leaves_is_no_failure_of_the_source() -> None:
    clock, upstream = FakeClock(start=0.1), source("old", "lost", "new")
    async with open_argo(upstream, clock) as argo:
        await argo.call("bars", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        young = asyncio.create_task(argo.options(max_age=1.0).call("bars", symbol="A"))
        await settle()
        young.cancel()
        await settle()
        upstream.gate.set()
        assert "new" == await argo.call("bars", symbol="A")


async def test_a_failing_source_is_not_asked_early_by_every_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(start=0.1)
    upstream = source("old", UpstreamError("down", upstream="a"))
    upstream.gate.clear()
    async with open_argo(upstream, clock, throttle=2.0) as argo:
        first = asyncio.create_task(argo.call("bars", symbol="A"))
        await clock.advance(2.0)
        upstream.gate.set()
        await first
        await clock.advance(TTL - 1.0)
        monkeypatch.setattr(entry.random, "random", lambda: 0.99)
        for _ in range(20):
            assert "old" == await argo.call("bars", symbol="A")
            await settle()
    assert 2 == len(upstream.asked)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["fail", "succeed", "wait"]))))
@hypothesis_settings(deadline=None)
def test_the_throttle_knows_the_failures_of_the_last_seconds(steps: list[tuple[str, str]]) -> None:
    clock, failed = FakeClock(start=0.1), {}
    throttle = Throttle(2.0, clock)
    for key, step in steps:
        match step:
            case "fail":
                throttle.failed(key, "down")
                failed[key] = clock.monotonic()
            case "succeed":
                throttle.succeeded(key)
                failed.pop(key, None)
            case "wait":
                clock.stall(0.75)
        now = clock.monotonic()
        expected = {key for key, when in failed.items() if now < when + 2.0}
        assert expected == {key for key in "abcdef" if throttle.why(key) is not None}


def test_the_throttle_is_bounded() -> None:
    throttle = Throttle(2.0, FakeClock(start=0.1))
    for number in range(10_100):
        throttle.failed(str(number), "down")
    assert 10_000 == len(throttle._failures)
    assert throttle.why("10099") is not None
    assert throttle.why("0") is None


def test_a_throttle_of_0_seconds_remembers_nothing() -> None:
    throttle = Throttle(0.0, FakeClock(start=0.1))
    throttle.failed("a", "down")
    assert throttle.why("a") is None
