"""Drop-in use: clients of the providers' own SDKs, with the chain in between.

The SDK builds the request and reads the answer; the chain decides whether it is sent. Errors,
types, streams and tools stay the SDK's. Only requests for answers pass through the chain; all other
requests of the client are sent directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import httpx2
from attrs import frozen

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo, DeadlineExceeded, Refusal
from argo_mw_llm.bodies.off_loop import in_thread
from argo_mw_llm.clients.exchange import SAMPLE, Asked, exchange
from argo_mw_llm.clients.identity import Identity, Remembered, identity_of
from argo_mw_llm.clients.made_responses import Answer, pieces_of, refused, response_of, unreadable
from argo_mw_llm.clients.own_response import OwnResponse, intake_of
from argo_mw_llm.costs.uncounted import (
    blocking_is_uncounted,
    check_provider,
    is_uncounted,
    pass_on,
)
from argo_mw_llm.costs.usage import parse
from argo_mw_llm.relay.outgoing import with_fields
from argo_mw_llm.wires import Wire, stated_at, wire_of

if TYPE_CHECKING:
    import anthropic

A = TypeVar("A", Argo, BlockingArgo)
T = TypeVar("T", httpx2.AsyncBaseTransport, httpx2.BaseTransport)

_CONTENT = (b"content-length", b"transfer-encoding")
_LENGTHS = (b"Content-Length", b"content-length")
_RAW_RESPONSE = "x-stainless-raw-response"
"""The header by which OpenAI's and other SDKs tell that their caller reads the body itself."""


def chain(
    argo: Argo | BlockingArgo,
    *,
    provider: str = "claude",
    epoch: str = "",
    tenant: str | None = None,
) -> anthropic.Middleware:
    """Put the chain into a client of Anthropic's SDK.

    ::

        client = anthropic.AsyncAnthropic(middleware=[chain(argo)])

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for the synchronous client.
        provider: The name of the provider that the client asks.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.

    Raises:
        ValueError: There is no such provider.
    """
    from argo_mw_llm.clients.dropin_anthropic import ChainMiddleware

    check_provider(argo, provider)
    return ChainMiddleware(argo, provider, epoch, tenant)


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
    """Put the chain into a client of *provider* that takes a transport of httpx2.

    ::

        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek"))
        client = openai.AsyncOpenAI(base_url="https://api.deepseek.com", http_client=http)

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for the synchronous client.
        provider: The name of a provider, such as ``claude`` or ``openai``.
        inner: The transport that sends; by default httpx2's own.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.

    Raises:
        ValueError: There is no such provider.
        TypeError: *argo* and *inner* are not both synchronous, or both asynchronous.
    """
    check_provider(argo, provider)
    # Some transports are both synchronous and asynchronous.
    if isinstance(argo, BlockingArgo):
        inner = httpx2.HTTPTransport() if inner is None else inner
        if not isinstance(inner, httpx2.BaseTransport):
            msg = "inner is asynchronous, but argo is a BlockingArgo; give a httpx2.BaseTransport"
            raise TypeError(msg)
        return BlockingChainTransport(argo, provider, inner, epoch, tenant)
    inner = httpx2.AsyncHTTPTransport() if inner is None else inner
    if not isinstance(inner, httpx2.AsyncBaseTransport):
        msg = "inner is synchronous, but argo is not; give a httpx2.AsyncBaseTransport"
        raise TypeError(msg)
    return ChainTransport(argo, provider, inner, epoch, tenant)


@frozen
class _Sender:
    """The sender of a request, as far as its headers tell.

    Attributes:
        identity: The endpoint and account of the request.
        identity_of_whole: The same, if it asks for no stream.
        reads_itself: Whether its caller reads the body of the answer itself.
        asks_for_sample: Whether it asks for one of several answers.
    """

    identity: Identity
    identity_of_whole: Identity
    reads_itself: bool
    asks_for_sample: bool


class _Transport(Generic[A, T]):
    """The base of both kinds of transports."""

    def __init__(self, argo: A, provider: str, inner: T, epoch: str, tenant: str | None) -> None:
        self._argo: A = argo
        self._provider = provider
        self._inner: T = inner
        self._epoch = epoch
        self._tenant = tenant
        self._remembered: Remembered[_Sender] = Remembered()

    def _asked(self, request: httpx2.Request, body: dict[str, object]) -> Asked:
        headers = _but_for_length(request.headers.raw)
        sender = self._remembered.of(str(request.url), headers, partial(_sender_of, request))
        sample = request.headers.pop(SAMPLE, "") if sender.asks_for_sample else ""
        streamed = body.get("stream") is True
        return Asked(
            self._provider,
            body,
            sender.identity if streamed else sender.identity_of_whole,
            streamed or sender.reads_itself,
            _patience(request),
            self._epoch,
            self._tenant,
            sample,
        )


