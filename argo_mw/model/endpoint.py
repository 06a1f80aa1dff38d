"""Endpoints: what plugins offer to programs of any language that ask over HTTP.

A plugin that serves HTTP, such as a gateway, knows its clients and what each may ask; a plugin
with endpoints knows a protocol. Between them pass whole requests, and responses that are whole or
come in pieces, as bytes: neither has to know the other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol, Self

from attrs import field, frozen, validators

from argo_mw.model.outcome import Outcome

Headers = Sequence[tuple[str, str]]
Spending = Literal["none", "limited", "open"]
"""Whether a request may cost money; see :class:`WebCall`."""


class WebCaller(Protocol):
    """Asks operations on behalf of the client that sent a request.

    It is a :class:`~argo_mw.Caller` whose tenant and limits are the client's.
    """

    async def outcome(self, operation: str, /, **parameters: object) -> Outcome:
        """Return the outcome of *operation*; see :meth:`argo_mw.Caller.outcome`."""

    def options(
        self,
        *,
        timeout: float | None = None,
        max_age: float | None = None,
        read: bool | None = None,
        store: bool | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> Self:
        """Return a caller with other options; see :meth:`argo_mw.Caller.options`."""


class WebStream(Protocol):
    """A body in pieces, each of which is sent as soon as it is there."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces. What it raises breaks the response off, so that a client sees that."""

    async def aclose(self) -> None:
        """Let go of what the pieces come from; called once, also where they were not all read."""


@frozen
class WebRequest:
    """A request of a client, read whole.

    What let the client in, such as a key of the gateway, is no longer among its headers.

    Attributes:
        method: The method, in upper case.
        path: The path as it was sent, percent-encoded, without the place where the application is
            mounted.
        rest: What of *path* stands in place of the ``*`` of the endpoint's path, or "".
        query: What follows the question mark, as it was sent, or "".
        headers: Names in lower case, and values, in their order.
        body: The body.
    """

    method: str
    path: str
    rest: str = ""
    query: str = ""
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return the value of the header *name*, given in lower case; the last one of several."""
        return next((value for own, value in reversed(self.headers) if own == name), None)


@frozen
class WebResponse:
    """The response to a request.

    Attributes:
        status: The HTTP status.
        headers: Names and values; those of the connection, its length and its transfer are up to
            what serves it.
        body: The body, whole or in pieces.
        outcome: What the chain says of the answer, where it comes from there: what serves the
            response tells the client what answered, how old that is, and what it cost.
        changed: What was changed in the request before it went to the upstream, in a few words
            each: the client is told.
    """

    status: int
    headers: Headers = ()
    body: bytes | WebStream = field(default=b"", repr=False)
    outcome: Outcome | None = None
    changed: Sequence[str] = ()


@frozen
class WebCall:
    """What a request asks for: read from it, and not asked yet.

    What serves it compares this with what its client may ask, and lets it answer or refuses it.

    Attributes:
        operation: The operation that it asks, or a name of its own where it asks none.
        answer: Asks, on behalf of the client, and returns the response.
        model: Which of the upstream's models it names, or "".
        spending: Whether it may cost money: ``none``, ``limited`` where a
            :class:`~argo_mw.plugin.SpendingLimit` of the call is kept, or ``open``, which a client
            with such a limit may not ask.
        unread: Whether it is passed on to the upstream as it is, so that what it does there is not
            known: it may list or change what other tenants have stored on the same account.
        own_account: Whether it is asked with a credential of the client's, which is among the
            request's headers, and with none of ours. A client that only such a credential lets in
            may ask nothing else.
    """

    operation: str
    answer: Callable[[WebCaller], Awaitable[WebResponse]]
    model: str = ""
    spending: Spending = "open"
    unread: bool = False
    own_account: bool = False


def plain_refusal(status: int, message: str) -> WebResponse:
    """Return a response with *status* whose body is JSON with *message*, in no one's protocol."""
    body = json.dumps({"error": {"type": "argo_mw", "message": message}}).encode()
    return WebResponse(status, (("content-type", "application/json"),), body)


@frozen
class Endpoint:
    """Requests that a plugin answers.

    Attributes:
        path: Their path, such as ``/v1/weather``; one that ends with ``/*`` is for all paths below.
            Of several that fit the longest answers.
        read: Reads what a request asks for. It raises :class:`~argo_mw.BadParameter` where that
            cannot be read, and other errors of the chain for what they stand for.
        methods: Their methods, in upper case; none for all.
        refuse: Makes the response to a request that is refused or has failed, of a status and a
            message, in the protocol of its clients.
        doc: One line for people.
    """

    path: str = field(validator=validators.matches_re(r"/(?:[^*?#]*|[^*?#]*/\*|\*)"))
    read: Callable[[WebRequest], Awaitable[WebCall]]
    methods: frozenset[str] = frozenset()
    refuse: Callable[[int, str], WebResponse] = plain_refusal
    doc: str = ""
