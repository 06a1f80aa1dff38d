"""The guard of budgets: it holds money before a request, and settles the cost after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from argo_mw.plugin import (
    BudgetExceeded,
    Call,
    Context,
    Cost,
    Outcome,
    Request,
    Result,
    Standing,
    Stream,
)
from argo_mw_llm.budgets.bookings import Held
from argo_mw_llm.costs.accounting import Accounting, Quote, model_of

MAX_USD = "llm.max_usd"
"""The extension with the caller's limit on the cost of a call, in US dollars."""

CountTokens = Callable[[Call, str], Awaitable["int | None"]]


class _Reserved(Struct, frozen=True, eq=False):
    call: Call
    held: Sequence[Held]


class BudgetGuard:
    """Holds the most that a request may cost before it is sent, and books its cost after it.

    Fails closed: without the shared store, budgets cannot be checked and calls are refused. If a
    cost is uncertain, since the caller left or the provider's count is impossible, what was held
    stays held.

    Args:
        provider: The provider that is asked.
        model: The model for calls that name none.
        accounting: Quotes and budgets.
        context: The application's context.
        count: Asks the provider for the count of a prompt's tokens.
    """

    name = "llm budgets"

    def __init__(
        self,
        provider: str,
        model: str,
        accounting: Accounting,
        context: Context,
        count: CountTokens,
    ) -> None:
        self._provider = provider
        self._model = model
        self._count = count
        self._accounting = accounting
        self._context = context
        self._budgets = accounting.budgets
        self._reserved: dict[Request, list[_Reserved]] = {}

    async def reserve(self, request: Request) -> None:
        """Hold what *request* may cost.

        Raises:
            BudgetExceeded: A budget has less left than that.
        """
        reserved: list[_Reserved] = []
        for call in request.calls:
            quote = self._quote(call)
            try:
                if MAX_USD in call.extensions:
                    quote = await self._checked(call, quote)
                held: Sequence[Held] = ()
                if self._budgets.limits(call):
                    hold = await self._budgets.hold(call, self._provider, quote.model)
                    held = hold.parts
                    quote = _with(quote, hold.inserted)
                reserved.append(_Reserved(call, held))
            except BaseException:
                await self._give_back(reserved)
                raise
            self._accounting.keep(call, quote)
        self._reserved[request] = reserved

    async def dry_run(self, request: Request) -> str:
        """Describe what is left of the budgets, and what *request* may cost.

        Raises:
            BudgetExceeded: As for :meth:`reserve`.
        """
        found: list[str] = []
        for call in request.calls:
            model = self._quote(call).model
            found += await self._budgets.dry_run(call, self._provider, model)
        return "; ".join(found)

    def standing(self) -> Standing:
        """Return what is left of the budgets, as this process last saw it."""
        return self._budgets.standing(self._provider)

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Return the correction of what *request* held; ``None`` if it held nothing."""
        corrections: list[Awaitable[None]] = []
        for one, answer in zip(self._reserved.pop(request), result, strict=True):
            if one.held and isinstance(answer, Outcome) and isinstance(answer.value, Stream):
                self._settle_at_end(one, answer.value)
            elif one.held:
                usd = _known(request.upstream.cost_of(one.call, answer))
                corrections.append(self._budgets.settle(one.call, one.held, usd))
            self._accounting.forget(one.call)
        return _all(corrections) if corrections else None

    async def release(self, request: Request) -> None:
        """Give back what *request* held, since it was never sent."""
        await self._give_back(self._reserved.pop(request))

    def _quote(self, call: Call) -> Quote:
        return self._accounting.quote(call, self._provider, model_of(call, self._model))

    async def _give_back(self, reserved: Sequence[_Reserved]) -> None:
        for one in reserved:
            self._accounting.forget(one.call)
        await self._budgets.give_back([part for one in reserved for part in one.held])

    async def _checked(self, call: Call, quote: Quote) -> Quote:
        """Return *quote*, if *call* costs at most what its caller allows.

        Raises:
            BudgetExceeded: It may cost more.
        """
        limit = call.extensions[MAX_USD]
        counted = await self._count(call, quote.model)
        usd, inserted = self._budgets.most(call, self._provider, quote.model, counted)
        if not usd <= float(str(limit)):  # so that nan is not a limit that everything keeps
            msg = f"{quote.model} may cost ${usd:.6f}, more than the limit of ${limit}"
            raise BudgetExceeded(msg)
        return _with(quote if counted is None else replace(quote, prompt=counted), inserted)

    def _settle_at_end(self, one: _Reserved, stream: Stream[object]) -> None:
        def ended(ended: Stream[object]) -> None:
            usd = None if ended.cost is None else _known(ended.cost)
            settling = self._budgets.settle(one.call, one.held, usd)
            self._context.tasks.finish("llm:settle", settling)

        stream.on_done(ended)


def _with(quote: Quote, inserted: Mapping[str, object]) -> Quote:
    return replace(quote, inserted={**quote.inserted, **inserted}) if inserted else quote


def _known(cost: Cost) -> float | None:
    """Return the US dollars of *cost*, or ``None`` if they are only estimated."""
    return None if cost.estimated else cost.usd


async def _all(corrections: Sequence[Awaitable[None]]) -> None:
    for correction in corrections:
        await correction
