"""Upstreams that fail, hang, answer late, and bill what they like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from typing import Protocol

import attrs

from argo_mw import Action, Cost, NotFound, Outcome, UpstreamError
from argo_mw.plugin import Call, Clock, Context, Limits, Upstream, hookimpl, operation
from argo_mw_llm import Completion, LlmConfig, LlmPlugin, Usage
from argo_mw_llm.providers.request import ModelRequest
from argo_mw_llm.wires.messages import usage_of
from tests.model.answers import Stamp, make, stamp_of

Fetch = Callable[[Call], Coroutine[object, object, Outcome]]
MODEL = "claude-sonnet-5-5"
MAX_TOKENS = 1_000
_INPUT_USD, _OUTPUT_USD = 2e-6, 10e-6
TIMEOUT = 12.0
"""Seconds that callers wait at most, unless they say otherwise."""

MANNERS = (
    "good",
    "late",
    "hangs",
    "retry",
    "switch",
    "busy",
    "unknown",
    "odd",
    "nothing",
    "wrong",
)
"""How an upstream may behave."""

BILLS = ("honest", "full", "missing", "words", "twice", "negative", "huge")
"""What a language model may say that it used."""


@operation(subject="symbol", timeout=TIMEOUT)
def quote(symbol: str, *, shape: str) -> object:
    """A price, the same for all."""


@operation(subject="symbol", scope="tenant", timeout=TIMEOUT)
def note(symbol: str, *, shape: str) -> object:
    """A note of one tenant."""


@operation(kind="compute", subject="symbol", scope="tenant", timeout=TIMEOUT)
def brief(symbol: str, *, shape: str) -> object:
    """Worked out of a note and a price."""


@operation(kind="compute", subject="symbol", timeout=TIMEOUT)
def digest(symbol: str, *, shape: str) -> object:
    """Like a brief, by an author who says nothing about its scope."""


class Truth(Protocol):
    """What upstreams tell, and whom they report to."""

    clock: Clock

    def version(self, symbol: str) -> int:
        """The state that the world is in."""

    def sent(self, upstream: str) -> None:
        """A request has arrived."""

    def overrun(self) -> None:
        """A bill is higher than what the request may cost."""


class Demanding(Exception):
    """An error that cannot be made again from its arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: OSError(5, "input/output error", "a/file"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    lambda: Demanding(code=7),
    lambda: ExceptionGroup("two", [ValueError("one"), OSError(2, "no", "file")]),
    StopAsyncIteration,
    TimeoutError,
)


def odd_error(which: int) -> Exception:
    """Return a fresh error."""
    return ERRORS[which % len(ERRORS)]()


class Vendor:
    """An upstream for prices and notes.

    Attributes:
        manner: How it behaves from now on; see :data:`MANNERS`.
        delay: Seconds that a late answer takes.
        odd: Which of :data:`ERRORS` it raises.
    """

    def __init__(self, name: str, truth: Truth, limits: Limits) -> None:
        self.manner = "good"
        self.delay = 1.0
        self.odd = 0
        self.limits = limits
        self.upstream = Upstream(
            name, {"quote", "note"}, self._fetch, limits=limits, timeout=8.0, metered=True
        )
        self._truth = truth

    async def _fetch(self, call: Call) -> Outcome:
        name, manner = self.upstream.name, self.manner
        self._truth.sent(name)
        owner = call.tenant if call.operation.scope == "tenant" else ""
        stamp = Stamp(owner, call.operation.name, call.subject, self._truth.version(call.subject))
        cost = Cost(usd=(0.0, -1.0, 1e30, float("nan"))[self.odd % 4])
        match manner:
            case "late":
                await self._truth.clock.sleep(self.delay)
            case "hangs":
                await asyncio.get_running_loop().create_future()
            case "retry":
                raise UpstreamError("try again", upstream=name, action=Action.RETRY)
            case "switch":
                raise UpstreamError("not here", upstream=name)
            case "busy":
                raise UpstreamError("slow down", upstream=name, retry_after=self.delay, status=429)
            case "unknown":
                raise NotFound("there is none", upstream=name)
            case "odd":
                raise odd_error(self.odd)
            case "nothing":
                return Outcome(None, cost=cost)
            case "wrong":
                return stamp  # type: ignore[return-value]
        return Outcome(make(str(call.parameters["shape"]), stamp), cost=cost)


