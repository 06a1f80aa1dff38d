"""The guard that keeps budgets gives back what is never sent, also when callers leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from argo_mw import ArgoError, BudgetExceeded
from argo_mw.model.call import make_call
from argo_mw.plugin import Cost, Count, Outcome, Request, SharedUnavailable, Upstream
from argo_mw.testing import (
    FakeClock,
    GuardConformance,
    GuardUnderTest,
    MakeGuard,
    SlowStore,
)
from argo_mw.testing import settle as settled
from argo_mw.testing.guards import context_on
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.guard import BudgetGuard
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.costs.call_bounds import bound_of
from argo_mw_llm.costs.prices import load_prices
from argo_mw_llm.operations import operations

BUDGETS = (
    Budget(usd=0.5),
    Budget(usd=0.5, per="month", tenant="*"),
    Budget(usd=0.5, per="ever", model="glm-5.3"),
)


class TestBudgets(GuardConformance):
    """Two holdings fit into the budgets, and a third does not."""

    @pytest.fixture
    def make_guard(self) -> MakeGuard:
        async def make(store: SlowStore, clock: FakeClock) -> GuardUnderTest:
            context = context_on(store, clock)
            config = LlmConfig(budgets=BUDGETS)
            accounting = Accounting(config, context)
            guard = BudgetGuard("glm", "glm-5.3", accounting, context, _no_count)
            complete = next(one for one in operations(config) if one.name == "complete")
            upstream = Upstream("glm", ["complete"], _never_asked, metered=True)

            def request() -> Request:
                asked = {"messages": "Why?", "max_tokens": 50_000}
                return Request(upstream, (make_call(complete, asked, tenant="desk"),))

            async def taken() -> object:
                kept = store.counters.items()
                held = {key: count for key, count in kept if key.startswith("argo:llm") and count}
                return held, len(guard._reserved), len(accounting._quotes)

            async def exhaust() -> None:
                for _ in range(2):
                    await guard.reserve(used := request())
                    rest = guard.settle(used, (TimeoutError("its cost is not known"),))
                    assert rest is not None
                    await rest

            return GuardUnderTest(guard, request, taken, exhaust)

        return make


def process(
    store: SlowStore,
    clock: FakeClock,
    *budgets: Budget,
    provider: str = "glm",
    model: str = "glm-5.3",
) -> tuple[BudgetGuard, Request]:
    """Return the guard of a process that shares *store*, and a request."""
    context = context_on(store, clock)
    config = LlmConfig(budgets=budgets)
    guard = BudgetGuard(provider, "glm-5.3", Accounting(config, context), context, _no_count)
    complete = next(one for one in operations(config) if one.name == "complete")
    upstream = Upstream(provider, ["complete"], _never_asked, metered=True)
    asked = {"messages": "Why?", "max_tokens": 100, "model": model}
    return guard, Request(upstream, (make_call(complete, asked, tenant="desk"),))


@given(away=st.lists(st.floats(0.01, 30.0), max_size=6), billed=st.integers(1, 900))
@settings(max_examples=40, deadline=None)
def test_an_overrun_is_booked_in_full_and_its_stop_kept_however_often_the_store_goes_away(
    away: list[float], billed: int
) -> None:
    asyncio.run(overrun(away, billed / 1_000))


async def overrun(away: list[float], billed: float) -> None:
    clock = FakeClock()
    store = SlowStore(clock=clock)
    other_store = SlowStore(store, clock=clock)
    budget = Budget(usd=1.0, per="ever")
    guard, request = process(store, clock, budget)
    await guard.reserve(request)
    store.away = bool(away)
    bill = Outcome("ok", cost=Cost(billed + 0.001))
    rest = guard.settle(request, (bill,))
    assert rest is not None
    await rest
    with pytest.raises(BudgetExceeded if not away else ArgoError):
        await guard.reserve(request)
    for seconds in away:
        store.away = not store.away
        await clock.advance(seconds)
    store.away = False
    await clock.advance(6.0)
    await settled()
    key = "argo:llm:{budget}:0:::ever"
    assert round((billed + 0.001) * 1e9) == store.counters[key]
    for mine, asked in ((guard, request), process(other_store, clock, budget)):
        with pytest.raises(BudgetExceeded, match="is stopped"):
            await mine.reserve(asked)
    await store.delete([key + STOPPED])
    await guard.reserve(request)
    for one in (store, other_store):
        await one.aclose()


BUDGET = st.builds(
    Budget,
    usd=st.sampled_from([0.05, 0.1, 0.2]),
    per=st.sampled_from(["day", "ever"]),
    tenant=st.sampled_from(["", "*", "desk", "other"]),
    model=st.sampled_from(["", "*", "glm-5.3", "glm-5.3-20261101", "glm", "claude-haiku-4-5"]),
    then=st.sampled_from(["refuse", "warn"]),
)


@given(budgets=st.lists(BUDGET, max_size=6), bills=st.lists(st.integers(0, 4), max_size=20))
@settings(max_examples=60, deadline=None)
def test_each_dollar_counts_once_in_a_budget_whatever_others_count_the_same(
    budgets: list[Budget], bills: list[int]
) -> None:
    asyncio.run(spend(budgets, bills))


async def spend(budgets: list[Budget], bills: list[int]) -> None:
    clock = FakeClock()
    store = SlowStore(clock=clock)
    guard, request = process(store, clock, *budgets)
    applying = [
        one for one in budgets if one.tenant != "other" and not one.model.startswith("claude")
    ]
    most = (
        load_prices()
        .of("glm-5.3")
        .most(bound_of(LlmConfig().profiles["glm"], request.calls[0]).prompt, 100)
    )
    smallest = min((one.usd for one in applying if one.then == "refuse"), default=9.0)
    spent = 0.0
    for ten_thousandths in bills:
        bill = min(ten_thousandths / 10_000, most)
        if spent + most > smallest + 1e-9:
            with pytest.raises(BudgetExceeded):
                await guard.reserve(request)
            break
        await guard.reserve(request)
        rest = guard.settle(request, (Outcome("ok", cost=Cost(bill)),))
        if rest is not None:
            await rest
        spent += bill
    held = {k: n for k, n in store.counters.items() if k.startswith("argo:llm")}
    assert all(abs(spent - nanos / 1e9) < 1e-7 for nanos in held.values())
    await store.aclose()


@given(name=st.text(max_size=30) | st.from_regex(r"[a-z]{2,8}[-.0-9a-z]{0,10}", fullmatch=True))
@pytest.mark.parametrize(
    ("provider", "model"),
    [("glm", "glm-5.3"), ("qwen", "qwen3.8-max"), ("deepseek", "deepseek-v4-pro")],
)
@settings(max_examples=60, deadline=None)
def test_an_unknown_name_does_not_slip_past_the_budgets_of_the_provider_asked(
    provider: str, model: str, name: str
) -> None:
    assume(load_prices().of(name) is None and name)

    async def ask() -> None:
        store, clock = SlowStore(), FakeClock()
        for scope in (model, provider):
            guard, request = process(
                store, clock, Budget(usd=5.0, model=scope), provider=provider, model=name
            )
            with pytest.raises(BudgetExceeded, match="is not known"):
                await guard.reserve(request)
        await store.aclose()

    asyncio.run(ask())


async def test_a_budget_that_names_no_known_model_holds_all_that_it_may_mean() -> None:
    for scope, model, held in [
        ("glm-5.33", "glm-5.3", True),
        ("glm", "glm-5.3-flash", True),
        ("sonnet", "glm-5.3", True),
        ("claude-sonet-5-5", "glm-5.3", False),
    ]:
        guard, request = process(
            SlowStore(), FakeClock(), Budget(usd=0.0, model=scope), model=model
        )
        if held:
            with pytest.raises(BudgetExceeded):
                await guard.reserve(request)
        else:
            await guard.reserve(request)


async def spent(guard: BudgetGuard, request: Request, usd: float) -> None:
    """Let *request* go out and cost *usd*."""
    await guard.reserve(request)
    rest = guard.settle(request, (Outcome("ok", cost=Cost(usd)),))
    assert rest is not None
    await rest


def reported(guard: BudgetGuard) -> list[str]:
    """What was reported, without where."""
    return [trouble.what for _, trouble in guard._context.troubles]


async def test_a_budget_of_one_model_holds_no_other() -> None:
    for other in ("qwen3.7-plus", "claude-haiku-4-5"):
        guard, request = process(SlowStore(), FakeClock(), Budget(usd=0.0, model=other))
        await guard.reserve(request)


async def test_a_budget_that_warns_says_so_once_it_is_used_up() -> None:
    clock = FakeClock()
    store = SlowStore(clock=clock)
    guard, request = process(store, clock, Budget(usd=0.001, then="warn"))
    await spent(guard, request, 0.0002)
    assert [] == reported(guard)
    for _ in range(6):
        await spent(guard, request, 0.0002)
    assert ["the budget of $0.001 per day is used up"] == reported(guard)


async def test_a_bill_that_is_higher_than_held_is_reported_with_both_amounts() -> None:
    clock = FakeClock()
    guard, request = process(SlowStore(clock=clock), clock, Budget(usd=1.0))
    await guard.reserve(request)
    held = guard._reserved[request][0].held[0].nanos / 1e9
    rest = guard.settle(request, (Outcome("ok", cost=Cost(1.25)),))
    assert rest is not None
    await rest
    (what,) = reported(guard)
    assert f"cost $1.250000, more than its upper bound of ${held:.6f}" in what


async def test_a_stop_that_the_store_does_not_know_of_yet_holds_here() -> None:
    clock = FakeClock()
    store = SlowStore(clock=clock)
    guard, request = process(store, clock, Budget(usd=9.0, per="ever"))
    await guard.reserve(request)
    store.away = True
    rest = guard.settle(request, (Outcome("ok", cost=Cost(1.25)),))
    assert rest is not None
    await rest
    store.away = False
    assert "argo:llm:{budget}:0:::ever" + STOPPED not in store.counters
    with pytest.raises(BudgetExceeded, match="is stopped"):
        await guard.reserve(request)
    await clock.advance(60.0)
    await settled()
    await store.aclose()


class LosesAnswers(SlowStore):
    """A store that gives back as it is asked, and is lost before it says so."""

    async def add(self, key: str, amount: int = 1, **rest: Any) -> Count:
        count = await super().add(key, amount, **rest)
        if amount < 0:
            msg = "lost before it answered"
            raise SharedUnavailable(msg, uncertain=True)
        return count


async def test_what_the_store_may_have_given_back_is_not_given_back_again() -> None:
    clock = FakeClock()
    store = LosesAnswers(clock=clock)
    guard, request = process(store, clock, Budget(usd=9.0, per="ever"))
    await spent(guard, request, 0.0002)
    for _ in range(3):
        await clock.advance(60.0)
        await settled()
    assert 200_000 == store.counters["argo:llm:{budget}:0:::ever"]
    await store.aclose()


@pytest.mark.parametrize("counted", [None, 1, 10**9])
async def test_what_a_call_may_cost_goes_by_its_count_of_tokens_or_its_bound(
    counted: int | None,
) -> None:
    """By whichever is less."""
    guard, request = process(SlowStore(), FakeClock())
    (call,) = request.calls
    budgets, price = guard._budgets, load_prices().of("glm-5.3")
    assert price is not None
    bound = bound_of(LlmConfig().profiles["glm"], call).prompt
    usd, inserted = budgets.most(call, "glm", "glm-5.3", counted)
    assert price.most(min(counted or bound, bound), 100) == usd
    assert {} == inserted


async def _no_count(*_: object) -> None:
    return None


async def _never_asked(_: object) -> Outcome:
    raise AssertionError
