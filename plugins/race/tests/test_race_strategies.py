"""Which upstreams are asked when, and whose answer is taken."""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from argo_mw import (
    Action,
    AllUpstreamsFailed,
    AllUpstreamsRefused,
    Closed,
    Outcome,
    QuotaExceeded,
    StreamAborted,
    Unsupported,
    UpstreamError,
)
from argo_mw.app.application import engine_of
from argo_mw.plugin import LayerActed, Limits, Stream, Trouble, layers_of
from argo_mw.testing import capture_events, settle


def failure(name: str = "a", action: Action = Action.SWITCH) -> UpstreamError:
    return UpstreamError(f"{name} is down", upstream=name, action=action, status=500)


def budget_of(argo):
    [layer] = layers_of(argo)
    return layer.middleware.ranking(engine_of(argo).operation("bars")).budget


class TestRace:
    async def test_the_first_answer_wins_and_the_loser_is_cancelled(self, stage):
        slow = stage.upstream("slow", (5.0, "slow"))
        fast = stage.upstream("fast", (0.1, "fast"))
        async with stage.open(slow, fast, strategy="race") as argo:
            began = stage.clock.monotonic()
            outcome = await stage.ask(argo)
            assert "fast" == outcome.value
            assert pytest.approx(0.1, abs=0.02) == stage.clock.monotonic() - began
            await settle()
            assert 1 == slow.cancelled
            assert [] == engine_of(argo).tasks.names
            assert 0 == stage.clock.pending

    async def test_a_branch_that_fails_first_does_not_end_the_race(self, stage):
        """The first branch to end may be a failure; the others must not be cancelled for it."""
        broken = stage.upstream("broken", (0.0, failure("broken")))
        well = stage.upstream("well", (0.2, "bars"))
        async with stage.open(broken, well, strategy="race") as argo:
            assert "bars" == (await stage.ask(argo)).value

    async def test_an_empty_answer_does_not_win(self, stage):
        empty = stage.upstream("empty", (0.0, []))
        full = stage.upstream("full", (0.2, [1]))
        async with stage.open(empty, full, strategy="race") as argo:
            outcome = await stage.ask(argo)
            assert [1] == outcome.value
            assert ["rejected", "ok"] == [one.status for one in outcome.attempts]

    async def test_the_error_lists_all_causes_in_the_order_of_asking(self, stage):
        first = stage.upstream("first", (0.2, failure("first")))
        second = stage.upstream("second", (0.1, failure("second")))
        async with stage.open(first, second, strategy="race", order="configured") as argo:
            with pytest.raises(AllUpstreamsFailed) as raised:
                await stage.ask(argo)
            causes = [str(cause) for cause in raised.value.causes]
            assert ["first is down", "second is down"] == causes

    async def test_an_error_about_the_question_ends_the_race(self, stage):
        stop = failure("stop", Action.STOP)
        strict = stage.upstream("strict", (0.1, stop))
        slow = stage.upstream("slow", (1.0, "bars"))
        async with stage.open(strict, slow, strategy="race") as argo:
            with pytest.raises(UpstreamError, match="stop is down"):
                await stage.ask(argo)
            await settle()
            assert 1 == slow.cancelled

    async def test_a_scarce_upstream_is_asked_only_when_the_others_have_failed(self, stage):
        scarce = stage.upstream("scarce", (0.1, "scarce"), limits=Limits(per_day=25))
        slow = stage.upstream("slow", (0.2, "slow"), (0.2, failure("slow")))
        slower = stage.upstream("slower", (0.4, "slower"), (0.4, failure("slower")))
        async with stage.open(scarce, slow, slower, strategy="race") as argo:
            assert "slow" == (await stage.ask(argo)).value
            assert [] == scarce.asked
            assert "scarce" == (await stage.ask(argo)).value

    async def test_the_outcome_lists_what_the_others_did(self, stage):
        slow = stage.upstream("slow", (5.0, "slow"))
        fast = stage.upstream("fast", (0.1, "fast"), usd=0.25)
        async with stage.open(slow, fast, strategy="race") as argo:
            outcome = await stage.ask(argo)
            assert "fast" == outcome.upstream
            assert "race" in outcome.via
            assert "layer:race" in outcome.tags
            statuses = {one.upstream: one.status for one in outcome.attempts}
            assert {"slow": "cancelled", "fast": "ok"} == statuses
            assert 0.25 == outcome.cost.usd
            assert outcome.notes[-1].text.startswith("race: fast (together) won in 0.1 s")

    async def test_a_stream_wins_with_its_first_chunk(self, stage):
        async def chunks(first: float):
            await stage.clock.sleep(first)
            yield "one"
            await stage.clock.sleep(10.0)
            yield "two"

        slow = stage.upstream("slow", (0.0, None))
        fast = stage.upstream("fast", (0.0, None))
        async with stage.open(slow, fast, strategy="race") as argo:
            tasks = engine_of(argo).tasks
            streams = {"slow": Stream(chunks(3.0), tasks), "fast": Stream(chunks(1.0), tasks)}
            slow.script = [(0.0, streams["slow"])]
            fast.script = [(0.5, streams["fast"])]
            outcome = await stage.ask(argo, step=0.5)
            assert outcome.value is streams["fast"]
            assert not streams["fast"].complete
            await settle()
            with pytest.raises(StreamAborted):
                async for _ in streams["slow"].read():
                    pass

    @pytest.mark.parametrize("strategy", ["race", "best"])
    async def test_all_are_asked_in_their_order_and_none_is_probed(self, stage, strategy):
        asked: list[str] = []

        async def fetch(call):
            asked.append(call.upstream)
            return Outcome({"confidence": 0.5})

        ones = [stage.upstream(name, (0.0, {})) for name in "abc"]
        for one in ones:
            object.__setattr__(one.upstream, "fetch", fetch)
        async with stage.open(*ones, strategy=strategy, probe_ratio=1.0) as argo:
            await stage.ask(argo, operation="rated")
            assert ["a", "b", "c"] == asked

    async def test_events_announce_the_winner_and_the_waste(self, stage):
        slow = stage.upstream("slow", (5.0, "slow"), price=0.5)
        fast = stage.upstream("fast", (0.1, "fast"))
        async with stage.open(slow, fast, strategy="race") as argo:
            events = capture_events(argo)
            await stage.ask(argo)
            await settle()
            acted = {e.action: e for e in events.of(LayerActed) if e.layer == "race"}
            assert "fast" == acted["won"].call.upstream
            assert "slow" == acted["cancelled"].call.upstream
            assert acted["cancelled"].detail.endswith("wasted 0.500000 USD")


