"""What is booked once a cost is known, and what a call itself may cost at most."""

from __future__ import annotations

from typing import Any

import pytest

from argo_mw import BudgetExceeded, SharedUnavailable
from argo_mw.model.call import make_call
from argo_mw.plugin import (
    Call,
    Cost,
    Count,
    Left,
    Outcome,
    Request,
    Stream,
    Tasks,
    Upstream,
    dollars,
)
from argo_mw.testing import FakeClock, SlowStore, settle
from argo_mw.testing.guards import context_on
from argo_mw_llm.budgets.bookings import STOPPED, Bookings, Held
from argo_mw_llm.budgets.counters import NANO, counters_of, nanos_of, period_of
from argo_mw_llm.budgets.guard import MAX_USD, BudgetGuard
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.costs.bounds import MIN_OUTPUT
from argo_mw_llm.costs.call_bounds import bound_of
from argo_mw_llm.costs.prices import load_prices
from argo_mw_llm.operations import EXCHANGE, operations

KEY = "argo:llm:{budget}:0:::ever"
HELD = 1_000


class Stage:
    """Bookings over a store, on which a call holds a thousand billionths of one budget."""

    def __init__(self, budget: Budget = Budget(usd=1.0, per="ever")) -> None:  # noqa: B008
        self.clock = FakeClock()
        self.store = SlowStore(clock=self.clock)
        self.context = context_on(self.store, self.clock)
        self.bookings = Bookings(self.context)
        self.budget = budget
        complete = next(one for one in operations(LlmConfig()) if one.name == "complete")
        self.call = make_call(complete, {"messages": "Why?"}, tenant="desk")

    async def hold(self) -> Held:
        [counter] = counters_of([self.budget], "desk", "glm-5.3", self.clock.time())
        await self.bookings.add(counter.period, HELD)
        epoch = self.context.epochs.known(counter.period.key)
        assert epoch is not None
        return Held(counter, epoch.number, HELD)

    @property
    def counted(self) -> int:
        return self.store.counters.get(KEY, 0)


@pytest.mark.parametrize(
    ("usd", "counted", "stopped"),
    [
        (None, HELD, False),
        (1e-6, HELD, False),
        (4e-7, 400, False),
        (0.0, 0, False),
        (2e-6, 2_000, True),
    ],
)
async def test_what_is_held_becomes_what_it_did_cost(
    usd: float | None, counted: int, stopped: bool
) -> None:
    stage = Stage()
    held = await stage.hold()
    await stage.bookings.settle(stage.call, [held], usd)
    assert counted == stage.counted
    assert stopped == await stage.bookings.is_stopped(held.period)
    assert stopped == (KEY + STOPPED in stage.store.counters)


async def test_a_cost_as_high_as_what_is_held_asks_nothing_of_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def asked(*_: object, **__: object) -> None:
        raise AssertionError

    stage = Stage()
    held = await stage.hold()
    monkeypatch.setattr(stage.store, "add", asked)
    await stage.bookings.settle(stage.call, [held], HELD / 1e9)
    assert [] == list(stage.context.troubles)
    await stage.bookings.settle(stage.call, [held], HELD / 2e9)
    assert 1 == len(stage.context.troubles)


@pytest.mark.parametrize(("usd", "counted"), [(4e-7, 400), (2e-6, 2_000)])
async def test_what_the_store_has_not_taken_is_booked_when_it_is_back(usd, counted) -> None:
    stage = Stage()
    held = await stage.hold()
    stage.store.away = True
    await stage.bookings.settle(stage.call, [held], usd)
    assert HELD == stage.counted
    stage.store.away = False
    await stage.clock.advance(60.0)
    await settle()
    assert counted == stage.counted


class LosesAnswers(SlowStore):
    """A store that adds as it is asked, and is lost before it says so, while it *loses* answers."""

    loses = False

    async def add(self, key: str, amount: int = 1, **rest: Any) -> Count:
        count = await super().add(key, amount, **rest)
        if self.loses:
            msg = "lost before it answered"
            raise SharedUnavailable(msg, uncertain=True)
        return count


@pytest.mark.parametrize(("usd", "counted", "stops"), [(4e-7, 400, 0), (2e-6, 2_000, 2)])
async def test_what_the_store_may_have_done_is_done_once_more_only_if_too_much_is_counted_then(
    usd: float, counted: int, stops: int
) -> None:
    """Money is given back once; a stop, which comes before its bill, may be counted twice."""
    stage = Stage()
    stage.store = LosesAnswers(clock=stage.clock)
    stage.context = context_on(stage.store, stage.clock)
    stage.bookings = Bookings(stage.context)
    held = await stage.hold()
    stage.store.loses = True
    await stage.bookings.settle(stage.call, [held], usd)
    stage.store.loses = False
    for _ in range(3):
        await stage.clock.advance(60.0)
        await settle()
    assert (counted, stops) == (stage.counted, stage.store.counters.get(KEY + STOPPED, 0))


