"""Embeddings: a separate upstream for each provider, since its calls share requests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from attrs import evolve

from argo_mw.plugin import Batching, Call, Context, Cost, InvalidAnswer, Outcome, Upstream
from argo_mw_llm.answers import Embedding, Usage
from argo_mw_llm.costs.accounting import Accounting, Quote, model_of
from argo_mw_llm.operations import EMBEDDINGS
from argo_mw_llm.providers.openai_sdk import OpenAiProvider
from argo_mw_llm.providers.provider import is_free

_TYPICAL = Usage(input=300)
_WINDOW = 0.002
"""Seconds for which a text waits for others, to share a request."""


class Embedder:
    """An upstream that embeds texts, many of them in one request.

    Args:
        provider: The provider that is asked.
        model: The model that is asked where none is named.
        context: The application's context.
        accounting: Quotes, costs and budgets.

    Attributes:
        name: The upstream's name.
        provider: The provider that is asked.
        model: The model that is asked where none is named.
    """

    def __init__(
        self, provider: OpenAiProvider, model: str, context: Context, accounting: Accounting
    ) -> None:
        self.provider = provider
        self.model = model
        self.name = provider.name + EMBEDDINGS
        self._context = context
        self._accounting = accounting

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        most = self.provider.profile.embedding_batch
        now, prices = self._context.clock.time(), self._accounting.prices
        return Upstream(
            self.name,
            frozenset({"embed"}),
            self.fetch,
            batching=Batching(self.fetch_many, most, _WINDOW),
            limits=self.provider.profile.limits,
            metered=True,
            timeout=60.0,
            price=prices.usd(self.model, _TYPICAL, now, self.provider.name),
            unsupported=self._unsupported,
            failure_cost=self._failure_cost,
        )

    async def fetch(self, call: Call) -> Outcome:
        """Return the vector of one text."""
        (outcome,) = await self.fetch_many([call])
        return outcome

    async def fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        """Return the vectors for *calls*, which differ only in their texts."""
        texts = [str(call.parameters["text"]) for call in calls]
        model, size = model_of(calls[0], self.model), calls[0].parameters["dimensions"]
        assert isinstance(size, int)
        vectors, answered, usage = await self.provider.embed(texts, model, size)
        if len(vectors) != len(calls):
            msg = f"upstream {self.name!r} gave {len(vectors)} vectors for {len(calls)} texts"
            raise InvalidAnswer(msg, upstream=self.name)
        shares = self._shares(calls, usage)
        return [
            Outcome(
                Embedding(vector, answered, share),
                cost=self._cost(call, share, answered, len(calls)),
            )
            for call, vector, share in zip(calls, vectors, shares, strict=True)
        ]

    def _shares(self, calls: Sequence[Call], usage: Usage | None) -> list[Usage]:
        """Divide *usage* among *calls*, by the expected sizes of their texts."""
        expected = [self._quote(call).rough for call in calls]
        if usage is None:
            return [Usage(tokens, estimated=True) for tokens in expected]
        total = sum(expected)
        ends = [usage.input * until // total for until in accumulate(expected)]
        return [Usage(end - start) for start, end in pairwise([0, *ends])]

    def _cost(self, call: Call, usage: Usage, model: str, calls: int) -> Cost:
        cost = self._accounting.cost(self._quote(call), usage, model)
        return evolve(cost, requests=1.0 / calls)

    def _failure_cost(self, call: Call, error: BaseException) -> Cost:
        """Return the cost of a request without an answer: nothing, or an estimate."""
        quote = self._quote(call)
        if is_free(error):
            return Cost(0.0, requests=1.0, model=quote.model, tokens_expected=quote.prompt)
        return self._accounting.cost(quote, Usage(quote.prompt, estimated=True))

    def _quote(self, call: Call) -> Quote:
        kept = self._accounting.kept(call)
        if kept is not None:
            return kept
        return self._accounting.quote(call, self.provider.name, model_of(call, self.model))

    def _unsupported(self, call: Call) -> str | None:
        model = str(call.parameters["model"])
        if model and not self.provider.profile.has(model):
            return f"has no model {model!r}"
        return self.provider.missing_key()
