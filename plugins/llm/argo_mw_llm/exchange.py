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
from argo_mw_llm.failures import never_sent, ran_out_of_time
from argo_mw_llm.identity import Identity
from argo_mw_llm.operations import EXCHANGE, NOT_SHARED
from argo_mw_llm.provider import SEND, ExchangeFailed
from argo_mw_llm.responses import Answer
from argo_mw_llm.streams import AnswerStream
from argo_mw_llm.wires import wire_of

Send = Callable[[Mapping[str, object]], Awaitable[Answer]]

_NOT_IN_KEY = frozenset({"stream", "user", "user_id", "request_id", "metadata"})
"""Fields of a body that do not change the answer: names of users and numbers of requests (GLM's).
``stream`` is a parameter of its own."""

SAMPLE = "argo-mw-sample"
"""The header by which a client asks for one of several independent answers to its request."""


class Asked(Struct, frozen=True):
    """A request that an SDK has built.

    Attributes:
        provider: The provider that it is for.
        body: Its body.
        identity: Where it goes, and on whose account.
        in_pieces: Whether its caller reads the body of the answer as it comes.
        patience: Seconds that its caller waits for an answer while no request of its own is under
            way, or ``None`` for as long as it takes. After that the SDK's own timeouts hold.
        epoch: The moment of the data in the prompt.
        tenant: The tenant of the call, or ``None`` for the configured one.
        sample: Which of several independent answers is asked for; "*" is one that no other call
            gets.
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
    """What a request was answered with.

    Attributes:
        answer: The answer.
        outcome: What the chain says of it; ``None`` where it is an error's response.
    """

    answer: Answer
    outcome: Outcome | None = None


async def exchange(argo: Argo, asked: Asked, send: Send) -> Answer:
    """Return the answer to an SDK's request; see :func:`exchanged`."""
    caller = argo if asked.tenant is None else argo.options(tenant=asked.tenant)
    return (await exchanged(caller, context_of(argo).clock, asked, send)).answer


async def exchanged(caller: WebCaller, clock: Clock, asked: Asked, send: Send) -> Exchanged:
    """Return the answer to a request: a kept one, a shared one, or what *send* returns.

    Callers that ask the same at the same time share one request and what it is answered with, an
    error's status too: each client decides itself what to do about that. What ends without an
    answer is only the sender's: its timeout, its broken connection. The others ask for themselves.

    Args:
        caller: Asks the chain, on behalf of the request's tenant.
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
    # Outside of the handler: what an SDK's client raised has the context and the cause that it had.
    raise attempt.error or error_for_client(failure)


async def _ask(caller: WebCaller, asked: Asked, attempt: _Attempt, *, alone: bool) -> Outcome:
    body, sample = asked.body, asked.sample
    wire = wire_of(asked.identity.endpoint)
    if sample == NOT_SHARED or (wire is not None and wire.is_alone(body)):
        alone, sample = True, NOT_SHARED + uuid4().hex
    extensions = {
        SEND: attempt.send,
        # A client's own timeout ends its request: its user expects that of the SDK.
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
    """Return *body* as plain data; an SDK may take its own objects too, and makes JSON of them.

    What is known to nobody is like nothing else, so that its answer is for nobody else.
    """
    plain: dict[str, object] = json.loads(json.dumps(body, default=_plain))
    return plain


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", by_alias=True, exclude_unset=True)
    return uuid4().hex


class _Attempt:
    """The request of one caller, if the chain sends that and not another's.

    Attributes:
        sent: Whether it was sent.
        error: What sending it raised.
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
            # A transport may raise a CancelledError although nobody has cancelled its caller.
            if is_failure(error):
                self.error = error
            raise


def _asks_again(attempt: _Attempt, failure: UpstreamError, alone: bool) -> bool:
    """Return whether a caller whose request was not sent asks for itself, after *failure*."""
    if attempt.sent or alone:
        return False
    # Where there is no connection to be had, there is none for any of them.
    raised = failure.raised
    return raised is None or ran_out_of_time(raised) or not never_sent(raised)
