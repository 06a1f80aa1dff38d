"""What is said of the branches of a call, and what is made of their answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from argo_mw import Cost, InvalidAnswer, Outcome, Refusal, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    Attempt,
    Batching,
    Call,
    StallAwareLimit,
    Stream,
    Upstream,
    context_of,
    layers_of,
)
from argo_mw_race.branch import Branch, ask, latency_of
from argo_mw_race.budget import HedgingBudget
from argo_mw_race.config import BreakerConfig, OperationRace, RaceConfig
from argo_mw_race.gathering import Gathering
from argo_mw_race.layer import Race
from argo_mw_race.panel import _line
from argo_mw_race.stats import Tally, UpstreamStats
from argo_mw_race.strategies import score
from argo_mw_race.winner import winning_outcome

from .conftest import opinion

STARTED, NOW = 0.5, 2.0


async def nothing(call: Call) -> Outcome:
    return Outcome(None)


async def none_of_many(calls: Sequence[Call]) -> Sequence[Outcome]:
    return [Outcome(None) for _ in calls]


def branch(name: str, outcome: Outcome | None = None, error: Exception | None = None) -> Branch:
    upstream = Upstream(name, {"bars"}, nothing)
    lateness = StallAwareLimit(STARTED, math.inf)
    stats = UpstreamStats(0.95)
    return Branch(upstream, stats, "first", lateness, outcome=outcome, error=error)


def answer(value: object, usd: float = 0.0, latency: float = 0.25) -> Outcome:
    return Outcome(value, cost=Cost(usd), attempts=(Attempt("a", latency, "ok"),))


@pytest.mark.parametrize(
    ("one", "attempt"),
    [
        (branch("a", answer(1)), Attempt("a", 0.25, "ok")),
        (branch("a", Outcome(1)), Attempt("a", 1.5, "cancelled")),
        (branch("a"), Attempt("a", 1.5, "cancelled")),
        (
            branch("a", error=InvalidAnswer("odd", upstream="a")),
            Attempt("a", 1.5, "rejected", "odd"),
        ),
        (branch("a", error=Refusal("full")), Attempt("a", 1.5, "refused", "full")),
        (branch("a", error=KeyError("x")), Attempt("a", 1.5, "failed", "'x'")),
    ],
    ids=["answered", "answered from a layer inside", "running", "rejected", "refused", "failed"],
)
def test_a_branch_says_how_it_went(one: Branch, attempt: Attempt) -> None:
    assert attempt == one.attempt(NOW)


@pytest.mark.parametrize(
    ("one", "running"),
    [(branch("a"), True), (branch("a", Outcome(1)), False), (branch("a", error=OSError()), False)],
)
def test_a_branch_runs_until_it_has_an_end(one: Branch, running: bool) -> None:
    assert running == one.running
    one.abandoned = True
    assert not one.running


def test_the_winner_costs_what_all_who_answered_have_cost() -> None:
    winner, lost = branch("a", answer("won", 0.5)), branch("b", answer("lost", 0.25))
    outcome = winning_outcome(winner, [lost, winner, branch("c")], "race", NOW)
    assert ("won", 0.75) == (outcome.value, outcome.cost.usd)
    assert ["ok", "cancelled", "ok"] == [one.status for one in outcome.attempts]
    assert "race: a (first) won in 1.5 s; a ok, c cancelled" == outcome.notes[-1].text


def test_one_that_ran_alone_has_won_against_nobody() -> None:
    alone = branch("a", answer("won"))
    assert alone.outcome is winning_outcome(alone, [alone], "race", NOW)


def test_a_stream_took_until_its_first_chunk_and_an_answer_as_long_as_its_attempt() -> None:
    assert 0.25 == latency_of(answer("whole"), waited=3.0)


async def test_an_empty_stream_is_no_answer_and_its_upstream_is_named(stage) -> None:
    async def no_chunk():
        return
        yield

    async with stage.open(stage.upstream("a", (0.0, "a"))) as argo:
        stream = Stream(no_chunk(), engine_of(argo).tasks)

        async def empty(call: Call) -> Outcome:
            return Outcome(stream)

        call = engine_of(argo).make_call("bars", "", {"symbol": "AAPL"})
        for bound, name in ((call.bind("a"), "a"), (call, "")):
            error = await ask(bound, empty)
            assert isinstance(error, InvalidAnswer)
            assert name == error.upstream


@pytest.mark.parametrize(
    ("confidence", "scored"), [(0.5, 0.5), (math.nan, -math.inf), ("high", -math.inf)]
)
async def test_what_cannot_be_scored_scores_lowest(stage, confidence, scored) -> None:
    async with stage.open(stage.upstream("a", (0.0, "a"))) as argo:
        call = engine_of(argo).make_call("opinion", "", {"symbol": "AAPL"})
        one = branch("a", answer({"confidence": confidence}))
        assert call.operation is opinion
        assert scored == score(call, one, context_of(argo))


# -- the panel -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "stuck", "tone"),
    [
        (0.0, False, ""),
        (0.49, False, ""),
        (0.5, False, "bad"),
        (1.0, False, "bad"),
        (0, True, "bad"),
    ],
)
def test_an_upstream_that_fails_or_hangs_stands_out(errors: float, stuck: bool, tone: str) -> None:
    stats = UpstreamStats(0.95)
    stats.error_rate = errors
    if stuck:
        for _ in range(3):
            stats.start("first")
            stats.mark_late(1.0)
    assert tone == _line("bars", "a", stats).tone


# -- gatherings ------------------------------------------------------------------------------------


def saved_up(hedges: float) -> HedgingBudget:
    budget = HedgingBudget(1.0, 10.0)
    budget.balance = hedges
    return budget


def gathering_of(branches: int) -> Gathering:
    gathering = Gathering()
    for _ in range(branches - 1):
        gathering.add()
    return gathering


@pytest.mark.parametrize(("saved", "paid"), [(2.0, False), (3.0, True), (4.0, True)])
def test_a_request_of_three_is_hedged_by_three_or_not_at_all(saved: float, paid: bool) -> None:
    budget, gathering = saved_up(saved), gathering_of(3)
    target = Upstream("b", {"bars"}, nothing)
    hedges = [gathering.pay_for_hedge(budget, target) for _ in range(3)]
    assert [paid] * 3 == [one is not None for one in hedges]
    assert saved - 3.0 * paid == budget.balance
    for one in hedges:
        if one is not None:
            one.on_end()
    assert saved == budget.balance


def test_onto_what_takes_several_calls_a_request_of_four_is_one_hedge() -> None:
    budget, gathering = saved_up(1.0), gathering_of(4)
    target = Upstream("b", {"bars"}, nothing, batching=Batching(none_of_many))
    hedges = [gathering.pay_for_hedge(budget, target) for _ in range(4)]
    assert None not in hedges
    assert 0.0 == budget.balance
    assert hedges[0] is not None
    hedges[0].on_end()
    assert 0.25 == budget.balance


def test_a_branch_that_was_hedged_waits_no_more_and_needs_nothing_back() -> None:
    budget, gathering = saved_up(2.0), gathering_of(2)
    assert gathering.pay_for_hedge(budget, Upstream("b", {"bars"}, nothing)) is not None
    assert not gathering.leave(budget, hedged=True)
    assert (1, 1, 0.0) == (gathering.waiting, gathering.granted, budget.balance)
    assert gathering.leave(budget, hedged=False)
    assert (0, 0, 1.0) == (gathering.waiting, gathering.granted, budget.balance)


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("min_speedup", [1.0, 2.0], [0.99]),
        ("initial_latency", [None, 0.1], [0.0]),
        ("hedge_quantile", [0.01, 0.99], [0.0, 1.0]),
        ("best_timeout", [0.1], [0.0]),
        ("hedge_budget", [0.0, 1.0], [-0.1, 1.1]),
        ("hedge_burst", [1.0], [0.9]),
        ("probe_ratio", [0.0, 1.0], [-0.1, 1.1]),
        ("seconds_per_usd", [0.0], [-0.1]),
        ("scarce_per_day", [0], [-1]),
        ("cancel_timeout", [0.1], [0.0]),
    ],
)
def test_what_is_configured_is_within_bounds(
    name: str, accepted: list[float], refused: list[float]
) -> None:
    for value in accepted:
        assert value == getattr(RaceConfig(**{name: value}), name)
    for value in refused:
        with pytest.raises(ValueError, match=name):
            RaceConfig(**{name: value})


def test_a_breaker_needs_as_many_requests_as_failures() -> None:
    assert 5 == BreakerConfig(failure_threshold=5, window=5).window
    with pytest.raises(ValueError, match="can never be reached in a window of 4"):
        BreakerConfig(failure_threshold=5, window=4)
    for name, least in (("failure_threshold", 0), ("window", 1)):
        BreakerConfig(**{"failure_threshold": 0, name: least})
        with pytest.raises(ValueError, match=name):
            BreakerConfig(**{"failure_threshold": 0, name: least - 1})


def test_an_operation_s_own_rules_stand_above_those_of_all() -> None:
    own = OperationRace("best", "configured", 3.0, 0.5)
    config = RaceConfig(strategy="race", initial_latency=2.0, operations={"opinion": own})
    rules = config.rules(opinion)
    assert ("best", "configured", 3.0, 0.5) == (
        rules.strategy, rules.order, rules.initial_latency, rules.best_timeout,
    )  # fmt: skip
    common = RaceConfig(strategy="race").rules(opinion)
    assert ("race", "learned", 10.0, 2.0) == (
        common.strategy, common.order, common.initial_latency, common.best_timeout,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [0.1, 20.0])
async def test_a_cancelled_branch_is_reported_when_its_time_to_end_is_over(
    stage, seconds: float
) -> None:
    """Counted from when it was cancelled, not from when it was started."""

    async def hanging(call: object) -> Outcome:
        try:
            await stage.clock.sleep(1e6)
        except asyncio.CancelledError:
            await stage.clock.sleep(seconds)
        return Outcome("hanging")

    first, second = stage.upstream("first", (9.0, "first")), stage.upstream("second", (0.5, "b"))
    object.__setattr__(first.upstream, "fetch", hanging)
    async with stage.open(first, second, strategy="race", cancel_timeout=5.0) as argo:
        warned: list[str] = []
        object.__setattr__(context_of(argo), "warn_once", lambda _, what: warned.append(what))
        await stage.ask(argo)
        await stage.clock.advance(4.98)
        assert [] == warned
        await stage.clock.advance(0.04)
        assert (seconds > 5.0) == bool(warned)
        await stage.clock.advance(100.0)
        [layer] = [one.middleware for one in layers_of(argo) if isinstance(one.middleware, Race)]
        known = layer.rankings["bars"].known
        assert Tally(asked=1, won=1) == known["second"].tally
        assert Tally(asked=1, cancelled=1, lost=1) == known["first"].tally


def test_an_upstream_error_is_a_failure_of_the_branch() -> None:
    one = branch("a", error=UpstreamError("down", upstream="a"))
    assert Attempt("a", NOW - STARTED, "failed", "down") == one.attempt(NOW)
