"""What is learned about upstreams, and what follows from it."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import ConfigError, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import Limits, Stream, Upstream, operation
from argo_mw.testing import FakeClock
from argo_mw_race.budget import Budget
from argo_mw_race.config import RaceConfig
from argo_mw_race.record import Record
from argo_mw_race.standings import Standings
from argo_mw_race.survival import Latencies, product_limit


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


@operation(kind="llm", subject="symbol")
def opinion(symbol: str) -> object:
    """What a model thinks of one symbol."""


SECONDS = st.floats(0.001, 100.0)


async def nothing(call: object) -> Outcome:
    return Outcome(None)


def upstream(name: str, **options: object) -> Upstream:
    return Upstream(name, {"bars"}, nothing, **options)


def standings(clock: FakeClock, **config: object) -> Standings:
    return Standings(bars, RaceConfig(**config), clock, random.Random(1))


class TestProductLimit:
    @given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95]))
    def test_without_censoring_it_is_the_empirical_quantile(self, seconds, quantile):
        observed = sorted((one, False) for one in seconds)
        place = math.ceil(quantile * len(seconds) - 1e-6) - 1
        assert sorted(seconds)[place] == product_limit(observed, quantile)

    @given(st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=200))
    def test_it_is_always_something_that_was_observed(self, observed):
        assert product_limit(sorted(observed), 0.95) in [seconds for seconds, _ in observed]

    def test_kaplan_and_meiers_own_example(self):
        """Losses at 1.0, 2.7, 4.8 and 7.2 among deaths: the estimate falls to 0.525 at 5.8."""
        deaths = [(0.8, False), (3.1, False), (5.4, False), (9.2, False)]
        losses = [(1.0, True), (2.7, True), (7.0, True), (12.1, True)]
        observed = sorted(deaths + losses)
        # 7/8 · 4/5 · 3/4 = 0.525 after 5.4, and half of that after 9.2.
        assert product_limit(observed, 0.47) == 5.4
        assert product_limit(observed, 0.48) == 9.2

    def test_being_cancelled_does_not_make_an_upstream_look_fast(self):
        """Whoever wins only when fast would look fast, if lost races were left out."""
        chance = random.Random(3)
        whole = Latencies(0.9)
        for _ in range(128):
            own, other = chance.expovariate(1.0), chance.expovariate(0.5)
            whole.add(min(own, other), censored=other < own)
        assert math.log(10) == pytest.approx(whole.usual, rel=0.35)


class TestBudget:
    @given(st.lists(st.booleans(), max_size=500), st.floats(0.01, 0.5), st.floats(1.0, 20.0))
    def test_hedges_are_at_most_the_share_of_calls_and_the_first(self, wants, share, most):
        budget = Budget(share, most)
        hedges = 0
        for calls, wanted in enumerate(wants, start=1):
            budget.deposit()
            hedges += wanted and budget.withdraw()
            assert hedges <= 1 + share * calls + 1e-9
            assert budget.balance <= most

    def test_a_budget_of_nothing_pays_for_nothing(self):
        budget = Budget(0.0, 10.0)
        budget.deposit()
        assert not budget.withdraw()


class TestRecord:
    def test_a_cancelled_branch_never_lowers_the_mean(self):
        record = Record(0.95)
        record.answered(1.0, 0.0, 0.0)
        record.cancelled(0.01, now=1.0)
        assert record.latency == 1.0
        record.cancelled(3.0, now=2.0)
        assert record.latency > 1.0

    def test_a_failure_that_comes_fast_does_not_look_like_a_fast_answer(self):
        record = Record(0.95)
        record.answered(1.0, 0.0, 0.0)
        for now in range(1, 20):
            record.failed(0.001, now=float(now), at_fault=True)
        assert record.latency == 1.0
        assert record.expected(1.0) > 5.0

    def test_one_that_has_only_ever_failed_is_not_taken_for_a_fast_one(self):
        record = Record(0.95)
        for now in range(5):
            record.failed(0.001, now=float(now), at_fault=True)
        assert record.expected(1.0) == pytest.approx(100.0)
        assert record.hoped(1.0, now=4.0) == pytest.approx(100.0)

    def test_after_a_silence_one_observation_counts_for_much(self):
        record = Record(0.95)
        for now in range(20):
            record.answered(10.0, float(now), float(now))
        record.answered(0.1, 3600.0, 3600.0)
        assert record.latency == pytest.approx(0.1, abs=0.01)

    def test_what_was_seen_last_fades_in_silence(self):
        """Of many answers and one stall, followed by failures, the answers are what remains."""
        record = Record(0.95)
        for now in range(40):
            record.answered(0.1, float(now), float(now))
        record.answered(5.0, 100.0, 95.0)
        for _ in range(5):
            record.failed(0.01, 100.0, at_fault=True)
        told = [record.hoped(1.0, now) for now in (100.0, 160.0, 220.0, 700.0)]
        assert sorted(told, reverse=True) == told
        assert told[0] > 3.0
        assert pytest.approx(0.1, abs=0.001) == told[-1]

    def test_it_is_stuck_when_most_requests_are_overdue(self):
        record = Record(0.95)
        for _ in range(5):
            record.start("first")
        eras = [record.late(now) for now in (1.0, 2.0)]
        assert not record.stuck
        eras.append(record.late(3.0))
        assert record.stuck
        record.end(eras[0])
        assert not record.stuck

    def test_it_is_not_stuck_when_it_answers_what_was_sent_later(self):
        """Requests that hang for as long as they may do not keep traffic away afterwards."""
        record = Record(0.95)
        for _ in range(5):
            record.start("first")
        eras = [record.late(now) for now in (1.0, 2.0, 3.0)]
        record.start("probe")
        record.answered(0.1, 4.1, started=4.0)
        record.end(None)
        assert not record.stuck
        for era in eras:
            record.end(era)
        assert record.overdue == 0


class TestStandings:
    def test_the_fastest_is_first(self):
        clock = FakeClock()
        table = standings(clock)
        slow, fast = upstream("slow"), upstream("fast")
        table.record(slow).answered(0.5, 0.0, 0.0)
        table.record(fast).answered(0.1, 0.0, 0.0)
        assert table.ranked([slow, fast]).order == (fast, slow)

    def test_the_order_is_not_turned_round_for_a_little_time(self):
        table = standings(FakeClock(), preference=1.5)
        first, next_, much = upstream("first"), upstream("next"), upstream("much")
        for one, seconds in ((first, 0.10), (next_, 0.07), (much, 0.02)):
            table.record(one).answered(seconds, 0.0, 0.0)
        assert table.ranked([first, next_]).order == (first, next_)
        assert table.ranked([first, much]).order == (much, first)

    async def test_one_that_failed_a_while_ago_is_tried_again_by_one_call_at_a_time(self):
        clock = FakeClock()
        table = standings(clock, probes=0.0)
        first, other = upstream("first"), upstream("other")
        table.record(other).answered(0.1, clock.monotonic(), clock.monotonic())
        for _ in range(5):
            table.record(first).answered(0.1, clock.monotonic(), clock.monotonic())
            table.record(first).failed(0.01, clock.monotonic(), at_fault=True)
        assert table.plan([first, other]).order == (other, first)
        await clock.advance(300.0)
        plan = table.plan([first, other])
        assert plan.probe
        assert plan.order == (first, other)
        table.record(first).start("probe")
        assert table.plan([first, other]).order == (other, first)
        now = clock.monotonic()
        table.record(first).answered(0.1, now, now)
        assert table.ranked([first, other]).order == (first, other)

    def test_language_models_are_waited_for_longer_until_something_is_known(self):
        chance = random.Random(1)
        for kind, own, seconds in ((bars, None, 1.0), (opinion, None, 10.0), (opinion, 3.0, 3.0)):
            table = Standings(kind, RaceConfig(cold_start=own), FakeClock(), chance)
            assert seconds == table.patience(upstream("any"))

    def test_it_is_told_what_is_known(self):
        table = standings(FakeClock())
        known, failing, new = upstream("known"), upstream("failing"), upstream("new")
        table.record(known).answered(0.1, 0.0, 0.0)
        table.record(failing).failed(0.01, 0.0, at_fault=True)
        assert table.describe(known) == "known (0.1 s, 0% errors)"
        assert table.describe(failing) == "failing (no answer, 100% errors)"
        assert table.describe(new) == "new (not known yet)"

    def test_the_configured_order_can_be_kept(self):
        table = standings(FakeClock(), order="configured")
        slow, fast = upstream("slow"), upstream("fast")
        table.record(slow).answered(0.5, 0.0, 0.0)
        table.record(fast).answered(0.1, 0.0, 0.0)
        assert table.ranked([slow, fast]).order == (slow, fast)

    def test_a_price_counts_like_latency(self):
        table = standings(FakeClock(), dollar_seconds=10.0)
        cheap, dear = upstream("cheap"), upstream("dear", price=0.1)
        table.record(cheap).answered(0.5, 0.0, 0.0)
        table.record(dear).answered(0.1, 0.0, 0.0)
        assert table.ranked([dear, cheap]).order == (cheap, dear)

    def test_errors_count_like_latency(self):
        clock = FakeClock()
        table, now = standings(clock), clock.monotonic()
        steady, shaky = upstream("steady"), upstream("shaky")
        table.record(steady).answered(0.15, now, now)
        table.record(shaky).answered(0.1, now, now)
        for _ in range(10):
            table.record(shaky).failed(0.01, now, at_fault=True)
        assert table.ranked([shaky, steady]).order == (steady, shaky)

    def test_a_scarce_one_is_last_however_fast(self):
        table = standings(FakeClock())
        scarce, slow = upstream("scarce", limits=Limits(per_day=25)), upstream("slow")
        table.record(scarce).answered(0.01, 0.0, 0.0)
        table.record(slow).answered(2.0, 0.0, 0.0)
        assert table.ranked([scarce, slow]).order == (slow, scarce)

    def test_a_small_share_of_calls_probes_the_one_least_heard_of(self):
        table = standings(FakeClock(), probes=0.1)
        best, near, far = upstream("best"), upstream("near"), upstream("far")
        for one, seconds, now in ((best, 0.1, 9.0), (near, 0.2, 5.0), (far, 0.3, 7.0)):
            table.record(one).answered(seconds, now, now)
        plans = [table.plan([best, near, far]) for _ in range(2000)]
        probes = [plan for plan in plans if plan.probe]
        assert 140 <= len(probes) <= 260
        assert {plan.order[0].name for plan in probes} == {"near"}

    def test_no_probe_without_the_means_to_hedge_it(self):
        table = standings(FakeClock(), probes=1.0, budget=0.0)
        assert not table.plan([upstream("one"), upstream("two")]).probe

    def test_a_probe_is_given_the_patience_of_the_one_it_replaces(self):
        table = standings(FakeClock(), probes=1.0)
        best, slow = upstream("best"), upstream("slow")
        for _ in range(50):
            table.record(best).answered(0.1, 0.0, 0.0)
            table.record(slow).answered(5.0, 0.0, 0.0)
        plan = table.plan([best, slow])
        assert plan.order[0] is slow
        assert plan.patience == pytest.approx(0.1)


class TestTraffic:
    @pytest.mark.parametrize("seed", range(3))
    async def test_it_moves_away_from_a_slow_upstream_and_returns(self, stage, monkeypatch, seed):
        """Well, then slow, then hanging, then well again."""
        drawn = SimpleNamespace(Random=lambda: random.Random(seed))
        monkeypatch.setattr("argo_mw_race.layer.random", drawn)
        chance = random.Random(7)
        a, b = stage.upstream("a", (0.0, "a")), stage.upstream("b", (0.0, "b"))

        async def share(calls: int, *, median: float) -> float:
            before = len(a.asked)
            for _ in range(calls):
                a.script = [(median * chance.lognormvariate(0.0, 0.3), "a")]
                b.script = [(0.08 * chance.lognormvariate(0.0, 0.3), "b")]
                await stage.ask(argo)
                await stage.clock.advance(0.1)
            return (len(a.asked) - before) / calls

        async with stage.open(a, b, probes=0.02) as argo:
            assert await share(200, median=0.05) > 0.9
            await share(60, median=0.5)
            assert await share(200, median=0.5) < 0.15
            assert await share(200, median=1e9) < 0.15
            await share(1600, median=0.05)
            assert await share(200, median=0.05) > 0.8


class TestStreams:
    async def test_a_stream_is_late_by_when_its_first_chunk_usually_comes(self, stage):
        """An upstream begins its answer at once and then thinks for a second."""

        async def chunks():
            await stage.clock.sleep(1.0)
            yield "one"

        first, second = stage.upstream("first", (0.0, None)), stage.upstream("second", (0.0, "no"))
        async with stage.open(first, second, order="configured", cold_start=5.0) as argo:
            for _ in range(30):
                first.script = [(0.05, Stream(chunks(), engine_of(argo).tasks))]
                await stage.ask(argo, step=0.05)
            assert second.asked == []


class TestConfig:
    async def test_a_wrong_strategy_is_refused_by_name(self, stage):
        with pytest.raises(ConfigError, match="strategy"):
            async with stage.open(strategy="fastest"):
                pass

    async def test_a_breaker_that_can_never_open_is_refused(self, stage):
        with pytest.raises(ConfigError, match="can never be reached"):
            async with stage.open(breaker={"failures": 30, "window": 20}):
                pass

    async def test_explain_says_whom_it_would_ask_and_why(self, stage):
        a = stage.upstream("a", (0.05, "a"))
        b = stage.upstream("b", (0.08, "b"), limits=Limits(per_day=25))
        async with stage.open(a, b) as argo:
            await stage.ask(argo)
            told = {one.name: one.text for one in argo.explain("bars", symbol="AAPL")}
            assert told["race"] == (
                "hedge: first a (0.05 s, 0% errors), b (a last resort: 25 a day); "
                "the next after 1 s, 1.1 hedges in the budget"
            )

    async def test_explain_says_who_cannot_answer_and_why(self, stage):
        able = stage.upstream("able", (0.05, "a"))
        keyless = stage.upstream("keyless", (0.05, "b"), unsupported=lambda call: "has no key")
        async with stage.open(able, keyless) as argo:
            told = {one.name: one.text for one in argo.explain("bars", symbol="AAPL")}
            assert told["race"] == (
                "nothing to choose from: able alone can answer; upstream 'keyless' has no key"
            )
