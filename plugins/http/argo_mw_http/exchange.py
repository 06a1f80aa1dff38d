"""Ask the chain for the response to a client's request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, Protocol, Self, TypeVar
from uuid import uuid4

from attrs import field, frozen

from argo_mw.plugin import (
    ALONE,
    ENDS_WITH_CALLERS,
    OWN_FAILURES,
    Clock,
    Outcome,
    UpstreamError,
    error_for_client,
    limited_wait,
)
from argo_mw_http.answers import Headers, HttpAnswer, NotShared, by_name
from argo_mw_http.config import Route
from argo_mw_http.failures import HttpFailed, never_sent, ran_out_of_time
from argo_mw_http.freshness import asked_for, seconds_in
from argo_mw_http.identity import HttpRequest
from argo_mw_http.operations import parameters_of
from argo_mw_http.routes import Match
from argo_mw_http.upstream import SENDER, UNCHANGED

R = TypeVar("R")

_OF_A_PART = (
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "upgrade",
)
"""Headers of requests for a part, for a change, or for another protocol."""
_LIVE = "text/event-stream"
_MAX_REQUEST: Final = 1 << 20
"""Bytes of a request's body at most that are part of a key."""

_TOGETHER, _ALONE, _APART = range(3)
"""How a request is asked: with others; alone, and its answer is kept; with a key of its own, so
that nothing is shared with other processes either."""


