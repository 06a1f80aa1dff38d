"""What becomes of branches that are late, fail, or are no longer needed, and what is counted of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar

import pytest

from argo_mw import Action, ArgoError, Closed, Cost, Outcome, QuotaExceeded, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import LayerActed, Limits, context_of, layers_of
from argo_mw.testing import capture_events, settle
from argo_mw_race.ranking import Ranking
from argo_mw_race.stats import Tally, UpstreamStats

from .conftest import Paced

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


def failure(name: str, action: Action = Action.SWITCH) -> UpstreamError:
    return UpstreamError(f"{name} is down", upstream=name, action=action, status=500)


def ranking_of(argo, operation: str = "bars") -> Ranking:
    [layer] = layers_of(argo)
    return layer.middleware.ranking(engine_of(argo).operation(operation))


def stats_of(argo, paced: Paced) -> UpstreamStats:
    return ranking_of(argo).stats(paced.upstream)


async def acts_of(argo) -> Mapping[str, int]:
    """Return how often the layer has done what, as dashboards show it."""
    (own,) = await context_of(argo).counters.read("instance")
    return own.acts["race"]


async def test_a_request_runs_in_the_context_of_the_call_that_it_is_for(stage):
    """So that a caller's trace goes on in it."""
    seen: list[str] = []

    async def fetch(call: object) -> Outcome:
        seen.append(CALLER.get())
        return Outcome("bars")

    first, second = stage.upstream("first", (0.0, "bars")), stage.upstream("second", (0.0, "bars"))
    object.__setattr__(first.upstream, "fetch", fetch)
    async with stage.open(first, second) as argo:
        CALLER.set("carla")
        await stage.ask(argo)
    assert ["carla"] == seen


# -- late branches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("paid_after", "hedged_at"), [(0.6, 1.0), (1.1, 2.0), (2.1, 4.0)])
async def test_a_late_branch_is_late_again_each_time_that_it_has_taken_twice_as_long(
    stage, paid_after, hedged_at
):
    first, second = stage.upstream("first", (1e9, "never")), stage.upstream("second", (0.1, "bars"))
    async with stage.open(first, second, initial_latency=0.5, order="configured") as argo:
        assert ranking_of(argo).budget.withdraw()
        asking = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await stage.clock.advance(paid_after)
        ranking_of(argo).budget.give_back()
        await stage.clock.advance(hedged_at - paid_after - 0.01)
        assert [] == second.asked
        await stage.clock.advance(0.02)
        assert 1 == len(second.asked)
        assert 1 == stats_of(argo, first).overdue
        await stage.clock.advance(0.1)
        assert "bars" == (await asking).value


async def test_the_last_that_can_be_asked_is_never_late(stage):
    first, second = stage.upstream("first", (1e9, "never")), stage.upstream("second", (9.0, "bars"))
    async with stage.open(first, second, initial_latency=0.5, order="configured") as argo:
        asking = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await stage.clock.advance(5.0)
        assert (1, 0) == (stats_of(argo, first).overdue, stats_of(argo, second).overdue)
        await stage.clock.advance(5.0)
        assert "bars" == (await asking).value


async def test_a_branch_that_has_failed_is_not_late(stage):
    """While another one runs, and a scarce upstream alone is left to ask."""
    slow = stage.upstream("slow", (9.0, "bars"))
    broken = stage.upstream("broken", (0.1, failure("broken")))
    scarce = stage.upstream("scarce", (0.1, "scarce"), limits=Limits(per_day=25))
    async with stage.open(slow, broken, scarce, initial_latency=0.5, order="configured") as argo:
        asking = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await stage.clock.advance(5.0)
        assert (1, 0) == (stats_of(argo, slow).overdue, stats_of(argo, broken).overdue)
        await stage.clock.advance(5.0)
        assert "bars" == (await asking).value
        assert [] == scarce.asked


# -- branches that have not begun ----------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_call_ends_if_the_application_closes_as_its_branches_are_started(stage, turns):
    """One whose task is cancelled before it has begun could not say that it has ended."""
    ones = [stage.upstream(name, (9.0, "bars")) for name in ("first", "second")]
    async with stage.open(*ones, strategy="race") as argo:
        asking = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await argo.aclose()
        await settle()
        assert asking.done()
        assert isinstance(asking.exception(), Closed)


