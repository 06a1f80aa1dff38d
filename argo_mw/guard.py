"""Guards: what may refuse an attempt at an upstream: quotas, budgets, circuit breakers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from argo_mw.call import Call
from argo_mw.outcome import Outcome
from argo_mw.upstream import Upstream


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


class Guard(Protocol):
    """What may refuse a request, and learns how it went.

    For each request that ``reserve`` let pass, exactly one of ``settle`` and ``release`` is
    awaited, with the same request object. Guards fail closed: an error of their own is a
    refusal.
    """

    name: str

    async def reserve(self, request: Request) -> None:
        """Let *request* pass and charge it.

        Raises:
            Refusal: Not now; ``retry_at`` says when to come back.
        """

    async def settle(self, request: Request, result: Result) -> None:
        """*request* was sent and ended in *result*: an outcome or an exception per call."""

    async def release(self, request: Request) -> None:
        """*request* was never sent: give back what was charged."""
