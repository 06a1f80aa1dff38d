"""The upstream of an API: sends requests of its routes through the clients that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, cast

from argo_mw.plugin import Call, Context, Cost, Note, Outcome, Upstream
from argo_mw_http.answers import Headers, HttpAnswer, NotShared
from argo_mw_http.config import Route
from argo_mw_http.failures import (
    HttpFailed,
    failed,
    is_failure_of,
    never_sent,
    retry_after_of,
)
from argo_mw_http.freshness import Life, life_of
from argo_mw_http.judge import Unreadable, error_in
from argo_mw_http.validated import Validated

NAME: Final = "http"
SENDER: Final = "http.sender"
"""The extension with the :class:`Sender` of a call."""
UNCHANGED: Final = 304
"""The status that confirms an answer."""


class Sender(Protocol):
    """Sends the request of a client."""

    async def send(self, conditions: Headers) -> HttpAnswer | NotShared:
        """Send it, with the headers *conditions* beside its own, and return what comes.

        Raises:
            Exception: What the client's library raised.
        """

    def suits(self, answer: HttpAnswer) -> bool:
        """Return whether *answer* is one to its request."""


class Api:
    """A service, as the upstream of its routes.

    Args:
        name: Its name.
        routes: Its routes.
        context: The application's context.
        validated: Answers that may be confirmed.
    """

    def __init__(
        self, name: str, routes: Sequence[Route], context: Context, validated: Validated
    ) -> None:
        self._name = name
        self._routes: Mapping[str, Route] = {route.operation: route for route in routes}
        self._context = context
        self._clock = context.clock
        self._validated = validated

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        return Upstream(
            self._name,
            frozenset(self._routes),
            self.fetch,
            timeout=3600.0,  # a deadline is the client's
            retries=0,
            price=max(route.price for route in self._routes.values()),
            unsupported=_unsupported,
            failure_cost=self._failure_cost,
        )

    async def fetch(self, call: Call) -> Outcome:
        """Return the response to *call*.

        Raises:
            HttpFailed: It is a failure.
            Exception: What the client's library raised.
        """
        route = self._routes[call.operation.name]
        sender = cast("Sender", call.extensions[SENDER])
        if not (route.conditional and route.is_shared and call.store):
            return await self._judged(route, await sender.send(()), 1)
        versions = await self._validated.begin(call)
        held = await self._validated.of(call)
        if held is not None and sender.suits(held):
            outcome = await self._revalidated(call, route, sender, held)
        else:
            outcome = await self._judged(route, await sender.send(()), 1)
        if isinstance(outcome.value, HttpAnswer) and outcome.value.status in route.status:
            self._validated.keep(call, outcome.value, versions)
        return outcome

    async def _revalidated(
        self, call: Call, route: Route, sender: Sender, held: HttpAnswer
    ) -> Outcome:
        """Return the response to *call*, for which *held* is the answer if it has not changed."""
        came = await sender.send(held.validators)
        if came.status != UNCHANGED:
            return await self._judged(route, came, 1)
        if isinstance(came, HttpAnswer) and held.is_confirmed_by(came):
            outcome = await self._judged(route, held.confirmed(came), 1)
            if isinstance(outcome.value, HttpAnswer):
                return outcome.evolve(notes=(*outcome.notes, Note(NAME, "has not changed (304)")))
        # It is about another answer, or forbids sharing this one.
        self._validated.forget(call)
        await self._context.charge_extra(call)
        return await self._judged(route, await sender.send(()), 2)

    async def _judged(self, route: Route, came: HttpAnswer | NotShared, requests: int) -> Outcome:
        """Return the outcome of a request that brought *came*.

        Raises:
            HttpFailed: It is a failure.
        """
        now = self._clock.time()
        cost = Cost(route.price * requests, requests=float(requests))
        response = came if isinstance(came, HttpAnswer) else None
        if came.status not in route.status and is_failure_of(came.status):
            after = None if response is None else retry_after_of(response, now)
            raise failed(self._name, f"answered {came.status}", response, came.status, after)
        if isinstance(came, NotShared):
            return _not_kept(came, cost, now, came.why)
        if came.status not in route.status:
            return _not_kept(came, cost, now, f"status {came.status} is not an answer")
        why = await self._complaint(route, came)
        if why is not None:
            raise failed(self._name, why, came, came.status, None)
        life = self._life(route, came, now)
        if not life.kept:
            return _not_kept(NotShared(life.why, came.status), cost, now, life.why)
        until = None if life.seconds is None else now + life.seconds
        notes = (Note(NAME, f"lives for {life.seconds:.0f} s: {life.why}"),) if life.why else ()
        return Outcome(came, cost=cost, expires_at=until, notes=notes)

    async def _complaint(self, route: Route, response: HttpAnswer) -> str | None:
        """Return what of its body keeps *response* from being an answer, or ``None``."""
        if not route.errors or not response.body:
            return None
        try:
            pointer = await error_in(response, route.errors)
        except Unreadable as error:
            self._context.warn_once(
                f"http route {route.operation}",
                f"a body {error}, so that errors cannot be looked for in it, and is not kept",
            )
            return f"sent a body that {error}, where errors would be looked for"
        return None if pointer is None else f"reported an error at {pointer}"

    def _life(self, route: Route, response: HttpAnswer, now: float) -> Life:
        if not route.cache_control:
            return Life()
        life = life_of(response, now, public=route.scope == "public")
        if route.ttl is None or (life.seconds is not None and life.seconds <= route.ttl):
            return life
        return Life(route.ttl, life.kept, life.why)

    def _failure_cost(self, call: Call, error: BaseException) -> Cost:
        """Return what a request without an answer cost."""
        route = self._routes[call.operation.name]
        if never_sent(error):
            return Cost(0.0, requests=1.0)
        known = isinstance(error, HttpFailed)
        return Cost(route.price, requests=1.0, estimated=not known and route.price > 0)


def _not_kept(came: HttpAnswer | NotShared, cost: Cost, now: float, why: str) -> Outcome:
    # An answer that is out of date at once is kept by no layer.
    return Outcome(came, cost=cost, expires_at=now, notes=(Note(NAME, f"not kept: {why}"),))


def _unsupported(call: Call) -> str | None:
    return None if SENDER in call.extensions else "is only asked by clients of HTTP"
