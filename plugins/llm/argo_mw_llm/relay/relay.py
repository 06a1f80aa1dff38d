"""The relay: sends requests of a gateway's clients, and returns responses in their protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import httpx2

from argo_mw.plugin import (
    Context,
    DeadlineExceeded,
    Unsupported,
    UpstreamError,
    WebCaller,
    WebRequest,
    WebResponse,
    WebStream,
)
from argo_mw_llm.bodies.pieces import BodyTooLarge
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.clients.exchange import SAMPLE, Asked, Exchanged, exchanged
from argo_mw_llm.clients.made_responses import Answer, pieces_of
from argo_mw_llm.clients.own_response import Intake, OwnResponse
from argo_mw_llm.costs.uncounted import passed_on
from argo_mw_llm.providers.provider import Provider
from argo_mw_llm.relay.concealed import Concealment
from argo_mw_llm.relay.connections import Connections
from argo_mw_llm.relay.outgoing import Outgoing, outgoing, with_fields
from argo_mw_llm.relay.protocol_errors import anthropic_error, openai_error
from argo_mw_llm.wires import MESSAGES, Wire

T = TypeVar("T")

EPOCH: Final = "argo-mw-epoch"
"""The header with the time of the data in a prompt, which becomes part of the key."""

_OF_THE_CONNECTION: Final = frozenset(
    ["connection", "content-length", "keep-alive", "set-cookie", "trailer", "transfer-encoding"]
)
_MAX_CONNECTIONS: Final = 1000
_PASSED_ON: Final = 16
"""The factor of the size limit for what is passed on unread, of which nothing is kept."""


class Relay:
    """Sends requests to providers, over connections of its own.

    Args:
        context: The clock, and the owner of the tasks that read streams.
        max_bytes: The most bytes of an answer.
        transport: Sends requests; by default over connections of its own.

    Attributes:
        max_bytes: The most bytes of an answer; changes with the configuration.
    """

    def __init__(
        self,
        context: Context,
        max_bytes: int,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._context = context
        self.max_bytes = max_bytes
        self._transport = transport

    async def aclose(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()

    async def ask(
        self,
        provider: Provider,
        request: WebRequest,
        path: str,
        wire: Wire,
        body: Mapping[str, object],
        caller: WebCaller,
    ) -> WebResponse:
        """Return the response to a request for an answer, from the chain.

        Args:
            provider: The provider that it is for.
            request: The client's request.
            path: The path at the provider.
            wire: The protocol of the request.
            body: The body of the request.
            caller: Asks the chain for the client.

        Raises:
            DeadlineExceeded: The provider was silent for too long.
            Refusal: A guard refused it.
            UpstreamError: The provider cannot be reached, or has no key.
        """
        sent = self._outgoing(provider, request, path)
        streamed = body.get("stream") is True
        usage = wire.asking_for_usage(body) if provider.profile.reports_usage_when_asked else {}
        own: OwnResponse[httpx2.Response] = OwnResponse(
            Intake(self._context.tasks, self.max_bytes),
            provider.name,
            wire,
            body,
            in_pieces=streamed,
            readable=pieces_of,
            hides_usage=bool(usage),
        )
        changed: list[str] = []

        async def send(changes: Mapping[str, object]) -> Answer:
            fields = {**usage, **changes}
            changed.extend(fields)
            asked = sent.request(with_fields(sent.body, body, fields))
            response = await self._sending.handle_async_request(asked)
            response.request = asked
            return await own.take(response, response)

        asked = Asked(
            provider.name,
            body,
            sent.identity,
            streamed,
            None,
            request.header(EPOCH) or "",
            None,
            request.header(SAMPLE) or "",
        )
        ask = partial(exchanged, caller, self._context.clock, asked, send)
        return self._response(sent, provider, own, await _reaching(provider, ask), changed)

    async def pass_on(
        self,
        provider: Provider,
        request: WebRequest,
        path: str,
        caller: WebCaller,
        *,
        counted: bool,
    ) -> WebResponse:
        """Return the response of *provider* to a *request* that is passed on unread.

        Args:
            provider: The provider that it is for.
            request: The client's request.
            path: The path at the provider.
            caller: Asks the chain for the client.
            counted: Whether guards apply to it and it is booked, at an unknown cost.

        Raises:
            DeadlineExceeded: The provider was silent for too long.
            Refusal: A guard refused it.
            UpstreamError: The provider cannot be reached, or has no key.
        """
        sent = self._outgoing(provider, request, path, unread=True)

        async def send() -> httpx2.Response:
            return await self._sending.handle_async_request(sent.request(sent.body))

        ask: Callable[[], Awaitable[httpx2.Response]] = send
        if counted:
            asked = Asked(provider.name, {}, sent.identity, False, None, "", None)
            ask = partial(passed_on, caller, self._context.clock, asked, send, _status)
        response = await _reaching(provider, ask)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if response.status_code == httpx2.codes.UNAUTHORIZED and sent.key:
            await response.stream.aclose()
            return self._key_refused(provider)
        concealment = Concealment(sent.key)
        return WebResponse(
            response.status_code,
            concealment.headers(_passed(response.headers.multi_items())),
            concealment.stream(_Bounded(response.stream, self.max_bytes * _PASSED_ON)),
        )

    @property
    def _sending(self) -> httpx2.AsyncBaseTransport:
        if self._transport is None:
            self._transport = Connections(self._context.clock, _MAX_CONNECTIONS)
        return self._transport

    def _outgoing(
        self, provider: Provider, request: WebRequest, path: str, *, unread: bool = False
    ) -> Outgoing:
        sent = outgoing(request, provider.profile, provider.key, path, unread=unread)
        if not sent.key and provider.profile.needs_key and not sent.has_credential:
            msg = f"upstream {provider.name!r} {provider.missing_key()}"
            raise Unsupported(msg, upstream=provider.name)
        return sent

    def _response(
        self,
        sent: Outgoing,
        provider: Provider,
        own: OwnResponse[httpx2.Response],
        got: Exchanged,
        changed: Sequence[str],
    ) -> WebResponse:
        """Return the client's response: that to its own request, or one made of a kept answer."""
        answer, view = got.answer, own.of(got.answer)
        concealment = Concealment(sent.key)
        if isinstance(answer, AnswerStream):
            headers = answer.ending.headers if view is None else view.headers.multi_items()
            stream = pieces_of(answer) if view is None else view.stream
            assert isinstance(stream, httpx2.AsyncByteStream)
            body: bytes | WebStream = concealment.stream(stream)
            status = 200 if view is None else view.status_code
        else:
            if answer.status == httpx2.codes.UNAUTHORIZED and sent.key:
                return self._key_refused(provider)
            # The body was decompressed.
            headers = answer.headers if view is None else view.headers.multi_items()
            headers = [one for one in headers if one[0].lower() != "content-encoding"]
            body, status = concealment.body(answer.body), answer.status
        return WebResponse(
            status, concealment.headers(_passed(headers)), body, got.outcome, tuple(changed)
        )

    def _key_refused(self, provider: Provider) -> WebResponse:
        """Return the error that the provider refuses our key, not the client's, which is valid."""
        what = f"upstream {provider.name!r} does not accept the configured key"
        self._context.warn_once(f"llm {provider.name}", what)
        refuse = anthropic_error if provider.profile.wire is MESSAGES else openai_error
        refused = refuse(502, what)
        headers = (*refused.headers, ("x-should-retry", "false"))
        return WebResponse(refused.status, headers, refused.body)


class _Bounded:
    """A body that fails once it has more than *limit* bytes."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._stream:
            read += len(piece)
            if read > self._limit:
                msg = f"it has more than {self._limit} bytes; raise max_decoded_bytes"
                raise BodyTooLarge(msg)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _reaching(provider: Provider, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what *ask* returns; turn errors of the HTTP client into errors of the chain."""
    try:
        return await ask()
    except httpx2.TimeoutException as error:
        msg = f"upstream {provider.name!r} did not answer in time: {type(error).__name__}"
        raise DeadlineExceeded(msg) from error
    except httpx2.HTTPError as error:
        msg = f"upstream {provider.name!r} cannot be reached: {type(error).__name__}"
        raise UpstreamError(msg, upstream=provider.name) from error


def _passed(headers: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return the *headers* that do not concern only the provider's connection to us."""
    dropped = set(_OF_THE_CONNECTION)
    for name, value in headers:
        if name.lower() == "connection":
            dropped.update(option.strip().lower() for option in value.split(","))
    return [one for one in headers if one[0].lower() not in dropped]


def _status(response: httpx2.Response) -> int:
    return response.status_code
