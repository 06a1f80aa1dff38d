"""The response to a request of an SDK, which its own caller gets as it came."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import partial
from typing import Generic, TypeVar

import httpx2
from msgspec import Struct

from argo_mw.plugin import Action, Argo, Secret, Tasks, config_of, context_of
from argo_mw_llm.answers import RawResponse, Usage
from argo_mw_llm.bodies.bodies import (
    AsyncBody,
    BlockingBody,
    body_of,
    content_of,
    has_been_read,
    plain,
)
from argo_mw_llm.bodies.off_loop import MANY_BYTES, in_thread, off_loop
from argo_mw_llm.bodies.pieces import BodyTooLarge
from argo_mw_llm.bodies.sse import EVENTS, EventSource, learn
from argo_mw_llm.bodies.streams import AnswerStream, Demand, Ending, whole_stream
from argo_mw_llm.clients.made_responses import Answer, Body, refusal
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.estimate import rough_prompt
from argo_mw_llm.costs.usage import read_body
from argo_mw_llm.providers.failures import answered_too_much, from_status
from argo_mw_llm.providers.learnt_limits import limits_in
from argo_mw_llm.providers.provider import ExchangeFailed
from argo_mw_llm.wires import Wire

R = TypeVar("R")


def _by_bytes(*names: str) -> Mapping[bytes, str]:
    return {name.encode(): name for name in names}


_FOR_ALL = _by_bytes(
    "content-type",
    "request-id",
    "x-request-id",
    "anthropic-organization-id",
    "anthropic-workspace-id",
    "openai-organization",
    "openai-processing-ms",
    "openai-project",
    "openai-version",
)
"""Headers that hold for all callers that are served the answer, since they have one account."""
_ADVICE = _by_bytes("retry-after", "retry-after-ms", "x-should-retry", "location")


class Intake(Struct, frozen=True):
    """The settings with which an application reads answers.

    Attributes:
        tasks: The owner of the tasks that read streams.
        max_bytes: The most bytes of an answer.
    """

    tasks: Tasks
    max_bytes: int


def intake_of(argo: Argo) -> Intake:
    """Return the settings with which *argo* reads answers."""
    return Intake(context_of(argo).tasks, config_of(argo, LlmConfig).max_decoded_bytes)


class OwnResponse(Generic[R]):
    """The response to one request of an SDK, for its own caller.

    That caller gets the response object itself, with its own headers, times and addresses; only its
    body has been read. Callers who are served a kept answer get only the headers that hold for all.

    Args:
        intake: The settings with which the answer is read.
        provider: The provider that is asked.
        wire: The protocol of its answers.
        body: The body of the request.
        in_pieces: Whether its caller reads the body of the answer as it comes.
        readable: Returns the body from which its caller reads a streamed answer, in place of the
            given one.
        hides_usage: Whether the event that reports a stream's usage is hidden from all callers,
            since none of them asked for it.
    """

    def __init__(
        self,
        intake: Intake,
        provider: str,
        wire: Wire,
        body: Mapping[str, object],
        *,
        in_pieces: bool,
        readable: Callable[[AnswerStream[bytes], object], Body],
        hides_usage: bool = False,
    ) -> None:
        self._intake = intake
        self._provider = provider
        self._wire = wire
        self._body = body
        self._in_pieces = in_pieces
        self._readable = readable
        self._hides_usage = hides_usage
        self._came: tuple[Answer, httpx2.Response, R] | None = None

    async def take(self, response: httpx2.Response, view: R) -> Answer:
        """Return the answer in *response*, and remember *view*, its SDK's view of it.

        Raises:
            ExchangeFailed: It is an error, damaged, or larger than allowed.
        """
        if self._in_pieces and response.is_success:
            answer: Answer = self._stream(response)
        else:
            try:
                answer = await self._whole(response)
            except ExchangeFailed as error:
                # A body that is too large was not read; its caller gets an error response instead.
                if error.response is not None and not isinstance(error.__cause__, BodyTooLarge):
                    self._came = error.response, response, view
                raise
        self._came = answer, response, view
        return answer

    def of(self, answer: Answer) -> R | None:
        """Return the response for the caller of this request, if *answer* came with it.

        Returns it once: from then on it belongs to that caller. A stream in *answer* is made
        readable on its loop.
        """
        if self._came is None:
            return None
        mine, response, view = self._came
        self._came = None
        if isinstance(mine, AnswerStream) and isinstance(answer, AnswerStream):
            if not mine.is_the_same(answer):
                return None
            if not has_been_read(response):
                plain(response)
                response.stream = self._readable(answer, response.stream)
            return view
        return view if mine is answer or mine == answer else None

    async def _whole(self, response: httpx2.Response) -> RawResponse:
        try:
            if has_been_read(response):
                content = response.content
            else:
                content = await content_of(response, self._intake.max_bytes)
        except BodyTooLarge as error:
            raise self._too_large(error) from error
        many = len(content) > MANY_BYTES
        return await off_loop(
            many, raw_response_of, self._provider, self._wire, self._body, response, content
        )

    def _stream(self, response: httpx2.Response) -> AnswerStream[bytes]:
        kind = response.headers.get("content-type", EVENTS)
        headers = response.headers.raw
        ending = Ending(str(self._body.get("model", "")), headers=_named(_FOR_ALL, headers))
        if has_been_read(response):
            learn(kind, self._wire, response.content, ending)
            return whole_stream(response.content, self._intake.tasks, ending)
        body, demand = body_of(response, self._intake.max_bytes), Demand()
        if isinstance(body, AsyncBody):
            pieces, close = aiter(body), body.aclose
        else:
            pieces, close = _threaded(body), partial(in_thread, body.close)
        source = EventSource(
            self._wire, kind, pieces, close, ending, demand, hides_usage=self._hides_usage
        )
        stream: AnswerStream[bytes] = AnswerStream(
            source, self._intake.tasks, ending, name=self._provider, demand=demand
        )
        stream.limits = limits_in(headers)
        return stream

    def _too_large(self, error: BodyTooLarge) -> ExchangeFailed:
        """Return the error for a response that is larger than allowed, which no SDK retries."""
        failure = answered_too_much(self._provider, error)
        failed = ExchangeFailed(str(failure), upstream=self._provider)
        failed.billed = True
        failed.response = refusal(502, "too_large", str(failure))
        return failed


def raw_response_of(
    provider: str,
    wire: Wire,
    body: Mapping[str, object],
    response: httpx2.Response,
    content: bytes,
) -> RawResponse:
    """Return the whole answer to *body*, which came in *response* with *content*.

    Raises:
        ExchangeFailed: It is an error, or damaged.
    """
    headers = response.headers.raw
    status, kept, told = response.status_code, _named(_FOR_ALL, headers), limits_in(headers)
    if not response.is_success:
        _conceal_credentials(response.request.headers)
        failure = from_status(provider, status, content, response.headers)
        failed = ExchangeFailed(
            str(failure),
            upstream=provider,
            action=Action.SWITCH,  # the SDK decides whether to retry
            retry_after=failure.retry_after,
            status=status,
        )
        failed.response = RawResponse(
            status, (*kept, *_named(_ADVICE, headers)), content, limits=told
        )
        raise failed
    try:
        usage, model, stop = _read(dict(kept).get("content-type", ""), wire, content)
    except ValueError:
        damaged = ExchangeFailed(f"upstream {provider!r} sent a damaged answer", upstream=provider)
        damaged.billed = True
        damaged.response = RawResponse(status, kept, content)
        raise damaged from None
    if usage is None:
        usage = Usage(rough_prompt({"body": body}), len(content) // 4, estimated=True)
    return RawResponse(status, kept, content, model, usage, stop, told)


def _read(kind: str, wire: Wire, content: bytes) -> tuple[Usage | None, str, str]:
    """Return usage, model and stop of an answer, which may be a stream that was read completely.

    Raises:
        ValueError: It is damaged.
    """
    if not kind.startswith(EVENTS):
        return read_body(wire, content)
    ending = Ending("")
    learn(kind, wire, content, ending)
    return ending.usage, ending.model, ending.stop


def _conceal_credentials(headers: Mapping[str, str]) -> None:
    """Register the request's key as a secret, to be removed from messages: errors echo keys."""
    for name in ("authorization", "x-api-key", "api-key"):
        key = headers.get(name, "").removeprefix("Bearer ")
        if key:
            Secret(key)


def _named(
    names: Mapping[bytes, str], headers: Iterable[tuple[bytes, bytes]]
) -> tuple[tuple[str, str], ...]:
    # Compared as bytes, since looking up a name decodes all headers each time.
    there: dict[bytes, bytes] = {}
    for raw_name, value in headers:
        name = raw_name.lower()
        if name in names:
            there[name] = there[name] + b", " + value if name in there else value
    return tuple([(names[name], _text(value)) for name, value in there.items()])


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _threaded(body: BlockingBody) -> AsyncGenerator[bytes, None]:
    pieces = iter(body)
    while (piece := await in_thread(next, pieces, None)) is not None:
        yield piece
