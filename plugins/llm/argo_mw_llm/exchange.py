"""Ask the chain for the answer to a request that a provider's own SDK has built."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from uuid import uuid4

from argo_mw.plugin import (
    ENDS_WITH_CALLERS,
    Argo,
    ArgoError,
    DeadlineExceeded,
    TimeLimitExceeded,
    UpstreamError,
)
from argo_mw_llm.answers import RawResponse
from argo_mw_llm.operations import ALONE, EXCHANGE
from argo_mw_llm.provider import SEND, ExchangeFailed
from argo_mw_llm.responses import Answer
from argo_mw_llm.streams import AnswerStream
from argo_mw_llm.wires import wire_of

Send = Callable[[Mapping[str, object]], Awaitable[Answer]]

_NOT_IN_KEY = frozenset({"stream", "user", "user_id", "request_id", "metadata"})
"""Fields of a body that do not change the answer: names of users and numbers of requests (GLM's).
``stream`` is a parameter of its own."""


async def exchange(
    argo: Argo,
    provider: str,
    send: Send,
    *,
    body: Mapping[str, object],
    path: str,
    epoch: str,
    tenant: str | None,
    betas: str = "",
) -> Answer:
    """Return the answer to an SDK's request: a kept one, a shared one, or what *send* returns.

    Args:
        argo: The application.
        provider: The provider that the request is for.
        send: Sends the request, with some fields of its body changed.
        body: The request's body.
        path: The path of its URL.
        epoch: The moment of the data in the prompt.
        tenant: The tenant of the call, or ``None`` for the configured one.
        betas: The beta features that the request's headers ask for, which may change the answer.
    """
    # A client's own timeout ends its request: its user expects that of the SDK.
    caller = argo.options(tenant=tenant, extensions={SEND: send, ENDS_WITH_CALLERS: True})
    wire = wire_of(path)
    alone = wire is not None and wire.is_alone(body)
    deciding = {name: value for name, value in body.items() if name not in _NOT_IN_KEY}
    try:
        outcome = await caller.outcome(
            provider + EXCHANGE,
            model=str(body.get("model", "")),
            body=deciding,
            path=path,
            betas=betas,
            epoch=epoch,
            stream=body.get("stream") is True,
            sample=ALONE + uuid4().hex if alone else "",
        )
    except ExchangeFailed as error:
        if error.response is None:
            raise
        return error.response
    except UpstreamError as error:
        cause = error.__cause__
        if isinstance(cause, TimeLimitExceeded):
            raise DeadlineExceeded(str(error)) from None
        # What sending raised belongs to the SDK, whose caller expects it.
        if isinstance(cause, Exception) and not isinstance(cause, ArgoError):
            raise cause from None
        raise
    value = outcome.value
    assert isinstance(value, (RawResponse, AnswerStream))
    return value