class Desk:
    """A plugin whose operations ask others."""

    def __init__(self, operations: Iterable[str]) -> None:
        self._operations = frozenset(operations)

    @hookimpl
    def register_upstreams(self, context: Context) -> Iterable[Upstream]:
        async def fetch(call: Call) -> Outcome:
            shape = str(call.parameters["shape"])
            parts = [
                stamp_of((await context.call(call, name, symbol=call.subject, shape=shape)).value)
                for name in ("note", "quote")
            ]
            version = min(part.version for part in parts)
            stamp = Stamp(parts[0].owner, call.operation.name, call.subject, version)
            return Outcome(make(shape, stamp))

        return [Upstream("desk", self._operations, fetch, timeout=TIMEOUT)]


_tenant: ContextVar[str] = ContextVar("tenant")


def _for_tenant(fetch: Fetch) -> Fetch:
    async def fetching(call: Call) -> Outcome:
        _tenant.set(call.tenant)
        return await fetch(call)

    return fetching


class HostileModel:
    """What stands behind the providers.

    Attributes:
        manner: How it behaves; see :data:`MANNERS`.
        bill: What it says that it used; see :data:`BILLS`.
        billed: US dollars at most, of answers that came.
        unsettled: Requests that ended without a bill that can be relied on.
        overrun: Whether a bill was higher than what was asked for allows.
    """

    def __init__(self, truth: Truth) -> None:
        self.manner = "good"
        self.bill = "honest"
        self.delay = 1.0
        self.billed = 0.0
        self.unsettled = 0
        self.overrun = False
        self._truth = truth

    async def complete(self, request: ModelRequest) -> Completion:
        """Answer with the tenant and the prompt, or not."""
        self._truth.sent("claude")
        self.unsettled += 1
        tenant, manner, bill = _tenant.get(), self.manner, self.bill
        if manner == "late":
            await self._truth.clock.sleep(self.delay)
        elif manner == "hangs":
            await asyncio.get_running_loop().create_future()
        elif manner != "good":
            raise odd_error(len(manner))
        usage = usage_of(_counts(bill))
        if usage is not None:
            self.unsettled -= 1
            self.billed += usage.input * _INPUT_USD + usage.output * _OUTPUT_USD
        else:
            # Nothing that can be relied on: it may have been as much as was asked for.
            self.billed += MAX_TOKENS * _OUTPUT_USD
        if bill == "twice":
            self.overrun = True
            self._truth.overrun()
        prompt = str(request.messages[0]["content"])
        counted = usage or Usage(input=request.rough, estimated=True)
        return Completion(f"{tenant}|{prompt}", request.model, "end", counted)


def _counts(bill: str) -> dict[str, object]:
    match bill:
        case "honest":
            return {"input_tokens": 5, "output_tokens": 300}
        case "full":
            return {"input_tokens": 5, "output_tokens": MAX_TOKENS}
        case "twice":
            return {"input_tokens": 5, "output_tokens": 2 * MAX_TOKENS}
        case "negative":
            return {"input_tokens": -1_000_000, "output_tokens": -300}
        case "huge":
            return {"input_tokens": 10**30, "output_tokens": 10**30}
        case "words":
            return {"input_tokens": "many", "output_tokens": None}
    return {}


class Models(LlmPlugin):
    """The plugin ``llm``, with one model behind all of its providers."""

    def __init__(self, model: HostileModel) -> None:
        super().__init__()
        self._model = model

    @hookimpl
    def register_upstreams(self, config: LlmConfig, context: Context) -> Iterable[Upstream]:
        made = list(super().register_upstreams(config, context))
        for provider in self.providers.values():
            provider.complete = self._model.complete  # type: ignore[method-assign]
        return [attrs.evolve(one, fetch=_for_tenant(one.fetch)) for one in made]

    @hookimpl
    def register_cost_table(self, context: Context) -> None:  # type: ignore[override]
        """Keep no file."""
