"""Drop-in use: clients of the providers' own SDKs, with the chain in between.

The SDK builds the request and reads the answer; the chain decides whether it is sent. Errors,
types, streams and tools stay the SDK's. Only requests for answers pass through the chain; what
else the client does goes straight on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, overload

import httpx2

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo, Closed, DeadlineExceeded, Refusal, config_of
from argo_mw_llm.bodies import bound, limit_of
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.exchange import exchange
from argo_mw_llm.responses import (
    Answer,
    OwnResponse,
    async_response,
    blocking_response,
    blocking_stream_of,
    refused,
    stream_of,
    taken,
    unreadable,
)
from argo_mw_llm.usage import parse
from argo_mw_llm.wires import wire_of

if TYPE_CHECKING:
    import anthropic

_LENGTH = "content-length"


def chain(
    argo: Argo | BlockingArgo, *, epoch: str = "", tenant: str | None = None
) -> anthropic.Middleware:
    """Put the chain into a client of Anthropic's SDK.

    ::

        client = anthropic.AsyncAnthropic(middleware=[chain(argo)])

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for the synchronous client.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.
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
        provider: The name of a provider, such as ``openai``.
        inner: The transport that sends; by default httpx2's own.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.

    Raises:
        ValueError: There is no such provider.
        TypeError: *argo* and *inner* are not both synchronous, or both asynchronous.
    """
    _check(argo, provider)
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


def _check(argo: Argo | BlockingArgo, provider: str) -> None:
    """Check that *argo* knows *provider*; before it is open, nobody can tell.

    Raises:
        ValueError: It does not.
    """
    try:
        known = argo.run(_names) if isinstance(argo, BlockingArgo) else _providers_of(argo)
    except Closed:
        return
    if provider not in known:
        msg = f"provider is {provider!r}; it is one of {', '.join(known)}"
        raise ValueError(msg)


async def _names(argo: Argo) -> Collection[str]:
    return _providers_of(argo)


def _providers_of(argo: Argo) -> Collection[str]:
    return config_of(argo, LlmConfig).profiles


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
        """Return the response to *request*."""
        if not _asks_for_answer(request):
            return await self._inner.handle_async_request(request)
        body = _body_of(await request.aread())
        if body is None:
            return async_response(unreadable(), request)
        inner, argo = self._inner, self._argo
        own: OwnResponse[httpx2.Response] = OwnResponse(self._provider, body)

        async def send(changes: Mapping[str, object]) -> Answer:
            response = await inner.handle_async_request(_changed(request, body, changes))
            response.request = request
            bound(response, limit_of(argo))
            if body.get("stream") is True and response.is_success:
                return stream_of(argo, self._provider, body, response)
            return await taken(own, response, response)

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
        """Return the response to *request*."""
        if not _asks_for_answer(request):
            return self._inner.handle_request(request)
        body = _body_of(request.read())
        if body is None:
            return blocking_response(self._argo, unreadable(), request)

        own: OwnResponse[httpx2.Response] = OwnResponse(self._provider, body)

        async def ask(argo: Argo) -> Answer:
            async def send(changes: Mapping[str, object]) -> Answer:
                changed = _changed(request, body, changes)
                response = await asyncio.to_thread(self._inner.handle_request, changed)
                response.request = request
                bound(response, limit_of(argo))
                if body.get("stream") is True and response.is_success:
                    return blocking_stream_of(argo, self._provider, body, response)
                return await taken(own, response, response)

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


def _changed(
    request: httpx2.Request, body: Mapping[str, object], changes: Mapping[str, object]
) -> httpx2.Request:
    """Return *request*, whose body is *body*, with *changes* to it; byte for byte without any."""
    if not changes:
        return request
    headers = [(name, value) for name, value in request.headers.multi_items() if name != _LENGTH]
    content = json.dumps({**body, **changes}).encode()
    return httpx2.Request(
        request.method,
        request.url,
        headers=headers,
        content=content,
        extensions=request.extensions,
    )


def _asks_for_answer(request: httpx2.Request) -> bool:
    return request.method == "POST" and wire_of(request.url.path) is not None


def _body_of(content: bytes) -> dict[str, object] | None:
    """Return the body of a request for an answer, or ``None`` if it cannot be read."""
    try:
        body = parse(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
