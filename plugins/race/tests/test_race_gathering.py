"""Calls that travel in one request are late, hedged and learned from as the request that they are."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import Limits, layers_of
from argo_mw.testing import settle
from argo_mw_race.budget import HedgingBudget
from argo_mw_race.gathering import Gathering
from argo_mw_race.ranking import Ranking

SIX = tuple(f"S{number}" for number in range(6))


def ranking_of(argo) -> Ranking:
    [layer] = layers_of(argo)
    return layer.middleware.ranking(engine_of(argo).operation("bars"))


def stats_of(argo, paced):
    return ranking_of(argo).stats(paced.upstream)


async def ask_for(stage, argo, symbols=SIX) -> list[Outcome]:
    """Return the outcomes for *symbols*, which are asked for at once."""
    asking = asyncio.gather(*(argo.outcome("bars", symbol=symbol) for symbol in symbols))
    await stage.clock.advance(0)
    for _ in range(600):
        if asking.done():
            break
        await stage.clock.advance(0.01)
    return await asking


class TestHedges:
    async def test_a_slow_request_of_six_calls_is_not_hedged_by_six_that_cost_too_much(self, stage):
        slow = stage.upstream("slow", (3.0, "slow"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(slow, other, initial_latency=0.5) as argo:
            assert ["slow"] * 6 == [one.value for one in await ask_for(stage, argo)]
            assert (1, 0) == (len(slow.requests), len(other.requests))

    async def test_it_is_hedged_by_six_once_the_budget_has_saved_up_six(self, stage):
        slow = stage.upstream("slow", *[(0.1, "fast")] * 10, (3.0, "slow"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(slow, other, initial_latency=0.5, hedge_budget=0.5) as argo:
            for _ in range(10):
                await ask_for(stage, argo)
            assert pytest.approx(6.0) == ranking_of(argo).budget.balance
            assert ["other"] * 6 == [one.value for one in await ask_for(stage, argo)]
            assert (11, 6) == (len(slow.requests), len(other.requests))
            assert pytest.approx(0.5) == ranking_of(argo).budget.balance
            await settle()
            assert 1 == slow.cancelled

    async def test_onto_an_upstream_that_takes_several_calls_it_is_one_hedge(self, stage):
        slow = stage.upstream("slow", (3.0, "slow"), gathers=True)
        other = stage.upstream("other", (0.1, "other"), gathers=True)
        async with stage.open(slow, other, initial_latency=0.5) as argo:
            assert ["other"] * 6 == [one.value for one in await ask_for(stage, argo)]
            assert [1, 1] == [len(slow.requests), len(other.requests)]
            assert pytest.approx(0.07) == ranking_of(argo).budget.balance

    async def test_a_request_pays_in_once_whatever_travels_in_it(self, stage):
        fast = stage.upstream("fast", (0.1, "fast"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(fast, other, hedge_budget=0.25) as argo:
            await ask_for(stage, argo)
            assert pytest.approx(1.25) == ranking_of(argo).budget.balance
            await ask_for(stage, argo, ["AAPL"])
            assert pytest.approx(1.5) == ranking_of(argo).budget.balance

    def test_what_was_paid_for_branches_that_no_longer_need_it_is_given_back(self, stage):
        budget = HedgingBudget(1.0, 10.0)
        for _ in range(5):
            budget.deposit()
        gathering, target = Gathering(), stage.upstream("other").upstream
        for _ in range(2):
            gathering.add()
        paid = gathering.pay_for_hedge(budget, target)
        assert paid is not None
        assert 3.0 == budget.balance
        assert [False, False] == [gathering.leave(budget, hedged=False) for _ in range(2)]
        assert 5.0 == budget.balance
        assert gathering.leave(budget, hedged=True)
        assert 5.0 == budget.balance


class TestLearning:
    async def test_one_request_is_one_observation(self, stage):
        """Twenty calls in a request would be enough for a hedge delay, and hedge the next one."""
        gathers = stage.upstream("gathers", (0.1, "bars"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        symbols = [f"S{number}" for number in range(30)]
        async with stage.open(gathers, other) as argo:
            for count in range(1, 21):
                assert 1.0 == ranking_of(argo).hedge_delay(gathers.upstream)
                await ask_for(stage, argo, symbols)
                assert count == stats_of(argo, gathers).latencies.answers
            assert pytest.approx(0.1, abs=0.02) == ranking_of(argo).hedge_delay(gathers.upstream)

    async def test_one_late_request_is_no_upstream_that_hangs(self, stage):
        slow = stage.upstream("slow", (3.0, "slow"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(slow, other, initial_latency=0.5) as argo:
            asking = [asyncio.create_task(argo.outcome("bars", symbol=name)) for name in SIX]
            for _ in range(20):
                await stage.clock.advance(0.05)
            stats = stats_of(argo, slow)
            assert (1, 1, False) == (stats.overdue, stats.in_flight, stats.stuck)
            await stage.clock.advance(3.0)
            await asyncio.gather(*asking)
            assert (0, 0) == (stats.overdue, stats.in_flight)

    async def test_a_failed_request_is_one_failure(self, stage):
        broken = stage.upstream("broken", (0.1, "bars"), (0.1, ValueError("no")), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(broken, other) as argo:
            await ask_for(stage, argo)
            await ask_for(stage, argo)
            assert pytest.approx(0.1, abs=0.01) == stats_of(argo, broken).error_rate
            assert 6 == stats_of(argo, broken).tally.failed

    async def test_a_call_that_leaves_its_request_early_shows_nothing(self, stage):
        slow = stage.upstream("slow", (0.5, "slow"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(slow, other) as argo:
            leaving = asyncio.create_task(argo.outcome("bars", symbol="LEAVES"))
            staying = asyncio.create_task(argo.outcome("bars", symbol="STAYS"))
            await stage.clock.advance(0.1)
            leaving.cancel()
            await settle()
            assert 0 == stats_of(argo, slow).latencies.answers
            await stage.clock.advance(0.5)
            assert "slow" == (await staying).value
            assert pytest.approx(0.5, abs=0.02) == stats_of(argo, slow).latency
            assert [("LEAVES", "STAYS")] == [tuple(c.subject for c in r) for r in slow.requests]

    async def test_a_failure_soon_after_the_start_does_not_turn_one_request_into_six(self, stage):
        gathers = stage.upstream("gathers", (0.1, "bars"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(gathers, other) as argo:
            await ask_for(stage, argo)
            assert pytest.approx(6.0) == stats_of(argo, gathers).calls_per_request
            await stage.clock.advance(60.0)
            gathers.script = [(0.1, ValueError("no")), (0.1, "bars")]
            assert ["other"] * 6 == [one.value for one in await ask_for(stage, argo)]
            before = len(other.requests)
            await ask_for(stage, argo)
            assert before == len(other.requests)

    async def test_a_failure_does_not_turn_one_request_into_six(self, stage):
        gathers = stage.upstream("gathers", (0.1, "bars"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(gathers, other) as argo:
            for _ in range(9):
                await ask_for(stage, argo)
            await stage.clock.advance(60.0)
            gathers.script = [(0.1, ValueError("no")), (0.1, "bars")]
            assert ["other"] * 6 == [one.value for one in await ask_for(stage, argo)]
            assert stats_of(argo, gathers).error_rate > 0.5
            assert ["bars"] * 6 == [one.value for one in await ask_for(stage, argo)]

    async def test_an_upstream_that_fails_or_is_slow_for_long_is_left_all_the_same(self, stage):
        gathers = stage.upstream("gathers", *[(0.1, "bars")] * 30, (4.0, "slow"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        symbols = [f"S{number}" for number in range(50)]
        async with stage.open(gathers, other, hedge_budget=0.0, initial_latency=0.2) as argo:
            for _ in range(30):
                await ask_for(stage, argo, symbols)
            answers = [(await ask_for(stage, argo, symbols))[0].value for _ in range(30)]
            assert ["slow", "other"] == list(dict.fromkeys(answers))

    @pytest.mark.parametrize(
        ("hedge_budget", "asked"), [(0.5, [("S0", "S1", "S2")]), (0.05, [("S0",)])]
    )
    async def test_what_may_be_well_again_is_probed_by_as_many_as_the_budget_can_hedge(
        self, stage, hedge_budget, asked
    ):
        gathers = stage.upstream("gathers", (0.1, "bars"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(gathers, other, hedge_budget=hedge_budget) as argo:
            for _ in range(5):
                await stage.ask(argo)
            await stage.clock.advance(60.0)
            gathers.script = [(0.1, ValueError("no")), (0.1, "bars")]
            assert "other" == (await stage.ask(argo)).value
            assert "other" == (await stage.ask(argo)).value
            await stage.clock.advance(120.0)
            before, elsewhere = len(gathers.requests), len(other.requests)
            await ask_for(stage, argo, SIX[:3])
            probed = [tuple(call.subject for call in one) for one in gathers.requests[before:]]
            assert asked == probed
            assert 3 - len(asked[0]) == len(other.requests) - elsewhere
            assert 0 == stats_of(argo, gathers).unsent

    async def test_a_call_that_leaves_before_its_request_is_sent_leaves_nothing_behind(self, stage):
        gathers = stage.upstream("gathers", (0.1, "bars"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(gathers, other) as argo:
            leaving = asyncio.create_task(argo.outcome("bars", symbol="LEAVES"))
            await settle()
            assert 1 == stats_of(argo, gathers).unsent
            leaving.cancel()
            await settle()
            assert (0, 0) == (stats_of(argo, gathers).unsent, stats_of(argo, gathers).in_flight)

    async def test_a_call_that_leaves_while_its_request_waits_to_go_out_is_no_branch_of_it(
        self, stage
    ):
        gathers = stage.upstream(
            "gathers", (1.0, "bars"), gathers=True, limits=Limits(concurrency=1)
        )
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(gathers, other, initial_latency=9.0) as argo:
            before = asyncio.create_task(argo.outcome("bars", symbol="BEFORE"))
            await stage.clock.advance(0.5)
            leaving, staying = (
                asyncio.create_task(argo.outcome("bars", symbol=name)) for name in ("L", "S")
            )
            await stage.clock.advance(0.25)
            leaving.cancel()
            await stage.clock.advance(0.5)
            assert before.done()
            assert 1 == stats_of(argo, gathers).in_flight
            await stage.clock.advance(1.0)
            assert staying.done()
            assert (0, 0) == (stats_of(argo, gathers).in_flight, stats_of(argo, gathers).unsent)
            assert [["BEFORE"], ["L", "S"]] == [
                [call.subject for call in request] for request in gathers.requests
            ]

    async def test_calls_that_travel_together_count_as_one_request(self, stage):
        gathers = stage.upstream("gathers", (0.1, "bars"), gathers=True)
        other = stage.upstream("other", (0.1, "other"))
        async with stage.open(gathers, other) as argo:
            for _ in range(60):
                await ask_for(stage, argo)
            assert pytest.approx(6.0, abs=0.1) == stats_of(argo, gathers).calls_per_request
