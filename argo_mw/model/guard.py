"""Guards: what may refuse an attempt at an upstream: quotas, budgets, circuit breakers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

from attrs import frozen

from argo_mw.model.call import Call
from argo_mw.model.outcome import Outcome
from argo_mw.model.upstream import Upstream


@frozen(eq=False)
class Request:
    """One request that is about to be sent, or was: the unit that quotas count.

    Attributes:
        upstream: To whom.
        calls: The calls that it answers; several when they were gathered.
    """

    upstream: Upstream
    calls: Sequence[Call]


Result = Sequence[Outcome | BaseException]
"""How a request went: an outcome or an error for each of its calls, in their order."""


class Guard(Protocol):
    """What may refuse a request, and learns how it went.

    For each request that ``reserve`` let pass, exactly one of ``settle`` and ``release`` is
    called, with the same request object. Guards fail closed: an error of their own is a
    refusal.
    """

    name: str

    async def reserve(self, request: Request) -> None:
        """Let *request* pass and charge it.

        Raises:
            Refusal: Not now; ``retry_at`` says when to come back.
        """

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """*request* was sent and ended in *result*: an outcome or an exception per call.

        Returns ``None`` when all is done, or what remains to be awaited, as an ``async def``
        does. That is awaited in a task of its own, which no cancellation reaches.
        """

    async def release(self, request: Request) -> None:
        """*request* was never sent: give back what was charged."""


@runtime_checkable
class CountingGuard(Guard, Protocol):
    """A guard that counts requests, and so minds how many one answer takes."""

    async def charge_extra(self, request: Request) -> None:
        """Charge one more request of the answer under way: a further page.

        Raises:
            Refusal: Not now, so the answer cannot be completed; what was charged stays charged.
        """
