"""Providers: the upstreams, each with its own SDK behind it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar, cast

from attrs import evolve

from argo_mw.plugin import (
    BudgetExceeded,
    Call,
    Context,
    Cost,
    Limits,
    Note,
    Outcome,
    Probe,
    Refusal,
    Secret,
    Upstream,
)
from argo_mw_llm.accounting import Accounting, Quote
from argo_mw_llm.answers import Completion, RawResponse, Usage
from argo_mw_llm.config import LlmConfig, ProviderConfig
from argo_mw_llm.failures import ProviderFailed, answered_too_much, broken_off, never_sent
from argo_mw_llm.operations import EXCHANGE
from argo_mw_llm.prepare import Step, prepare
from argo_mw_llm.request import ModelRequest
from argo_mw_llm.streams import AnswerStream, Ending, is_kept
from argo_mw_llm.views import opinion_request, read_opinion

if TYPE_CHECKING:
    import httpx2

SEND = "llm.send"
"""The extension with the function that sends a request of a provider's SDK."""

TTL = "llm.ttl"
"""The extension with the seconds for which an answer is kept."""

Send = Callable[[Mapping[str, object]], Awaitable["RawResponse | AnswerStream[bytes]"]]
"""Sends a request with the given fields of its body changed, and returns its answer."""

_PROBE = Usage(input=100, output=16)
_TYPICAL = Usage(input=1000, output=300)
_LIMITS = Limits(per_minute=300, concurrency=64)


class ExchangeFailed(ProviderFailed):
    """A request of a provider's SDK ended in an error, which is returned to that SDK.

    Attributes:
        response: The error response as it came.
    """

    response: RawResponse | None = None