@pytest.mark.parametrize(("usd", "left"), [(4e-7, 1.0 - 4e-7), (0.25, 0.75)])
async def test_what_is_left_is_set_right_once_a_cost_is_known(usd: float, left: float) -> None:
    stage = Stage()
    held = await stage.hold()
    stage.bookings.found.note(held.counter, HELD, "glm", stage.clock.time())
    await stage.bookings.settle(stage.call, [held], usd)
    assert {"USD ever": Left(left, 1.0)} == stage.bookings.found.left("glm", stage.clock.time())


async def test_a_budget_that_only_warns_is_not_stopped_by_a_bill() -> None:
    stage = Stage(Budget(usd=1.0, per="ever", then="warn"))
    held = await stage.hold()
    await stage.bookings.settle(stage.call, [held], 2e-6)
    assert not await stage.bookings.is_stopped(held.period)
    [(_, trouble)] = stage.context.troubles
    assert trouble.what.endswith("the budget of $1 per ever only warns")


async def test_a_stop_that_was_lifted_is_none_whatever_its_counter_says() -> None:
    stage = Stage()
    held = await stage.hold()
    for change, stopped in ((1, True), (-1, False), (-1, False)):
        await stage.store.add(KEY + STOPPED, change)
        assert stopped == await stage.bookings.is_stopped(held.period)


async def test_a_counter_that_was_lost_alone_does_not_fall_below_nothing() -> None:
    stage = Stage()
    held = await stage.hold()
    await stage.store.add(KEY, 300 - HELD)
    await stage.bookings.give_back([held])
    assert 0 == stage.counted
    await stage.bookings.give_back([])
    assert 0 == stage.counted


# -- the most that a call itself may cost ------------------------------------------------------------


def guarded(
    *budgets: Budget, max_usd: object = None, counted: int | None = None, **asked: object
) -> tuple[BudgetGuard, Request]:
    clock = FakeClock()
    context = context_on(SlowStore(clock=clock), clock)
    config = LlmConfig(budgets=budgets)

    async def count(call: Call, model: str) -> int | None:
        return counted

    guard = BudgetGuard("glm", "glm-5.3", Accounting(config, context), context, count)
    complete = next(one for one in operations(config) if one.name == "complete")
    asked = {"messages": "Why?", "model": "glm-5.3", "max_tokens": 100, **asked}
    call = make_call(complete, asked, tenant="desk")
    if max_usd is not None:
        call = call.extended({MAX_USD: max_usd})
    return guard, Request(Upstream("glm", ["complete"], _never_asked, metered=True), (call,))


async def _never_asked(_: object) -> Outcome:
    raise AssertionError


@pytest.mark.parametrize(("share", "passes"), [(1.0, True), (1.01, True), (0.99, False)])
async def test_a_call_is_asked_if_it_costs_no_more_than_its_caller_pays(
    share: float, passes: bool
) -> None:
    price = load_prices().of("glm-5.3")
    assert price is not None
    most = price.most(7, 100)
    guard, request = guarded(max_usd=most * share, counted=7)
    if passes:
        await guard.reserve(request)
        await guard.release(request)
    else:
        with pytest.raises(BudgetExceeded, match=f"may cost .{most:.6f}, more than the limit of"):
            await guard.reserve(request)


async def test_nothing_is_within_a_limit_that_is_not_a_number() -> None:
    guard, request = guarded(max_usd=float("nan"), counted=7)
    with pytest.raises(BudgetExceeded, match=r"more than the limit of \$nan"):
        await guard.reserve(request)


@pytest.mark.parametrize(
    ("cost", "counted"),
    [(Cost(0.25), 250_000_000), (None, "held"), (Cost(0.1, estimated=True), "held")],
)
async def test_a_stream_is_booked_at_its_end_if_its_cost_is_known(
    cost: Cost | None, counted: object
) -> None:
    guard, request = guarded(Budget(usd=9.0, per="ever"), max_tokens=200_000)
    store = guard._context.shared
    assert isinstance(store, SlowStore)
    await guard.reserve(request)
    held = store.counters[KEY]
    assert held > 250_000_000

    async def chunks():
        yield "one"

    tasks = Tasks()
    stream: Stream[object] = Stream(chunks(), tasks)
    stream.cost = cost
    assert None is guard.settle(request, (Outcome(stream),))
    assert held == store.counters[KEY]
    assert ["one"] == [chunk async for chunk in stream.read()]
    await settle()
    assert (held if counted == "held" else counted) == store.counters[KEY]
    await tasks.aclose()


# -- an answer without a limit -----------------------------------------------------------------------


