"""Responses that are made here: of kept and shared answers, and refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx2

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo, BudgetExceeded, Refusal
from argo_mw_llm.answers import RawResponse
from argo_mw_llm.bodies.bodies import Replayed, kept_on
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.clients.reading import Reading

Answer = RawResponse | AnswerStream[bytes]
Body = httpx2.AsyncByteStream | httpx2.SyncByteStream


def refused(error: Refusal) -> RawResponse:
    """Return the response that makes an SDK report a refusal and not retry."""
    return refusal(402 if isinstance(error, BudgetExceeded) else 429, "refused", str(error))


def unreadable() -> RawResponse:
    """Return the refusal of a request for an answer whose body cannot be read.

    Its cost is unknown, so budgets cannot pass it.
    """
    message = "argo-mw cannot read this request: send a JSON object, not compressed"
    return refusal(400, "unreadable", message)


def refusal(status: int, code: str, message: str) -> RawResponse:
    """Return a response of the chain's own that makes an SDK report *message* and not retry."""
    body = {"error": {"type": "argo_mw_refusal", "code": code, "message": message}}
    headers = (("content-type", "application/json"), ("x-should-retry", "false"))
    return RawResponse(status, headers, json.dumps(body).encode())


def response_of(
    answer: Answer, request: httpx2.Request, argo: BlockingArgo | None = None
) -> httpx2.Response:
    """Return *answer* as a transport returns it; *argo* is given for a synchronous client.

    The body of an answer in pieces is made on the loop of its stream.
    """
    if isinstance(answer, AnswerStream):
        headers = list(answer.ending.headers)
        body: Body = pieces_of(answer, argo=argo)
        return httpx2.Response(200, headers=headers, stream=body, request=request)
    headers = [*answer.headers, ("content-length", str(len(answer.body)))]
    # As a stream, like one of a connection: clients measure the time until a body is read.
    body = Replayed(answer.body)
    return httpx2.Response(answer.status, headers=headers, stream=body, request=request)


def pieces_of(
    answer: AnswerStream[bytes], original: object = None, argo: BlockingArgo | None = None
) -> Body:
    """Return the body from which a client reads *answer*, in place of the *original* one.

    *argo* is given for a synchronous client. Call it on the loop of the stream.
    """
    reading = Reading(answer, own=original is not None)
    if argo is None:
        return _Pieces(reading, original)
    return _BlockingPieces(argo, reading, original)


class _Pieces(httpx2.AsyncByteStream):
    """The pieces of a stream, for an asynchronous client."""

    def __init__(self, reading: Reading, original: object) -> None:
        self._reading = reading
        self._original = original

    def __getattr__(self, name: str) -> object:
        return kept_on(self._original, name)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._reading.next()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        await self._reading.leave()


class _BlockingPieces(httpx2.SyncByteStream):
    """The pieces of a stream, for a client in another thread."""

    def __init__(self, argo: BlockingArgo, reading: Reading, original: object) -> None:
        self._argo = argo
        self._reading = reading
        self._original = original

    def __getattr__(self, name: str) -> object:
        return kept_on(self._original, name)

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._argo.run(self._next)) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self) -> None:
        if self._reading.is_here():  # maybe called by the garbage collector, in any thread
            self._reading.drop()
        else:
            self._argo.run(self._leave)

    async def _next(self, argo: Argo) -> bytes | Exception | None:
        return await self._reading.next()

    async def _leave(self, argo: Argo) -> None:
        await self._reading.leave()
