"""The circuit breaker of an upstream."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import Action, AllUpstreamsFailed, CircuitOpen, Outcome, UpstreamError
from argo_mw.testing import settle
from argo_mw_race.breaker import judge


def failure(**options: object) -> UpstreamError:
    return UpstreamError("down", upstream="a", **options)


CONFIG = {"failures": 3, "window": 6, "cool_down": 10.0, "longest": 30.0}


async def refused(stage, argo) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as raised:
        await stage.ask(argo)
    return raised.value


async def test_an_upstream_that_keeps_failing_is_left_alone(stage):
    a = stage.upstream("a", (0.0, failure()))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        error = await refused(stage, argo)
        assert error.retry_at == stage.clock.time() + 10.0
        assert len(a.asked) == 3


async def test_what_the_application_works_out_itself_is_never_left_alone(stage):
    """It failed by what it had asked of others: that may be well for the next symbol."""
    a = stage.upstream("a", *[(0.0, failure())] * 9, (0.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(9):
            with pytest.raises(UpstreamError):
                await stage.ask(argo, operation="worked_out")
        assert (await stage.ask(argo, operation="worked_out")).value == "well"


async def test_half_open_admits_one_probe_among_a_crowd(stage):
    a = stage.upstream("a", *[(0.0, failure())] * 3, (1.0, "well"))
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await stage.ask(argo)
        await stage.clock.advance(10.0)
        crowd = [asyncio.create_task(argo.outcome("bars", symbol="AAPL")) for _ in range(50)]
        await settle()
        assert len(a.asked) == 4
        await stage.clock.advance(1.0)
        results = await asyncio.gather(*crowd, return_exceptions=True)
        assert sum(isinstance(one, Outcome) for one in results) == 1
        assert sum(isinstance(one, CircuitOpen) for one in results) == 49
        assert (await stage.ask(argo)).value == "well"


async def test_each_failed_probe_doubles_the_time_up_to_a_limit(stage):
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
        assert waits == [10.0, 20.0, 30.0, 30.0]


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
        assert (await stage.ask(argo)).value == "well"


async def test_hanging_until_the_timeout_is_failing(stage):
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
        assert slow.cancelled == 20
        assert (await stage.ask(argo)).value == "slow"


async def test_a_failure_now_and_then_does_not_open_it(stage):
    script = [(0.0, failure()), (0.0, "a"), (0.0, "a"), (0.0, "a")] * 10
    a = stage.upstream("a", *script)
    async with stage.open(a, breaker=CONFIG) as argo:
        for _ in range(10):
            with pytest.raises(UpstreamError, match="down"):
                await stage.ask(argo)
            for _ in range(3):
                assert (await stage.ask(argo)).value == "a"
        assert len(a.asked) == 40


async def test_the_others_go_on_while_one_is_left_alone(stage):
    a = stage.upstream("a", (0.0, failure()))
    b = stage.upstream("b", (0.1, "b"))
    async with stage.open(a, b, breaker=CONFIG, order="configured") as argo:
        for _ in range(30):
            assert (await stage.ask(argo)).value == "b"
        assert 3 <= len(a.asked) <= 4


async def test_it_can_be_left_out(stage):
    a = stage.upstream("a", (0.0, failure()))
    b = stage.upstream("b", (0.0, failure()))
    async with stage.open(a, b, breaker={"failures": 0}, order="configured") as argo:
        for _ in range(30):
            with pytest.raises(AllUpstreamsFailed):
                await stage.ask(argo)
        assert len(a.asked) == 30


def test_what_says_what_about_an_upstreams_health():
    assert judge([Outcome(1)], timed_out=False) == "well"
    assert judge([failure()], timed_out=False) == "failed"
    assert judge([failure(), Outcome(1)], timed_out=False) == "well"
    assert judge([failure(action=Action.STOP)], timed_out=False) == "well"
    assert judge([failure(status=429)], timed_out=False) == "unknown"
    assert judge([asyncio.CancelledError()], timed_out=False) == "unknown"
    assert judge([asyncio.CancelledError()], timed_out=True) == "failed"
    assert judge([KeyError("broken")], timed_out=False) == "failed"
    assert judge([CircuitOpen("open")], timed_out=False) == "unknown"
