"""Responses: from the wire to an answer of the chain, and back to what an SDK expects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Generic, TypeVar

import httpx2

from argo_mw import BlockingArgo
from argo_mw.plugin import Action, Argo, BudgetExceeded, Refusal, Secret, context_of
from argo_mw_llm.answers import RawResponse, Usage
from argo_mw_llm.bodies import BodyTooLarge
from argo_mw_llm.estimate import rough_prompt
from argo_mw_llm.failures import answered_too_much, from_status
from argo_mw_llm.learnt_limits import limits_in
from argo_mw_llm.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.provider import ExchangeFailed
from argo_mw_llm.sse import EventSource
from argo_mw_llm.streams import AnswerStream, Ending
from argo_mw_llm.usage import read_body
from argo_mw_llm.wires import CHAT, Wire, wire_of

R = TypeVar("R")
Answer = RawResponse | AnswerStream[bytes]

_KEPT_HEADERS = ("content-type", "request-id", "x-request-id")


class OwnResponse(Generic[R]):
    """The response to one request, for its own caller: with all the headers that came.

    Callers who are served a kept answer get only the headers that hold for everyone.
    """

    def __init__(self, provider: str, body: Mapping[str, object]) -> None:
        self._provider = provider
        self._body = body
        self._got: tuple[Answer | None, R] | None = None

    def take(self, raw: httpx2.Response, response: R) -> RawResponse:
        """Return the answer in *raw*, which has been read, and remember *response* for its caller.

        Raises:
            ExchangeFailed: It is an error, or damaged.
        """
        try:
            reply = raw_response_of(self._provider, self._body, raw)
        except ExchangeFailed as error:
            self._got = (error.response, response)
            raise
        self._got = (reply, response)
        return reply

    def refuse(self, error: BodyTooLarge) -> ExchangeFailed:
        """Return the error for a response that is larger than allowed; its SDK does not retry."""
        failure = answered_too_much(self._provider, error)
        failed = ExchangeFailed(str(failure), upstream=self._provider)
        failed.billed = True
        failed.response = _refusal(502, "too_large", str(failure))
        return failed

    def response(self, answer: Answer) -> R | None:
        """Return the response of this request, if *answer* is its answer."""
        return self._got[1] if self._got is not None and self._got[0] is answer else None


def _conceal_credentials(headers: Mapping[str, str]) -> None:
    """Have the key that a request was sent with struck out of every message: errors echo keys."""
    for name in ("authorization", "x-api-key"):
        key = headers.get(name, "").removeprefix("Bearer ")
        if key:
            Secret(key)


def raw_response_of(provider: str, body: Mapping[str, object], raw: httpx2.Response) -> RawResponse:
    """Return the whole answer to *body* in *raw*, which has been read.

    Raises:
        ExchangeFailed: It is an error, or damaged.
    """
    status, headers, content = raw.status_code, raw.headers, raw.content
    kept, told = _kept(headers), limits_in(headers)
    if status >= 400:
        _conceal_credentials(raw.request.headers)
        failure = from_status(provider, status, content, headers)
        failed = ExchangeFailed(
            str(failure),
            upstream=provider,
            action=Action.SWITCH,  # retrying is up to the SDK
            retry_after=failure.retry_after,
            status=status,
        )
        named = ("retry-after", "retry-after-ms", "x-should-retry")
        advice = tuple((name, headers[name]) for name in named if name in headers)
        failed.response = RawResponse(status, (*kept, *advice), content, limits=told)
        raise failed
    try:
        usage, model, stop = read_body(_wire_of(raw), content)
    except ValueError:
        damaged = ExchangeFailed(f"upstream {provider!r} sent a damaged answer", upstream=provider)
        damaged.billed = True
        damaged.response = RawResponse(status, kept, content)
        raise damaged from None
    if usage is None:
        usage = Usage(rough_prompt({"body": body}), len(content) // 4, estimated=True)
    return RawResponse(status, kept, content, model, usage, stop, told)


def stream_of(
    argo: Argo, provider: str, body: Mapping[str, object], response: httpx2.Response
) -> AnswerStream[bytes]:
    """Return the answer in *response*, in pieces as they come over the wire."""
    return _stream(argo, provider, body, response, _chunks(response))


def blocking_stream_of(
    argo: Argo, provider: str, body: Mapping[str, object], response: httpx2.Response
) -> AnswerStream[bytes]:
    """Return the answer in a synchronous *response*, which is read in threads."""
    return _stream(argo, provider, body, response, _threaded_chunks(response))


def _stream(
    argo: Argo,
    provider: str,
    body: Mapping[str, object],
    response: httpx2.Response,
    chunks: AsyncGenerator[bytes, None],
) -> AnswerStream[bytes]:
    ending = Ending(str(body.get("model", "")), headers=_kept(response.headers))
    source = EventSource(_wire_of(response), chunks, ending, context_of(argo).clock)
    stream = AnswerStream(source, context_of(argo).tasks, ending, name=provider)
    stream.limits = limits_in(response.headers)
    return stream


async def taken(own: OwnResponse[R], raw: httpx2.Response, response: R) -> RawResponse:
    """Return the answer in *raw*, as :meth:`OwnResponse.take` does, after all of it is read.

    Raises:
        ExchangeFailed: It is an error, damaged, or larger than allowed.
    """
    try:
        if isinstance(raw.stream, httpx2.AsyncByteStream):
            try:
                await raw.aread()
            finally:
                await raw.aclose()
        else:
            await asyncio.to_thread(_read_whole, raw)
    except BodyTooLarge as error:
        raise own.refuse(error) from error
    return await off_loop(len(raw.content) > MANY_BYTES, own.take, raw, response)


def _read_whole(response: httpx2.Response) -> None:
    try:
        response.read()
    finally:
        response.close()


def _wire_of(response: httpx2.Response) -> Wire:
    return wire_of(response.request.url.path) or CHAT


def refused(error: Refusal) -> RawResponse:
    """Return the response that makes an SDK report a refusal and not retry."""
    return _refusal(402 if isinstance(error, BudgetExceeded) else 429, "refused", str(error))


def unreadable() -> RawResponse:
    """Return the response to a request for an answer that cannot be read.

    What it may cost is not known, so it passes no budget.
    """
    message = "argo-mw cannot read this request: send a JSON object, not compressed"
    return _refusal(400, "unreadable", message)


def _refusal(status: int, code: str, message: str) -> RawResponse:
    body = {"error": {"type": "argo_mw_refusal", "code": code, "message": message}}
    headers = (("content-type", "application/json"), ("x-should-retry", "false"))
    return RawResponse(status, headers, json.dumps(body).encode())


def async_response(answer: Answer, request: httpx2.Request) -> httpx2.Response:
    """*answer* as the SDK of an asynchronous client expects it."""
    if isinstance(answer, RawResponse):
        return _whole(answer, request)
    headers = list(answer.ending.headers)
    return httpx2.Response(200, headers=headers, stream=_Pieces(answer), request=request)


def blocking_response(
    argo: BlockingArgo, answer: Answer, request: httpx2.Request
) -> httpx2.Response:
    """*answer* as the SDK of a synchronous client expects it."""
    if isinstance(answer, RawResponse):
        return _whole(answer, request)
    headers = list(answer.ending.headers)
    pieces = _BlockingPieces(argo, answer)
    return httpx2.Response(200, headers=headers, stream=pieces, request=request)


def _whole(reply: RawResponse, request: httpx2.Request) -> httpx2.Response:
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
    """The pieces of a stream, for an asynchronous client."""

    def __init__(self, stream: AnswerStream[bytes]) -> None:
        self._reader = stream.read()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._reader

    async def aclose(self) -> None:
        await self._reader.aclose()  # type: ignore[attr-defined]


class _BlockingPieces(httpx2.SyncByteStream):
    """The pieces of a stream, for a client in another thread."""

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
