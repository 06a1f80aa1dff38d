"""BudgetGuard: the guard that keeps budgets and writes the ledger, request by request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from attrs import frozen

from argo_mw.plugin import (
    BudgetExceeded,
    Call,
    Closed,
    Context,
    Cost,
    Outcome,
    Refusal,
    Request,
    Result,
)
from argo_mw_llm.accounting import Accounting, Held, Quote
from argo_mw_llm.answers import Usage
from argo_mw_llm.failures import ProviderFailed, never_sent
from argo_mw_llm.streams import AnswerStream


@frozen(eq=False)
class _Open:
    call: Call
    quote: Quote
    held: list[Held]


MAX_USD = "llm.max_usd"
"""The extension with the most that a call may cost, in US dollars."""

Count = Callable[[Call, str], Awaitable["int | None"]]


class BudgetGuard:
    """Holds money before a request, accounting its cost after it.

    Fails closed: without the shared store there is no budget, and so no call.
    """

    name = "llm"

    def __init__(
        self, upstream: str, model: str, accounting: Accounting, context: Context, count: Count
    ) -> None:
        self._upstream = upstream
        self._model = model
        self._count = count
        self._accounting = accounting
        self._context = context
        self._open: dict[Request, list[_Open]] = {}

    async def reserve(self, request: Request) -> None:
        """Hold what *request* may cost.

        Raises:
            BudgetExceeded: A budget has not so much left.
        """
        opened: list[_Open] = []
        for call in request.calls:
            quote = self._accounting.quote(call, str(call.parameters.get("model") or self._model))
            try:
                if MAX_USD in call.extensions:
                    quote = await self._checked(call, quote)
                opened.append(_Open(call, quote, await self._accounting.hold(call, quote)))
            except BaseException:
                for one in opened:
                    await self._accounting.give_back(one.held)
                raise
        self._open[request] = opened

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Book what *request* took; budgets, where there are any, remain to be corrected."""
        booked = zip(self._open.pop(request), result, strict=True)
        corrections = [c for one, answer in booked if (c := self._book(one, answer)) is not None]
        return _all(corrections) if corrections else None

    async def release(self, request: Request) -> None:
        """Give back what *request* held: it was never sent."""
        for one in self._open.pop(request):
            await self._accounting.give_back(one.held)

    async def _checked(self, call: Call, quote: Quote) -> Quote:
        """*quote* with the provider's own count of tokens, if the caller pays that much."""
        most = call.extensions[MAX_USD]
        counted = await self._count(call, quote.model)
        if counted is not None:
            quote = self._accounting.recount(quote, counted)
        dearest = self._accounting.dearest(quote)
        if dearest is None:
            msg = f"the price of {quote.model!r} is not known, so no limit on it can be kept"
            raise BudgetExceeded(msg)
        if not dearest <= float(str(most)):  # so that nan is no limit that everything keeps
            msg = f"{quote.model} may cost ${dearest:.6f}, more than the limit of ${most}"
            raise BudgetExceeded(msg)
        return quote

    def _book(self, one: _Open, answer: Outcome | BaseException) -> Awaitable[None] | None:
        """Book what *one* took; the correction of what it held."""
        if isinstance(answer, Outcome):
            value = answer.value
            if isinstance(value, AnswerStream):
                value.on_done(lambda stream: self._ended(one, value))
                return None
            usage = getattr(value, "usage", None)
            known = answer.cost.usd
            if not isinstance(usage, Usage):
                usage, known = self._accounting.guess(one.quote), None
            usd = self._enter(one, usage, model=str(getattr(value, "model", "")), usd=known)
        elif _is_free(answer):
            self._enter(one, Usage(), status="failed")
            usd = 0.0
        elif isinstance(answer, Refusal):
            usd = 0.0
        else:
            status = "cancelled" if isinstance(answer, asyncio.CancelledError) else "failed"
            usd = self._enter(one, self._accounting.guess(one.quote), status=status)
        return self._accounting.settle(one.held, usd) if one.held else None

    def _ended(self, one: _Open, stream: AnswerStream[object]) -> None:
        ending = stream.ending
        told = ending.usage if ending.stop else None
        usage = told or self._accounting.guess(one.quote, ending.heard)
        status = "ok" if ending.stop else "aborted"
        usd = self._enter(one, usage, model=ending.model, status=status)
        stream.cost = Cost(usd, usage.prompt, usage.output, 1.0, usage.estimated)
        if one.held:
            # While the application closes, what was held stays spent: too much, never too little.
            with suppress(Closed):
                self._context.tasks.spawn("llm:settle", self._accounting.settle(one.held, usd))

    def _enter(
        self,
        one: _Open,
        usage: Usage,
        *,
        model: str = "",
        status: str = "ok",
        usd: float | None = None,
    ) -> float | None:
        return self._accounting.enter(
            one.call, self._upstream, one.quote, usage, model=model, status=status, usd=usd
        )


def _is_free(error: BaseException) -> bool:
    if isinstance(error, ProviderFailed):
        return not error.billed
    return never_sent(error)  # of an SDK whose request it is, so it raises errors of its own


async def _all(corrections: Sequence[Awaitable[None]]) -> None:
    for correction in corrections:
        await correction
