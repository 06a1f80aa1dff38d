"""How upstreams are judged by their latency and errors, and ranked accordingly."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import ConfigError, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import AnyOperation, Batching, Call, Limits, Stream, Upstream, operation
from argo_mw.testing import FakeClock
from argo_mw_race.budget import HedgingBudget, PaidHedge
from argo_mw_race.config import RaceConfig
from argo_mw_race.gathering import Gathering
from argo_mw_race.latency_window import LatencyWindow, product_limit
from argo_mw_race.ranking import Ranking
from argo_mw_race.stats import Tally, UpstreamStats


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


@operation(kind="llm", subject="symbol")
def opinion(symbol: str) -> object:
    """A model's opinion of one symbol."""


SECONDS = st.floats(0.001, 100.0)


class SimpleRequest:
    """As much of a request as says how many calls travel in it."""

    def __init__(self, calls: Sequence[object]) -> None:
        self.calls = calls


async def nothing(call: object) -> Outcome:
    return Outcome(None)


async def none_of_many(calls: Sequence[Call]) -> Sequence[Outcome]:
    return [Outcome(None) for _ in calls]


def upstream(name: str, **options: object) -> Upstream:
    return Upstream(name, {"bars"}, nothing, **options)


def new_ranking(clock: FakeClock, asked: AnyOperation = bars, **config: object) -> Ranking:
    return Ranking(asked, RaceConfig(**config), clock, random.Random(1))


class TestProductLimit:
    @given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95]))
    def test_without_censoring_it_is_the_empirical_quantile(self, seconds, quantile):
        observed = sorted((one, False) for one in seconds)
        place = math.ceil(quantile * len(seconds) - 1e-6) - 1
        assert sorted(seconds)[place] == product_limit(observed, quantile)

    def test_what_was_cancelled_at_last_leaves_the_estimate_at_the_longest_time(self):
        assert 3.0 == product_limit([(1.0, False), (3.0, True)], 0.95)
        assert 0.0 == product_limit([], 0.95)

    def test_half_of_the_requests_are_answered_within_the_median(self):
        window = LatencyWindow(0.75)
        assert (0.0, 0.0) == (window.median, window.at_quantile)
        for seconds in (4.0, 1.0, 3.0, 2.0):
            window.add(seconds, censored=False)
        assert (2.0, 3.0, 4) == (window.median, window.at_quantile, window.answers)

    @given(st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=200))
    def test_it_is_always_something_that_was_observed(self, observed):
        assert product_limit(sorted(observed), 0.95) in [seconds for seconds, _ in observed]

    def test_kaplan_and_meiers_own_example(self):
        """Losses at 1.0, 2.7, 4.8 and 7.2 among deaths: the estimate falls to 0.525 at 5.8."""
        deaths = [(0.8, False), (3.1, False), (5.4, False), (9.2, False)]
        losses = [(1.0, True), (2.7, True), (7.0, True), (12.1, True)]
        observed = sorted(deaths + losses)
        # 7/8 · 4/5 · 3/4 = 0.525 after 5.4, and half of that after 9.2.
        assert 5.4 == product_limit(observed, 0.47)
        assert 9.2 == product_limit(observed, 0.48)

    def test_being_cancelled_does_not_make_an_upstream_look_fast(self):
        """One that wins only when it is fast would look fast, if lost races were left out."""
        chance = random.Random(3)
        whole = LatencyWindow(0.9)
        for _ in range(128):
            own, other = chance.expovariate(1.0), chance.expovariate(0.5)
            whole.add(min(own, other), censored=other < own)
        assert math.log(10) == pytest.approx(whole.at_quantile, rel=0.35)

    def test_estimates_are_made_anew_when_a_sixteenth_of_the_window_has_changed(self):
        whole = LatencyWindow(0.99)
        for _ in range(128):
            whole.add(1.0, censored=False)
        estimates = []
        for _ in range(9):
            estimates.append(whole.at_quantile)
            whole.add(5.0, censored=False)
        assert [1.0] * 8 + [5.0] == estimates