class Caller(Protocol):
    """Asks operations: a :class:`~argo_mw.Caller`."""

    async def outcome(self, operation: str, /, **parameters: object) -> Outcome: ...

    def options(
        self,
        *,
        max_age: float | None = None,
        read: bool | None = None,
        store: bool | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> Self: ...


@frozen
class Arrived(Generic[R]):
    """What a request brought.

    Attributes:
        answer: What of it others may have, or what stands for it.
        own: What its own caller gets.
        error: What broke its body off, which that caller meets as it reads.
    """

    answer: HttpAnswer | NotShared
    own: R
    error: Exception | None = None


@frozen
class Served:
    """A response that no request of its own brought.

    Attributes:
        answer: The response.
        outcome: What the chain says of it; ``None`` for a failure that was shared.
    """

    answer: HttpAnswer
    outcome: Outcome | None = None


@frozen
class Asked:
    """A client's request.

    Attributes:
        match: Its route.
        request: The request.
        alone: Why it is sent for its caller alone, or "".
        patience: Seconds that its caller waits while no request of its own is under way, or
            ``None`` for as long as it takes. After that the client's own timeouts hold.
    """

    match: Match[Route]
    request: HttpRequest
    alone: str = ""
    patience: float | None = field(default=None)


def why_alone(route: Route, request: HttpRequest, length: int | None) -> str:
    """Return why *request* is sent for its caller alone, or "" where others may share it.

    Args:
        route: Its route.
        request: The request.
        length: How many bytes its body has, or ``None`` where it does not say.
    """
    if not route.is_shared:
        return f"{request.method} may change something"
    if length is None or length > _MAX_REQUEST:
        return "its body is long, or of unknown length"
    asked = by_name(request.headers)
    part = next((name for name in _OF_A_PART if name in asked), None)
    if part is not None:
        return f"its header {part}"
    if asked.get("accept", "").lower().startswith(_LIVE):
        return "it asks for events"
    if route.cache_control and "no-store" in asked_for(asked):
        return "its caller asked for that (no-store)"
    return ""


async def exchange(
    caller: Caller,
    clock: Clock,
    asked: Asked,
    send: Callable[[Headers], Awaitable[Arrived[R]]],
    drop: Callable[[R], Awaitable[None]],
    told: Callable[[Outcome], object] = lambda _: None,
) -> R | Served:
    """Return the response to a client's request: its own, or one that is kept or shared.

    Callers that ask the same at the same time share one request and its response, a failure too:
    each client decides itself what to do about that. What ends without a response is only the
    sender's: its timeout, its broken connection. The others ask for themselves.

    Args:
        caller: Asks the chain.
        clock: The time.
        asked: The request.
        send: Sends it, with further headers, and returns what comes.
        drop: Lets go of a response that its caller waits for no longer.
        told: Takes what the chain says of the response, if anything.

    Raises:
        DeadlineExceeded: The caller's patience, or a limit of the configuration, has ended.
        Refusal: A guard refused the request.
        Exception: What *send* raised.
    """
    how = _APART if asked.alone else _TOGETHER
    async with limited_wait(clock, None if asked.alone else asked.patience) as stop_waiting:
        while True:
            attempt = _Attempt(asked, send, drop, stop_waiting)
            try:
                served = await _ask(caller, asked, attempt, how)
            except UpstreamError as error:
                if attempt.arrived is not None:
                    return attempt.take()
                failure = error
                if attempt.sent or how == _APART or not _may_differ(error):
                    break
                how += 1
            else:
                brought = attempt.has_brought(served.answer)
                suits = isinstance(served.answer, HttpAnswer) and attempt.suits(served.answer)
                if served.outcome is not None and (brought or suits):
                    told(served.outcome)
                if brought:
                    return attempt.take()
                if isinstance(served.answer, HttpAnswer) and suits:
                    return Served(served.answer, served.outcome)
                how = _APART
            finally:
                await attempt.end()
    # Outside of the handler: what a client raised has the context and the cause that it had.
    raise error_for_client(failure) if attempt.error is None else attempt.error


async def _ask(caller: Caller, asked: Asked, attempt: _Attempt[R], how: int) -> _Given:
    """Return what the chain gives for a request.

    Raises:
        UpstreamError: It is a failure without a response that is for everyone.
    """
    parameters = parameters_of(asked.match, asked.request)
    if how == _APART:
        parameters["identity"] = uuid4().hex
    try:
        outcome = await _options(caller, asked, attempt, how).outcome(
            asked.match.route.operation, **parameters
        )
    except HttpFailed as error:
        if attempt.arrived is not None or error.response is None:
            raise
        return _Given(error.response)
    value = outcome.value
    assert isinstance(value, (HttpAnswer, NotShared))
    return _Given(value, outcome)


def _options(caller: Caller, asked: Asked, attempt: _Attempt[R], how: int) -> Caller:
    extensions = {
        SENDER: attempt,
        # A client's own timeout ends its request: its user expects that of the client.
        ENDS_WITH_CALLERS: True,
        OWN_FAILURES: True,
        ALONE: how != _TOGETHER,
    }
    if how == _APART:
        return caller.options(read=False, store=False, extensions=extensions)
    if not asked.match.route.cache_control:
        return caller.options(extensions=extensions)
    directives = asked_for(by_name(asked.request.headers))
    oldest = seconds_in(directives, "max-age")
    if "no-cache" in directives or oldest == 0:
        return caller.options(read=False, store=True, extensions=extensions)
    return caller.options(max_age=oldest, extensions=extensions)


@frozen
class _Given:
    """What the chain gives: a response, or what stands for one that is not for everyone."""

    answer: HttpAnswer | NotShared
    outcome: Outcome | None = None


class _Attempt(Generic[R]):
    """The request of one caller, if the chain sends that and not another's.

    Attributes:
        sent: Whether it was sent.
        error: What sending it raised.
        arrived: What it brought, until it is taken or let go of.
    """

    def __init__(
        self,
        asked: Asked,
        send: Callable[[Headers], Awaitable[Arrived[R]]],
        drop: Callable[[R], Awaitable[None]],
        stop_waiting: Callable[[], object],
    ) -> None:
        self._headers = asked.request.headers
        self._send = send
        self._drop = drop
        self._stop_waiting = stop_waiting
        self._left = False
        self.sent = False
        self.error: Exception | None = None
        self.arrived: Arrived[R] | None = None

    async def send(self, conditions: Headers) -> HttpAnswer | NotShared:
        """Send the request, with *conditions* beside its own headers."""
        self._stop_waiting()
        self.sent = True
        await self._release()  # what a first request brought did not fit
        try:
            arrived = await self._send(conditions)
        except Exception as error:
            self.error = error
            raise
        if conditions and arrived.answer.status == UNCHANGED:
            await self._drop(arrived.own)  # the client has not asked whether something has changed
        else:
            self.arrived = arrived
        if self._left:
            await self._release()
        if arrived.error is not None:
            raise arrived.error
        return arrived.answer

    def suits(self, answer: HttpAnswer) -> bool:
        """Return whether *answer* is one to this request."""
        return answer.suits(self._headers)

    def has_brought(self, answer: HttpAnswer | NotShared) -> bool:
        """Return whether *answer* is, or stands for, what this request has brought."""
        if self.arrived is None:
            return False
        return isinstance(answer, NotShared) or answer == self.arrived.answer

    def take(self) -> R:
        """Return what the caller of this request gets."""
        assert self.arrived is not None
        own, self.arrived = self.arrived.own, None
        return own

    async def end(self) -> None:
        """Release what came, or is still to come: the caller has another response, or has left."""
        self._left = True
        await self._release()

    async def _release(self) -> None:
        if self.arrived is not None:
            await self._drop(self.take())


def _may_differ(failure: UpstreamError) -> bool:
    """Return whether a request of one's own may bring more than the one that ended in *failure*."""
    # If no connection can be made, none of them can make one.
    raised = failure.raised
    return raised is None or ran_out_of_time(raised) or not never_sent(raised)
