"""Providers: the upstreams, each with its own SDK behind it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, cast

from attrs import evolve

from argo_mw.plugin import (
    BudgetExceeded,
    Call,
    Context,
    Cost,
    Note,
    Outcome,
    Probe,
    Refusal,
    Secret,
    Upstream,
)
from argo_mw_llm.answers import Completion, RawResponse, Usage
from argo_mw_llm.bodies.streams import AnswerStream, Ending, is_kept
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.accounting import Accounting, Quote, model_of
from argo_mw_llm.operations import EXCHANGE, NOT_SHARED
from argo_mw_llm.providers.failures import (
    ProviderFailed,
    answered_too_much,
    broken_off,
    from_status,
    never_sent,
)
from argo_mw_llm.providers.learnt_limits import LearntLimits, limits_in
from argo_mw_llm.providers.limit_guard import account_of
from argo_mw_llm.providers.prepare import Step, prepare
from argo_mw_llm.providers.profiles import Profile
from argo_mw_llm.providers.request import ModelRequest
from argo_mw_llm.views import opinion_request, read_opinion
from argo_mw_llm.wires import wire_of

if TYPE_CHECKING:
    import httpx2

SEND = "llm.send"
"""The extension with the function that sends a request of a provider's SDK."""

TTL = "llm.ttl"
"""The extension with the seconds for which to keep an answer."""

NO_KEY = "none"
"""The key for SDKs, which need one, of a provider that needs none."""

Send = Callable[[Mapping[str, object]], Awaitable["RawResponse | AnswerStream[bytes]"]]
"""Sends a request with the given fields of its body changed, and returns its answer."""

_PROBE = Usage(input=100, output=16)
_TYPICAL = Usage(input=1000, output=300)


class ExchangeFailed(ProviderFailed):
    """A request of a provider's SDK ended in an error, which is returned to that SDK.

    Attributes:
        response: The error response as it came.
    """

    response: RawResponse | None = None


