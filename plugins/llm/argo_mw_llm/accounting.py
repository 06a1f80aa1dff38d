"""Accounting: what calls are expected to cost, and what they did cost."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from msgspec import Struct, field

from argo_mw.plugin import Call, Context, Cost
from argo_mw_llm.answers import Usage
from argo_mw_llm.budgets import Budgets
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.estimate import Estimator, rough_prompt
from argo_mw_llm.price_sources import more_prices, prices_of
from argo_mw_llm.wires import EMBEDDINGS, wire_of

_OPINION_TOKENS = 300
_OPINION_PROMPT = 150
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class Quote(Struct, frozen=True):
    """What a call is expected to take.

    Attributes:
        provider: The provider that is asked.
        model: The model.
        rough: Prompt tokens by the rough estimate.
        prompt: Prompt tokens, corrected by experience.
        output: Tokens of the answer, at most.
        inserted: Fields that are added to the request, because a budget needs them.
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
        more_prices: Where prices come from that no table has, or ``None``.
        prices: What tokens cost.
        budgets: The limits of spending.
        estimator: What calls are expected to take.
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
        """Return what *call* is expected to take of *model* of *provider*."""
        parameters = call.parameters
        rough = rough_prompt(parameters)
        body = parameters.get("body")
        fields = body if isinstance(body, dict) else parameters
        if "indicators" in parameters:
            output, rough = _OPINION_TOKENS, rough + _OPINION_PROMPT
        else:
            limit = next((fields[name] for name in _LIMITS if fields.get(name)), None)
            output = limit if isinstance(limit, int) and limit > 0 else self._config.max_tokens
            if is_embedding(parameters):
                output = 0
        return Quote(provider, model, rough, self.estimator.prompt(model, rough), output)

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
        cost = self._cost(usage, quote.provider, model, 1.0, quote.prompt)
        if model != quote.model and cost.usd is not None:
            # A provider that names another model than the one it was asked for makes no discount.
            now = self._context.clock.time()
            asked = self.prices.usd(quote.model, usage, now, quote.provider)
            if asked is not None and asked > cost.usd:
                return evolve(cost, usd=asked)
        return cost

    def price(self, usage: Usage, provider: str, model: str) -> Cost:
        """Return what *usage* of *model* costs now, charged to no request."""
        return self._cost(usage, provider, model, 0.0, 0)

    def guess(self, quote: Quote, heard: int = 0) -> Usage:
        """Return the likely tokens of a call without a count, *heard* characters of it read."""
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


def is_embedding(parameters: Mapping[str, object]) -> bool:
    """Return whether a call with *parameters* embeds texts, so that its answer has no tokens."""
    path = parameters.get("endpoint")
    return "text" in parameters or (isinstance(path, str) and wire_of(path) is EMBEDDINGS)


def model_of(call: Call, default: str) -> str:
    """Return the model that *call* asks: *default* where it names none.

    What a provider's SDK asks without naming a model is for none that is known.
    """
    model = str(call.parameters.get("model") or "")
    return model if "body" in call.parameters else model or default
