"""The guard that keeps budgets: it holds money before a request, and corrects it afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from attrs import frozen

from argo_mw.plugin import (
    BudgetExceeded,
    Call,
    Closed,
    Context,
    Outcome,
    Request,
    Result,
    Stream,
)
from argo_mw_llm.accounting import Accounting, Held, Quote

MAX_USD = "llm.max_usd"
"""The extension with the most that a call may cost, in US dollars."""

CountTokens = Callable[[Call, str], Awaitable["int | None"]]


@frozen(eq=False)
class _Reserved:
    call: Call
    held: list[Held]


class BudgetGuard:
    """Holds the most that a request may cost before it is sent, and its cost after it.

    Fails closed: without the shared store there is no budget, and so no call.

    Args:
        model: The model that is asked where a call names none.
        accounting: Quotes and budgets.
        context: Owns the correction of what a stream held.
        count: The provider's own count of a prompt's tokens.
    """

    name = "llm"

    def __init__(
        self, model: str, accounting: Accounting, context: Context, count: CountTokens
    ) -> None:
        self._model = model
        self._count = count
        self._accounting = accounting
        self._context = context
        self._limited = accounting.limited
        self._reserved: dict[Request, list[_Reserved]] = {}

    async def reserve(self, request: Request) -> None:
        """Hold what *request* may cost.

        Raises:
            BudgetExceeded: A budget has not so much left.
        """
        reserved: list[_Reserved] = []
        for call in request.calls:
            quote = self._accounting.quote(call, str(call.parameters.get("model") or self._model))
            try:
                if MAX_USD in call.extensions:
                    quote = await self._checked(call, quote)
                held = await self._accounting.hold(call, quote) if self._limited else []
                reserved.append(_Reserved(call, held))
            except BaseException:
                await self._give_back(reserved)
                raise
            self._accounting.keep(call, quote)
        self._reserved[request] = reserved

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Return the correction of what *request* held; ``None`` where it held nothing."""
        corrections: list[Awaitable[None]] = []
        for one, answer in zip(self._reserved.pop(request), result, strict=True):
            if one.held and isinstance(answer, Outcome) and isinstance(answer.value, Stream):
                self._settle_at_end(one.held, answer.value)
            elif one.held:
                usd = request.upstream.cost_of(one.call, answer).usd
                corrections.append(self._accounting.settle(one.held, usd))
            self._accounting.forget(one.call)
        return _all(corrections) if corrections else None

    async def release(self, request: Request) -> None:
        """Give back what *request* held: it was never sent."""
        await self._give_back(self._reserved.pop(request))

    async def _give_back(self, reserved: Sequence[_Reserved]) -> None:
        for one in reserved:
            self._accounting.forget(one.call)
            await self._accounting.give_back(one.held)

    async def _checked(self, call: Call, quote: Quote) -> Quote:
        """Return *quote* with the provider's own count of tokens, if the caller pays that much."""
        limit = call.extensions[MAX_USD]
        counted = await self._count(call, quote.model)
        if counted is not None:
            quote = self._accounting.recount(quote, counted)
        usd = self._accounting.worst_case(quote)
        if usd is None:
            msg = f"the price of {quote.model!r} is not known, so no limit on it can be kept"
            raise BudgetExceeded(msg)
        if not usd <= float(str(limit)):  # so that nan is not a limit that everything keeps
            msg = f"{quote.model} may cost ${usd:.6f}, more than the limit of ${limit}"
            raise BudgetExceeded(msg)
        return quote

    def _settle_at_end(self, held: Sequence[Held], stream: Stream[object]) -> None:
        def ended(ended: Stream[object]) -> None:
            usd = None if ended.cost is None else ended.cost.usd
            # While the application closes, what was held stays spent: too much, never too little.
            with suppress(Closed):
                self._context.tasks.spawn("llm:settle", self._accounting.settle(held, usd))

        stream.on_done(ended)


async def _all(corrections: Sequence[Awaitable[None]]) -> None:
    for correction in corrections:
        await correction
