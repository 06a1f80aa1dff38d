"""The guard that keeps budgets gives back what is never sent, whoever leaves when."""

from __future__ import annotations

import pytest

from argo_mw.model.call import make_call
from argo_mw.plugin import Outcome, Request, Upstream
from argo_mw.testing import (
    FakeClock,
    GuardConformance,
    GuardUnderTest,
    MakeGuard,
    SlowStore,
)
from argo_mw.testing.guards import context_on
from argo_mw_llm.accounting import Accounting
from argo_mw_llm.budget_guard import BudgetGuard
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


async def _no_count(*_: object) -> None:
    return None


async def _never_asked(_: object) -> Outcome:
    raise AssertionError