class ChainTransport(_Transport[Argo, httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):
    """Sends requests for answers through the chain, and all others directly."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to *request*."""
        wire = _wire(request)
        if wire is None:
            return await self._pass_on(request)
        body = _body_of(await request.aread())
        if body is None:
            return response_of(unreadable(), request)
        asked, argo = self._asked(request, {**body, **stated_at(request.url.path)}), self._argo
        own: OwnResponse[httpx2.Response] = OwnResponse(
            intake_of(argo),
            self._provider,
            wire,
            asked.body,
            in_pieces=asked.in_pieces,
            readable=pieces_of,
        )

        async def send(changes: Mapping[str, object]) -> Answer:
            response = await self._inner.handle_async_request(_changed(request, body, changes))
            response.request = request
            return await own.take(response, response)

        try:
            answer = await exchange(argo, asked, send)
        except Refusal as error:
            answer = refused(error)
        except DeadlineExceeded as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        return own.of(answer) or response_of(answer, request)

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()

    async def _pass_on(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to *request*, which asks for no answer that can be counted."""
        send = partial(self._inner.handle_async_request, request)
        if not is_uncounted(self._argo, request.method, request.url.path):
            return await send()
        try:
            return await pass_on(self._argo, self._asked(request, {}), send, _status)
        except Refusal as error:
            return response_of(refused(error), request)


class BlockingChainTransport(_Transport[BlockingArgo, httpx2.BaseTransport], httpx2.BaseTransport):
    """Like :class:`ChainTransport`, for synchronous clients."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to *request*."""
        wire = _wire(request)
        if wire is None:
            return self._pass_on(request)
        body = _body_of(request.read())
        if body is None:
            return response_of(unreadable(), request)
        asked, argo = self._asked(request, {**body, **stated_at(request.url.path)}), self._argo

        async def ask(inner: Argo) -> httpx2.Response:
            own: OwnResponse[httpx2.Response] = OwnResponse(
                intake_of(inner),
                self._provider,
                wire,
                asked.body,
                in_pieces=asked.in_pieces,
                readable=partial(pieces_of, argo=argo),
            )

            async def send(changes: Mapping[str, object]) -> Answer:
                changed = _changed(request, body, changes)
                response = await in_thread(self._inner.handle_request, changed)
                response.request = request
                return await own.take(response, response)

            answer = await exchange(inner, asked, send)
            return own.of(answer) or response_of(answer, request, argo)

        try:
            return argo.run(ask)
        except Refusal as error:
            return response_of(refused(error), request)
        except DeadlineExceeded as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error

    def close(self) -> None:
        """Close what sends."""
        self._inner.close()

    def _pass_on(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to *request*, which asks for no answer that can be counted."""
        if not blocking_is_uncounted(self._argo, request.method, request.url.path):
            return self._inner.handle_request(request)

        async def ask(argo: Argo) -> httpx2.Response:
            send = partial(in_thread, self._inner.handle_request, request)
            return await pass_on(argo, self._asked(request, {}), send, _status)

        try:
            return self._argo.run(ask)
        except Refusal as error:
            return response_of(refused(error), request)


def _sender_of(request: httpx2.Request) -> _Sender:
    headers = request.headers.multi_items()
    deciding = [one for one in headers if one[0] != SAMPLE]
    identity = identity_of(request.url, deciding)
    # A caller that reads the body itself may read any part of it.
    by_itself = request.headers.get(_RAW_RESPONSE) == "stream"
    in_pieces = identity.evolved("in pieces") if by_itself else identity
    return _Sender(identity, in_pieces, by_itself, len(deciding) < len(headers))


def _but_for_length(headers: list[tuple[bytes, bytes]]) -> object:
    """Return what two requests have in common whose *headers* differ at most in their lengths."""
    named = dict(headers)
    if len(named) < len(headers):  # there may be several of one name
        return [one for one in headers if one[0] not in _LENGTHS]
    for name in _LENGTHS:
        named.pop(name, None)
    return named


def _status(response: httpx2.Response) -> int:
    return response.status_code


def _wire(request: httpx2.Request) -> Wire | None:
    """Return the wire of the answer that *request* asks for, or ``None`` if it asks for none.

    Decided without reading the request's body, which may be an upload of any size.
    """
    return wire_of(request.url.path) if request.method == "POST" else None


def _changed(
    request: httpx2.Request, body: Mapping[str, object], changes: Mapping[str, object]
) -> httpx2.Request:
    """Return *request* with *changes* to its *body*; unchanged, byte for byte, without any."""
    if not changes:
        return request
    headers = [one for one in request.headers.raw if one[0].lower() not in _CONTENT]
    content = with_fields(request.content, body, changes)
    return httpx2.Request(
        request.method,
        request.url,
        headers=headers,
        content=content,
        extensions=request.extensions,
    )


def _patience(request: httpx2.Request) -> float | None:
    """Return the seconds that a client waits for the beginning of an answer."""
    timeout = request.extensions.get("timeout")
    read = timeout.get("read") if isinstance(timeout, Mapping) else None
    return float(read) if isinstance(read, (int, float)) else None


def _body_of(content: bytes) -> dict[str, object] | None:
    """Return the body of a request for an answer, or ``None`` if it cannot be read."""
    try:
        body = parse(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
