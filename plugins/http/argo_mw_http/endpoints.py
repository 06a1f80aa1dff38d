"""Endpoints: the routes of services, for programs of any language that come through a gateway.

A request to ``/NAME/…`` is one to the service NAME. Only what has a route is passed on, with what
the configuration puts into it, such as a key: a client of the gateway can ask nothing else with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlsplit

from attrs import frozen

from argo_mw.plugin import (
    Context,
    DeadlineExceeded,
    Endpoint,
    Outcome,
    WebCall,
    WebCaller,
    WebRequest,
    WebResponse,
    is_loopback,
    plain_refusal,
)
from argo_mw_http.answers import HOP_BY_HOP, Headers, HttpAnswer
from argo_mw_http.config import ApiTable, HttpConfig, Route
from argo_mw_http.exchange import Arrived, Asked, Served, exchange, why_alone
from argo_mw_http.identity import PORTS, HttpRequest, parameters_in
from argo_mw_http.routes import Match

if TYPE_CHECKING:
    from argo_mw_http.relay import Relay

UNROUTED: Final = "http_unrouted"
"""The name of what a request asks that has no route."""

_NOT_PASSED_ON: Final = HOP_BY_HOP | {"content-length", "expect", "host"}

Spending = Literal["none", "limited", "open"]
Changed = Callable[[HttpRequest, Match[Route]], Awaitable[None]]
"""Puts out of date what a request may have changed, whatever came of it."""


@frozen
class _Own:
    """The response to a request: as it came, and its body where that was read."""

    response: Any
    body: bytes | None


class _Pieces:
    """The body of a response that goes on."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._response.stream:
            yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


class Endpoints:
    """The endpoints of the services that have routes.

    Args:
        config: The routes and services.
        context: The application's context.
        relay: Sends requests.
        changed: Puts out of date what a request may have changed.
    """

    def __init__(
        self, config: HttpConfig, context: Context, relay: Relay, changed: Changed
    ) -> None:
        self._config = config
        self._context = context
        self._relay = relay
        self._changed = changed

    def __iter__(self) -> Iterator[Endpoint]:
        for name, routes in self._config.by_api.items():
            api = self._config.apis.get(name, ApiTable())
            url = api.url or _url_of(routes[0])
            read = partial(self._read, name, url, api)
            yield Endpoint(f"/{name}/*", read, doc=f"the routes of {routes[0].host}")

    async def _read(self, name: str, url: str, api: ApiTable, asked: WebRequest) -> WebCall:
        request = request_to(url, api, asked)
        match = self._config.table.match(request.method, request.host, request.port, request.path)
        if match is None or match.route.upstream != name:
            why = f"{name} has no route for {request.method} {request.path:.200}"
            return WebCall(UNROUTED, partial(_refused, 404, why), spending="none")
        answer = partial(self._answer, request, match)
        # No guard counts in dollars what these requests cost.
        spending: Spending = "open" if match.route.price else "none"
        return WebCall(match.route.operation, answer, spending=spending)

    async def _answer(
        self, request: HttpRequest, match: Match[Route], caller: WebCaller
    ) -> WebResponse:
        alone = why_alone(match.route, request, len(request.body))
        asked = Asked(match, request, alone)

        async def send(conditions: Headers) -> Arrived[_Own]:
            arrived = await self._relay.send(request, conditions, self._config.max_bytes, alone)
            body = arrived.answer.body if isinstance(arrived.answer, HttpAnswer) else None
            return Arrived(arrived.answer, _Own(arrived.own, body), arrived.error)

        said: list[Outcome] = []
        try:
            came = await exchange(caller, self._context.clock, asked, send, _drop, said.append)
        except DeadlineExceeded as error:
            return plain_refusal(504, str(error))
        except Exception as error:
            status = self._relay.status_of(error)
            if status is None:
                raise
            what = f"{type(error).__name__} {error}".strip()
            return plain_refusal(status, f"{match.route.upstream} gave no response: {what}")
        finally:
            await self._changed(request, match)
        return _response_of(came, said[-1] if said else None)


def request_to(url: str, api: ApiTable, asked: WebRequest) -> HttpRequest:
    """Return the request to the service at *url* that *asked* stands for."""
    base = urlsplit(url)
    own = {name.lower(): secret.reveal() for name, secret in api.headers.items()}
    headers = [
        (name, value)
        for name, value in asked.headers
        if name not in _NOT_PASSED_ON and name not in own
    ]
    added = [f"{quote(name)}={quote(one.reveal(), safe='')}" for name, one in api.query.items()]
    given = [raw for name, raw in parameters_in(asked.query) if name not in api.query]
    scheme = base.scheme or "https"
    return HttpRequest(
        asked.method,
        scheme,
        (base.hostname or "").lower(),
        base.port or PORTS.get(scheme, 0),
        f"{base.path.rstrip('/')}/{asked.rest}",
        "&".join([*given, *added]),
        headers=(*headers, *own.items()),
        body=asked.body,
    )


def _url_of(route: Route) -> str:
    return f"{'http' if is_loopback(route.place.host) else 'https'}://{route.host}"


def _response_of(came: _Own | Served, outcome: Outcome | None) -> WebResponse:
    if isinstance(came, Served):
        return WebResponse(came.answer.status, came.answer.headers, came.answer.body, outcome)
    response = came.response
    headers = [
        (name.decode("latin-1"), one.decode("latin-1")) for name, one in response.headers.raw
    ]
    body = _Pieces(response) if came.body is None else came.body
    return WebResponse(response.status_code, headers, body, outcome)


async def _drop(own: _Own) -> None:
    await own.response.aclose()


async def _refused(status: int, why: str, caller: WebCaller) -> WebResponse:
    return plain_refusal(status, why)
