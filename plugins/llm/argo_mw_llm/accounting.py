"""Accounting: what calls are expected to cost, what they did cost, and their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from attrs import evolve, frozen

from argo_mw.plugin import BudgetExceeded, Call, Context, Cost
from argo_mw_llm.answers import Usage
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.estimate import Estimator, rough_prompt
from argo_mw_llm.prices import load_prices

_NANO = 1_000_000_000
_MARGIN = 1.25
_OPINION_TOKENS = 300
_OPINION_PROMPT = 150
_DAY = 86_400.0


@frozen
class Held:
    """Money that a call holds of a budget until its cost is known."""

    key: str
    nanos: int
    ttl: float | None


@frozen
class Quote:
    """What a call is expected to take.

    Attributes:
        model: The model.
        rough: Prompt tokens by the rough estimate.
        prompt: Prompt tokens, corrected by experience.
        worst: The most that it should take.
    """

    model: str
    rough: int
    prompt: int
    worst: Usage


class Accounting:
    """Quotes, costs and budgets of one application."""

    def __init__(self, config: LlmConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._quotes: dict[int, Quote] = {}
        self.prices = load_prices(config.prices)
        self.estimator = Estimator()

    @property
    def limited(self) -> bool:
        """Whether there are budgets."""
        return bool(self._config.budgets)

    def quote(self, call: Call, model: str) -> Quote:
        """Return what *call* is expected to take of *model*."""
        parameters = call.parameters
        rough = rough_prompt(parameters)
        body = parameters.get("body")
        fields = body if isinstance(body, dict) else parameters
        if "indicators" in parameters:
            output, rough = _OPINION_TOKENS, rough + _OPINION_PROMPT
        else:
            limit = fields.get("max_tokens") or fields.get("max_completion_tokens")
            output = limit if isinstance(limit, int) and limit > 0 else self._config.max_tokens
            choices = fields.get("n")
            output *= choices if isinstance(choices, int) and choices > 1 else 1
        prompt = self.estimator.prompt(model, rough)
        return Quote(model, rough, prompt, Usage(input=round(prompt * _MARGIN), output=output))

    def recount(self, quote: Quote, prompt: int) -> Quote:
        """Return *quote* for as many *prompt* tokens as the provider counted."""
        return evolve(quote, prompt=prompt, worst=evolve(quote.worst, input=prompt))

    def keep(self, call: Call, quote: Quote) -> None:
        """Keep *quote* while the request for *call* is under way: quoting again would cost time."""
        self._quotes[id(call)] = quote

    def forget(self, call: Call) -> None:
        """Forget the quote of *call*."""
        self._quotes.pop(id(call), None)

    def kept(self, call: Call) -> Quote | None:
        """Return the quote that is kept for *call*."""
        return self._quotes.get(id(call))

    def cost(self, quote: Quote, usage: Usage, model: str = "") -> Cost:
        """Return what *usage* of *model* costs, and learn from it what to expect."""
        model = model or quote.model
        if not usage.estimated:
            self.estimator.learn(quote.model, quote.rough, usage.prompt, usage.output)
        return self._cost(usage, model, 1.0, quote.prompt)

    def price(self, usage: Usage, model: str) -> Cost:
        """Return what *usage* of *model* costs now, charged to no request."""
        return self._cost(usage, model, 0.0, 0)

    def guess(self, quote: Quote, heard: int = 0) -> Usage:
        """Return the likely tokens of a call without a count, *heard* characters of it read."""
        output = max(self.estimator.answer(quote.model, quote.worst.output), heard // 4)
        return Usage(input=quote.prompt, output=output, estimated=True)

    def worst_case(self, quote: Quote) -> float | None:
        """Return the US dollars that *quote* comes to at most; ``None``: the price is not known."""
        return self.prices.usd(quote.model, quote.worst, self._context.clock.time())

    async def hold(self, call: Call, quote: Quote) -> list[Held]:
        """Take what *quote* may cost from every budget that applies.

        Raises:
            BudgetExceeded: A budget has not so much left, or the price is not known.
        """
        held: list[Held] = []
        try:
            for budget in self._config.budgets:
                if _applies(budget, call.tenant, quote.model):
                    held += await self._take(budget, call, quote)
        except BaseException:
            await self.give_back(held)
            raise
        return held

    async def settle(self, held: Sequence[Held], usd: float | None) -> None:
        """Replace what was *held* by what the call did cost; an unknown cost stays held."""
        for one in held:
            actual = one.nanos if usd is None else round(usd * _NANO)
            if actual != one.nanos:
                await self._context.shared.add(one.key, actual - one.nanos, ttl=one.ttl)

    async def give_back(self, held: Sequence[Held]) -> None:
        """Give back what was *held*."""
        await self.settle(held, 0.0)

    def _cost(self, usage: Usage, model: str, requests: float, expected: int) -> Cost:
        return Cost(
            self.prices.usd(model, usage, self._context.clock.time()),
            usage.prompt,
            usage.output,
            requests,
            usage.estimated,
            model,
            usage.read,
            usage.write_5m + usage.write_1h,
            expected,
        )

    async def _take(self, budget: Budget, call: Call, quote: Quote) -> list[Held]:
        usd = self.worst_case(quote)
        if usd is None:
            msg = (
                f"the price of {quote.model!r} is not known, so the {_named(budget)} cannot be "
                "kept; add it to a price table named by `prices` in [plugins.llm]"
            )
            return self._refuse(budget, msg, None)
        key, renewed_at = self._period(budget, call.tenant, quote.model)
        ttl = None if renewed_at is None else renewed_at - self._context.clock.time() + _DAY
        nanos, limit = round(usd * _NANO), round(budget.usd * _NANO)
        count = await self._context.shared.add(key, nanos, limit=limit, ttl=ttl)
        if count.added:
            return [Held(key, nanos, ttl)]
        msg = (
            f"the {_named(budget)} has ${(limit - count.value) / _NANO:.4f} left, and this call "
            f"of {quote.model} may cost ${usd:.4f}; raise it in [[plugins.llm.budgets]]"
        )
        if budget.then == "warn":
            await self._context.shared.add(key, nanos, ttl=ttl)
            self._context.warn_once("llm budgets", f"the {_named(budget)} is used up")
            return [Held(key, nanos, ttl)]
        return self._refuse(budget, msg, renewed_at)

    def _refuse(self, budget: Budget, msg: str, retry_at: float | None) -> list[Held]:
        if budget.then == "warn":
            self._context.warn_once("llm budgets", msg)
            return []
        raise BudgetExceeded(msg, retry_at=retry_at)

    def _period(self, budget: Budget, tenant: str, model: str) -> tuple[str, float | None]:
        """Return the counter's key, and when the budget begins anew."""
        now = datetime.fromtimestamp(self._context.clock.time(), UTC)
        whose = f"{tenant if budget.tenant == '*' else budget.tenant}"
        which = f"{model if budget.model == '*' else budget.model}"
        start = now.replace(hour=0, minute=0, second=0, microsecond=0)
        renewed_at: float | None
        if budget.per == "day":
            span, renewed_at = f"{now:%Y-%m-%d}", (start + timedelta(days=1)).timestamp()
        elif budget.per == "month":
            following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
            span, renewed_at = f"{now:%Y-%m}", following.timestamp()
        else:
            span, renewed_at = "ever", None
        # Lengths keep tenants apart whose names hold separators.
        return f"argo:llm:budget:{len(whose)}:{whose}:{which}:{span}", renewed_at


def _applies(budget: Budget, tenant: str, model: str) -> bool:
    return budget.tenant in ("", "*", tenant) and budget.model in ("", "*", model)


def _named(budget: Budget) -> str:
    whose = f" of tenant {budget.tenant!r}" if budget.tenant else ""
    which = f" for {budget.model}" if budget.model else ""
    return f"budget of ${budget.usd:g} per {budget.per}{whose}{which}"
