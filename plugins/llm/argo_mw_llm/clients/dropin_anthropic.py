"""The middleware of Anthropic's SDK, in a module of its own because that SDK imports slowly."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import anthropic
import httpx2
from anthropic import APIRequest, APIResponse, AsyncAPIResponse

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo, DeadlineExceeded
from argo_mw_llm.bodies.off_loop import in_thread
from argo_mw_llm.clients.anthropic_client import ClientView
from argo_mw_llm.clients.exchange import SAMPLE, Asked, exchange
from argo_mw_llm.clients.identity import Identity, Remembered
from argo_mw_llm.clients.made_responses import Answer, pieces_of, response_of, unreadable
from argo_mw_llm.clients.own_response import OwnResponse, intake_of
from argo_mw_llm.costs.uncounted import blocking_is_uncounted, is_uncounted, pass_on
from argo_mw_llm.costs.usage import parse
from argo_mw_llm.wires import Wire, wire_of

_RAW_RESPONSE = "X-Stainless-Raw-Response"
"""The header that tells the SDK how to return a response; its own helpers set it too."""

AsyncView = AsyncAPIResponse[Any] | httpx2.Response
BlockingView = APIResponse[Any] | httpx2.Response
"""The SDK's view of a response, or httpx2's response for a caller that asks for that."""


class ChainMiddleware(anthropic.Middleware):
    """Sends messages through the chain, and all other requests directly."""

    def __init__(
        self, argo: Argo | BlockingArgo, provider: str, epoch: str, tenant: str | None
    ) -> None:
        self._argo = argo
        self._provider = provider
        self._epoch = epoch
        self._tenant = tenant
        self._remembered: Remembered[Identity] = Remembered()

    async def handle_async(self, request: APIRequest, call_next: Any) -> Any:
        """Return the response to *request*, for the asynchronous client."""
        wire = _wire(request)
        if wire is None:
            return await self._pass_on(request, call_next)
        argo = self._argo
        if not isinstance(argo, Argo):
            msg = "chain(argo) of an asynchronous client needs an Argo, not a BlockingArgo"
            raise TypeError(msg)
        client, started = ClientView.behind(call_next), monotonic()
        body = _body_of(request)
        if body is None:
            return client.view(request, response_of(unreadable(), client.http_request(request)))
        request, sample = _sampled(request)
        asked = self._asked(request, client, body, sample)
        own: OwnResponse[AsyncView] = OwnResponse(
            intake_of(argo),
            self._provider,
            wire,
            body,
            in_pieces=asked.in_pieces,
            readable=pieces_of,
        )

        async def send(changes: Mapping[str, object]) -> Answer:
            view: AsyncView = await call_next(_unread(request, changes, client))
            return await own.take(_response_to(request, view, client), view)

        try:
            answer = await exchange(argo, asked, send)
        except DeadlineExceeded as error:
            raise _timeout(client.http_request(request), error) from error
        view = own.of(answer)
        if view is not None:
            if asked.in_pieces:
                return view
            await _response_in(view).aread()
            return client.whole(request, view)
        response = response_of(answer, client.http_request(request))
        if not asked.in_pieces:
            await response.aread()
        response.elapsed = timedelta(seconds=monotonic() - started)
        return client.view(request, response)

    def handle(self, request: APIRequest, call_next: Any) -> Any:
        """Return the response to *request*, for the synchronous client."""
        wire = _wire(request)
        if wire is None:
            return self._blocking_pass_on(request, call_next)
        argo = self._argo
        if not isinstance(argo, BlockingArgo):
            msg = "chain(argo) of a synchronous client needs a BlockingArgo, not an Argo"
            raise TypeError(msg)
        client, started = ClientView.behind(call_next, blocking=True), monotonic()
        body = _body_of(request)
        if body is None:
            return client.view(request, response_of(unreadable(), client.http_request(request)))
        request, sample = _sampled(request)
        asked = self._asked(request, client, body, sample)
        ask = partial(self._ask, argo, request, client, asked, wire, call_next)
        try:
            view, response = argo.run(ask)
        except DeadlineExceeded as error:
            raise _timeout(client.http_request(request), error) from error
        if view is not None:
            if asked.in_pieces:
                return view
            _response_in(view).read()
            return client.whole(request, view)
        assert response is not None
        if not asked.in_pieces:
            response.read()
        response.elapsed = timedelta(seconds=monotonic() - started)
        return client.view(request, response)

    async def _ask(
        self,
        argo: BlockingArgo,
        request: APIRequest,
        client: ClientView,
        asked: Asked,
        wire: Wire,
        call_next: Any,
        inner: Argo,
    ) -> tuple[BlockingView | None, httpx2.Response | None]:
        """Return the response that came for the request, or one made of a kept answer."""
        own: OwnResponse[BlockingView] = OwnResponse(
            intake_of(inner),
            self._provider,
            wire,
            asked.body,
            in_pieces=asked.in_pieces,
            readable=partial(pieces_of, argo=argo),
        )

        async def send(changes: Mapping[str, object]) -> Answer:
            view: BlockingView = await in_thread(call_next, _unread(request, changes, client))
            return await own.take(_response_to(request, view, client), view)

        answer = await exchange(inner, asked, send)
        view = own.of(answer)
        if view is not None:
            return view, None
        return None, response_of(answer, client.http_request(request), argo)

    def _asked(
        self, request: APIRequest, client: ClientView, body: Mapping[str, object], sample: str
    ) -> Asked:
        by_itself = _mode(request) == "stream"
        identity = client.identity(request, self._remembered)
        return Asked(
            self._provider,
            body,
            identity if request.stream or not by_itself else identity.evolved("in pieces"),
            request.stream or by_itself,
            client.patience(request),
            self._epoch,
            self._tenant,
            sample,
        )

    async def _pass_on(self, request: APIRequest, call_next: Any) -> Any:
        """Return the response to *request*, which asks for no answer that can be counted."""
        argo, (request, sample) = self._argo, _sampled(request)
        if not isinstance(argo, Argo) or not is_uncounted(argo, request.method, _path(request)):
            return await call_next(request)
        asked = self._asked(request, ClientView.behind(call_next), {}, sample)
        return await pass_on(argo, asked, partial(call_next, request), _status)

    def _blocking_pass_on(self, request: APIRequest, call_next: Any) -> Any:
        argo, (request, sample) = self._argo, _sampled(request)
        if not isinstance(argo, BlockingArgo) or not blocking_is_uncounted(
            argo, request.method, _path(request)
        ):
            return call_next(request)
        asked = self._asked(request, ClientView.behind(call_next, blocking=True), {}, sample)

        async def ask(inner: Argo) -> Any:
            return await pass_on(inner, asked, partial(in_thread, call_next, request), _status)

        return argo.run(ask)


def _status(view: AsyncView | BlockingView) -> int:
    return view.status_code


def _sampled(request: APIRequest) -> tuple[APIRequest, str]:
    """Return *request* without the header for a sample, and the header's value."""
    found = [name for name in request.headers if name.lower() == SAMPLE]
    if not found:
        return request, ""
    headers = dict(request.headers)
    sample = [headers.pop(name) for name in found][-1]
    return request.copy(headers=headers), str(sample)