class Provider(ABC):
    """A provider of language models.

    Args:
        profile: Its profile.
        config: The plugin's table.
        context: The application's context.
        accounting: Quotes, costs and budgets.

    Attributes:
        name: Its name, which is that of its upstream.
        profile: Its profile.
        limits: The limits that it has reported.
    """

    def __init__(
        self, profile: Profile, config: LlmConfig, context: Context, accounting: Accounting
    ) -> None:
        self.name = profile.name
        self.profile = profile
        self._config = config
        self._context = context
        self._accounting = accounting
        self._concealed = ""
        self.limits = LearntLimits(context.clock)

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        own = {"complete", self.name + EXCHANGE, self.profile.operation} - {""}
        return Upstream(
            self.name,
            frozenset(own),
            self.fetch,
            limits=self.profile.limits,
            metered=True,
            timeout=3600.0,  # operations have shorter limits, SDKs their own
            price=self._usd(_TYPICAL),
            unsupported=self._unsupported,
            failure_cost=self._failure_cost,
            probe=self._probe(),
        )

    def _probe(self) -> Probe:
        """Return a question that is answered with one word, and the most that it can cost."""
        parameters = {
            "messages": [{"role": "user", "content": "Reply with the word: ok"}],
            "model": self.default_model,
            "max_tokens": _PROBE.output,
        }
        most_usd = partial(self._usd, _PROBE)
        return Probe("complete", parameters, most_usd, lambda: nullcontext(_unexpected))

    def _usd(self, usage: Usage) -> float | None:
        """Return the cost of *usage* of the default model."""
        now = self._context.clock.time()
        return self._accounting.prices.usd(self.default_model, usage, now, self.name)

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to *call*."""
        if call.operation.name.endswith(EXCHANGE):
            return await self._exchange(call)
        if call.operation.name == self.profile.operation:
            return await self._opinion(call)
        request = ModelRequest.of(call.parameters, model_of(call, self.default_model))
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
        """Return the prompt's tokens by the provider's own count, or ``None`` if it has none."""
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
        """The model that is asked by default."""
        return self.profile.model

    async def _opinion(self, call: Call) -> Outcome:
        request = opinion_request(call.parameters, self.default_model)
        completion = await self.complete(evolve(request, inserted=self._inserted(call)))
        opinion = read_opinion(completion)
        return self._outcome(call, opinion, completion.usage, completion.model, True, ())

    async def _exchange(self, call: Call) -> Outcome:
        send = cast("Send", call.extensions[SEND])
        account, model = account_of(call), model_of(call, "")
        try:
            reply = await send(self._inserted(call))
        except ExchangeFailed as error:
            if error.response is not None:
                self.limits.learn(account, model, error.response.limits)
            raise
        self.limits.learn(account, model, reply.limits)
        if wire_of(str(call.parameters["endpoint"])) is None:
            cost = Cost(None, requests=1.0, model=model)
            return Outcome(reply, cost=cost, expires_at=self._context.clock.time())
        if isinstance(reply, AnswerStream):
            return self._streamed(call, reply, ())
        kept = is_kept(reply.stop, keep_tools=False) and not _is_alone(call)
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
        quote = self._quote(call)
        notes = _notes(quote, steps)
        return Outcome(
            value,
            cost=self._accounting.cost(quote, usage, model),
            # Layers do not keep an answer that has expired already.
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
        now = self._context.clock.time()
        return Outcome(
            stream,
            cost=Cost(None, requests=1.0, estimated=True),
            expires_at=now if _is_alone(call) else _until(call, now),
            notes=_notes(quote, steps),
        )

    def _stream_cost(self, quote: Quote, ending: Ending) -> Cost:
        """Return the cost of a stream, by the provider's count if it ended properly."""
        usage = ending.usage if ending.stop else None
        usage = usage or self._accounting.guess(quote, ending.heard)
        return self._accounting.cost(quote, usage, ending.model)

    def _failure_cost(self, call: Call, error: BaseException) -> Cost:
        """Return the cost of a request without an answer: nothing, or an estimate."""
        quote = self._quote(call)
        if is_free(error):
            return Cost(0.0, requests=1.0, model=quote.model, tokens_expected=quote.prompt)
        return self._accounting.cost(quote, self._accounting.guess(quote))

    def _inserted(self, call: Call) -> Mapping[str, object]:
        """Return the fields that are added to the request for *call* because of a budget."""
        kept = self._accounting.kept(call)
        if kept is not None:
            return kept.inserted
        if self._accounting.budgets.limits(call):
            msg = f"nothing is held of a budget for {call.label}, so {self.name} is not asked"
            raise BudgetExceeded(msg)
        return {}

    def _miscounted(self, call: Call) -> None:
        why = (
            f"{self.name} answered {call.operation.name} with an impossible count of tokens, "
            "or with none; the cost is recorded as an estimate, and budgets keep what they held"
        )
        self._context.announce("llm", "miscounted", call, why)
        self._context.warn_once("llm costs", why)

    def _quote(self, call: Call) -> Quote:
        kept = self._accounting.kept(call)
        if kept is not None:
            return kept
        return self._accounting.quote(call, self.name, model_of(call, self.default_model))

    def _prepared(self, request: ModelRequest) -> tuple[ModelRequest, tuple[Step, ...]]:
        steps, prices = self._config.prepare, self._accounting.prices
        return prepare(request, steps, prices, caches=self.profile.prompt_cache)

    def _unsupported(self, call: Call) -> str | None:
        if call.operation.name.endswith(EXCHANGE):
            return None if SEND in call.extensions else "is only asked by its SDK"
        model = str(call.parameters.get("model") or "")
        if model and not self.profile.has(model):
            return f"has no model {model!r}"
        return self.missing_key()

    def missing_key(self) -> str | None:
        """Return the message about a missing key, or ``None`` if there is a key."""
        if self._key() or not self.profile.needs_key:
            return None
        places = [*self.profile.key_from[:1], f"key in [plugins.llm.providers.{self.name}]"]
        return f"has no key: set {', or '.join(places)}"

    @property
    def key(self) -> str:
        """The key, or ""."""
        return self._key()

    def fault_of_key(self) -> str | None:
        """Return why no request can be made with the key, or ``None``."""
        key = self._key()
        if key and (key != key.strip() or not key.isascii() or not key.isprintable()):
            return "its key has spaces around it, or characters that no key has: copy it again"
        return self.missing_key()

    def _hooks(self) -> dict[str, list[Callable[..., object]]]:
        """Return the hooks that a client calls with every response before its body is read."""
        from argo_mw_llm.bodies.bodies import bound

        async def bounded(response: httpx2.Response) -> None:
            bound(response, self._config.max_decoded_bytes)

        return {"response": [bounded]}

    def _heard(self, model: str, headers: httpx2.Headers) -> None:
        """Learn the limits from an answer of *model* to a request of the plugin's own."""
        self.limits.learn("", model, limits_in(headers.raw))

    def _from_status(
        self, model: str, status: int, body: object, headers: httpx2.Headers
    ) -> ProviderFailed:
        self._heard(model, headers)
        return from_status(self.name, status, body, headers, self.profile.errors)

    def _broken_off(self, error: Exception) -> ProviderFailed:
        from argo_mw_llm.bodies.bodies import too_large

        large = too_large(error)
        if large is not None:
            return answered_too_much(self.name, large)
        return broken_off(self.name, self.profile.host, error)

    def _key(self) -> str:
        if self.profile.key is not None:
            return self.profile.key.reveal()
        key = next((v for n in self.profile.key_from if (v := os.environ.get(n))), "")
        if key and key != self._concealed:
            self._concealed = Secret(key).reveal()
        return key


def _notes(quote: Quote, steps: tuple[Step, ...]) -> tuple[Note, ...]:
    notes = tuple([Note("llm", f"{step.name}: {step.note}") for step in steps])
    if not quote.inserted:
        return notes
    limits = ", ".join(f"{name} = {value}" for name, value in quote.inserted.items())
    return (*notes, Note("llm", f"budget: asked with {limits}"))


def _is_alone(call: Call) -> bool:
    """Return whether the answer to *call* is not shared."""
    return str(call.parameters.get("sample", "")).startswith(NOT_SHARED)


def is_free(error: BaseException) -> bool:
    """Return whether a request that ended in *error* costs nothing."""
    if isinstance(error, ProviderFailed):
        return not error.billed
    # SDKs that send their own requests raise their own errors.
    return isinstance(error, Refusal) or never_sent(error)


def _until(call: Call, now: float) -> float | None:
    """Return until when to keep the answer, if the caller says for how long."""
    ttl = call.extensions.get(TTL)
    return now + ttl if isinstance(ttl, (int, float)) else None


def _unexpected(outcome: Outcome) -> Iterable[str]:
    """Yield what is wrong with a completion."""
    completion = outcome.value
    if not isinstance(completion, Completion):
        yield f"a {type(completion).__name__} instead of a completion"
        return
    # A model that thinks first may have no tokens left for text.
    if not completion.text.strip() and completion.stop != "length":
        yield "no text"
    if not completion.usage.input or not completion.usage.output:
        yield "it counts no tokens, so budgets book what was held"
