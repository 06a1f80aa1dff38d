"""A dry run of the guard of budgets refuses what it would refuse, and takes nothing."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import BudgetExceeded, Outcome, Refusal
from argo_mw.model.call import make_call
from argo_mw.plugin import Cost, Request, Upstream
from argo_mw.testing import FakeClock, SlowStore, settle
from argo_mw.testing.guards import context_on
from argo_mw_llm.budgets.guard import BudgetGuard
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.operations import EXCHANGE, operations

MODELS = ("glm-5.3", "glm-5.3", "glm-5.3", "a-model-of-tomorrow")

BUDGETS = st.builds(
    Budget,
    usd=st.sampled_from([0.0, 0.02, 0.5, 5.0]),
    per=st.sampled_from(["day", "month", "ever"]),
    tenant=st.sampled_from(["", "*", "desk"]),
    model=st.sampled_from(["", "*", "glm-5.3"]),
    then=st.sampled_from(["refuse", "warn"]),
)

CALLS = st.fixed_dictionaries(
    {
        "messages": st.sampled_from(["Why?", "Why? " * 2_000]),
        "model": st.sampled_from(MODELS),
        "max_tokens": st.sampled_from([0, 100, 50_000]),
    }
)

ENDS = st.sampled_from(["answered", "unknown", "overrun", "released"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(BUDGETS, min_size=1, max_size=3),
    st.lists(st.tuples(CALLS, ENDS, st.booleans()), min_size=1, max_size=10),
)
async def test_a_dry_run_says_what_reserve_then_does(budgets, asked) -> None:
    clock = FakeClock(wall=86_400.0 * 20_000)
    store = SlowStore(clock=clock)
    context = context_on(store, clock)
    config = LlmConfig(budgets=tuple(budgets))
    guard = BudgetGuard("glm", "glm-5.3", Accounting(config, context), context, _no_count)
    complete = next(one for one in operations(config) if one.name == "complete")
    upstream = Upstream("glm", ["complete"], _never_asked, metered=True)
    for parameters, end, next_day in asked:
        if next_day:
            await clock.advance(86_400.0)
        await settle()  # what was refused is given back in the background
        request = Request(upstream, (make_call(complete, parameters, tenant="desk"),))
        before = dict(store.counters)
        foreseen = await refusal_of(guard.dry_run(request))
        assert before == dict(store.counters)
        refused = await refusal_of(guard.reserve(request))
        assert (type(refused), str(refused)) == (type(foreseen), str(foreseen))
        if refused is None:
            await finish(guard, request, end)


def guard_of(store, clock, budget: Budget) -> tuple[BudgetGuard, LlmConfig]:
    config = LlmConfig(budgets=(budget,))
    context = context_on(store, clock)
    return BudgetGuard("glm", "glm-5.3", Accounting(config, context), context, _no_count), config


def request_of(config: LlmConfig, operation: str, **parameters: object) -> Request:
    asked = next(one for one in operations(config) if one.name == operation)
    upstream = Upstream("glm", [operation], _never_asked, metered=True)
    return Request(upstream, (make_call(asked, parameters, tenant="desk"),))


@pytest.mark.parametrize("then", ["refuse", "warn"])
async def test_a_dry_run_says_of_a_budget_that_a_request_without_a_bound_cannot_keep_it(
    then: Literal["refuse", "warn"],
) -> None:
    clock = FakeClock()
    guard, config = guard_of(SlowStore(clock=clock), clock, Budget(usd=5.0, then=then))
    body = {"model": "glm-5.3", "messages": "no list of messages"}
    request = request_of(
        config,
        "glm" + EXCHANGE,
        model="glm-5.3",
        body=body,
        endpoint="/chat/completions",
        account="",
    )
    if then == "refuse":
        assert "cannot be kept" in str(await refusal_of(guard.dry_run(request)))
    else:
        assert "cannot be kept" in await guard.dry_run(request)


async def test_a_dry_run_says_to_the_cent_what_is_left() -> None:
    clock = FakeClock()
    guard, config = guard_of(SlowStore(clock=clock), clock, Budget(usd=0.02))
    request = request_of(config, "complete", messages="Why?", model="glm-5.3", max_tokens=50_000)
    assert "has $0.0200 left" in str(await refusal_of(guard.dry_run(request)))


async def refusal_of(asking) -> Refusal | None:
    try:
        await asking
    except BudgetExceeded as error:
        return error
    return None


async def finish(guard: BudgetGuard, request: Request, end: str) -> None:
    if end == "released":
        await guard.release(request)
        return
    cost = Cost(usd=0.3 if end == "overrun" else 0.001)
    answer = TimeoutError("lost") if end == "unknown" else Outcome("Because.", cost=cost)
    rest = guard.settle(request, (answer,))
    if rest is not None:
        await rest


async def _no_count(*_: object) -> None:
    return None


async def _never_asked(_: object) -> Outcome:
    raise AssertionError
