"""The guard that keeps to limits which a provider has told."""

from __future__ import annotations

import httpx2
import pytest

from argo_mw.model.call import make_call
from argo_mw.plugin import Call, Outcome, Request, Upstream
from argo_mw.testing import FakeClock, GuardConformance, GuardUnderTest, MakeGuard, SlowStore
from argo_mw.testing.guards import context_on
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.operations import operations
from argo_mw_llm.providers.learnt_limits import LearntLimits, limits_in
from argo_mw_llm.providers.limit_guard import LimitGuard

MODEL = "glm-5.3"


def told(remaining: int) -> httpx2.Headers:
    """An answer's headers: so many of 100 requests are left, all of them again in 10,000 s."""
    limit = {"limit": "100", "remaining": str(remaining), "reset": "10000s"}
    return httpx2.Headers({f"x-ratelimit-{name}-requests": value for name, value in limit.items()})


class TestLimits(GuardConformance):
    """Fifty requests fit into what the provider has told."""

    @pytest.fixture
    def make_guard(self) -> MakeGuard:
        async def make(store: SlowStore, clock: FakeClock) -> GuardUnderTest:
            config, context = LlmConfig(), context_on(store, clock)
            limits = LearntLimits(clock)
            limits.learn("", MODEL, limits_in(told(50).raw))
            accounting = Accounting(config, context)
            guard = LimitGuard("glm", MODEL, limits, accounting, clock)
            complete = next(one for one in operations(config) if one.name == "complete")
            upstream = Upstream("glm", ["complete"], _never_asked, metered=True)

            def request() -> Request:
                return Request(upstream, (make_call(complete, {"messages": "Why?"}, tenant="t"),))

            async def taken() -> object:
                left = [limit.remaining for limit in limits._known["", MODEL].values()]
                return left, len(guard._taken)

            async def exhaust() -> None:
                limits.learn("", MODEL, limits_in(told(0).raw))

            return GuardUnderTest(guard, request, taken, exhaust)

        return make


async def _never_asked(call: Call) -> Outcome:
    raise AssertionError(call)
