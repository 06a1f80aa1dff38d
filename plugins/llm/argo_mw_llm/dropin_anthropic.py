"""The middleware of Anthropic's SDK, in a module of its own because that SDK imports slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import anthropic
import httpx2
from anthropic import APIRequest, APIResponse, AsyncAPIResponse
from anthropic.types import Message

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo, DeadlineExceeded
from argo_mw_llm.bodies import bound, limit_of
from argo_mw_llm.exchange import Send, exchange
from argo_mw_llm.responses import (
    Answer,
    OwnResponse,
    async_response,
    blocking_response,
    blocking_stream_of,
    stream_of,
    taken,
)

_PATH = "/v1/messages"
_NAME = "claude"
_RAW_RESPONSE = "X-Stainless-Raw-Response"
"""The header by which the SDK is told what to make of a response; its own helpers set it too."""


class ChainMiddleware(anthropic.Middleware):
    """Sends messages through the chain, and everything else straight on."""

    def __init__(self, argo: Argo | BlockingArgo, epoch: str, tenant: str | None) -> None:
        self._argo = argo
        self._epoch = epoch
        self._tenant = tenant
        self._async: anthropic.AsyncAnthropic | None = None
        self._sync: anthropic.Anthropic | None = None

    async def handle_async(self, request: APIRequest, call_next: Any) -> AsyncAPIResponse[Any]:
        """Return the response to *request*, for the asynchronous client."""
        body = _body(request)
        if body is None:
            return await call_next(request)  # type: ignore[no-any-return]
        argo = self._argo
        if not isinstance(argo, Argo):
            msg = "chain(argo) of an asynchronous client needs an Argo, not a BlockingArgo"
            raise TypeError(msg)
        own: OwnResponse[AsyncAPIResponse[Any]] = OwnResponse(_NAME, body)

        async def send(_: Mapping[str, object]) -> Answer:
            got = await call_next(_unread(request))
            response = got.http_response
            bound(response, limit_of(argo))
            if request.stream and response.is_success:
                return stream_of(argo, _NAME, body, response)
            return await taken(own, response, got)

        try:
            answer = await self._exchange(argo, request, body, send)
        except DeadlineExceeded as error:
            raise anthropic.APITimeoutError(request=_plain_request(request)) from error
        got = own.response(answer)
        if got is not None:
            return got
        if self._async is None:
            # Answers are read by a client; one that never sends is enough for that.
            self._async = anthropic.AsyncAnthropic(api_key="unused")
        raw = async_response(answer, _plain_request(request))
        return AsyncAPIResponse(raw=raw, client=self._async, **_response_arguments(request))

    def handle(self, request: APIRequest, call_next: Any) -> APIResponse[Any]:
        """Return the response to *request*, for the synchronous client."""
        body = _body(request)
        if body is None:
            return call_next(request)  # type: ignore[no-any-return]
        argo = self._argo
        if not isinstance(argo, BlockingArgo):
            msg = "chain(argo) of a synchronous client needs a BlockingArgo, not an Argo"
            raise TypeError(msg)

        own: OwnResponse[APIResponse[Any]] = OwnResponse(_NAME, body)

        async def ask(inner: Argo) -> Answer:
            async def send(_: Mapping[str, object]) -> Answer:
                got = await asyncio.to_thread(call_next, _unread(request))
                response = got.http_response
                bound(response, limit_of(inner))
                if request.stream and response.is_success:
                    return blocking_stream_of(inner, _NAME, body, response)
                return await taken(own, response, got)

            return await self._exchange(inner, request, body, send)

        try:
            answer = argo.run(ask)
        except DeadlineExceeded as error:
            raise anthropic.APITimeoutError(request=_plain_request(request)) from error
        got = own.response(answer)
        if got is not None:
            return got
        if self._sync is None:
            self._sync = anthropic.Anthropic(api_key="unused")
        raw = blocking_response(argo, answer, _plain_request(request))
        return APIResponse(raw=raw, client=self._sync, **_response_arguments(request))

    def _exchange(
        self, argo: Argo, request: APIRequest, body: dict[str, Any], send: Send
    ) -> Coroutine[object, object, Answer]:
        return exchange(
            argo,
            _NAME,
            send,
            body=body,
            path=_PATH,
            epoch=self._epoch,
            tenant=self._tenant,
            betas=_betas(request),
        )


def _body(request: APIRequest) -> dict[str, Any] | None:
    """Return the body of a request for a message, or ``None`` for any other request."""
    body = request.json
    if request.method.lower() != "post" or not isinstance(body, dict):
        return None
    path = request.url.partition("?")[0].rstrip("/")
    if not path.endswith(_PATH):
        return None
    extra = request.options.extra_json or {}
    return {**body, **extra, "stream": bool(request.stream)}


def _unread(request: APIRequest) -> APIRequest:
    """Return *request* such that the SDK leaves the body of its answer to us, who bound it."""
    if request.stream:
        return request
    return request.copy(headers={**request.headers, _RAW_RESPONSE: "stream"})


def _betas(request: APIRequest) -> str:
    """Return the beta features that the request asks for."""
    for name, value in request.headers.items():
        if name.lower() == "anthropic-beta" and isinstance(value, str):
            return value
    return ""


def _plain_request(request: APIRequest) -> httpx2.Request:
    return httpx2.Request(request.method.upper(), "https://argo-mw.invalid" + _PATH)


def _response_arguments(request: APIRequest) -> dict[str, Any]:
    return {
        "cast_to": Message if request.cast_to is None else request.cast_to,
        "stream": request.stream,
        "stream_cls": request.stream_cls,
        "options": request.options,
        "retries_taken": request.retries_taken,
    }