def _wire(request: APIRequest) -> Wire | None:
    """Return the wire of the answer that *request* asks for, or ``None`` if it asks for none."""
    if request.method.lower() != "post":
        return None
    return wire_of(_path(request))


def _path(request: APIRequest) -> str:
    return request.url.partition("?")[0]


def _body_of(request: APIRequest) -> dict[str, Any] | None:
    """Return the body of a request for a message, or ``None`` if it cannot be read."""
    body: object = request.json
    content: object = request.options.content
    if body is None and isinstance(content, (bytes, str)):
        try:
            body = parse(content.encode() if isinstance(content, str) else content)
        except ValueError:
            return None
    if not isinstance(body, dict) or request.options.files:
        return None
    return {**body, **(request.options.extra_json or {})}


def _unread(request: APIRequest, changes: Mapping[str, object], client: ClientView) -> APIRequest:
    """Return *request* changed so that the SDK does not read the answer's body: we limit it."""
    if changes:
        body = request.json
        changed = {**(body if isinstance(body, dict) else {}), **changes}
        request = request.copy(body=changed)
    if request.stream or _mode(request) == "stream":
        return request
    if not client.known:
        return request.copy(headers={**request.headers, _RAW_RESPONSE: "stream"})
    # Not with a header, since a cloud's signature covers all headers. The SDK's own `copy` would
    # copy the body, too, which stays as it is.
    unread = copy(request)
    unread.stream = True
    return unread


def _response_to(
    request: APIRequest, view: AsyncView | BlockingView, client: ClientView
) -> httpx2.Response:
    """Return the response in *view*, with the header that the caller of *request* has set."""
    response = _response_in(view)
    if not client.known and not request.stream:
        response.request.headers[_RAW_RESPONSE] = _mode(request) or "raw"
    return response


def _response_in(view: AsyncView | BlockingView) -> httpx2.Response:
    return view if isinstance(view, httpx2.Response) else view.http_response


def _mode(request: APIRequest) -> str | None:
    """Return how the caller wants the response: ``raw``, ``stream`` or parsed."""
    mode = request.headers.get(_RAW_RESPONSE)
    return mode if isinstance(mode, str) else None


def _timeout(request: httpx2.Request, error: DeadlineExceeded) -> anthropic.APITimeoutError:
    """Return the SDK's error for *error*, as the SDK makes it of its HTTP client's errors."""
    timeout = anthropic.APITimeoutError(request=request)
    timeout.__cause__ = httpx2.ReadTimeout(str(error), request=request)
    return timeout
