"""Drop-in use: clients of the providers' own SDKs, with the chain in between.

The SDK builds the request and reads the answer; the chain decides whether it is sent. Errors,
types, streams and tools stay the SDK's. Only requests for answers pass through the chain; what
else the client does goes straight on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar, overload

import httpx2

from argo_mw import (
    Action,
    Argo,
    ArgoError,
    BlockingArgo,
    BudgetExceeded,
    DeadlineExceeded,
    Refusal,
    UpstreamError,
)
from argo_mw_llm.failures import from_status
from argo_mw_llm.operations import EXCHANGE, PROVIDERS
from argo_mw_llm.provider import SEND, ExchangeFailed
from argo_mw_llm.streams import AnswerStream, Ending
from argo_mw_llm.usage import parse, read_body
from argo_mw_llm.values import Reply, Usage
from argo_mw_llm.wire import Wire

if TYPE_CHECKING:
    import anthropic

T = TypeVar("T")
Answer = Reply | AnswerStream[bytes]
Send = Callable[[], Awaitable[Answer]]
Chunks = Callable[[], AsyncGenerator[bytes, None]]

_KEPT_HEADERS = ("content-type", "request-id", "x-request-id")
_NOT_TOLD = frozenset({"stream", "user", "user_id", "request_id", "metadata"})
"""Parts of a body that do not change the answer: who asks, and numbers of requests (GLM's).
``stream`` is told apart from the body."""


def chain(argo: Argo | BlockingArgo, *, epoch: str = "") -> anthropic.Middleware:
    """Put the chain into a client of Anthropic's SDK.

    ::

        client = anthropic.AsyncAnthropic(middleware=[chain(argo)])

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for the synchronous client.
        epoch: The moment of the data in the prompts: part of their keys.
    """
    from argo_mw_llm.dropin_anthropic import ChainMiddleware

    return ChainMiddleware(argo, epoch)


@overload
def transport(
    argo: Argo, provider: str, *, inner: httpx2.AsyncBaseTransport | None = None, epoch: str = ""
) -> httpx2.AsyncBaseTransport: ...
@overload
def transport(
    argo: BlockingArgo, provider: str, *, inner: httpx2.BaseTransport | None = None, epoch: str = ""
) -> httpx2.BaseTransport: ...
def transport(
    argo: Argo | BlockingArgo,
    provider: str,
    *,
    inner: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
    epoch: str = "",
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
        return BlockingChainTransport(argo, provider, inner or httpx2.HTTPTransport(), epoch)
    if isinstance(inner, httpx2.BaseTransport):
        msg = "inner is synchronous, but argo is not; give a httpx2.AsyncBaseTransport"
        raise TypeError(msg)
    return ChainTransport(argo, provider, inner or httpx2.AsyncHTTPTransport(), epoch)


class ChainTransport(httpx2.AsyncBaseTransport):
    """Sends chat completions through the chain, and everything else straight on."""

    def __init__(
        self, argo: Argo, provider: str, inner: httpx2.AsyncBaseTransport, epoch: str
    ) -> None:
        self._argo = argo
        self._provider = provider
        self._inner = inner
        self._epoch = epoch

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response to *request*."""
        body = body_of(request.url.path, await request.aread())
        if body is None:
            return await self._inner.handle_async_request(request)
        inner, argo = self._inner, self._argo
        own: list[tuple[Answer, httpx2.Response]] = []

        async def send() -> Answer:
            response = await inner.handle_async_request(request)
            response.request = request
            if body.get("stream") is True and response.is_success:
                return stream_of(
                    argo, self._provider, body, response.headers, lambda: _chunks(response)
                )
            try:
                content = await response.aread()
            finally:
                await response.aclose()
            reply = reply_of(self._provider, response.status_code, response.headers, content)
            own.append((reply, response))
            return reply

        try:
            answer = await exchange(
                argo, self._provider, send, body=body, path=request.url.path, epoch=self._epoch
            )
        except Refusal as error:
            answer = refused(error)
        except DeadlineExceeded as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        if own and answer is own[-1][0]:
            return own[-1][1]  # what this request itself got, with all of its headers
        return async_response(answer, request)

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()


class BlockingChainTransport(httpx2.BaseTransport):
    """Like :class:`ChainTransport`, for synchronous clients."""

    def __init__(
        self, argo: BlockingArgo, provider: str, inner: httpx2.BaseTransport, epoch: str
    ) -> None:
        self._argo = argo
        self._provider = provider
        self._inner = inner
        self._epoch = epoch

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response to *request*."""
        body = body_of(request.url.path, request.read())
        if body is None:
            return self._inner.handle_request(request)

        async def ask(argo: Argo) -> Answer:
            async def send() -> Answer:
                response = await asyncio.to_thread(self._inner.handle_request, request)
                response.request = request
                return await from_blocking(argo, self._provider, body, response)

            return await exchange(
                argo, self._provider, send, body=body, path=request.url.path, epoch=self._epoch
            )

        try:
            answer = self._argo.run(ask)
        except Refusal as error:
            answer = refused(error)
        except DeadlineExceeded as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        return blocking_response(self._argo, answer, request)

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
        marks: What else changes the answer: beta headers.
    """
    caller = argo.options(extensions={SEND: send})
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


def reply_of(provider: str, status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    """A whole answer.

    Raises:
        ExchangeFailed: It is an error, or damaged.
    """
    kept = _kept(headers)
    if status >= 400:
        told = from_status(provider, status, content, headers)
        failed = ExchangeFailed(
            str(told),
            upstream=provider,
            action=Action.SWITCH,  # who retries is the SDK's decision
            retry_after=told.retry_after,
            status=status,
        )
        named = ("retry-after", "retry-after-ms", "x-should-retry")
        advice = tuple((name, headers[name]) for name in named if name in headers)
        failed.reply = Reply(status, (*kept, *advice), content)
        raise failed
    try:
        usage, model, stop = read_body(provider, content)
    except ValueError:
        damaged = ExchangeFailed(f"upstream {provider!r} sent a damaged answer", upstream=provider)
        damaged.billed = True
        damaged.reply = Reply(status, kept, content)
        raise damaged from None
    usage = usage or Usage(output=len(content) // 4, estimated=True)
    return Reply(status, kept, content, model, usage, stop)


def stream_of(
    argo: Argo,
    provider: str,
    body: Mapping[str, object],
    headers: Mapping[str, str],
    chunks: Chunks,
) -> AnswerStream[bytes]:
    """An answer in pieces, as they come over the wire."""
    ending = Ending(str(body.get("model", "")), headers=_kept(headers))
    context = argo.context
    source = Wire(provider, chunks(), ending, context.clock)
    return AnswerStream(source, context.tasks, ending, name=provider)


async def from_blocking(
    argo: Argo, provider: str, body: Mapping[str, object], response: httpx2.Response
) -> Answer:
    """The answer in a synchronous *response*, read in threads."""
    if body.get("stream") is True and response.is_success:
        return stream_of(argo, provider, body, response.headers, lambda: _threaded_chunks(response))
    content = await asyncio.to_thread(response.read)
    await asyncio.to_thread(response.close)
    return reply_of(provider, response.status_code, response.headers, content)


def refused(error: Refusal) -> Reply:
    """An answer that tells an SDK of a refusal, in a form that it does not ask again."""
    status = 402 if isinstance(error, BudgetExceeded) else 429
    told = {"error": {"type": "argo_mw_refusal", "code": "refused", "message": str(error)}}
    headers = (("content-type", "application/json"), ("x-should-retry", "false"))
    return Reply(status, headers, json.dumps(told).encode())


def async_response(answer: Answer, request: httpx2.Request) -> httpx2.Response:
    """*answer* as the SDK of an asynchronous client expects it."""
    if isinstance(answer, Reply):
        return _whole(answer, request)
    headers = list(answer.ending.headers)
    return httpx2.Response(200, headers=headers, stream=_Pieces(answer), request=request)


def blocking_response(
    argo: BlockingArgo, answer: Answer, request: httpx2.Request
) -> httpx2.Response:
    """*answer* as the SDK of a synchronous client expects it."""
    if isinstance(answer, Reply):
        return _whole(answer, request)
    headers = list(answer.ending.headers)
    pieces = _BlockingPieces(argo, answer)
    return httpx2.Response(200, headers=headers, stream=pieces, request=request)


def _whole(reply: Reply, request: httpx2.Request) -> httpx2.Response:
    headers = list(reply.headers)
    return httpx2.Response(reply.status, headers=headers, content=reply.body, request=request)


def _kept(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, headers[name]) for name in _KEPT_HEADERS if name in headers)


async def _chunks(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    finally:
        await response.aclose()


async def _threaded_chunks(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    chunks = response.iter_bytes()
    try:
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk
    finally:
        await asyncio.to_thread(response.close)


class _Pieces(httpx2.AsyncByteStream):
    """A reader's place at a stream."""

    def __init__(self, stream: AnswerStream[bytes]) -> None:
        self._reader = stream.read()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._reader

    async def aclose(self) -> None:
        await self._reader.aclose()  # type: ignore[attr-defined]


class _BlockingPieces(httpx2.SyncByteStream):
    """A reader's place at a stream, for a thread."""

    def __init__(self, argo: BlockingArgo, stream: AnswerStream[bytes]) -> None:
        self._argo = argo
        self._reader = stream.read()

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._argo.run(self._next)) is not None:
            yield chunk

    def close(self) -> None:
        self._argo.run(self._leave)

    async def _next(self, argo: Argo) -> bytes | None:
        return await anext(self._reader, None)

    async def _leave(self, argo: Argo) -> None:
        await self._reader.aclose()  # type: ignore[attr-defined]
