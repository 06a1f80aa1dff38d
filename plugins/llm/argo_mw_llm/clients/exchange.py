"""Ask the chain for the answer to a request that a provider's own SDK has built."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from argo_mw.plugin import (
    ALONE,
    ENDS_WITH_CALLERS,
    OWN_FAILURES,
    Argo,
    BadParameter,
    Clock,
    Outcome,
    UpstreamError,
    WebCaller,
    context_of,
    error_for_client,
    is_failure,
    limited_wait,
)
from argo_mw_llm.answers import RawResponse
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.clients.identity import Identity
from argo_mw_llm.clients.made_responses import Answer
from argo_mw_llm.operations import EXCHANGE, NOT_SHARED
from argo_mw_llm.providers.failures import never_sent, ran_out_of_time
from argo_mw_llm.providers.provider import SEND, ExchangeFailed
from argo_mw_llm.wires import wire_of

Send = Callable[[Mapping[str, object]], Awaitable[Answer]]

_NOT_IN_KEY = frozenset({"stream", "user", "user_id", "request_id", "metadata"})
"""Fields of a body that do not change the answer: user names, and GLM's request ids. ``stream`` is
a parameter of its own."""

SAMPLE = "argo-mw-sample"
"""The header by which a client asks for one of several independent answers to its request."""


class Asked(Struct, frozen=True):
    """A request that an SDK has built.

    Attributes:
        provider: The provider that it is for.
        body: Its body.
        identity: Its endpoint and account.
        in_pieces: Whether its caller reads the body of the answer as it comes.
        patience: Seconds for which its caller waits while its own request has not been sent, or
            ``None`` for no limit. Once it is sent, the SDK's own timeouts hold.
        epoch: The moment of the data in the prompt.
        tenant: The tenant of the call, or ``None`` for the configured one.
        sample: Which of several independent answers is asked for; "*" for an answer that is not
            shared.
    """

    provider: str
    body: Mapping[str, object]
    identity: Identity
    in_pieces: bool
    patience: float | None
    epoch: str
    tenant: str | None
    sample: str = ""


class Exchanged(Struct, frozen=True):
    """The answer to a request.

    Attributes:
        answer: The answer.
        outcome: The chain's outcome; ``None`` if the answer is an error response.
    """

    answer: Answer
    outcome: Outcome | None = None


async def exchange(argo: Argo, asked: Asked, send: Send) -> Answer:
    """Return the answer to an SDK's request; see :func:`exchanged`."""
    caller = argo if asked.tenant is None else argo.options(tenant=asked.tenant)
    return (await exchanged(caller, context_of(argo).clock, asked, send)).answer


async def exchanged(caller: WebCaller, clock: Clock, asked: Asked, send: Send) -> Exchanged:
    """Return the answer to a request: a kept one, a shared one, or what *send* returns.

    Callers that ask the same at the same time share one request and its response, even an error
    response: each client decides itself whether to retry. If the request ends without a response,
    such as by the sender's timeout or a broken connection, only its sender gets the error; the
    others send their own.

    Args:
        caller: Asks the chain, for the request's tenant.
        clock: The time.
        asked: The request.
        send: Sends it, with some fields of its body changed.

    Raises:
        DeadlineExceeded: The caller's patience, or a limit of the configuration, has ended.
        Refusal: A guard refused the request.
        Exception: What *send* raised.
    """
    async with limited_wait(clock, asked.patience) as stop_waiting:
        alone = False
        while True:
            attempt = _Attempt(send, stop_waiting)
            try:
                outcome = await _ask(caller, asked, attempt, alone=alone)
                assert isinstance(outcome.value, (RawResponse, AnswerStream))
                return Exchanged(outcome.value, outcome)
            except BadParameter:
                plain = as_json(asked.body)
                if plain == asked.body:
                    raise
                asked = replace(asked, body=plain)
                continue
            except ExchangeFailed as error:
                failure: UpstreamError = error
                if error.response is not None:
                    return Exchanged(error.response)
            except UpstreamError as error:
                failure = error
            if not _asks_again(attempt, failure, alone):
                break
            alone = True
    # Raised outside of the handler, so that the SDK's error keeps its own context and cause.
    raise error_for_client(failure) if attempt.error is None else attempt.error


async def _ask(caller: WebCaller, asked: Asked, attempt: _Attempt, *, alone: bool) -> Outcome:
    body, sample = asked.body, asked.sample
    wire = wire_of(asked.identity.endpoint)
    if sample == NOT_SHARED or (wire is not None and wire.is_alone(body)):
        alone, sample = True, NOT_SHARED + uuid4().hex
    extensions = {
        SEND: attempt.send,
        # A client's own timeout ends its request, as users of the SDK expect.
        ENDS_WITH_CALLERS: True,
        OWN_FAILURES: True,
        ALONE: alone,
    }
    return await caller.options(extensions=extensions).outcome(
        asked.provider + EXCHANGE,
        model=str(body.get("model", "")),
        body={name: value for name, value in body.items() if name not in _NOT_IN_KEY},
        endpoint=asked.identity.endpoint,
        account=asked.identity.account,
        epoch=asked.epoch,
        stream=asked.in_pieces,
        sample=sample,
    )


def as_json(body: Mapping[str, object]) -> dict[str, object]:
    """Return *body* as plain data; SDKs also accept objects of their own.

    An unknown object becomes a unique value, so that its answer is not shared.
    """
    plain: dict[str, object] = json.loads(json.dumps(body, default=_plain))
    return plain


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", by_alias=True, exclude_unset=True)
    return uuid4().hex


class _Attempt:
    """The request of one caller, which the chain may send.

    Attributes:
        sent: Whether it was sent.
        error: The error that sending it raised.
    """

    def __init__(self, send: Send, stop_waiting: Callable[[], object]) -> None:
        self._send = send
        self._stop_waiting = stop_waiting
        self.sent = False
        self.error: BaseException | None = None

    async def send(self, changes: Mapping[str, object]) -> Answer:
        """Send the request, with *changes* to its body."""
        self._stop_waiting()
        self.sent = True
        try:
            return await self._send(changes)
        except ExchangeFailed:
            raise
        except BaseException as error:
            # A transport may raise CancelledError although its caller was not cancelled.
            if is_failure(error):
                self.error = error
            raise


def _asks_again(attempt: _Attempt, failure: UpstreamError, alone: bool) -> bool:
    """Return whether a caller whose request was not sent sends it after *failure*."""
    if attempt.sent or alone:
        return False
    # If no connection was free, there is none for the others either.
    raised = failure.raised
    return raised is None or ran_out_of_time(raised) or not never_sent(raised)
