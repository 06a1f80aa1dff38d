"""What budgets refuse or let pass where a cost has no bound or a count was lost, and what they say."""

from __future__ import annotations

import pytest

from argo_mw import BudgetExceeded, Outcome
from argo_mw.model.call import make_call
from argo_mw.plugin import Call, Request, Upstream, dollars
from argo_mw.testing import FakeClock, SlowStore
from argo_mw.testing.guards import context_on
from argo_mw_llm.budgets.guard import MAX_USD, BudgetGuard
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.costs.bounds import MIN_THINKING
from argo_mw_llm.costs.call_bounds import bound_of
from argo_mw_llm.costs.prices import Price, load_prices
from argo_mw_llm.operations import EXCHANGE, operations

MODELS = {"glm": "glm-5.3", "qwen": "qwen3.8-max"}
REFUSES, WARNS = Budget(usd=9.0), Budget(usd=9.0, then="warn")


class Desk:
    """The guard of one provider, which counts 7 tokens in any prompt, and what it reports."""

    def __init__(self, *budgets: Budget, provider: str = "glm") -> None:
        self.clock = FakeClock(wall=86_400.0 * 20_000 + 3_600)
        self.store = SlowStore(clock=self.clock)
        self.context = context_on(self.store, self.clock)
        self.provider, self.model = provider, MODELS[provider]
        self.config = LlmConfig(budgets=budgets)
        self.accounting = Accounting(self.config, self.context)

        async def count(call: Call, model: str) -> int:
            return 7

        self.guard = BudgetGuard(provider, self.model, self.accounting, self.context, count)

    def call(self, **fields: object) -> Call:
        """Return a request of a client of the provider's SDK, with these *fields* besides."""
        name = self.provider + EXCHANGE
        asked = next(one for one in operations(self.config) if one.name == name)
        messages = [{"role": "user", "content": "Why?"}]
        body = {"model": self.model, "messages": messages, **fields}
        path = {"endpoint": "/chat/completions", "account": ""}
        return make_call(asked, {"model": self.model, "body": body, **path}, tenant="desk")

    def request(self, call: Call) -> Request:
        async def never(_: object) -> Outcome:
            raise AssertionError

        return Request(Upstream(self.provider, [call.operation.name], never, metered=True), (call,))

    def most(self, call: Call, tokens: int) -> float:
        """Return what *call* costs with an answer of so many *tokens*."""
        return self.price.most(bound_of(self.config.profiles[self.provider], call).prompt, tokens)

    @property
    def price(self) -> Price:
        price = load_prices().of(self.model)
        assert price is not None
        return price

    @property
    def held(self) -> dict[str, int]:
        return {key: n for key, n in self.store.counters.items() if key.startswith("argo:llm")}

    @property
    def reported(self) -> list[str]:
        return [trouble.what for _, trouble in self.context.troubles]


# -- counts that were lost -------------------------------------------------------------------------


async def test_a_budget_whose_count_is_lost_refuses_until_it_begins_anew() -> None:
    desk = Desk(REFUSES)
    request = desk.request(desk.call(max_tokens=100))
    await desk.guard.reserve(request)
    desk.store.forget()
    for asking in (desk.guard.reserve, desk.guard.dry_run):
        with pytest.raises(BudgetExceeded, match="has lost what was spent of the budget") as error:
            await asking(desk.request(request.calls[0]))
        assert 86_400.0 * 20_001 == error.value.retry_at
    await desk.clock.advance(82_800.0)
    await desk.guard.reserve(desk.request(request.calls[0]))


async def test_a_budget_that_warns_reports_that_its_count_is_lost_and_lets_pass() -> None:
    desk = Desk(WARNS)
    request = desk.request(desk.call(max_tokens=100))
    await desk.guard.reserve(request)
    desk.store.forget()
    said = "the shared store has lost what was spent of the budget of $9 per day"
    assert said == await desk.guard.dry_run(request)
    await desk.guard.reserve(desk.request(request.calls[0]))
    assert said == desk.reported[-1]
    assert {} == desk.held


