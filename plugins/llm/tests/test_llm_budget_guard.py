"""The guard that keeps budgets gives back what is never sent, whoever leaves when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import ArgoError, BudgetExceeded
from argo_mw.model.call import make_call
from argo_mw.plugin import Cost, Outcome, Request, Upstream
from argo_mw.testing import (
    FakeClock,
    GuardConformance,
    GuardUnderTest,
    MakeGuard,
    SlowStore,
)
from argo_mw.testing import settle as settled
from argo_mw.testing.guards import context_on
from argo_mw_llm.accounting import Accounting
from argo_mw_llm.budget_guard import BudgetGuard
from argo_mw_llm.budgets import STOPPED
from argo_mw_llm.config import Budget, LlmConfig
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
            guard = BudgetGuard("glm-5.3", accounting, context, _no_count)
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


def process(store: SlowStore, clock: FakeClock, budget: Budget) -> tuple[BudgetGuard, Request]:
    """Return the guard of a process that shares *store*, and a request."""
    context = context_on(store, clock)
    config = LlmConfig(budgets=(budget,))
    guard = BudgetGuard("glm-5.3", Accounting(config, context), context, _no_count)
    complete = next(one for one in operations(config) if one.name == "complete")
    upstream = Upstream("glm", ["complete"], _never_asked, metered=True)
    asked = {"messages": "Why?", "max_tokens": 100}
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
    key = "argo:llm:budget:0:::ever"
    assert round((billed + 0.001) * 1e9) == store.counters[key]
    for mine, asked in ((guard, request), process(other_store, clock, budget)):
        with pytest.raises(BudgetExceeded, match="is stopped"):
            await mine.reserve(asked)
    await store.delete([key + STOPPED])
    await guard.reserve(request)
    for one in (store, other_store):
        await one.aclose()


async def _no_count(*_: object) -> None:
    return None


async def _never_asked(_: object) -> Outcome:
    raise AssertionError
