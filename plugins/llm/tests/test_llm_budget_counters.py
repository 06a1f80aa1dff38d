"""What counts together in which period, to the billionth, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from argo_mw.model.call import make_call
from argo_mw.plugin import SPENDING_LIMIT, Call, Left, SpendingLimit
from argo_mw_llm.budgets.command import _label
from argo_mw_llm.budgets.counters import (
    DAY,
    NANO,
    PREFIX,
    OwnBudget,
    Period,
    counters_of,
    limit_of,
    nanos_of,
    period_of,
)
from argo_mw_llm.budgets.panel import _line
from argo_mw_llm.budgets.readings import MAX_COUNTERS, BudgetReadings
from argo_mw_llm.budgets.scope import BudgetScope, own_budget
from argo_mw_llm.budgets.words import (
    advice,
    cannot_be_kept,
    count_lost,
    left_of,
    named,
    refused_while_stopped,
)
from argo_mw_llm.config import MAX_USD, Budget, LlmConfig
from argo_mw_llm.costs.prices import Price, Prices, load_prices
from argo_mw_llm.operations import operations


def moment(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


# -- periods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "at", "began", "ends", "name"),
    [
        ("day", (2026, 2, 28, 0, 0, 0), (2026, 2, 28), (2026, 3, 1), "2026-02-28"),
        ("day", (2026, 12, 31, 23, 59, 59), (2026, 12, 31), (2027, 1, 1), "2026-12-31"),
        ("month", (2026, 1, 1, 0, 0, 0), (2026, 1, 1), (2026, 2, 1), "2026-01"),
        ("month", (2026, 1, 31, 12, 30, 15), (2026, 1, 1), (2026, 2, 1), "2026-01"),
        ("month", (2028, 2, 29, 1, 2, 3), (2028, 2, 1), (2028, 3, 1), "2028-02"),
        ("month", (2026, 12, 31, 23, 59, 59), (2026, 12, 1), (2027, 1, 1), "2026-12"),
    ],
)
def test_a_period_is_a_utc_day_or_month_and_kept_for_a_day_more(per, at, began, ends, name) -> None:
    time = moment(*at)
    period = period_of(Budget(usd=1.0, per=per), "desk", "glm-5.3", time)
    assert (moment(*began), moment(*ends)) == (period.began, period.ends)
    assert moment(*ends) - time + 86_400.0 == period.ttl
    assert f"{PREFIX}0:::{name}" == period.key


def test_a_budget_without_a_period_is_kept_for_ever() -> None:
    period = period_of(Budget(usd=1.0, per="ever"), "", "", 1e9)
    assert Period(f"{PREFIX}0:::ever", 0.0, None, None) == period


@pytest.mark.parametrize(
    ("budget", "key", "label"),
    [
        (Budget(per="ever"), "0:::ever", "ever, all tenants, all models"),
        (Budget(per="ever", tenant="ab"), "2:ab::ever", "ever, tenant 'ab', all models"),
        (Budget(per="ever", tenant="*"), "4:d:sk::ever", "ever, tenant 'd:sk', all models"),
        (Budget(per="ever", model="glm-4"), "0::glm-4:ever", "ever, all tenants, glm-4"),
        (Budget(per="ever", model="*"), "0::glm-5.3:ever", "ever, all tenants, glm-5.3"),
        (OwnBudget(1.0, "ever", name="c:1"), "@3:c:1::ever", "ever, c:1"),
    ],
)
def test_what_is_counted_apart_has_a_name_of_its_own(budget, key, label) -> None:
    found = period_of(budget, "d:sk", "glm-5.3", 0.0).key
    assert (PREFIX + key, label) == (found, _label(found))


# -- scopes ----------------------------------------------------------------------------------------


def scope_of(*budgets: Budget) -> BudgetScope:
    return BudgetScope(budgets, load_prices(), LlmConfig().profiles)


def call_of(tenant: str = "desk", limit: SpendingLimit | None = None) -> Call:
    complete = next(one for one in operations(LlmConfig()) if one.name == "complete")
    call = make_call(complete, {"messages": "Why?"}, tenant=tenant)
    return call if limit is None else call.extended({SPENDING_LIMIT: limit})


@pytest.mark.parametrize(
    ("scope", "provider", "model", "within"),
    [
        ("", "glm", "glm-5.3", True),
        ("*", "glm", "glm-5.3", True),
        ("glm-5.3", "glm", "glm-5.3", True),
        ("glm-5.3", "glm", "glm-5.3-flash", False),
        ("glm-5.3", "qwen", "qwen3.8-max", False),
        # A model that is not known may be any of those that its provider or its vendor has.
        ("glm-5.3", "glm", "glm-9", True),
        ("embedding-3", "glm", "glm-9", True),
        ("embedding-3", "glm", "glm-5.3", False),
        ("qwen3.8-max", "glm", "glm-9", False),
        # A vendor is all of its models, and all that is asked of it.
        ("glm", "glm", "glm-5.3-flash", True),
        ("glm", "glm", "of-tomorrow", True),
        ("glm", "qwen", "glm-5.3", True),
        ("glm", "qwen", "qwen3.8-max", False),
        ("of-nobody", "glm", "glm-5.3", True),
    ],
)
def test_a_budget_is_for_the_models_that_its_name_may_mean(scope, provider, model, within) -> None:
    budget = Budget(usd=1.0, model=scope)
    assert ([budget] if within else []) == scope_of(budget).of(call_of(), provider, model)


def test_a_budget_is_for_one_tenant_or_for_all() -> None:
    ones = [Budget(usd=1.0, tenant=tenant) for tenant in ("", "*", "desk", "other")]
    assert ones[:3] == scope_of(*ones).of(call_of(), "glm", "glm-5.3")


def test_names_of_no_model_provider_or_vendor_are_reported() -> None:
    names = ("", "*", "glm", "openai", "glm-5.3", "GLM-5.3", "of-nobody", "another")
    assert ["another", "of-nobody"] == scope_of(*(Budget(model=one) for one in names)).unknown


def test_a_model_that_one_provider_alone_has_a_price_for_is_known() -> None:
    own = Prices("2026-11-30", "here", providers={"glm": {"of-glm-alone": Price(1.0, 1.0)}})
    scope = BudgetScope([Budget(model="of-glm-alone")], own, LlmConfig().profiles)
    assert [] == scope.unknown


@pytest.mark.parametrize(("usd", "kept"), [(2.0, 2.0), (1e12, MAX_USD)])
def test_a_budget_that_travels_with_a_call_is_one_more(usd: float, kept: float) -> None:
    call = call_of(limit=SpendingLimit("carla", usd, "month"))
    budget = Budget(usd=1.0)
    own = OwnBudget(kept, "month", name="carla")
    assert [budget, own] == scope_of(budget).of(call, "glm", "glm-5.3")
    assert None is own_budget(call_of())


# -- amounts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usd", "nanos"),
    [
        (0.0, 0),
        (1e-9, 1),
        (1.001e-9, 2),
        (1.4e-9, 2),
        (0.1 + 0.2, 300_000_000),  # what a float adds to it is no cost
        (2.0, 2_000_000_000),
        (1e9, 2**52),
    ],
)
def test_an_amount_is_counted_in_billionths_and_never_as_less(usd: float, nanos: int) -> None:
    assert nanos == nanos_of(usd)


def test_the_limit_of_a_budget_is_the_nearest_billionth() -> None:
    assert (0, 1, 9_000_000) == tuple(limit_of(Budget(usd=usd)) for usd in (0.0, 1.4e-9, 0.009))


def test_budgets_of_one_scope_share_a_counter_and_the_smallest_refuses() -> None:
    large, small, warns = Budget(usd=3.0), Budget(usd=2.0), Budget(usd=1.0, then="warn")
    other = Budget(usd=0.5, tenant="desk", then="warn")
    shared, apart = counters_of([large, warns, other, small], "desk", "glm-5.3", 0.0)
    assert (small, (warns,), [small, warns]) == (
        shared.refusing,
        shared.warning,
        list(shared.budgets),
    )
    assert 2 * NANO == shared.limit
    assert (None, (other,), None) == (apart.refusing, tuple(apart.budgets), apart.limit)


# -- what was found --------------------------------------------------------------------------------


def readings_of(
    *budgets: Budget, spent: float = 0.0, tenant: str = "", time: float = 0.0
) -> BudgetReadings:
    readings = BudgetReadings()
    for counter in counters_of(budgets, tenant, "glm-5.3", time):
        readings.note(counter, round(spent * NANO), "glm", time)
    return readings


@pytest.mark.parametrize(("time", "left"), [(DAY - 1, 0.75), (DAY, 1.0), (DAY + 1, 1.0)])
def test_a_budget_has_all_left_as_soon_as_it_begins_anew(time: float, left: float) -> None:
    readings = readings_of(Budget(usd=1.0), spent=0.25)
    assert {"USD per day": Left(left, 1.0)} == readings.left("glm", time)


@pytest.mark.parametrize(("time", "stopped"), [(DAY - 1, True), (DAY, False)])
def test_a_stop_is_over_as_soon_as_its_budget_begins_anew(time: float, stopped: bool) -> None:
    budget = Budget(usd=1.0)
    readings = readings_of(budget)
    assert not readings.any_stopped("glm", 0.0)
    readings.note_stop(period_of(budget, "", "", 0.0).key, True)
    readings.note_stop("of no counter", True)
    assert stopped == readings.any_stopped("glm", time)
    assert not readings.any_stopped("claude", time)


def test_what_is_found_later_takes_the_place_of_what_was_found() -> None:
    budget = Budget(usd=1.0)
    readings = readings_of(budget, spent=0.25)
    readings.correct(period_of(budget, "", "", 0.0).key, 3 * NANO)
    readings.correct("of no counter", 0)
    assert {"USD per day": Left(0.0, 1.0)} == readings.left("glm", 0.0)
    [counter] = counters_of([budget], "", "", 0.0)
    readings.note(counter, NANO // 2, "claude", 0.0)
    assert (
        {"USD per day": Left(0.5, 1.0)} == readings.left("glm", 0.0) == readings.left("claude", 0.0)
    )


def of_two(*ones: tuple[float, float]) -> Left:
    """Return what is said of two tenants who have spent so much of so much."""
    readings = BudgetReadings()
    for tenant, (usd, spent) in zip("ab", ones, strict=True):
        for counter in counters_of([Budget(usd=usd, tenant=tenant)], "", "", 0.0):
            readings.note(counter, round(spent * NANO), "glm", 0.0)
    return readings.left("glm", 0.0)["USD per day, a tenant"]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("ones", "least"),
    [
        ([(10.0, 6.0), (5.0, 2.0)], Left(4.0, 10.0)),
        ([(10.0, 2.0), (1.0, 0.5)], Left(0.5, 1.0)),
        ([(0.0, 0.0), (1.0, 0.5)], Left(0.0, 0.0)),
    ],
    ids=["four of ten or three of five", "eight of ten or half of one", "nothing or half of one"],
)
def test_of_equal_names_the_one_counts_that_has_the_least_share_left(
    ones: list[tuple[float, float]], least: Left, first: int
) -> None:
    assert least == of_two(ones[first], ones[1 - first])


def test_of_equal_shares_the_one_that_was_met_first_is_said() -> None:
    assert Left(5.0, 10.0) == of_two((10.0, 5.0), (1.0, 0.5))
    assert Left(0.5, 1.0) == of_two((1.0, 0.5), (10.0, 5.0))


@pytest.mark.parametrize(("time", "kept"), [(0.0, MAX_COUNTERS * 9 // 10 + 1), (DAY, 1)])
def test_room_is_made_by_what_is_over_or_by_the_tenth_that_was_met_first(time, kept) -> None:
    readings = BudgetReadings()
    each = Budget(usd=1.0, tenant="*")
    for number in range(MAX_COUNTERS):
        [counter] = counters_of([each], f"t{number}", "", 0.0)
        readings.note(counter, number, "glm", 0.0)
    assert MAX_COUNTERS == len(readings._found)
    [counter] = counters_of([each], "new", "", time)
    readings.note(counter, 0, "glm", time)
    assert kept == len(readings._found)
    assert period_of(each, "t0", "", 0.0).key not in readings._found
    assert (kept > 1) == (period_of(each, "t100", "", 0.0).key in readings._found)


# -- what is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (Budget(usd=0.5), "budget of $0.5 per day"),
        (Budget(usd=2.0, per="ever", tenant="a"), "budget of $2 per ever of tenant 'a'"),
        (Budget(usd=2.0, model="glm"), "budget of $2 per day for glm"),
        (OwnBudget(2.0, "month", name="carla"), "budget of $2 per month of carla"),
    ],
)
def test_messages_say_which_budget_it_is(budget: Budget, name: str) -> None:
    assert name == named(budget)
    assert cannot_be_kept(budget, "no price").endswith(f"no price, so the {name} cannot be kept")
    assert f"the shared store has lost what was spent of the {name}" == count_lost(budget)
    error = refused_while_stopped(budget, Period("k", 0.0, 5.0, 1.0))
    assert str(error).startswith(f"the {name} is stopped, because a request cost more")
    assert 5.0 == error.retry_at


@pytest.mark.parametrize(("spent", "left"), [(0, "1.0000"), (NANO // 4, "0.7500"), (2 * NANO, "0")])
def test_a_message_says_what_is_left_beside_what_a_call_may_cost(spent: int, left: str) -> None:
    assert left_of(Budget(usd=1.0), spent, "glm-5.3", 0.5) == (
        f"the budget of $1 per day has ${left} left, and this call of glm-5.3 may cost $0.5000"
    )


def test_a_refusal_says_what_to_do_about_it() -> None:
    assert "raise it in [[plugins.llm.budgets]], or give max_tokens" == advice(Budget(usd=1.0))
    assert "give max_tokens, or have it raised" == advice(OwnBudget(1.0))


@pytest.mark.parametrize(
    ("booked", "stopped", "left", "tone", "state"),
    [
        (0.0, False, 10.0, "", ""),
        (9.0, False, 1.0, "", ""),
        (9.5, False, 0.5, "warn", "low"),
        (10.0, False, 0.0, "bad", "used up"),
        (12.0, False, 0.0, "bad", "used up"),
        (12.0, True, 0.0, "bad", "stopped"),
        (0.0, True, 10.0, "bad", "stopped"),
    ],
)
def test_the_panel_says_what_is_low_used_up_or_stopped(booked, stopped, left, tone, state) -> None:
    line = _line(Budget(usd=10.0), booked, stopped=stopped)
    assert (10.0, booked, left, "refuse", state) == line.cells[1:]
    assert tone == line.tone