@pytest.mark.parametrize("turns", [1, 2])
async def test_a_caller_that_leaves_as_its_branches_are_started_leaves_none_in_flight(stage, turns):
    ones = [stage.upstream(name, (9.0, "bars")) for name in ("first", "second")]
    async with stage.open(*ones, strategy="race") as argo:
        asking = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await settle()
        assert asking.cancelled()
        assert [(0, 0), (0, 0)] == [(stats_of(argo, one).in_flight, one.under_way) for one in ones]
        assert [Tally(asked=1, cancelled=1)] * 2 == [stats_of(argo, one).tally for one in ones]
        await stage.clock.advance(1.0)  # past what the application itself had set
        assert 0 == stage.clock.pending


# -- failed branches -------------------------------------------------------------------------------


async def test_after_an_answer_a_failure_ends_no_wait_for_a_better_one(stage):
    good = stage.upstream("good", (0.1, {"confidence": 0.6}))
    broken = stage.upstream("broken", (0.2, failure("broken", Action.STOP)))
    better = stage.upstream("better", (0.4, {"confidence": 0.9}))
    async with stage.open(good, broken, better, strategy="best") as argo:
        assert "better" == (await stage.ask(argo, operation="opinion")).upstream


@pytest.mark.parametrize(("action", "rate"), [(Action.SWITCH, 1.0), (Action.RETRY, 1.0)])
async def test_an_upstream_that_fails_is_at_fault(stage, action, rate):
    broken = stage.upstream("broken", (0.1, failure("broken", action)))
    well = stage.upstream("well", (0.1, "bars"))
    async with stage.open(broken, well, order="configured") as argo:
        await stage.ask(argo)
        assert rate == stats_of(argo, broken).error_rate


async def test_an_upstream_that_rejects_the_question_is_not_at_fault(stage):
    strict = stage.upstream("strict", (0.1, failure("strict", Action.STOP)))
    well = stage.upstream("well", (0.1, "bars"))
    async with stage.open(strict, well, order="configured") as argo:
        with pytest.raises(UpstreamError):
            await stage.ask(argo)
        assert 0.0 == stats_of(argo, strict).error_rate
        assert Tally(asked=1, failed=1) == stats_of(argo, strict).tally


@pytest.mark.parametrize("number", [1, 2])
async def test_an_upstream_that_cancels_itself_has_failed(stage, number):
    """Its caller is still there, and waits for an answer or an error."""

    async def gives_up(call: object) -> Outcome:
        raise asyncio.CancelledError

    ones = [stage.upstream(name, (0.1, "bars")) for name in ("first", "second")]
    for one in ones[:number]:
        object.__setattr__(one.upstream, "fetch", gives_up)
    async with stage.open(*ones, order="configured") as argo:
        asking = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await stage.clock.advance(1.0)
        assert asking.done()
        if number == 1:
            assert "bars" == asking.result().value
        else:
            assert isinstance(asking.exception(), ArgoError)


# -- what is counted -------------------------------------------------------------------------------


async def test_hedges_are_counted_and_first_requests_are_not(stage):
    first = stage.upstream("first", (0.1, "bars"), (9.0, "late"))
    second = stage.upstream("second", (0.1, "bars"))
    async with stage.open(first, second, initial_latency=0.5, order="configured") as argo:
        await stage.ask(argo)
        assert {"won": 1} == await acts_of(argo)
        await stage.ask(argo)
        assert {"won": 2, "hedge": 1, "cancelled": 1} == await acts_of(argo)


async def test_probes_are_counted(stage):
    first, second = (stage.upstream(name, (0.1, "bars")) for name in ("first", "second"))
    async with stage.open(first, second, probe_ratio=1.0) as argo:
        await stage.ask(argo)
        assert {"won": 1, "probe": 1} == await acts_of(argo)


async def test_branches_that_a_race_starts_together_are_no_hedges(stage):
    first, second = stage.upstream("first", (0.1, "bars")), stage.upstream("second", (0.2, "bars"))
    async with stage.open(first, second, strategy="race") as argo:
        await stage.ask(argo)
        assert {"won": 1, "cancelled": 1} == await acts_of(argo)