class TestBudget:
    @given(st.lists(st.booleans(), max_size=500), st.floats(0.01, 0.5), st.floats(1.0, 20.0))
    def test_hedges_are_at_most_the_share_of_requests_and_the_first(self, wants, share, burst):
        budget = HedgingBudget(share, burst)
        hedges = 0
        for requests, wanted in enumerate(wants, start=1):
            budget.deposit()
            hedges += wanted and budget.withdraw()
            assert hedges <= 1 + share * requests + 1e-6
            assert budget.balance <= burst

    def test_a_budget_of_nothing_pays_for_nothing(self):
        budget = HedgingBudget(0.0, 10.0)
        budget.deposit()
        assert not budget.withdraw()

    def test_it_begins_with_one_hedge_and_saves_up_a_share_of_each_request(self):
        budget = HedgingBudget(0.25, 2.0)
        assert budget.withdraw()
        balances = []
        for _ in range(10):
            balances.append((budget.balance, budget.pays))
            budget.deposit()
        expected = [(n / 4, n >= 4) for n in range(9)] + [(2.0, True)]
        assert expected == balances

    def test_a_hedge_costs_one_and_what_is_given_back_is_kept_within_the_burst(self):
        budget = HedgingBudget(0.5, 2.0)
        for _ in range(4):
            budget.deposit()
        assert budget.withdraw()
        assert 1.0 == budget.balance
        budget.give_back()
        assert 2.0 == budget.balance
        budget.give_back()
        assert 2.0 == budget.balance

    @pytest.mark.parametrize(("sent", "balance"), [(True, 0.0), (False, 1.0)])
    def test_a_hedge_is_paid_for_only_if_its_request_was_sent(self, sent, balance):
        budget = HedgingBudget(0.5, 2.0)
        assert budget.withdraw()
        paid = PaidHedge(budget, upstream("b"))
        if sent:
            paid.on_sent()
        paid.on_end()
        assert balance == budget.balance