class TestHedge:
    async def test_a_hedge_is_sent_when_the_first_is_later_than_usual(self, stage):
        first = stage.upstream("first", *[(0.1, "first")] * 30, (5.0, "late"))
        second = stage.upstream("second", (0.2, "second"))
        async with stage.open(first, second, probe_ratio=0.0) as argo:
            for _ in range(30):
                assert "first" == (await stage.ask(argo)).value
            assert [] == second.asked
            began = stage.clock.monotonic()
            outcome = await stage.ask(argo)
            assert "second" == outcome.value
            assert pytest.approx(0.3, abs=0.05) == stage.clock.monotonic() - began
            await settle()
            assert 1 == first.cancelled
            assert 0 == stage.clock.pending

    async def test_the_initial_latency_is_the_hedge_delay_of_an_unknown_upstream(self, stage):
        first = stage.upstream("first", (5.0, "first"))
        second = stage.upstream("second", (0.1, "second"))
        async with stage.open(first, second, initial_latency=0.5) as argo:
            began = stage.clock.monotonic()
            assert "second" == (await stage.ask(argo)).value
            assert pytest.approx(0.6, abs=0.03) == stage.clock.monotonic() - began

    async def test_a_stall_of_the_event_loop_makes_no_branch_late(self, stage):
        """An answer may lie unread in its socket, and the request may not even have left."""
        first = stage.upstream("first", (2.2, "first"), (9.0, "late"))
        second = stage.upstream("second", (0.1, "second"))
        async with stage.open(first, second, initial_latency=0.5) as argo:
            now = stage.clock.monotonic()
            stage.clock.call_at(now + 0.1, lambda: stage.clock.stall(1.9))
            assert "first" == (await stage.ask(argo)).value
            assert [] == second.asked
            # One that is late although the loop was not stalled is hedged as ever.
            assert "second" == (await stage.ask(argo)).value

    async def test_a_failure_starts_the_next_at_once(self, stage):
        broken = stage.upstream("broken", (0.0, failure("broken")))
        well = stage.upstream("well", (0.2, "well"))
        async with stage.open(broken, well, order="configured") as argo:
            for _ in range(50):
                outcome = await stage.ask(argo)
                assert "well" == outcome.value
                assert pytest.approx(0.2) == outcome.attempts[-1].latency

    async def test_a_replacement_costs_no_budget(self, stage):
        broken = stage.upstream("broken", (0.0, failure("broken")))
        well = stage.upstream("well", (0.2, "well"))
        async with stage.open(broken, well, order="configured", hedge_budget=0.0) as argo:
            assert "well" == (await stage.ask(argo)).value

    async def test_a_hedge_that_fails_is_replaced_while_the_first_goes_on(self, stage):
        first = stage.upstream("first", (5.0, "first"))
        broken = stage.upstream("broken", (0.1, failure("broken")))
        third = stage.upstream("third", (0.1, "third"))
        async with stage.open(
            first, broken, third, initial_latency=0.5, order="configured"
        ) as argo:
            assert "third" == (await stage.ask(argo)).value

    async def test_a_scarce_upstream_is_never_hedged_onto(self, stage):
        first = stage.upstream("first", (5.0, "first"))
        scarce = stage.upstream("scarce", (0.1, "scarce"), limits=Limits(per_day=25))
        async with stage.open(first, scarce, initial_latency=0.5) as argo:
            assert "first" == (await stage.ask(argo)).value
            assert [] == scarce.asked

    async def test_a_hedge_is_charged_to_its_upstreams_quota(self, stage):
        first = stage.upstream("first", (5.0, "first"))
        second = stage.upstream("second", (0.1, "second"), limits=Limits(per_minute=1))
        async with stage.open(
            first, second, initial_latency=0.5, hedge_budget=1.0, order="configured"
        ) as argo:
            assert "second" == (await stage.ask(argo)).value
            assert 1 == len(second.asked)
            outcome = await stage.ask(argo)
            assert "first" == outcome.value
            assert "second refused" in outcome.notes[-1].text
            assert 1 == len(second.asked)

    @pytest.mark.parametrize("per_second", [0.1, 1000.0])
    async def test_the_budget_holds_at_every_rate(self, stage, per_second):
        """Nearly always late, so that nearly every call would be hedged if it could."""
        calls = 2000
        chance = random.Random(5)
        first = stage.upstream("first", *((chance.uniform(0.5, 1.5), 1) for _ in range(calls)))
        second = stage.upstream("second", (0.7, "second"))
        async with stage.open(
            first,
            second,
            initial_latency=0.5,
            order="configured",
            hedge_quantile=0.01,
            hedge_budget=0.05,
        ) as argo:
            running = []
            for _ in range(calls):
                running.append(asyncio.create_task(argo.outcome("bars", symbol="AAPL")))
                await stage.clock.advance(1 / per_second)
            await stage.clock.advance(5.0)
            await asyncio.gather(*running)
            hedges = len(second.asked)
            assert 0.04 * calls <= hedges <= 0.05 * calls + 1

    async def test_the_budget_saves_up_a_burst_and_no_more(self, stage):
        first = stage.upstream("first", *[(0.1, "first")] * 400, (5.0, "late"))
        second = stage.upstream("second", (0.7, "second"))
        async with stage.open(
            first, second, order="configured", hedge_budget=0.05, hedge_burst=4.0
        ) as argo:
            for _ in range(400):
                await stage.ask(argo, step=0.1)
            late = [asyncio.create_task(argo.outcome("bars", symbol="AAPL")) for _ in range(20)]
            await stage.clock.advance(0.15)
            assert 4 == len(second.asked)
            await stage.clock.advance(30.0)
            await asyncio.gather(*late)

    async def test_a_late_call_is_hedged_as_soon_as_the_budget_pays_for_it(self, stage):
        """So that an upstream that hangs does not keep the calls that found the budget empty."""
        first = stage.upstream("first", (1e9, "never"))
        second = stage.upstream("second", (0.1, "second"))
        async with stage.open(
            first, second, initial_latency=0.5, hedge_budget=0.1, order="configured"
        ) as argo:
            hanging = [asyncio.create_task(argo.outcome("bars", symbol="AAPL")) for _ in range(4)]
            await stage.clock.advance(0.7)
            assert 1 == sum(one.done() for one in hanging)
            others = [asyncio.create_task(argo.outcome("bars", symbol="IBM")) for _ in range(100)]
            await stage.clock.advance(1.0)
            assert all(one.done() for one in hanging)
            for one in (*hanging, *others):
                one.cancel()
            await asyncio.gather(*hanging, *others, return_exceptions=True)

    async def test_a_hedge_that_is_refused_costs_no_budget(self, stage):
        first = stage.upstream("first", (2.0, "first"))
        second = stage.upstream("second", (0.1, "second"), limits=Limits(per_minute=1))
        async with stage.open(
            first, second, initial_latency=0.5, hedge_budget=0.001, order="configured"
        ) as argo:
            budget = budget_of(argo)
            assert "second" == (await stage.ask(argo)).value
            spent = budget.balance
            budget.give_back()
            assert "first" == (await stage.ask(argo)).value
            assert 1 == len(second.asked)
            assert spent + 1 == pytest.approx(budget.balance, abs=0.01)

    async def test_a_hedge_whose_caller_leaves_before_it_is_sent_costs_no_budget(self, stage):
        first = stage.upstream("first", (50.0, "first"))
        second = stage.upstream("second", (50.0, "second"), limits=Limits(concurrency=1))
        async with stage.open(
            first, second, initial_latency=0.5, hedge_budget=0.001, order="configured"
        ) as argo:
            budget = budget_of(argo)
            sent = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
            await stage.clock.advance(1.0)
            assert 1 == len(second.asked)
            budget.give_back()
            before = budget.balance
            waiting = asyncio.create_task(argo.outcome("bars", symbol="IBM"))
            await stage.clock.advance(1.0)
            assert budget.balance < 1.0 <= before
            for caller in (waiting, sent):
                caller.cancel()
            await asyncio.wait([waiting, sent])
            await settle()
            assert before == pytest.approx(budget.balance, abs=0.01)

    async def test_a_caller_that_leaves_cancels_every_branch(self, stage):
        first = stage.upstream("first", (5.0, "first"))
        second = stage.upstream("second", (5.0, "second"))
        async with stage.open(first, second, initial_latency=0.5) as argo:
            task = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
            await stage.clock.advance(1.0)
            assert 2 == first.under_way + second.under_way
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await settle()
            assert 2 == first.cancelled + second.cancelled
            assert [] == engine_of(argo).tasks.names
            assert 0 == stage.clock.pending

    async def test_a_call_under_way_fails_with_closed_at_shutdown(self, stage):
        first = stage.upstream("first", (5.0, "first"))
        second = stage.upstream("second", (5.0, "second"))
        async with stage.open(first, second) as argo:
            events = capture_events(argo)
            task = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
            await stage.clock.advance(0.1)
            await argo.aclose()
            with pytest.raises(Closed, match="the application is closed"):
                await task
            assert [] == events.of(Trouble)
            assert [] == second.asked

    @pytest.mark.parametrize("strategy", ["race", "hedge"])
    async def test_a_call_whose_branches_all_run_fails_with_closed_at_shutdown_too(
        self, stage, strategy
    ):
        ones = [stage.upstream(name, (50.0, "bars")) for name in ("first", "second")]
        async with stage.open(*ones, strategy=strategy, initial_latency=0.5) as argo:
            task = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
            await stage.clock.advance(1.0)
            assert [1, 1] == [len(one.asked) for one in ones]
            await argo.aclose()
            await settle()
            assert task.done()
            with pytest.raises(Closed, match="the application is closed"):
                await task

    async def test_an_unsupported_upstream_is_not_asked_but_listed_when_the_others_fail(
        self, stage
    ):
        lacking = stage.upstream(
            "lacking", (0.0, "no"), unsupported=lambda call: "has no such market"
        )
        first = stage.upstream("first", (0.1, "first"), (5.0, failure("first")))
        second = stage.upstream("second", (0.1, failure("second")))
        async with stage.open(lacking, first, second, order="configured") as argo:
            outcome = await stage.ask(argo)
            assert "first" == outcome.value
            assert ["first"] == [one.upstream for one in outcome.attempts]
            with pytest.raises(AllUpstreamsFailed) as raised:
                await stage.ask(argo)
            assert [type(cause) for cause in raised.value.causes] == [
                UpstreamError,
                UpstreamError,
                Unsupported,
            ]
            assert [] == lacking.asked

    async def test_the_refusal_of_all_upstreams_has_the_earliest_time_to_come_back(self, stage):
        first = stage.upstream("first", (0.0, QuotaExceeded("used up", retry_at=300.0)))
        second = stage.upstream("second", (0.0, QuotaExceeded("used up", retry_at=200.0)))
        async with stage.open(first, second) as argo:
            with pytest.raises(AllUpstreamsRefused) as raised:
                await stage.ask(argo)
            assert 200.0 == raised.value.retry_at

    async def test_an_upstream_that_refuses_is_not_asked_again_before_its_time(self, stage):
        until = stage.clock.time() + 60
        first = stage.upstream("first", (0.0, QuotaExceeded("used up", retry_at=until)), (0.1, 1))
        second = stage.upstream("second", (0.5, "second"))
        async with stage.open(first, second, probe_ratio=0.0) as argo:
            for _ in range(10):
                assert "second" == (await stage.ask(argo)).value
            assert 1 == len(first.asked)
            await stage.clock.advance(60)
            assert 1 == len(first.asked)

    async def test_a_cancelled_branch_that_hangs_is_reported(self, stage):
        async def hanging(call: object) -> Outcome:
            try:
                await stage.clock.sleep(1.5)
            except asyncio.CancelledError:
                await stage.clock.sleep(20.0)
            return Outcome("hanging")

        first = stage.upstream("first", (5.0, "first"))
        object.__setattr__(first.upstream, "fetch", hanging)
        second = stage.upstream("second", (0.1, "second"))
        async with stage.open(first, second, initial_latency=0.5, cancel_timeout=5.0) as argo:
            events = capture_events(argo)
            assert "second" == (await stage.ask(argo)).value
            await stage.clock.advance(6.0)
            reported = [event.what for event in events.of(Trouble)]
            assert 1 == len(reported)
            assert "'first' has not ended within 5 s" in reported[0]
            await stage.clock.advance(20.0)
            lost = [e for e in events.of(LayerActed) if e.action == "lost"]
            assert 1 == len(lost)


