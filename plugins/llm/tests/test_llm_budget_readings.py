"""What is left of budgets is said in numbers, under names that are few."""

from __future__ import annotations

import pytest

from argo_mw import BudgetExceeded
from argo_mw.model.call import make_call
from argo_mw.plugin import SPENDING_LIMIT, Cost, Left, Outcome, Request, SpendingLimit, Upstream
from argo_mw.testing import FakeClock, SlowStore
from argo_mw.testing.guards import context_on
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.counters import NANO, OwnBudget, counters_of
from argo_mw_llm.budgets.guard import BudgetGuard
from argo_mw_llm.budgets.readings import MAX_COUNTERS, BudgetReadings, name_of
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.operations import operations

DAY = 86_400.0


class Process:
    """The guards of a process that shares a store."""

    def __init__(self, store: SlowStore, clock: FakeClock, *budgets: Budget) -> None:
        self._context = context_on(store, clock)
        config = LlmConfig(budgets=budgets)
        self._accounting = Accounting(config, self._context)
        self._complete = next(one for one in operations(config) if one.name == "complete")

    def guard(self, provider: str = "glm") -> BudgetGuard:
        return BudgetGuard(provider, "glm-5.3", self._accounting, self._context, _no_count)

    def request(self, tenant: str = "desk", **extensions: object) -> Request:
        asked = {"messages": "Why?", "max_tokens": 100, "model": "glm-5.3"}
        call = make_call(self._complete, asked, tenant=tenant).extended(extensions)
        return Request(Upstream("glm", ["complete"], _never_asked, metered=True), (call,))


async def _no_count(call: object, model: str) -> int | None:
    return None


async def _never_asked(call: object) -> object:
    raise AssertionError


async def spend(guard: BudgetGuard, request: Request, usd: float) -> None:
    """Let *request* go out and cost *usd*."""
    await guard.reserve(request)
    rest = guard.settle(request, (Outcome("ok", cost=Cost(usd)),))
    assert rest is not None
    await rest


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> SlowStore:
    return SlowStore(clock=clock)


async def test_a_budget_says_what_was_left_when_its_process_last_asked(
    store: SlowStore, clock: FakeClock
) -> None:
    budget = Budget(usd=1.0)
    one, other = (Process(store, clock, budget) for _ in range(2))
    guard, its = one.guard(), other.guard()
    assert {} == guard.standing().limits
    await guard.reserve(request := one.request())
    held = guard.standing().limits["USD per day"]
    assert 0.9 < held.left < 1.0
    await guard.release(request)
    assert {"USD per day": Left(1.0, 1.0)} == guard.standing().limits
    await spend(guard, one.request(), 0.0001)
    await spend(its, other.request(), 0.0001)
    assert {"USD per day": Left(0.9999, 1.0)} == guard.standing().limits
    assert {"USD per day": Left(0.9998, 1.0)} == its.standing().limits
    await clock.advance(DAY)
    assert {"USD per day": Left(1.0, 1.0)} == guard.standing().limits


async def test_a_budget_that_refuses_says_how_little_is_left(
    store: SlowStore, clock: FakeClock
) -> None:
    process = Process(store, clock, Budget(usd=1e-6, per="ever"))
    guard = process.guard()
    with pytest.raises(BudgetExceeded):
        await guard.reserve(process.request())
    assert {"USD ever": Left(1e-6, 1e-6)} == guard.standing().limits


async def test_of_budgets_with_one_name_the_least_share_is_said(
    store: SlowStore, clock: FakeClock
) -> None:
    process = Process(store, clock, Budget(usd=1.0, tenant="*"))
    guard = process.guard()
    for tenant, usd in (("a", 0.0001), ("b", 0.0003), ("c", 0.0002)):
        await spend(guard, process.request(tenant), usd)
    assert {"USD per day, a tenant": Left(0.9997, 1.0)} == guard.standing().limits