@pytest.mark.parametrize(
    ("upstreams", "strategy"), [(2, "fallback"), (1, "fallback"), (1, "hedge"), (1, "race")]
)
async def test_where_nothing_is_chosen_nothing_is_counted(stage, upstreams, strategy):
    ones = [stage.upstream(name, (0.1, "bars")) for name in "ab"[:upstreams]]
    async with stage.open(*ones, strategy=strategy) as argo:
        assert "bars" == (await stage.ask(argo)).value
        (own,) = await context_of(argo).counters.read("instance")
        assert {} == own.acts.get("race", {})


async def test_observers_of_calls_hear_how_each_branch_went_and_what_it_wasted(stage):
    """What a cancelled branch would have cost is taken from its upstream's price."""
    busy = stage.upstream("busy", (0.0, QuotaExceeded("used up", retry_at=300.0)))
    broken = stage.upstream("broken", (0.25, failure("broken")))
    good = stage.upstream("good", (0.5, {"confidence": 0.5}), usd=0.25)
    best = stage.upstream("best", (0.75, {"confidence": 0.9}), usd=0.5)
    slow = stage.upstream("slow", (9.0, {}), price=0.125)
    free = stage.upstream("free", (9.0, {}))
    ones = (busy, broken, good, best, slow, free)
    async with stage.open(*ones, strategy="best", best_timeout=1.0, order="configured") as argo:
        events = capture_events(argo)
        await stage.ask(argo, operation="opinion", step=0.25)
        heard = {(e.call.upstream, e.action): e.detail for e in events.of(LayerActed)}
        ranking = ranking_of(argo, "opinion")
        wasted = {name: stats.tally.wasted_usd for name, stats in ranking.known.items()}
    assert {
        ("busy", "refused"): "busy",
        ("broken", "failed"): "broken after 0.2500 s: broken is down",
        ("good", "lost"): "good after 0.5000 s, wasted 0.250000 USD",
        ("best", "won"): "best",
        ("slow", "cancelled"): "slow after 1.0000 s, wasted 0.125000 USD",
        ("free", "cancelled"): "free after 1.0000 s, wasted 0.000000 USD",
    } == heard
    assert {
        "busy": 0.0, "broken": 0.0, "good": 0.25, "best": 0.0, "slow": 0.125, "free": 0.0,
    } == wasted  # fmt: skip


async def test_nobody_hears_of_single_branches_unless_calls_are_observed(stage):
    """They are counted all the same."""
    first, second = stage.upstream("first", (0.1, "bars")), stage.upstream("second", (0.2, "bars"))
    async with stage.open(first, second, strategy="race") as argo:
        events: Counter[str] = Counter()
        object.__setattr__(context_of(argo), "announce", lambda *_: events.update(["announced"]))
        await stage.ask(argo)
        assert Counter() == events
        assert {"won": 1, "cancelled": 1} == await acts_of(argo)


async def test_an_answer_that_comes_after_its_branch_was_cancelled_is_lost(stage):
    """It has been paid for, and shows how long its upstream took."""

    async def stubborn(call: object) -> Outcome:
        try:
            await stage.clock.sleep(1e6)
        except asyncio.CancelledError:
            await stage.clock.sleep(2.0)
        return Outcome("late", cost=Cost(0.25))

    slow, fast = stage.upstream("slow", (9.0, "slow")), stage.upstream("fast", (0.5, "fast"))
    object.__setattr__(slow.upstream, "fetch", stubborn)
    async with stage.open(slow, fast, strategy="race") as argo:
        await stage.ask(argo, step=0.5)
        assert Tally(asked=1, cancelled=1) == stats_of(argo, slow).tally
        await stage.clock.advance(2.0)
        await settle()
        assert Tally(asked=1, cancelled=1, lost=1, wasted_usd=0.25) == stats_of(argo, slow).tally
        assert pytest.approx(2.5) == stats_of(argo, slow).latencies.at_quantile
        assert 1 == stats_of(argo, slow).latencies.answers
        assert 0 == stats_of(argo, slow).in_flight