class TestUpstreamStats:
    def test_a_cancelled_branch_never_lowers_the_mean(self):
        stats = UpstreamStats(0.95)
        stats.answered(1.0, 0.0, 0.0)
        stats.cancelled(0.01, now=1.0)
        assert 1.0 == stats.latency
        stats.cancelled(3.0, now=2.0)
        assert stats.latency > 1.0

    def test_a_fast_failure_does_not_look_like_a_fast_answer(self):
        stats = UpstreamStats(0.95)
        stats.answered(1.0, 0.0, 0.0)
        for now in range(1, 20):
            stats.failed(0.001, now=float(now), at_fault=True)
        assert 1.0 == stats.latency
        assert stats.expected_latency(1.0) > 5.0

    def test_an_upstream_that_has_only_ever_failed_does_not_look_fast(self):
        stats = UpstreamStats(0.95)
        for now in range(5):
            stats.failed(0.001, now=float(now), at_fault=True)
        assert pytest.approx(100.0) == stats.expected_latency(1.0)
        assert pytest.approx(100.0) == stats.optimistic_latency(1.0, now=4.0)

    def test_after_a_silence_one_observation_counts_for_much(self):
        stats = UpstreamStats(0.95)
        for now in range(20):
            stats.answered(10.0, float(now), float(now))
        stats.answered(0.1, 3600.0, 3600.0)
        assert pytest.approx(0.1, abs=0.01) == stats.latency

    def test_the_last_observations_fade_in_silence(self):
        """Of many answers and one stall, followed by failures, the answers are what remains."""
        stats = UpstreamStats(0.95)
        for now in range(40):
            stats.answered(0.1, float(now), float(now))
        stats.answered(5.0, 100.0, 95.0)
        for _ in range(5):
            stats.failed(0.01, 100.0, at_fault=True)
        faded = [stats.optimistic_latency(1.0, now) for now in (100.0, 160.0, 220.0, 700.0)]
        assert sorted(faded, reverse=True) == faded
        assert faded[0] > 3.0
        assert pytest.approx(0.1, abs=0.001) == faded[-1]

    def test_it_is_stuck_when_most_requests_are_overdue(self):
        stats = UpstreamStats(0.95)
        for _ in range(5):
            stats.start("first")
        epochs = [stats.mark_late(now) for now in (1.0, 2.0)]
        assert not stats.stuck
        epochs.append(stats.mark_late(3.0))
        assert stats.stuck
        stats.end(epochs[0])
        assert not stats.stuck

    @pytest.mark.parametrize(
        ("late", "in_flight", "stuck"),
        [(2, 2, False), (3, 3, True), (3, 7, False), (4, 7, True), (4, 8, False), (9, 9, True)],
    )
    def test_it_is_stuck_if_three_or_more_and_over_half_are_late(self, late, in_flight, stuck):
        stats = UpstreamStats(0.95)
        for _ in range(in_flight):
            stats.start("first")
        for _ in range(late):
            stats.mark_late(1.0)
        assert stuck == stats.stuck

    def test_it_is_not_stuck_when_it_answers_a_later_request(self):
        """Requests that hang for as long as they may do not keep traffic away afterwards."""
        stats = UpstreamStats(0.95)
        for _ in range(5):
            stats.start("first")
        epochs = [stats.mark_late(now) for now in (1.0, 2.0, 3.0)]
        stats.start("probe")
        stats.answered(0.1, 4.1, started=4.0)
        stats.end(None)
        assert not stats.stuck
        for epoch in epochs:
            stats.end(epoch)
        assert 0 == stats.overdue

    @pytest.mark.parametrize("ends", ["failed", "cancelled"])
    def test_what_never_answered_is_no_answer_that_took_so_long(self, ends):
        """Many that ended early would bring the hedge delay down, and hedges with it."""
        stats = UpstreamStats(0.5)
        for now in range(20):
            stats.answered(1.0, float(now), float(now))
        for now in range(20, 60):
            if ends == "failed":
                stats.failed(0.01, float(now), at_fault=True)
            else:
                stats.cancelled(0.01, float(now))
        assert 20 == stats.latencies.answers
        assert pytest.approx(1.0) == stats.hedge_delay(9.0)

    def test_the_hedge_delay_is_learned_from_twenty_answers(self):
        stats = UpstreamStats(0.95)
        delays = []
        for now in range(21):
            delays.append(stats.hedge_delay(9.0))
            stats.answered(1.0, float(now), float(now))
        assert [9.0] * 20 == delays[:20]
        assert 1.0 < delays[20] < 1.001

    def test_an_observation_weighs_a_tenth_or_what_silence_has_left_of_the_mean(self):
        stats = UpstreamStats(0.95)
        stats.answered(1.0, 0.0, 0.0)
        stats.answered(2.0, 1.0, 1.0)
        assert pytest.approx(1.1) == stats.latency
        stats.answered(2.0, 61.0, 61.0)
        assert pytest.approx(2.0 - 0.9 / math.e) == stats.latency

    def test_a_failure_raises_the_error_rate_if_the_upstream_is_at_fault(self):
        stats = UpstreamStats(0.95)
        stats.answered(1.0, 0.0, 0.0)
        stats.failed(0.5, 1.0, at_fault=True)
        assert pytest.approx(0.1) == stats.error_rate
        stats.failed(0.5, 2.0, at_fault=False)
        assert pytest.approx(0.09) == stats.error_rate
        stats.answered(1.0, 3.0, 3.0)
        assert pytest.approx(0.081) == stats.error_rate
        assert pytest.approx(1 / 0.919) == stats.expected_latency(9.0)

    @pytest.mark.parametrize(("seconds", "mean"), [(0.5, 1.0), (1.0, 1.0), (2.0, 1.1)])
    def test_a_failure_that_took_longer_than_answers_do_raises_the_mean(self, seconds, mean):
        for ends in ("failed", "cancelled"):
            stats = UpstreamStats(0.95)
            stats.answered(1.0, 0.0, 0.0)
            if ends == "failed":
                stats.failed(seconds, 1.0, at_fault=True)
            else:
                stats.cancelled(seconds, 1.0)
            assert pytest.approx(mean) == stats.latency

    def test_one_that_was_cancelled_as_soon_as_answers_come_has_shown_nothing(self):
        stats = UpstreamStats(0.95)
        stats.cancelled(1.0, 5.0)
        assert (1.0, 5.0) == (stats.latency, stats.observed_at)
        stats.cancelled(1.0, 6.0)
        assert (1.0, 5.0) == (stats.latency, stats.observed_at)
        stats.cancelled(1.1, 7.0)
        assert 7.0 == stats.observed_at

    def test_what_was_seen_last_has_lost_all_but_1_over_e_after_a_minute(self):
        stats = UpstreamStats(0.95)
        for _ in range(9):
            stats.answered(1.0, 0.0, 0.0)
        stats.answered(11.0, 0.0, 0.0)
        assert pytest.approx(2.0) == stats.optimistic_latency(9.0, 0.0)
        assert pytest.approx(1.0 + 1.0 / math.e) == stats.optimistic_latency(9.0, 60.0)
        stats.failed(0.5, 0.0, at_fault=True)
        expected = (1.0 + 1.0 / math.e) / (1.0 - 0.1 / math.e)
        assert pytest.approx(expected) == stats.optimistic_latency(9.0, 60.0)

    def test_it_is_not_stuck_with_half_of_its_requests_overdue(self):
        stats = UpstreamStats(0.95)
        for _ in range(6):
            stats.start("first")
        for now in (1.0, 2.0, 3.0):
            stats.mark_late(now)
        assert not stats.stuck
        stats.end(None)
        assert stats.stuck

    def test_branches_are_counted_by_why_they_were_started_and_how_they_ended(self):
        stats = UpstreamStats(0.95)
        for reason in ("first", "hedge", "hedge", "probe"):
            stats.start(reason)
        stats.refused(5.0)
        assert 5.0 == stats.refused_until
        stats.refused(None)
        assert 0.0 == stats.refused_until
        assert 4 == stats.in_flight
        assert Tally(asked=4, hedges=2, probes=1, refused=2) == stats.tally

    def test_an_answer_to_a_request_as_old_as_the_late_ones_says_nothing_of_them(self):
        stats = UpstreamStats(0.95)
        for _ in range(3):
            stats.start("first")
        for now in (1.0, 3.0, 2.0):
            stats.mark_late(now)
        for started in (0.5, 2.5, 3.0):
            stats.answered(0.1, 3.1, started=started)
            assert 3 == stats.overdue
        stats.answered(0.1, 3.2, started=3.1)
        assert 0 == stats.overdue