class Provider(ABC):
    """A provider of language models."""

    name: ClassVar[str]
    variables: ClassVar[tuple[str, ...]]
    prefixes: ClassVar[tuple[str, ...]]
    caches: ClassVar[bool] = False
    opinions: ClassVar[frozenset[str]] = frozenset({"opinion"})

    def __init__(self, config: LlmConfig, context: Context, accounting: Accounting) -> None:
        self._config = config
        self._own: ProviderConfig = getattr(config, self.name)
        self._context = context
        self._accounting = accounting
        self._concealed = ""

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        price = self._accounting.prices.usd(self._own.model, _TYPICAL, self._context.clock.time())
        return Upstream(
            self.name,
            frozenset({"complete", self.name + EXCHANGE}) | self.opinions,
            self.fetch,
            limits=_LIMITS,
            metered=True,
            timeout=3600.0,  # an operation's own limit is shorter, and an SDK's is up to it
            price=price,
            unsupported=self._unsupported,
            failure_cost=self._failure_cost,
            probe=self._probe(),
        )

    def _probe(self) -> Probe:
        """Return the question for one word, with what it can cost at most."""
        parameters = {
            "messages": [{"role": "user", "content": "Reply with the word: ok"}],
            "model": self._own.model,
            "max_tokens": _PROBE.output,
        }

        def most_usd() -> float | None:
            now = self._context.clock.time()
            return self._accounting.prices.usd(self._own.model, _PROBE, now)

        return Probe("complete", parameters, most_usd, lambda: nullcontext(_unexpected))

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to *call*."""
        if call.operation.name.endswith(EXCHANGE):
            return await self._exchange(call)
        if call.operation.name in self.opinions:
            return await self._opinion(call)
        request = ModelRequest.of(call.parameters, str(call.parameters["model"]) or self._own.model)
        request, steps = self._prepared(evolve(request, inserted=self._inserted(call)))
        if call.parameters["stream"]:
            stream = await self.stream(request)
            await stream.first()
            return self._streamed(call, stream, steps)
        completion = await self.complete(request)
        kept = is_kept(completion.stop, keep_tools=bool(call.parameters["keep_tool_calls"]))
        return self._outcome(call, completion, completion.usage, completion.model, kept, steps)

    @abstractmethod
    async def complete(self, request: ModelRequest) -> Completion:
        """Return the model's whole answer."""

    @abstractmethod
    async def stream(self, request: ModelRequest) -> AnswerStream[str]:
        """Return the model's answer in pieces of text."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""

    async def count(self, request: ModelRequest) -> int | None:
        """Return the prompt's tokens by the provider's own count, or ``None`` where it has none."""
        return None

    async def count_tokens(self, call: Call, model: str) -> int | None:
        """Return the prompt tokens of *call* by the provider's own count, or ``None``."""
        if call.operation.name != "complete":
            return None
        try:
            return await self.count(ModelRequest.of(call.parameters, model))
        except ProviderFailed:
            return None  # the estimate is used

    @property
    def default_model(self) -> str:
        """The model that is asked where none is named."""
        return self._own.model

    async def _opinion(self, call: Call) -> Outcome:
        request = opinion_request(call.parameters, self._own.model)
        completion = await self.complete(evolve(request, inserted=self._inserted(call)))
        opinion = read_opinion(completion)
        return self._outcome(call, opinion, completion.usage, completion.model, True, ())

    async def _exchange(self, call: Call) -> Outcome:
        send = cast("Send", call.extensions[SEND])
        reply = await send(self._inserted(call))
        if isinstance(reply, AnswerStream):
            return self._streamed(call, reply, ())
        kept = is_kept(reply.stop, keep_tools=False)
        return self._outcome(call, reply, reply.usage, reply.model, kept, ())

    def _outcome(
        self,
        call: Call,
        value: object,
        usage: Usage,
        model: str,
        kept: bool,
        steps: tuple[Step, ...],
    ) -> Outcome:
        now = self._context.clock.time()
        if usage.estimated:
            self._miscounted(call)
        notes = self._notes(call, steps)
        return Outcome(
            value,
            cost=self._accounting.cost(self._quote(call), usage, model),
            # No layer keeps an answer that is out of date at once.
            expires_at=_until(call, now) if kept else now,
            notes=notes if kept else (*notes, Note("llm", "not one to keep")),
        )

    def _streamed(
        self, call: Call, stream: AnswerStream[str] | AnswerStream[bytes], steps: tuple[Step, ...]
    ) -> Outcome:
        quote = self._quote(call)

        def ended(_: object) -> None:
            if stream.ending.miscounted:
                self._miscounted(call)
            stream.cost = self._stream_cost(quote, stream.ending)

        stream.on_done(ended)
        return Outcome(
            stream,
            cost=Cost(None, requests=1.0, estimated=True),
            expires_at=_until(call, self._context.clock.time()),
            notes=self._notes(call, steps),
        )

    def _stream_cost(self, quote: Quote, ending: Ending) -> Cost:
        """Return what a stream took: by the provider's count if it came to its end."""
        usage = ending.usage if ending.stop else None
        usage = usage or self._accounting.guess(quote, ending.heard)
        return self._accounting.cost(quote, usage, ending.model)

    def _failure_cost(self, call: Call, error: BaseException) -> Cost:
        """Return what a request without an answer cost: nothing, or an estimate."""
        quote = self._quote(call)
        if _is_free(error):
            return Cost(0.0, requests=1.0, model=quote.model, tokens_expected=quote.prompt)
        return self._accounting.cost(quote, self._accounting.guess(quote))

    def _inserted(self, call: Call) -> Mapping[str, object]:
        """Return the fields that the request for *call* gets because a budget needs them."""
        kept = self._accounting.kept(call)
        if kept is not None:
            return kept.inserted
        if self._accounting.budgets.limited:
            msg = f"nothing is held of a budget for {call.label}, so {self.name} is not asked"
            raise BudgetExceeded(msg)
        return {}

    def _miscounted(self, call: Call) -> None:
        why = (
            f"{self.name} answered {call.operation.name} with a count of tokens that cannot be, "
            "or with none; the cost is recorded as an estimate, and budgets keep what they held"
        )
        self._context.announce("llm", "miscounted", call, why)
        self._context.warn_once("llm costs", why)

    def _notes(self, call: Call, steps: tuple[Step, ...]) -> tuple[Note, ...]:
        notes = tuple(Note("llm", f"{step.name}: {step.note}") for step in steps)
        kept = self._accounting.kept(call)
        if kept is None or not kept.inserted:
            return notes
        limits = ", ".join(f"{name} = {value}" for name, value in kept.inserted.items())
        return (*notes, Note("llm", f"budget: asked with {limits}"))

    def _quote(self, call: Call) -> Quote:
        kept = self._accounting.kept(call)
        if kept is not None:
            return kept
        return self._accounting.quote(call, str(call.parameters.get("model") or self._own.model))

    def _prepared(self, request: ModelRequest) -> tuple[ModelRequest, tuple[Step, ...]]:
        return prepare(request, self._config.prepare, self._accounting.prices, caches=self.caches)

    def _unsupported(self, call: Call) -> str | None:
        if call.operation.name.endswith(EXCHANGE):
            return None if SEND in call.extensions else "is only asked by its SDK"
        model = str(call.parameters.get("model") or "")
        if model and not model.startswith(self.prefixes):
            return f"has no model {model!r}"
        return self.missing_key()

    def missing_key(self) -> str | None:
        """Return the message about a missing key, or ``None`` when there is one."""
        if self._key():
            return None
        return f"has no key: set {self.variables[0]}, or key in [plugins.llm.{self.name}]"

    def fault_of_key(self) -> str | None:
        """Return why no request can be made with the key, or ``None``."""
        key = self._key()
        if key and (key != key.strip() or not key.isascii() or not key.isprintable()):
            return "its key has blanks around it, or letters that no key has: copy it once more"
        return self.missing_key()

    def _hooks(self) -> dict[str, list[Callable[..., object]]]:
        """Return what a client calls with every response, before anything reads its body."""
        from argo_mw_llm.bodies import bound

        async def bounded(response: httpx2.Response) -> None:
            bound(response, self._config.max_decoded_bytes)

        return {"response": [bounded]}

    def _broken_off(self, error: Exception) -> ProviderFailed:
        from argo_mw_llm.bodies import too_large

        large = too_large(error)
        if large is not None:
            return answered_too_much(self.name, large)
        return broken_off(self.name, error, sent=not never_sent(error))

    def _key(self) -> str:
        if self._own.key is not None:
            return self._own.key.reveal()
        key = next((v for n in self.variables if (v := os.environ.get(n))), "")
        if key and key != self._concealed:
            self._concealed = Secret(key).reveal()
        return key


def _is_free(error: BaseException) -> bool:
    if isinstance(error, ProviderFailed):
        return not error.billed
    # An SDK that sends its own request raises errors of its own.
    return isinstance(error, Refusal) or never_sent(error)


def _until(call: Call, now: float) -> float | None:
    """Until when the answer is kept, where the caller says for how long."""
    ttl = call.extensions.get(TTL)
    return now + ttl if isinstance(ttl, (int, float)) else None


def _unexpected(outcome: Outcome) -> Iterable[str]:
    """Yield what a completion lacks."""
    completion = outcome.value
    if not isinstance(completion, Completion):
        yield f"a {type(completion).__name__} instead of a completion"
        return
    # A model that thinks first may have no tokens left for a text.
    if not completion.text.strip() and completion.stop != "length":
        yield "no text"
    if not completion.usage.input or not completion.usage.output:
        yield "it counts no tokens, so budgets book what was held"