# -- costs without a bound -------------------------------------------------------------------------


async def test_what_has_no_bound_is_refused_with_what_is_not_known() -> None:
    desk = Desk(REFUSES)
    request = desk.request(desk.call(max_tokens=100, odd=1))
    for asking in (desk.guard.reserve, desk.guard.dry_run):
        with pytest.raises(BudgetExceeded) as error:
            await asking(request)
        assert str(error.value) == (
            "what this call of glm-5.3 costs has no bound: it is not known what 'odd' costs, so "
            "the budget of $9 per day cannot be kept"
        )
    assert {} == desk.held


async def test_what_has_no_bound_passes_a_budget_that_warns_and_is_reported() -> None:
    desk = Desk(WARNS)
    request = desk.request(desk.call(max_tokens=100, odd=1))
    await desk.guard.reserve(request)
    [said] = desk.reported
    assert said == await desk.guard.dry_run(request)
    assert said.endswith("so the budget of $9 per day cannot be kept")
    assert {} == desk.held


async def test_what_has_no_bound_keeps_no_limit_of_its_caller() -> None:
    desk = Desk()
    call = desk.call(max_tokens=100, odd=1).extended({MAX_USD: 9.0})
    with pytest.raises(BudgetExceeded, match="so no limit on it can be kept"):
        await desk.guard.reserve(desk.request(call))


# -- answers without a limit -----------------------------------------------------------------------


async def test_only_budgets_that_refuse_make_an_answer_shorter_than_its_model_can_give() -> None:
    desk = Desk(Budget(usd=1e-6, then="warn"))
    hold = await desk.accounting.budgets.hold(desk.call(), "glm", "glm-5.3")
    assert {"max_tokens": desk.price.max_output} == hold.inserted


@pytest.mark.parametrize("share", [1.999, 2.001])
async def test_more_than_half_of_what_is_left_pays_for_no_answer_however_much_that_is(
    share: float,
) -> None:
    """With a prompt for so many dollars that half of what is left is more than two dollars less."""
    long = {"messages": [{"role": "user", "content": "x" * 4_000_000}]}
    call, longest = Desk().call(**long), Desk().price.max_output
    assert longest is not None
    most = Desk().most(call, longest)
    assert most > 2.0
    desk = Desk(Budget(usd=share * most, per="ever"))
    hold = await desk.accounting.budgets.hold(call, "glm", "glm-5.3")
    assert (share > 2.0) == (longest == hold.inserted["max_tokens"])


def test_the_most_that_an_answer_without_a_limit_costs_is_the_longest_that_there_can_be() -> None:
    desk = Desk()
    call, longest = desk.call(), desk.price.max_output
    assert longest is not None
    usd, inserted = desk.accounting.budgets.most(call, "glm", "glm-5.3", None)
    assert (desk.most(call, longest), {"max_tokens": longest}) == (usd, inserted)


async def test_thinking_without_a_limit_is_foreseen_and_held() -> None:
    desk = Desk(Budget(usd=9.0, per="ever"), provider="qwen")
    call = desk.call(max_tokens=100)
    most = desk.most(call, 100 + MIN_THINKING)
    assert f"may cost ${dollars(most)}" in await desk.guard.dry_run(desk.request(call))
    await desk.guard.reserve(desk.request(call))
    [held] = desk.held.values()
    assert pytest.approx(most * 1e9, abs=1) == held


@pytest.mark.parametrize("limited", [True, False])
async def test_what_a_request_may_take_goes_by_its_provider_s_count_where_there_is_one(
    limited: bool,
) -> None:
    desk = Desk()
    call = desk.call(max_tokens=100)
    if limited:
        call = call.extended({MAX_USD: 9.0})
    await desk.guard.reserve(desk.request(call))
    quote = desk.accounting.kept(call)
    assert quote is not None
    assert limited == (7 == quote.prompt)