def unlimited(*budgets: Budget) -> tuple[BudgetGuard, Call]:
    """A request of a client that names no limit of its answer."""
    guard, _ = guarded(*budgets)
    config = LlmConfig(budgets=budgets)
    asked = next(one for one in operations(config) if one.name == "glm" + EXCHANGE)
    body = {"model": "glm-5.3", "messages": [{"role": "user", "content": "Why?"}]}
    parameters = {"model": "glm-5.3", "body": body, "endpoint": "/chat/completions", "account": ""}
    return guard, make_call(asked, parameters, tenant="desk")


def most_of(tokens: int) -> float:
    """What an answer of so many *tokens* costs at most."""
    _, call = unlimited()
    price = load_prices().of("glm-5.3")
    assert price is not None
    return price.most(bound_of(LlmConfig().profiles["glm"], call).prompt, tokens)


PRICE = load_prices().of("glm-5.3")
LARGEST = (PRICE and PRICE.max_output) or MIN_OUTPUT


@pytest.mark.parametrize(
    ("usd", "tokens"),
    [
        (2 * most_of(LARGEST) + 1e-9, LARGEST),
        (2 * most_of(2 * MIN_OUTPUT) + 1e-9, 2 * MIN_OUTPUT),
        (2 * most_of(MIN_OUTPUT + 1) + 1e-9, MIN_OUTPUT + 1),
        (1.2 * most_of(MIN_OUTPUT), MIN_OUTPUT),
    ],
    ids=["all of it", "some", "just more than usual", "no less than usual"],
)
async def test_half_of_what_is_left_pays_for_an_answer_without_a_limit(
    usd: float, tokens: int
) -> None:
    tight, loose = Budget(usd=usd, per="ever"), Budget(usd=9.0)
    for budgets in ((tight,), (loose, tight), (tight, Budget(usd=0.0001, then="warn"))):
        guard, call = unlimited(*budgets)
        hold = await guard._budgets.hold(call, "glm", "glm-5.3")
        assert pytest.approx(tokens, abs=1) == hold.inserted["max_tokens"]


async def test_what_others_have_spent_is_not_left_for_an_answer_without_a_limit() -> None:
    spent = most_of(MIN_OUTPUT)
    budget = Budget(usd=2 * most_of(2 * MIN_OUTPUT) + spent + 1e-9, per="ever")
    guard, call = unlimited(budget)
    await guard._budgets._bookings.add(period_of(budget, "", "", 0.0), nanos_of(spent))
    hold = await guard._budgets.hold(call, "glm", "glm-5.3")
    assert pytest.approx(2 * MIN_OUTPUT, abs=1) == hold.inserted["max_tokens"]


@pytest.mark.parametrize("limit", [None, 100])
async def test_a_dry_run_foresees_what_an_answer_would_be_limited_to(limit: int | None) -> None:
    budget = Budget(usd=2 * most_of(2 * MIN_OUTPUT), per="ever")
    if limit is None:
        guard, call = unlimited(budget)
        foreseen = most_of(2 * MIN_OUTPUT)
    else:
        guard, request = guarded(budget, max_tokens=limit)
        call, price = request.calls[0], load_prices().of("glm-5.3")
        assert price is not None
        foreseen = price.most(bound_of(LlmConfig().profiles["glm"], call).prompt, limit)
    [said] = await guard._budgets.dry_run(call, "glm", "glm-5.3")
    assert f"may cost ${dollars(foreseen)}" in said


@pytest.mark.parametrize(("nanos", "used_up"), [(0, False), (-1, True)])
async def test_a_budget_that_warns_is_used_up_when_more_than_all_of_it_is_held(
    nanos: int, used_up: bool
) -> None:
    _, request = guarded()
    assert PRICE is not None
    most = PRICE.most(bound_of(LlmConfig().profiles["glm"], request.calls[0]).prompt, 100)
    usd = (nanos_of(most) + nanos) / NANO
    guard, request = guarded(Budget(usd=usd, per="ever", then="warn"))
    await guard.reserve(request)
    assert used_up == any("is used up" in what.what for _, what in guard._context.troubles)


@pytest.mark.parametrize(("nanos", "passes"), [(0, True), (-1, False)])
async def test_a_call_is_let_pass_that_may_cost_all_that_is_left(nanos: int, passes: bool) -> None:
    _, request = guarded()
    price = load_prices().of("glm-5.3")
    assert price is not None
    most = price.most(bound_of(LlmConfig().profiles["glm"], request.calls[0]).prompt, 100)
    guard, request = guarded(Budget(usd=(nanos_of(most) + nanos) / NANO, per="ever"))
    for asking in (guard.dry_run, guard.reserve):
        if passes:
            await asking(request)
        else:
            with pytest.raises(BudgetExceeded, match="has .* left"):
                await asking(request)


async def test_a_store_that_is_away_lets_no_call_pass() -> None:
    guard, request = guarded(Budget(usd=9.0))
    guard._context.shared.away = True
    with pytest.raises(SharedUnavailable):
        await guard.reserve(request)
