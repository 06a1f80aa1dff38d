"""The guard that observes the rate limits a provider reports with its answers."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from argo_mw.plugin import Call, Clock, QuotaExceeded, Request, Result, Standing, UpstreamError
from argo_mw_llm.costs.accounting import Accounting, model_of
from argo_mw_llm.providers.learnt_limits import LearntLimits, Need

MAX_WAIT = 1.0
"""The most seconds that a request waits for a limit; then it is refused."""

_BUSY = (503, 529)
"""Statuses whose ``retry-after`` holds for all requests; the core observes that of a 429."""


class LimitGuard:
    """Refuses requests that a provider would answer with a 429.

    A reported limit holds in this process, for the account and the model of the answer. What other
    processes use of it is known with the next answer.

    Args:
        provider: The provider that is asked.
        model: The model for calls that name none.
        limits: The reported limits.
        accounting: Estimates what requests will take.
        clock: The clock.
    """

    name = "llm limits"

    def __init__(
        self,
        provider: str,
        model: str,
        limits: LearntLimits,
        accounting: Accounting,
        clock: Clock,
    ) -> None:
        self._provider = provider
        self._model = model
        self._limits = limits
        self._accounting = accounting
        self._clock = clock
        self._taken: dict[Request, list[tuple[str, str, Need]]] = {}

    async def reserve(self, request: Request) -> None:
        """Wait until the limits let *request* pass, for at most a second.

        Raises:
            QuotaExceeded: They do not, for longer.
        """
        if not self._limits.told:
            return
        taken: list[tuple[str, str, Need]] = []
        try:
            for call in request.calls:
                asked = self._asked(call)
                wait = self._limits.wait(*asked)
                if wait > MAX_WAIT:
                    raise self._exceeded(asked[1], wait)
                if wait:
                    await self._clock.sleep(wait)
                self._limits.take(*asked)
                taken.append(asked)
        except BaseException:
            self._give_back(taken)
            raise
        self._taken[request] = taken

    async def dry_run(self, request: Request) -> str:
        """Describe how long *request* would wait.

        Raises:
            QuotaExceeded: As for :meth:`reserve`.
        """
        waits: list[float] = []
        for call in request.calls:
            account, model, need = self._asked(call)
            waits.append(self._limits.wait(account, model, need))
            if waits[-1] > MAX_WAIT:
                raise self._exceeded(model, waits[-1])
        return f"would wait for {max(waits):.2f} s" if any(waits) else ""

    def standing(self) -> Standing:
        """Return what the configured account has left of the reported limits."""
        limits, asked_to_wait = self._limits.standing()
        return Standing(limits, {"pushed back": asked_to_wait})

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Remember for how long the provider asks for no requests."""
        self._taken.pop(request, None)
        for call, answer in zip(request.calls, result, strict=True):
            if isinstance(answer, UpstreamError) and answer.status in _BUSY and answer.retry_after:
                self._limits.block(account_of(call), answer.retry_after)
        return None

    async def release(self, request: Request) -> None:
        """Give back what was taken for *request*, which was never sent."""
        self._give_back(self._taken.pop(request, ()))

    def _give_back(self, taken: Iterable[tuple[str, str, Need]]) -> None:
        for account, model, need in taken:
            self._limits.give_back(account, model, need)

    def _asked(self, call: Call) -> tuple[str, str, Need]:
        model = model_of(call, self._model)
        quote = self._accounting.kept(call)
        if quote is None:
            quote = self._accounting.quote(call, self._provider, model)
        output = self._accounting.estimator.answer(model, quote.output)
        return account_of(call), model, Need(quote.prompt, output)

    def _exceeded(self, model: str, wait: float) -> QuotaExceeded:
        msg = (
            f"upstream {self._provider!r} has said that its limit for {model} is used up; ask "
            f"again in {wait:.0f} s"
        )
        return QuotaExceeded(msg, retry_at=self._clock.time() + wait)


def account_of(call: Call) -> str:
    """Return the account on which *call* is asked, "" for the configured key's."""
    return str(call.parameters.get("account", ""))
