"""The circuit breaker of an upstream."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import Action, AllUpstreamsFailed, CircuitOpen, Outcome, UpstreamError
from argo_mw.model.call import make_call
from argo_mw.plugin import Request, context_of, operation
from argo_mw.testing import (
    FakeClock,
    GuardConformance,
    GuardUnderTest,
    Scripted,
    SlowStore,
    settle,
)
from argo_mw.testing.guards import context_on
from argo_mw_race.breaker import Breaker, assess
from argo_mw_race.config import BreakerConfig


def failure(**options: object) -> UpstreamError:
    return UpstreamError("down", upstream="a", **options)


CONFIG = {"failure_threshold": 3, "window": 6, "cool_down": 10.0, "max_cool_down": 30.0}


async def refused(stage, argo) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as raised:
        await stage.ask(argo)
    return raised.value


async def test_the_breaker_of_an_upstream_that_keeps_failing_opens(stage):
    a = stage.upstream("a", (0.0, failure()))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        error = await refused(stage, argo)
        assert error.retry_at == stage.clock.time() + 10.0
        assert 3 == len(a.asked)


async def test_computations_have_no_breaker(stage):
    """They fail through the calls that they make, which may succeed for the next symbol."""
    a = stage.upstream("a", *[(0.0, failure())] * 9, (0.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(9):
            with pytest.raises(UpstreamError):
                await stage.ask(argo, operation="worked_out")
        assert "well" == (await stage.ask(argo, operation="worked_out")).value


async def test_half_open_admits_one_probe_among_a_crowd(stage):
    a = stage.upstream("a", *[(0.0, failure())] * 3, (1.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        await stage.clock.advance(10.0)
        crowd = [asyncio.create_task(argo.outcome("bars", symbol="AAPL")) for _ in range(50)]
        await settle()
        assert 4 == len(a.asked)
        await stage.clock.advance(1.0)
        results = await asyncio.gather(*crowd, return_exceptions=True)
        assert 1 == sum(isinstance(one, Outcome) for one in results)
        assert 49 == sum(isinstance(one, CircuitOpen) for one in results)
        assert "well" == (await stage.ask(argo)).value


async def test_an_upstream_that_nobody_asks_for_long_is_probed_by_the_first_who_does(stage):
    a = stage.upstream("a", *[(0.0, failure())] * 3, (0.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        await stage.clock.advance(3_600.0)
        assert "well" == (await stage.ask(argo)).value


async def test_each_failed_probe_doubles_the_cool_down_up_to_a_limit(stage):
    a = stage.upstream("a", (0.0, failure()))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        waits = []
        for _ in range(4):
            error = await refused(stage, argo)
            waits.append(error.retry_at - stage.clock.time())
            await stage.clock.advance(waits[-1])
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        assert [10.0, 20.0, 30.0, 30.0] == waits


async def test_a_cancelled_probe_makes_room_for_the_next(stage):
    a = stage.upstream("a", *[(0.0, failure())] * 3, (1.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        await stage.clock.advance(10.0)
        probe = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await settle()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert "well" == (await stage.ask(argo)).value


async def test_a_request_that_hangs_until_its_timeout_counts_as_failed(stage):
    a = stage.upstream("a", (1e9, "never"), timeout=2.0)
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError, match="did not answer within 2 s"):
                await stage.ask(argo)
        await refused(stage, argo)


async def test_lost_races_do_not_open_the_breaker(stage):
    slow = stage.upstream("slow", (1.0, "slow"))
    fast = stage.upstream("fast", *[(0.1, "fast")] * 20, (9.0, "fast"))
    async with stage.open(slow, fast, strategy="race", breaker=CONFIG) as argo:
        for _ in range(20):
            await stage.ask(argo)
        assert 20 == slow.cancelled
        assert "slow" == (await stage.ask(argo)).value


async def test_occasional_failures_do_not_open_the_breaker(stage):
    script = [(0.0, failure()), (0.0, "a"), (0.0, "a"), (0.0, "a")] * 10
    a = stage.upstream("a", *script)
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(10):
            with pytest.raises(UpstreamError, match="down"):
                await stage.ask(argo)
            for _ in range(3):
                assert "a" == (await stage.ask(argo)).value
        assert 40 == len(a.asked)


async def test_other_upstreams_are_asked_while_one_breaker_is_open(stage):
    a = stage.upstream("a", (0.0, failure()))
    b = stage.upstream("b", (0.1, "b"))
    async with stage.open(a, b, breaker=CONFIG, order="configured") as argo:
        for _ in range(30):
            assert "b" == (await stage.ask(argo)).value
        assert 3 <= len(a.asked) <= 4


async def test_breakers_can_be_switched_off(stage):
    a = stage.upstream("a", (0.0, failure()))
    b = stage.upstream("b", (0.0, failure()))
    async with stage.open(a, b, breaker={"failure_threshold": 0}, order="configured") as argo:
        for _ in range(30):
            with pytest.raises(AllUpstreamsFailed):
                await stage.ask(argo)
        assert 30 == len(a.asked)


def test_the_health_of_an_upstream_is_assessed_by_its_results():
    assert "healthy" == assess([Outcome(1)], timed_out=False)
    assert "failed" == assess([failure()], timed_out=False)
    assert "healthy" == assess([failure(), Outcome(1)], timed_out=False)
    assert "healthy" == assess([failure(action=Action.STOP)], timed_out=False)
    assert "unknown" == assess([failure(status=429)], timed_out=False)
    assert "unknown" == assess([asyncio.CancelledError()], timed_out=False)
    assert "failed" == assess([asyncio.CancelledError()], timed_out=True)
    assert "failed" == assess([KeyError("broken")], timed_out=False)
    assert "unknown" == assess([CircuitOpen("open")], timed_out=False)


@operation(subject="symbol")
def prices(symbol: str) -> object:
    """Prices of one symbol."""


def make_breaker(*, half_open: bool):
    async def make(store, clock):
        upstream = Scripted("a", ["prices"]).upstream
        guard = Breaker(upstream, BreakerConfig(**CONFIG), context_on(store, clock))

        def request():
            return Request(upstream, (make_call(prices, {"symbol": "AAPL"}, tenant=""),))

        async def taken():
            return guard.state, guard._probe, len(guard._started)

        async def fail():
            for _ in range(1 if half_open else 3):
                await guard.reserve(failing := request())
                guard.settle(failing, (failure(),))

        if half_open:
            for _ in range(3):
                await guard.reserve(failing := request())
                guard.settle(failing, (failure(),))
            await clock.advance(10.0)
            await guard.reserve(probe := request())
            await guard.release(probe)
        return GuardUnderTest(guard, request, taken, fail)

    return make


class TestBreaker(GuardConformance):
    @pytest.fixture
    def make_guard(self):
        return make_breaker(half_open=False)


class TestHalfOpenBreaker(GuardConformance):
    """The one probe that it admits is taken and given back."""

    @pytest.fixture
    def make_guard(self):
        return make_breaker(half_open=True)


@pytest.mark.parametrize(
    ("half_open", "said"), [(False, ""), (True, "would probe whether it is healthy again")]
)
async def test_a_dry_run_speaks_of_a_probe_where_there_would_be_one(half_open, said):
    clock = FakeClock()
    under = await make_breaker(half_open=half_open)(SlowStore(clock=clock), clock)
    assert said == await under.guard.dry_run(under.request())


async def test_a_breaker_says_when_to_come_back(stage):
    a = stage.upstream("a", *[(0.0, failure())] * 3, (1e9, "never"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        for left in (10.0, 6.0):
            error = await refused(stage, argo)
            assert pytest.approx(stage.clock.time() + left) == error.retry_at
            assert f"ask again in {left:.0f} s" in str(error)
            await stage.clock.advance(4.0)
        await stage.clock.advance(2.0)
        probe = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await settle()
        error = await refused(stage, argo)
        assert pytest.approx(stage.clock.time() + 10.0) == error.retry_at
        probe.cancel()
        await asyncio.wait([probe])


@pytest.mark.parametrize(("seconds", "said"), [(9.0, None), (10.0, "would probe"), (11.0, "would")])
async def test_a_dry_run_of_an_open_breaker_says_when_it_would_probe(seconds, said):
    clock = FakeClock(start=0.1)
    under = await make_breaker(half_open=False)(SlowStore(clock=clock), clock)
    await under.exhaust()
    await clock.advance(seconds)
    if said is None:
        with pytest.raises(CircuitOpen, match="ask again in 1 s") as raised:
            await under.guard.dry_run(under.request())
        assert clock.time() + 1.0 == pytest.approx(raised.value.retry_at)
    else:
        assert (await under.guard.dry_run(under.request())).startswith(said)


@pytest.mark.parametrize(("share", "state"), [(0.98, "closed"), (0.99, "open"), (1.0, "open")])
async def test_a_request_that_is_cancelled_close_to_its_timeout_has_timed_out(share, state):
    clock = FakeClock(start=1.0)
    under = await make_breaker(half_open=False)(SlowStore(clock=clock), clock)
    for _ in range(3):
        await under.guard.reserve(request := under.request())
        await clock.advance(share * request.upstream.timeout + 1e-6)
        under.guard.settle(request, (asyncio.CancelledError(),))
    assert state == under.guard.state


async def test_ninety_nine_hundredths_of_a_timeout_are_enough():
    clock = FakeClock(start=0.0)
    under = await make_breaker(half_open=False)(SlowStore(clock=clock), clock)
    hanging = [under.request() for _ in range(3)]
    for request in hanging:
        await under.guard.reserve(request)
    await clock.advance(0.99 * hanging[0].upstream.timeout)
    for request in hanging:
        under.guard.settle(request, (asyncio.CancelledError(),))
    assert "open" == under.guard.state


async def test_a_breaker_says_in_which_state_it_is(stage):
    def states(argo) -> set[str]:
        standing = context_of(argo).standings()["a", "breaker"]
        assert {"closed", "open", "half-open"} == standing.states.keys()
        return {state for state, so in standing.states.items() if so}

    a = stage.upstream("a", *[(0.0, failure())] * 3, (0.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        assert {"closed"} == states(argo)
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        assert {"open"} == states(argo)
        for seconds in (10.0, 600.0):
            await stage.clock.advance(seconds)
            assert {"half-open"} == states(argo)
        await stage.ask(argo)
        assert {"closed"} == states(argo)


# -- what counts -----------------------------------------------------------------------------------


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=1.0)


@pytest.fixture
async def closed(clock) -> GuardUnderTest:
    """Return a breaker that three failures among six requests open."""
    return await make_breaker(half_open=False)(SlowStore(clock=clock), clock)


async def settled(under: GuardUnderTest, *results: object) -> str:
    """Let requests end with *results*, one after the other; return the state afterwards."""
    for result in results:
        await under.guard.reserve(request := under.request())
        under.guard.settle(request, (result,))
    return under.guard.state


@pytest.mark.parametrize("answers", [3, 4])
async def test_only_failures_among_the_last_requests_count(closed, answers):
    assert "closed" == await settled(closed, failure(), failure(), *[Outcome(1)] * answers)
    assert ("open" if answers < 4 else "closed") == await settled(closed, failure())


async def test_results_that_show_nothing_push_no_failure_out(closed):
    nothing = [failure(status=429), asyncio.CancelledError()] * 6
    assert "closed" == await settled(closed, failure(), failure(), *nothing)
    assert "open" == await settled(closed, failure())


async def test_failures_of_requests_from_before_it_opened_keep_it_open_no_longer(closed, clock):
    late = [closed.request() for _ in range(3)]
    for request in late:
        await closed.guard.reserve(request)
    assert "open" == await settled(closed, *[failure()] * 3)
    await clock.advance(9.0)
    for request in late:
        closed.guard.settle(request, (failure(),))
    await clock.advance(1.0)
    assert "closed" == await settled(closed, Outcome(1))


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (Outcome(1), "closed"),
        (failure(action=Action.STOP), "closed"),
        (failure(), "open"),
        (failure(status=429), "half-open"),
        (asyncio.CancelledError(), "half-open"),
    ],
)
async def test_only_a_probe_that_shows_something_ends_the_half_open_state(clock, result, state):
    half_open = await make_breaker(half_open=True)(SlowStore(clock=clock), clock)
    assert state == await settled(half_open, result)


async def test_a_breaker_that_has_closed_forgets_the_failures_and_the_longer_cool_down(clock):
    half_open = await make_breaker(half_open=True)(SlowStore(clock=clock), clock)
    assert "open" == await settled(half_open, failure())
    await clock.advance(20.0)
    assert "closed" == await settled(half_open, Outcome(1), failure(), failure())
    assert "open" == await settled(half_open, failure())
    await clock.advance(10.0)
    assert "closed" == await settled(half_open, Outcome(1))