async def test_a_budget_that_travels_with_calls_is_said_without_its_name(
    store: SlowStore, clock: FakeClock
) -> None:
    process = Process(store, clock)
    guard = process.guard()
    limit = SpendingLimit("carla", 2.0, "month")
    await spend(guard, process.request(**{SPENDING_LIMIT: limit}), 0.0001)
    assert {"USD per month, a client": Left(1.9999, 2.0)} == guard.standing().limits


async def test_a_guard_says_only_what_its_own_provider_has_met(
    store: SlowStore, clock: FakeClock
) -> None:
    process = Process(store, clock, Budget(usd=1.0))
    await spend(process.guard(), process.request(), 0.0001)
    assert {} == process.guard("claude").standing().limits


async def test_a_stop_is_said_until_it_is_found_to_be_lifted(
    store: SlowStore, clock: FakeClock
) -> None:
    budget = Budget(usd=1.0, per="ever")
    one, other = (Process(store, clock, budget) for _ in range(2))
    guard, its = one.guard(), other.guard()
    assert {"stopped": False} == guard.standing().states
    await spend(guard, one.request(), 0.5)
    assert {"stopped": True} == guard.standing().states
    with pytest.raises(BudgetExceeded, match="is stopped"):
        await its.reserve(other.request())
    assert {"stopped": True} == its.standing().states
    await store.delete(["argo:llm:{budget}:0:::ever" + STOPPED])
    await spend(its, other.request(), 0.0001)
    assert {"stopped": False} == its.standing().states


async def test_a_stop_ends_with_its_period(store: SlowStore, clock: FakeClock) -> None:
    process = Process(store, clock, Budget(usd=1.0))
    guard = process.guard()
    await spend(guard, process.request(), 0.5)
    await clock.advance(DAY)
    assert {"stopped": False} == guard.standing().states


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (Budget(usd=1.0), "USD per day"),
        (Budget(usd=1.0, per="month", model="claude"), "USD per month, claude"),
        (Budget(usd=1.0, per="ever", model="*"), "USD ever, a model"),
        (Budget(usd=1.0, tenant="desk", model="glm"), "USD per day, a tenant, glm"),
        (Budget(usd=1.0, tenant="*", then="warn"), "USD per day, a tenant, warns"),
        (OwnBudget(1.0, name="carla"), "USD per day, a client"),
    ],
)
def test_names_say_what_a_budget_is_for_but_not_for_whom(budget: Budget, name: str) -> None:
    assert name == name_of(budget)


def test_a_budget_of_nothing_has_nothing_left() -> None:
    readings = BudgetReadings()
    for counter in counters_of([Budget(usd=0.0)], "", "glm-5.3", 0.0):
        readings.note(counter, 0, "glm", 0.0)
    assert {"USD per day": Left(0.0, 0.0)} == readings.left("glm", 0.0)


def test_no_more_counters_are_remembered_than_allowed() -> None:
    readings = BudgetReadings()
    each = Budget(usd=1.0, tenant="*")
    for number in range(3 * MAX_COUNTERS):
        time = DAY * (number // MAX_COUNTERS)
        for counter in counters_of([each], f"t{number}", "glm-5.3", time):
            readings.note(counter, NANO // 2, "glm", time)
        assert len(readings._found) <= MAX_COUNTERS
    assert {"USD per day, a tenant": Left(0.5, 1.0)} == readings.left("glm", 2 * DAY)


def test_the_counter_that_was_met_last_is_remembered() -> None:
    readings = BudgetReadings()
    each = Budget(usd=1.0, tenant="*")
    for number in range(MAX_COUNTERS + 1):
        for counter in counters_of([each], f"t{number}", "glm-5.3", 0.0):
            readings.note(counter, NANO if number == MAX_COUNTERS else 0, "glm", 0.0)
    assert len(readings._found) <= MAX_COUNTERS
    assert {"USD per day, a tenant": Left(0.0, 1.0)} == readings.left("glm", 0.0)