class TestRanking:
    def test_a_hedge_goes_to_the_first_that_is_neither_scarce_nor_refused(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock, scarce_per_day=1000)
        scarce = upstream("scarce", limits=Limits(per_day=1000))
        refused, able = upstream("refused"), upstream("able", limits=Limits(per_day=1001))
        ranking.stats(refused).refused(clock.time() + 1.0)
        paid = ranking.pay_for_hedge([scarce, refused, able], Gathering())
        assert paid is not None
        assert able is paid.upstream
        assert 0.0 == ranking.budget.balance
        assert ranking.pay_for_hedge([able], Gathering()) is None

    def test_nothing_is_paid_when_no_upstream_may_be_hedged_onto(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock)
        refused = upstream("refused")
        ranking.stats(refused).refused(clock.time() + 1.0)
        assert ranking.pay_for_hedge([refused], Gathering()) is None
        assert 1.0 == ranking.budget.balance

    async def test_an_upstream_is_no_longer_refused_at_the_time_that_it_named(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock)
        one = upstream("one")
        ranking.stats(one).refused(clock.time() + 1.0)
        await clock.advance(1.0)
        paid = ranking.pay_for_hedge([one], Gathering())
        assert paid is not None
        assert one is paid.upstream

    def test_each_place_further_down_must_be_that_much_faster(self):
        ranking = new_ranking(FakeClock(start=0.1), min_speedup=2.0)
        ones = [upstream("a"), upstream("b"), upstream("c")]
        for one, seconds in zip(ones, (1.0, 0.51, 0.26), strict=True):
            ranking.stats(one).answered(seconds, 0.0, 0.0)
        assert tuple(ones) == ranking.ordered(ones)
        ranking.stats(ones[2]).latency = 0.249
        assert (ones[2], ones[0], ones[1]) == ranking.ordered(ones)

    def test_the_fastest_is_first(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock)
        slow, fast = upstream("slow"), upstream("fast")
        ranking.stats(slow).answered(0.5, 0.0, 0.0)
        ranking.stats(fast).answered(0.1, 0.0, 0.0)
        assert ranking.plan_without_probe([slow, fast]).order == (fast, slow)

    def test_a_small_speedup_does_not_change_the_order(self):
        ranking = new_ranking(FakeClock(start=0.1), min_speedup=1.5)
        first, next_, much = upstream("first"), upstream("next"), upstream("much")
        for one, seconds in ((first, 0.10), (next_, 0.07), (much, 0.02)):
            ranking.stats(one).answered(seconds, 0.0, 0.0)
        assert ranking.plan_without_probe([first, next_]).order == (first, next_)
        assert ranking.plan_without_probe([first, much]).order == (much, first)

    async def test_an_upstream_that_failed_a_while_ago_is_probed_by_one_call_at_a_time(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock, probe_ratio=0.0)
        first, other = upstream("first"), upstream("other")
        ranking.stats(other).answered(0.1, clock.monotonic(), clock.monotonic())
        for _ in range(5):
            ranking.stats(first).answered(0.1, clock.monotonic(), clock.monotonic())
            ranking.stats(first).failed(0.01, clock.monotonic(), at_fault=True)
        assert ranking.plan([first, other]).order == (other, first)
        await clock.advance(300.0)
        plan = ranking.plan([first, other])
        assert plan.probe
        assert plan.order == (first, other)
        ranking.stats(first).start("probe")
        assert ranking.plan([first, other]).order == (other, first)
        now = clock.monotonic()
        ranking.stats(first).answered(0.1, now, now)
        assert ranking.plan_without_probe([first, other]).order == (first, other)

    def test_language_models_have_a_longer_initial_latency(self):
        chance = random.Random(1)
        for kind, own, seconds in ((bars, None, 1.0), (opinion, None, 10.0), (opinion, 3.0, 3.0)):
            ranking = Ranking(kind, RaceConfig(initial_latency=own), FakeClock(start=0.1), chance)
            assert seconds == ranking.hedge_delay(upstream("any"))

    def test_an_upstream_is_described_by_what_is_known(self):
        ranking = new_ranking(FakeClock(start=0.1))
        known, failing, new = upstream("known"), upstream("failing"), upstream("new")
        ranking.stats(known).answered(0.1, 0.0, 0.0)
        ranking.stats(failing).failed(0.01, 0.0, at_fault=True)
        assert "known (0.1 s, 0% errors)" == ranking.describe(known)
        assert "failing (no answer, 100% errors)" == ranking.describe(failing)
        assert "new (not known yet)" == ranking.describe(new)

    async def test_an_upstream_is_described_by_why_it_is_asked_last(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock, scarce_per_day=25)
        scarce, refused = upstream("scarce", limits=Limits(per_day=25)), upstream("refused")
        ranking.stats(refused).refused(clock.time() + 1.0)
        assert "scarce (a last resort: 25 a day)" == ranking.describe(scarce)
        assert f"refused (refused until {clock.time() + 1.0:.0f})" == ranking.describe(refused)
        for name, seconds, said in (
            ("new", None, "not known yet"),
            ("old", 0.5, "0.5 s, 0% errors"),
        ):
            stuck = upstream(name)
            if seconds is not None:
                ranking.stats(stuck).answered(seconds, 0.0, 0.0)
            for _ in range(3):
                ranking.stats(stuck).start("first")
                ranking.stats(stuck).mark_late(1.0)
            assert f"{name} ({said}, stuck)" == ranking.describe(stuck)

    def test_what_is_refused_or_scarce_or_stuck_is_asked_after_all_others(self):
        clock = FakeClock(start=0.1)
        ranking = new_ranking(clock, scarce_per_day=25)
        refused, stuck, slow = upstream("refused"), upstream("stuck"), upstream("slow")
        scarce = upstream("scarce", limits=Limits(per_day=25))
        both = upstream("both", limits=Limits(per_day=25))
        ones = [both, refused, scarce, stuck, slow]
        for one, seconds in zip(ones, (0.1, 0.1, 0.1, 0.1, 99.0), strict=True):
            ranking.stats(one).answered(seconds, 0.0, 0.0)
        for one in (refused, both):
            ranking.stats(one).refused(clock.time() + 1.0)
        for _ in range(3):
            ranking.stats(stuck).start("first")
            ranking.stats(stuck).mark_late(1.0)
        assert (slow, stuck, scarce, refused, both) == ranking.ordered(ones)

    @pytest.mark.parametrize(
        ("calls", "seconds", "first"),
        [(4, 0.26, "gathers"), (4, 0.24, "single"), (50, 0.11, "gathers"), (50, 0.09, "single")],
    )
    def test_many_requests_in_place_of_one_count_like_latency_up_to_ten(
        self, calls, seconds, first
    ):
        ranking = new_ranking(FakeClock(start=0.1), min_speedup=1.0)
        gathers = upstream("gathers", batching=Batching(none_of_many))
        single = upstream("single")
        ranking.stats(gathers).answered(1.0, 0.0, 0.0)
        ranking.stats(gathers).calls_per_request = float(calls)
        ranking.stats(single).answered(seconds, 0.0, 0.0)
        assert first == ranking.ordered([gathers, single])[0].name

    def test_the_mean_number_of_calls_is_of_all_requests_at_first_and_then_of_the_last(self):
        stats, means = UpstreamStats(0.95), []
        for calls in (6, 3, 3, *[1] * 8):
            stats.gather(SimpleRequest([None] * calls), Gathering())
            means.append(stats.calls_per_request)
        assert pytest.approx([6.0, 4.5, 4.0]) == means[:3]
        assert pytest.approx(means[-2] + 0.1 * (1 - means[-2])) == means[-1]

    def test_branches_that_travel_together_are_one_in_flight(self):
        stats, request, own = UpstreamStats(0.95), SimpleRequest([None, None]), Gathering()
        for _ in range(2):
            stats.start("first")
        assert own is stats.gather(request, own)
        assert own is stats.gather(request, Gathering())
        assert (1, 2, 2, 2) == (stats.in_flight, own.waiting, own.open, own.running)

    def test_the_configured_order_can_be_kept(self):
        ranking = new_ranking(FakeClock(start=0.1), order="configured")
        slow, fast = upstream("slow"), upstream("fast")
        ranking.stats(slow).answered(0.5, 0.0, 0.0)
        ranking.stats(fast).answered(0.1, 0.0, 0.0)
        assert ranking.plan_without_probe([slow, fast]).order == (slow, fast)

    def test_upstreams_in_the_configured_order_are_never_probed(self):
        for order in ("configured", "learned"):
            ranking = new_ranking(FakeClock(start=0.1), order=order, probe_ratio=1.0)
            plan = ranking.plan([upstream("one"), upstream("two")])
            assert (order == "learned") == plan.probe

    def test_a_price_counts_like_latency(self):
        ranking = new_ranking(FakeClock(start=0.1), seconds_per_usd=10.0)
        cheap, dear = upstream("cheap"), upstream("dear", price=0.1)
        ranking.stats(cheap).answered(0.5, 0.0, 0.0)
        ranking.stats(dear).answered(0.1, 0.0, 0.0)
        assert ranking.plan_without_probe([dear, cheap]).order == (cheap, dear)

    def test_errors_count_like_latency(self):
        clock = FakeClock(start=0.1)
        ranking, now = new_ranking(clock), clock.monotonic()
        steady, shaky = upstream("steady"), upstream("shaky")
        ranking.stats(steady).answered(0.15, now, now)
        ranking.stats(shaky).answered(0.1, now, now)
        for _ in range(10):
            ranking.stats(shaky).failed(0.01, now, at_fault=True)
        assert ranking.plan_without_probe([shaky, steady]).order == (steady, shaky)

    def test_a_scarce_upstream_is_last_however_fast(self):
        ranking = new_ranking(FakeClock(start=0.1))
        scarce, slow = upstream("scarce", limits=Limits(per_day=25)), upstream("slow")
        ranking.stats(scarce).answered(0.01, 0.0, 0.0)
        ranking.stats(slow).answered(2.0, 0.0, 0.0)
        assert ranking.plan_without_probe([scarce, slow]).order == (slow, scarce)

    def test_a_small_share_of_calls_probes_the_upstream_observed_longest_ago(self):
        ranking = new_ranking(FakeClock(start=0.1), probe_ratio=0.1)
        best, near, far = upstream("best"), upstream("near"), upstream("far")
        for one, seconds, now in ((best, 0.1, 9.0), (near, 0.2, 5.0), (far, 0.3, 7.0)):
            ranking.stats(one).answered(seconds, now, now)
        plans = [ranking.plan([best, near, far]) for _ in range(2000)]
        probes = [plan for plan in plans if plan.probe]
        assert 140 <= len(probes) <= 260
        assert {"near"} == {plan.order[0].name for plan in probes}

    @pytest.mark.parametrize(("ratio", "probes"), [(0.0, False), (0.5, False), (0.51, True)])
    def test_a_call_probes_if_what_is_drawn_is_below_the_share(self, ratio, probes):
        for drawn in (0.0, 0.5) if ratio == 0.0 else (0.5,):
            rng = SimpleNamespace(random=lambda drawn=drawn: drawn)
            clock = FakeClock(start=0.1)
            ranking = Ranking(bars, RaceConfig(probe_ratio=ratio), clock, rng)
            assert probes == ranking.plan([upstream("one"), upstream("two")]).probe

    def test_no_call_probes_by_chance_where_that_takes_one_more_request(self):
        gathers = upstream("gathers", batching=Batching(none_of_many))
        for first, asked in ((gathers, bars), (upstream("model"), opinion)):
            ranking = new_ranking(FakeClock(start=0.1), asked, probe_ratio=1.0)
            other = upstream("other")
            for one, seconds in ((first, 0.1), (other, 0.2)):
                ranking.stats(one).answered(seconds, 0.0, 0.0)
            assert not ranking.plan([first, other]).probe

    def test_a_call_probes_only_if_the_budget_can_hedge_it(self):
        ranking = new_ranking(FakeClock(start=0.1), probe_ratio=1.0, hedge_budget=0.0)
        assert not ranking.plan([upstream("one"), upstream("two")]).probe

    def test_a_probe_has_the_hedge_delay_of_the_upstream_it_replaces(self):
        ranking = new_ranking(FakeClock(start=0.1), probe_ratio=1.0)
        best, slow = upstream("best"), upstream("slow")
        for _ in range(50):
            ranking.stats(best).answered(0.1, 0.0, 0.0)
            ranking.stats(slow).answered(5.0, 0.0, 0.0)
        plan = ranking.plan([best, slow])
        assert plan.order[0] is slow
        assert pytest.approx(0.1) == plan.hedge_delay


