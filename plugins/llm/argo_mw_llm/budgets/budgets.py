"""Budgets: money is held before a request is sent, and corrected once its cost is known.

At every moment, the cost of past requests and the most that those under way may cost are within the
budget. A request that costs more than was held for it breaks that: it is booked in full, and the
budget is stopped until its period ends or an operator lifts the stop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from argo_mw.plugin import BudgetExceeded, Call, Context, Standing
from argo_mw_llm.budgets.bookings import Bookings, Held
from argo_mw_llm.budgets.counters import (
    NANO,
    Counter,
    Period,
    counters_of,
    limit_of,
    nanos_of,
    period_of,
)
from argo_mw_llm.budgets.scope import BudgetScope, own_budget
from argo_mw_llm.budgets.words import (
    advice,
    cannot_be_kept,
    count_lost,
    left_of,
    named,
    refused_while_stopped,
)
from argo_mw_llm.config import Budget
from argo_mw_llm.costs.bounds import MIN_OUTPUT, Bound
from argo_mw_llm.costs.call_bounds import bound_of
from argo_mw_llm.costs.prices import Price, Prices
from argo_mw_llm.providers.profiles import Profile

_WHERE = "llm budgets"


@frozen
class Hold:
    """The money that a call holds while it is under way.

    Attributes:
        parts: What it holds of each budget.
        inserted: Fields that are added to its request to limit its cost.
    """

    parts: Sequence[Held] = ()
    inserted: Mapping[str, object] = field(factory=dict)


class Budgets:
    """The budgets of one application.

    Args:
        budgets: The configured budgets.
        prices: The prices of tokens.
        context: The application's context.
        profiles: The providers, by name.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        prices: Prices,
        context: Context,
        profiles: Mapping[str, Profile],
    ) -> None:
        self._budgets = budgets
        self._prices = prices
        self._context = context
        self._profiles = profiles
        self._scope = BudgetScope(budgets, prices, profiles)
        self._bookings = Bookings(context)

    @property
    def unknown(self) -> list[str]:
        """The models in budgets that no known model, provider or vendor has as its name."""
        return self._scope.unknown

    def limits(self, call: Call) -> bool:
        """Return whether there are budgets, in the configuration or carried by *call*."""
        return bool(self._budgets) or own_budget(call) is not None

    def most(
        self, call: Call, provider: str, model: str, counted: int | None
    ) -> tuple[float, Mapping[str, object]]:
        """Return the most US dollars that *call* may cost, with limits inserted into its request.

        Args:
            call: The call.
            provider: The provider that is asked.
            model: The model that is asked.
            counted: The prompt's tokens by the provider's own count, or ``None``.

        Raises:
            BudgetExceeded: There is no bound, or the model's price is unknown.
        """
        price, bound = self._quoted(call, provider, model)
        why = self._why_unbounded(price, bound, model)
        if why:
            msg = f"{why}, so no limit on it can be kept"
            raise BudgetExceeded(msg)
        assert price is not None
        bound = bound.limited(price.max_output or MIN_OUTPUT)
        prompt = bound.prompt if counted is None else min(counted, bound.prompt)
        return price.most(prompt, bound.answer, bound.cached), bound.inserted

    async def hold(self, call: Call, provider: str, model: str) -> Hold:
        """Hold the most that *call* may cost in every budget that applies.

        Raises:
            BudgetExceeded: A budget has less left or is stopped, or the cost has no bound.
        """
        budgets = self._scope.of(call, provider, model)
        if not budgets:
            return Hold()
        price, bound = self._quoted(call, provider, model)
        why = self._why_unbounded(price, bound, model)
        if why:
            for budget in budgets:
                self._refuse(budget, cannot_be_kept(budget, why), None)
            return Hold()
        assert price is not None
        if bound.output is None or bound.thinking is None:
            bound = await self._limited(bound, price, budgets, call, model)
        usd = price.most(bound.prompt, bound.answer, bound.cached)
        held: list[Held] = []
        try:
            for counter in self._counters(budgets, call, model):
                held += await self._take(counter, provider, model, usd)
        except BaseException:
            self._bookings.give_back_soon(held)
            raise
        return Hold(held, bound.inserted)

    async def dry_run(self, call: Call, provider: str, model: str) -> list[str]:
        """Return what :meth:`hold` would find in each budget that applies, without holding it.

        Raises:
            BudgetExceeded: As for :meth:`hold`.
        """
        budgets = self._scope.of(call, provider, model)
        price, bound = self._quoted(call, provider, model)
        why = self._why_unbounded(price, bound, model)
        if why or price is None:
            refusing = next((one for one in budgets if one.then == "refuse"), None)
            if refusing is not None:
                raise BudgetExceeded(cannot_be_kept(refusing, why))
            return [cannot_be_kept(one, why) for one in budgets]
        if bound.output is None or bound.thinking is None:
            bound = await self._limited(bound, price, budgets, call, model)
        usd = price.most(bound.prompt, bound.answer, bound.cached)
        counters = self._counters(budgets, call, model)
        return [
            await self._look(budget, counter.period, model, usd)
            for counter in counters
            for budget in counter.budgets
        ]

    def standing(self, provider: str) -> Standing:
        """Return what is left of the budgets that applied to calls of *provider*, in US dollars."""
        time = self._context.clock.time()
        stopped = self._bookings.found.any_stopped(provider, time)
        return Standing(self._bookings.found.left(provider, time), {"stopped": stopped})

    async def settle(self, call: Call, held: Sequence[Held], usd: float | None) -> None:
        """Replace what was *held* by the cost of *call*; if that is unknown, it stays held.

        Never raises, so that an answer that was paid for is not lost because of its bill.
        """
        await self._bookings.settle(call, held, usd)

    async def give_back(self, held: Sequence[Held]) -> None:
        """Give back what was *held* for a request that was never sent."""
        await self._bookings.give_back(held)

    async def _limited(
        self,
        bound: Bound,
        price: Price,
        budgets: Sequence[Budget],
        call: Call,
        model: str,
    ) -> Bound:
        """Return *bound* with a limit for the answer that half of what is left pays for.

        The limit is at most what the model can answer, and at least what an answer usually takes.
        """
        most = price.max_output or MIN_OUTPUT
        least = bound.limited(min(MIN_OUTPUT, most))
        if bound.output is not None:
            return least
        largest = bound.limited(most)
        left = math.inf
        for budget in budgets:
            if budget.then == "refuse":
                time = self._context.clock.time()
                spent = await self._bookings.spent(period_of(budget, call.tenant, model, time))
                left = min(left, 0.0 if spent is None else budget.usd - spent / NANO)
        if price.most(largest.prompt, largest.answer, largest.cached) <= left / 2:
            return largest
        fixed = price.most(least.prompt, 0, least.cached)
        each = price.most(least.prompt, least.answer, least.cached) - fixed
        affordable = int((left / 2 - fixed) / each * min(MIN_OUTPUT, most)) if each else most
        return bound.limited(max(min(affordable, most), min(MIN_OUTPUT, most)))

    async def _take(self, counter: Counter, provider: str, model: str, usd: float) -> list[Held]:
        period, nanos, refusing = counter.period, nanos_of(usd), counter.refusing
        count = await self._bookings.add(period, nanos, limit=counter.limit)
        if count is None:
            for budget in counter.budgets:
                self._refuse(budget, count_lost(budget), period.ends)
            return []
        self._bookings.found.note(counter, count.value, provider, self._context.clock.time())
        if refusing is not None and not count.added:
            left = left_of(refusing, count.value, model, usd)
            msg = f"{left}; {advice(refusing)}"
            raise BudgetExceeded(msg, retry_at=period.ends)
        epoch = self._context.epochs.known(period.key)
        assert epoch is not None, "nothing is counted before the epoch is known"
        held = Held(counter, epoch.number, nanos)
        if refusing is not None:
            await self._check_stop(held, refusing)
        for budget in counter.warning:
            if count.value > limit_of(budget):
                self._context.warn_once(_WHERE, f"the {named(budget)} is used up")
        return [held]

    async def _look(self, budget: Budget, period: Period, model: str, usd: float) -> str:
        """Return what :meth:`_take` would find, without holding anything.

        Raises:
            BudgetExceeded: As for :meth:`_take`.
        """
        spent = await self._bookings.spent(period)
        left = count_lost(budget) if spent is None else left_of(budget, spent, model, usd)
        if budget.then == "warn":
            return left
        if spent is None:
            raise BudgetExceeded(left, retry_at=period.ends)
        if spent + nanos_of(usd) > limit_of(budget):
            msg = f"{left}; {advice(budget)}"
            raise BudgetExceeded(msg, retry_at=period.ends)
        if await self._bookings.is_stopped(period):
            raise refused_while_stopped(budget, period)
        return left

    async def _check_stop(self, held: Held, budget: Budget) -> None:
        """Give *held* back and refuse, if its *budget* is stopped."""
        try:
            stopped = await self._bookings.is_stopped(held.period)
        except BaseException:
            self._bookings.give_back_soon([held])
            raise
        self._bookings.found.note_stop(held.period.key, stopped)
        if stopped:
            await self._bookings.give_back([held])
            raise refused_while_stopped(budget, held.period)

    def _refuse(self, budget: Budget, msg: str, retry_at: float | None) -> None:
        if budget.then == "warn":
            self._context.warn_once(_WHERE, msg)
            return
        raise BudgetExceeded(msg, retry_at=retry_at)

    def _quoted(self, call: Call, provider: str, model: str) -> tuple[Price | None, Bound]:
        """Return the price of *model*, and the most tokens that *call* may take of it."""
        return self._prices.of(model, provider), bound_of(self._profiles[provider], call)

    def _why_unbounded(self, price: Price | None, bound: Bound, model: str) -> str:
        if bound.unbounded:
            return f"what this call of {model or 'it'} costs has no bound: {bound.unbounded}"
        if price is None:
            return (
                f"the price of {model!r} is not known (add it to `prices` of its provider in "
                "[plugins.llm.providers], or to a price table named by `prices` in [plugins.llm])"
            )
        return ""

    def _counters(self, budgets: Sequence[Budget], call: Call, model: str) -> list[Counter]:
        return counters_of(budgets, call.tenant, model, self._context.clock.time())
