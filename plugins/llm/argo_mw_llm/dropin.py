"""Drop-in use: clients of the providers' own SDKs, with the chain in between.

The SDK builds the request and reads the answer; the chain decides whether it is sent. Errors,
types, streams and tools stay the SDK's. Only requests for answers pass through the chain; what
else the client does goes straight on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, overload

import httpx2

from argo_mw import BlockingArgo
from argo_mw.plugin import (
    Argo,
    ArgoError,
    DeadlineExceeded,
    Refusal,
    TimeLimitExceeded,
    UpstreamError,
)
from argo_mw_llm.operations import EXCHANGE, PROVIDERS
from argo_mw_llm.provider import SEND, ExchangeFailed
from argo_mw_llm.responses import (
    Answer,
    Own,
    async_response,
    blocking_response,
    blocking_stream_of,
    read_whole,
    refused,
    stream_of,
)
from argo_mw_llm.streams import AnswerStream
from argo_mw_llm.usage import parse
from argo_mw_llm.values import Reply

if TYPE_CHECKING:
    import anthropic

Send = Callable[[], Awaitable[Answer]]

_NOT_TOLD = frozenset({"stream", "user", "user_id", "request_id", "metadata"})
"""Parts of a body that do not change the answer: who asks, and numbers of requests (GLM's).
``stream`` is told apart from the body."""


def chain(
    argo: Argo | BlockingArgo, *, epoch: str = "", tenant: str | None = None
) -> anthropic.Middleware:
    """Put the chain into a client of Anthropic's SDK.

    ::

        client = anthropic.AsyncAnthropic(middleware=[chain(argo)])

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for the synchronous client.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: On whose behalf the client asks; the configured tenant unless told.
    """
    from argo_mw_llm.dropin_anthropic import ChainMiddleware

    return ChainMiddleware(argo, epoch, tenant)


@overload
def transport(
    argo: Argo,
    provider: str,
    *,
    inner: httpx2.AsyncBaseTransport | None = None,
    epoch: str = "",
    tenant: str | None = None,
) -> httpx2.AsyncBaseTransport: ...
@overload
def transport(
    argo: BlockingArgo,
    provider: str,
    *,
    inner: httpx2.BaseTransport | None = None,
    epoch: str = "",
    tenant: str | None = None,
) -> httpx2.BaseTransport: ...
def transport(
    argo: Argo | BlockingArgo,
    provider: str,
    *,
    inner: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
    epoch: str = "",
    tenant: str | None = None,
) -> httpx2.AsyncBaseTransport | httpx2.BaseTransport:
    """Put the chain into a client of an OpenAI-compatible *provider*.

    ::

        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek"))
        client = openai.AsyncOpenAI(base_url="https://api.deepseek.com", http_client=http)

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for the synchronous client.
        provider: ``glm``, ``deepseek`` or ``qwen``.
        inner: What sends; httpx2's own transport unless told.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: On whose behalf the client asks; the configured tenant unless told.

    Raises:
        ValueError: There is no such provider.
        TypeError: *argo* and *inner* are not both synchronous, or both asynchronous.
    """
    if provider not in PROVIDERS or provider == "claude":
        msg = f"provider is {provider!r}; it is glm, deepseek or qwen (claude: use chain)"
        raise ValueError(msg)
    if isinstance(argo, BlockingArgo):
        if isinstance(inner, httpx2.AsyncBaseTransport):
            msg = "inner is asynchronous, but argo is a BlockingArgo; give a httpx2.BaseTransport"
            raise TypeError(msg)
        return BlockingChainTransport(
            argo, provider, inner or httpx2.HTTPTransport(), epoch, tenant
        )
    if isinstance(inner, httpx2.BaseTransport):
        msg = "inner is synchronous, but argo is not; give a httpx2.AsyncBaseTransport"
        raise TypeError(msg)
    return ChainTransport(argo, provider, inner or httpx2.AsyncHTTPTransport(), epoch, tenant)


class ChainTransport(httpx2.AsyncBaseTransport):
    """Sends chat completions through the chain, and everything else straight on."""

    def __init__(
        self,
        argo: Argo,
        provider: str,
        inner: httpx2.AsyncBaseTransport,
        epoch: str,
        tenant: str | None,
    ) -> None:
        self._argo = argo
        self._provider = provider
        self._inner = inner
        self._epoch = epoch
        self._tenant = tenant

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response to *request*."""
        body = body_of(request.url.path, await request.aread())
        if body is None:
            return await self._inner.handle_async_request(request)
        inner, argo = self._inner, self._argo
        own: Own[httpx2.Response] = Own(self._provider, body)

        async def send() -> Answer:
            response = await inner.handle_async_request(request)
            response.request = request
            if body.get("stream") is True and response.is_success:
                return stream_of(argo, self._provider, body, response)
            try:
                await response.aread()
            finally:
                await response.aclose()
            return own.reply(response, response)

        try:
            answer = await exchange(
                argo,
                self._provider,
                send,
                body=body,
                path=request.url.path,
                epoch=self._epoch,
                tenant=self._tenant,
            )
        except Refusal as error:
            answer = refused(error)
        except DeadlineExceeded as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        return own.response(answer) or async_response(answer, request)

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()


class BlockingChainTransport(httpx2.BaseTransport):
    """Like :class:`ChainTransport`, for synchronous clients."""

    def __init__(
        self,
        argo: BlockingArgo,
        provider: str,
        inner: httpx2.BaseTransport,
        epoch: str,
        tenant: str | None,
    ) -> None:
        self._argo = argo
        self._provider = provider
        self._inner = inner
        self._epoch = epoch
        self._tenant = tenant

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response to *request*."""
        body = body_of(request.url.path, request.read())
        if body is None:
            return self._inner.handle_request(request)

        own: Own[httpx2.Response] = Own(self._provider, body)

        async def ask(argo: Argo) -> Answer:
            async def send() -> Answer:
                response = await asyncio.to_thread(self._inner.handle_request, request)
                response.request = request
                if body.get("stream") is True and response.is_success:
                    return blocking_stream_of(argo, self._provider, body, response)
                await asyncio.to_thread(read_whole, response)
                return own.reply(response, response)

            return await exchange(
                argo,
                self._provider,
                send,
                body=body,
                path=request.url.path,
                epoch=self._epoch,
                tenant=self._tenant,
            )

        try:
            answer = self._argo.run(ask)
        except Refusal as error:
            answer = refused(error)
        except DeadlineExceeded as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        return own.response(answer) or blocking_response(self._argo, answer, request)

    def close(self) -> None:
        """Close what sends."""
        self._inner.close()


async def exchange(
    argo: Argo,
    provider: str,
    send: Send,
    *,
    body: Mapping[str, object],
    path: str,
    epoch: str,
    tenant: str | None,
    marks: str = "",
) -> Answer:
    """The answer to a request of an SDK: a kept one, a shared one, or what *send* gets.

    Args:
        argo: The application.
        provider: Who is asked.
        send: Sends the request.
        body: The request's body.
        path: The path of its URL.
        epoch: The moment of the data in the prompt.
        tenant: On whose behalf, or ``None`` for the configured tenant.
        marks: What else changes the answer: beta headers.
    """
    caller = argo.options(tenant=tenant, extensions={SEND: send})
    told = {name: value for name, value in body.items() if name not in _NOT_TOLD}
    try:
        outcome = await caller.outcome(
            provider + EXCHANGE,
            model=str(body.get("model", "")),
            body=told,
            path=path,
            marks=marks,
            epoch=epoch,
            stream=body.get("stream") is True,
        )
    except ExchangeFailed as error:
        if error.reply is None:
            raise
        return error.reply
    except UpstreamError as error:
        cause = error.__cause__
        if isinstance(cause, TimeLimitExceeded):
            raise DeadlineExceeded(str(error)) from None
        # What the SDK's own way on raised is for the SDK's caller to see.
        if isinstance(cause, Exception) and not isinstance(cause, ArgoError):
            raise cause from None
        raise
    value = outcome.value
    assert isinstance(value, (Reply, AnswerStream))
    return value


def body_of(path: str, content: bytes) -> dict[str, object] | None:
    """The body of a request for an answer, or ``None`` for any other request."""
    if not path.endswith("/chat/completions"):
        return None
    try:
        body = parse(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
