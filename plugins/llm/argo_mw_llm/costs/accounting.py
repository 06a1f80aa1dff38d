"""Accounting: the expected and the actual cost of calls."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from msgspec import Struct, field

from argo_mw.plugin import Call, Context, Cost
from argo_mw_llm.answers import Usage
from argo_mw_llm.budgets.budgets import Budgets
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.estimate import Estimator, rough_prompt
from argo_mw_llm.costs.price_sources import more_prices, prices_of
from argo_mw_llm.wires import EMBEDDINGS, wire_of

_OPINION_TOKENS = 300
_OPINION_PROMPT = 150
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class Quote(Struct, frozen=True):
    """How many tokens a call is expected to take.

    Attributes:
        provider: The provider that is asked.
        model: The model.
        rough: Prompt tokens by the rough estimate.
        prompt: Prompt tokens, corrected by experience.
        output: The most tokens of the answer.
        inserted: Fields that are added to the request because a budget needs them.
    """

    provider: str
    model: str
    rough: int
    prompt: int
    output: int
    inserted: Mapping[str, object] = field(default_factory=dict)


class Accounting:
    """Quotes, costs and budgets of one application.

    Attributes:
        more_prices: The source of prices that no table has, or ``None``.
        prices: The prices of tokens.
        budgets: The limits of spending.
        estimator: Estimates the tokens of calls.
    """

    def __init__(self, config: LlmConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._quotes: dict[int, Quote] = {}
        self.more_prices = more_prices(config, context.clock)
        self.prices = prices_of(config, self.more_prices)
        self.budgets = Budgets(config.budgets, self.prices, context, config.profiles)
        self.estimator = Estimator()

    def quote(self, call: Call, provider: str, model: str) -> Quote:
        """Return the tokens that *call* is expected to take of *model* of *provider*."""
        parameters = call.parameters
        rough = rough_prompt(parameters)
        body = parameters.get("body")
        fields = body if isinstance(body, dict) else parameters
        if "indicators" in parameters:
            output, rough = _OPINION_TOKENS, rough + _OPINION_PROMPT
        else:
            limit = _limit_in(fields)
            output = limit if isinstance(limit, int) and limit > 0 else self._config.max_tokens
            if is_embedding(parameters):
                output = 0
        return Quote(provider, model, rough, self.estimator.prompt(model, rough), output)

    def keep(self, call: Call, quote: Quote) -> None:
        """Keep *quote* while the request for *call* is under way, to save quoting it again."""
        self._quotes[id(call)] = quote

    def forget(self, call: Call) -> None:
        """Forget the quote of *call*."""
        self._quotes.pop(id(call), None)

    def kept(self, call: Call) -> Quote | None:
        """Return the kept quote for *call*."""
        return self._quotes.get(id(call))

    def cost(self, quote: Quote, usage: Usage, model: str = "") -> Cost:
        """Return the cost of *usage* of *model*, and learn from it what to expect."""
        model = model or quote.model
        if not usage.estimated:
            self.estimator.learn(quote.model, quote.rough, usage.prompt, usage.output)
        cost = self._cost(usage, quote.provider, model, 1.0, quote.prompt)
        if model != quote.model and cost.usd is not None:
            # If the provider names another model than was asked for, the higher price counts.
            now = self._context.clock.time()
            asked = self.prices.usd(quote.model, usage, now, quote.provider)
            if asked is not None and asked > cost.usd:
                return evolve(cost, usd=asked)
        return cost

    def price(self, usage: Usage, provider: str, model: str) -> Cost:
        """Return the price of *usage* of *model* now, without charging a request."""
        return self._cost(usage, provider, model, 0.0, 0)

    def guess(self, quote: Quote, heard: int = 0) -> Usage:
        """Return the likely usage of a call without a count, after *heard* characters of answer."""
        output = max(self.estimator.answer(quote.model, quote.output), heard // 4)
        return Usage(input=quote.prompt, output=output, estimated=True)

    def _cost(
        self, usage: Usage, provider: str, model: str, requests: float, expected: int
    ) -> Cost:
        usd = self.prices.usd(model, usage, self._context.clock.time(), provider)
        if usd is None:
            self._context.warn_once("llm prices", self.prices.lack(model, usage, provider))
        whole = usage.whole
        return Cost(
            usd,
            whole.prompt,
            whole.output,
            requests,
            usage.estimated,
            model,
            whole.read,
            whole.written,
            expected,
            whole.thinking,
        )


def _limit_in(fields: Mapping[str, object]) -> object:
    for name in _LIMITS:
        if limit := fields.get(name):
            return limit
    return None


def is_embedding(parameters: Mapping[str, object]) -> bool:
    """Return whether a call with *parameters* embeds texts, whose answers have no tokens."""
    path = parameters.get("endpoint")
    return "text" in parameters or (isinstance(path, str) and wire_of(path) is EMBEDDINGS)


def model_of(call: Call, default: str) -> str:
    """Return the model that *call* asks: *default* if it names none.

    For a request of a provider's SDK without a model, that is "".
    """
    model = str(call.parameters.get("model") or "")
    return model if "body" in call.parameters else model or default