class TestBest:
    async def test_the_highest_score_wins_whatever_the_order(self, stage):
        """Neither the first in the list nor the first to answer."""
        glm = stage.upstream("glm", (0.1, {"confidence": 0.6}), usd=0.01)
        qwen = stage.upstream("qwen", (0.5, {"confidence": 0.9}), usd=0.02)
        deepseek = stage.upstream("deepseek", (0.3, {"confidence": 0.7}), usd=0.04)
        async with stage.open(glm, qwen, deepseek, strategy="best") as argo:
            began = stage.clock.monotonic()
            outcome = await stage.ask(argo, operation="opinion")
            assert "qwen" == outcome.upstream
            assert pytest.approx(0.5, abs=0.02) == stage.clock.monotonic() - began
            assert pytest.approx(0.07) == outcome.cost.usd

    async def test_a_slow_upstream_is_not_waited_for(self, stage):
        glm = stage.upstream("glm", (0.1, {"confidence": 0.6}))
        slow = stage.upstream("slow", (9.0, {"confidence": 1.0}))
        async with stage.open(glm, slow, strategy="best", best_timeout=1.0) as argo:
            began = stage.clock.monotonic()
            outcome = await stage.ask(argo, operation="opinion")
            assert "glm" == outcome.upstream
            assert pytest.approx(1.0, abs=0.02) == stage.clock.monotonic() - began
            await settle()
            assert 1 == slow.cancelled

    async def test_a_caller_with_less_time_than_the_wait_gets_the_best_so_far(self, stage):
        glm = stage.upstream("glm", (0.1, {"confidence": 0.6}))
        qwen = stage.upstream("qwen", (0.3, {"confidence": 0.8}))
        slow = stage.upstream("slow", (9.0, {"confidence": 1.0}))
        async with stage.open(glm, qwen, slow, strategy="best", best_timeout=2.0) as argo:
            hurried = argo.options(timeout=1.0)
            task = asyncio.create_task(hurried.outcome("opinion", symbol="AAPL"))
            for _ in range(95):
                await stage.clock.advance(0.01)
            assert task.done()
            assert "qwen" == (await task).upstream

    async def test_the_first_answer_wins_when_none_was_in_time(self, stage):
        slow = stage.upstream("slow", (4.0, {"confidence": 0.6}))
        slower = stage.upstream("slower", (9.0, {"confidence": 1.0}))
        async with stage.open(slow, slower, strategy="best", best_timeout=1.0) as argo:
            assert "slow" == (await stage.ask(argo, operation="opinion")).upstream

    async def test_a_failure_does_not_spoil_the_others_answers(self, stage):
        broken = stage.upstream("broken", (0.3, failure("broken", Action.STOP)))
        well = stage.upstream("well", (0.1, {"confidence": 0.6}))
        async with stage.open(broken, well, strategy="best") as argo:
            assert "well" == (await stage.ask(argo, operation="opinion")).upstream

    @pytest.mark.parametrize("confidence", [math.nan, "high", None])
    async def test_an_answer_that_cannot_be_scored_is_the_worst(self, stage, confidence):
        odd = stage.upstream("odd", (0.1, {"confidence": confidence}))
        well = stage.upstream("well", (0.2, {"confidence": 0.1}))
        async with stage.open(odd, well, strategy="best", strict=False) as argo:
            assert "well" == (await stage.ask(argo, operation="opinion")).upstream

    async def test_without_a_score_it_is_a_race(self, stage):
        slow = stage.upstream("slow", (0.5, "slow"))
        fast = stage.upstream("fast", (0.1, "fast"))
        async with stage.open(slow, fast, strategy="best") as argo:
            events = capture_events(argo)
            assert "fast" == (await stage.ask(argo)).value
            assert "bars has no score" in events.of(Trouble)[0].what


class TestFallback:
    async def test_upstreams_are_asked_in_turn_by_the_core(self, stage):
        first = stage.upstream("first", (3.0, "first"))
        second = stage.upstream("second", (0.1, "second"))
        async with stage.open(first, second, strategy="fallback", initial_latency=0.5) as argo:
            outcome = await stage.ask(argo)
            assert "first" == outcome.value
            assert () == outcome.via
            assert [] == second.asked

    async def test_operations_may_differ(self, stage):
        first = stage.upstream("first", (0.3, [1]))
        second = stage.upstream("second", (0.1, [2]))
        operations = {"bars": {"strategy": "fallback"}}
        async with stage.open(first, second, strategy="race", operations=operations) as argo:
            assert "first" == (await stage.ask(argo)).upstream
            assert "second" == (await stage.ask(argo, operation="opinion")).upstream
