"""Guards: they may refuse a request to an upstream: quotas, budgets, circuit breakers."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from attrs import Factory, frozen
from msgspec import Struct

from argo_mw.model.call import Call
from argo_mw.model.outcome import Outcome
from argo_mw.model.upstream import Upstream


class Request(Struct, frozen=True, eq=False, weakref=True):
    """One request that is about to be sent, or was: the unit that quotas count.

    Attributes:
        upstream: The upstream that it goes to.
        calls: The calls that it answers; several in a batch.
    """

    upstream: Upstream
    calls: Sequence[Call]


Result = Sequence[Outcome | BaseException]
"""How a request went: an outcome or an error for each of its calls, in their order."""


class Guard(Protocol):
    """A check that may refuse a request, and learns how the request ended.

    For each request that ``reserve`` let pass, exactly one of ``settle`` and ``release`` is
    called, with the same request object. A ``reserve`` that raises, or whose caller is cancelled
    at whatever moment, has taken nothing when all has come to rest: what it took by then is given
    back where no cancellation reaches, as by ``context.give_backs``. Guards fail closed: an error
    of their own is a refusal. ``argo_mw.testing.guards.GuardConformance`` tests this.
    """

    name: str

    async def reserve(self, request: Request) -> None:
        """Let *request* pass and charge it.

        Raises:
            Refusal: It must not be sent now; ``retry_at`` is when to try again.
        """

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Account for *request*, which was sent and ended in *result*.

        Returns ``None`` when all is done, or what remains to be awaited, as an ``async def``
        does. That is awaited in a task of its own, which no cancellation reaches.
        """

    async def release(self, request: Request) -> None:
        """Give back what was charged for *request*, which was never sent."""


@runtime_checkable
class DryRunGuard(Guard, Protocol):
    """A guard that says what it would refuse without taking anything, for ``argo-mw explain``."""

    async def dry_run(self, request: Request) -> str:
        """Say what *request* would find, such as what is left of a quota, or "".

        It takes nothing, changes nothing, and sends nothing. A *request* without calls asks how
        things stand for the upstream itself: screens do that while a person looks.

        Raises:
            Refusal: ``reserve`` would refuse it now, for this reason.
        """


@runtime_checkable
class CountingGuard(Guard, Protocol):
    """A guard that counts requests, and has to know of those beyond the first of an answer."""

    async def charge_extra(self, request: Request) -> None:
        """Charge one more request of the answer under way: a further page.

        Like ``reserve``, with a request object of its own; ``settle`` follows with an empty result
        when the page is about to be sent, else ``release``.

        Raises:
            Refusal: It must not be sent now, so the answer cannot be completed; earlier charges
                stay.
        """


@frozen
class Left:
    """What is left of a limit.

    Attributes:
        left: How much, in the limit's own unit: requests, tokens, US dollars.
        limit: How much there is when nothing is used.
    """

    left: float
    limit: float


@frozen
class Standing:
    """How a guard stands to its upstream, in numbers.

    Names are few, and the same at all times: no subjects, tenants or accounts.

    Attributes:
        limits: What is left, by the name of the limit, such as ``day``.
        states: Whether it is in each of its states, such as ``open`` of a circuit breaker.
    """

    limits: Mapping[str, Left] = Factory(dict)
    states: Mapping[str, bool] = Factory(dict)


@runtime_checkable
class StandingGuard(Guard, Protocol):
    """A guard that says how it stands, for monitoring."""

    def standing(self) -> Standing:
        """Return how it stands, by what this instance knows.

        Called on the event loop whenever metrics are read: it must neither wait nor ask anybody.
        """