class TestTraffic:
    @pytest.mark.parametrize("seed", range(3))
    async def test_traffic_moves_away_from_a_slow_upstream_and_returns(
        self, stage, monkeypatch, seed
    ):
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

        async with stage.open(a, b, probe_ratio=0.02) as argo:
            assert await share(200, median=0.05) > 0.9
            await share(60, median=0.5)
            assert await share(200, median=0.5) < 0.15
            assert await share(200, median=1e9) < 0.15
            await share(1600, median=0.05)
            assert await share(200, median=0.05) > 0.8


class TestStreams:
    async def test_the_hedge_delay_of_streams_follows_their_first_chunks(self, stage):
        """An upstream begins its answer at once and then thinks for a second."""

        async def chunks():
            await stage.clock.sleep(1.0)
            yield "one"

        first, second = stage.upstream("first", (0.0, None)), stage.upstream("second", (0.0, "no"))
        async with stage.open(first, second, order="configured", initial_latency=5.0) as argo:
            for _ in range(30):
                first.script = [(0.05, Stream(chunks(), engine_of(argo).tasks))]
                await stage.ask(argo, step=0.05)
            assert [] == second.asked


class TestConfig:
    async def test_a_wrong_strategy_is_refused_by_name(self, stage):
        with pytest.raises(ConfigError, match="strategy"):
            async with stage.open(strategy="fastest"):
                pass

    async def test_a_breaker_that_can_never_open_is_refused(self, stage):
        with pytest.raises(ConfigError, match="can never be reached"):
            async with stage.open(breaker={"failure_threshold": 30, "window": 20}):
                pass

    async def test_explain_describes_the_upstreams_in_their_order(self, stage):
        a = stage.upstream("a", (0.05, "a"))
        b = stage.upstream("b", (0.08, "b"), limits=Limits(per_day=25))
        async with stage.open(a, b) as argo:
            await stage.ask(argo)
            explained = {one.name: one.text for one in argo.explain("bars", symbol="AAPL")}
            assert explained["race"] == (
                "hedge: first a (0.05 s, 0% errors), b (a last resort: 25 a day); "
                "the next after 1 s, 1.1 hedges in the budget"
            )

    @pytest.mark.parametrize(
        ("strategy", "said"),
        [
            ("fallback", "one after the other: a, b, c"),
            ("race", "race: at once ALL"),
            ("best", "best: at once ALL"),
            ("hedge", "hedge: first ALL; the next after 10 s, 1.0 hedges in the budget"),
        ],
    )
    @pytest.mark.parametrize("others", [False, True])
    async def test_explain_says_what_each_strategy_would_do(self, stage, strategy, said, others):
        ones = [stage.upstream(name, (0.1, {"confidence": 0.5})) for name in "abc"]
        if others:
            ones.append(stage.upstream("d", (0.1, {}), unsupported=lambda call: "has no key"))
            said += "; upstream 'd' has no key"
        async with stage.open(*ones, strategy=strategy) as argo:
            explained = {one.name: one.text for one in argo.explain("opinion", symbol="AAPL")}
            every = ", ".join(f"{name} (not known yet)" for name in "abc")
            assert said.replace("ALL", every) == explained["race"]

    async def test_explain_names_the_upstreams_that_cannot_answer(self, stage):
        able = stage.upstream("able", (0.05, "a"))
        keyless = stage.upstream("keyless", (0.05, "b"), unsupported=lambda call: "has no key")
        async with stage.open(able, keyless) as argo:
            explained = {one.name: one.text for one in argo.explain("bars", symbol="AAPL")}
            assert explained["race"] == (
                "nothing to choose from: able alone can answer; upstream 'keyless' has no key"
            )
