"""The gateway: an ASGI application whose requests go through the chain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from argo_mw.plugin import (
    Argo,
    ArgoError,
    Closed,
    Endpoint,
    Event,
    HostNames,
    Log,
    Reconfigured,
    TimeOrderedIds,
    WebCall,
    WebRefusal,
    WebRequest,
    WebResponse,
    config_of,
    context_of,
    endpoints_of,
    is_cross_site,
    observe,
    observes,
    plain_refusal,
    plugin_of,
    redact,
)
from argo_mw_gateway.asgi import BrokenOff, ClientLeft, Receive, Scope, Send, path_of
from argo_mw_gateway.bodies import BodyReader, Buffers, Refused
from argo_mw_gateway.clients import Client, Door, without_credentials
from argo_mw_gateway.config import GatewayConfig
from argo_mw_gateway.errors import retry_after, status_of
from argo_mw_gateway.headers import fault_of_headers, headers_of, size_of, without_connection
from argo_mw_gateway.keys import Keys, key_file
from argo_mw_gateway.leaving import EndsWithClient
from argo_mw_gateway.replies import Reply, with_header
from argo_mw_gateway.routes import Route, Routes, fault_of_path
from argo_mw_gateway.serving import Serving

HEALTH: Final = "/healthz"
READINESS: Final = "/readyz"
_READS: Final = frozenset(["GET", "HEAD", "OPTIONS"])
_METHODS: Final = _READS | {"POST", "PUT", "PATCH", "DELETE"}
_NO_METHOD: Final = WebRefusal(501, f"the gateway answers {', '.join(sorted(_METHODS))} only")
_NO_CODING: Final = WebRefusal(501, "the gateway takes no transfer-encoding but chunked")
_NO_HOST: Final = WebRefusal(400, "this request of HTTP/1.1 has no Host header")
_DRAINING: Final = WebRefusal(503, "the gateway is about to stop; try another one, or again soon")
_CROSS_SITE: Final = WebRefusal(403, "a page of another site may not send this request")
_LARGE_HEADERS: Final = WebRefusal(431, "the headers of this request are too large")
_MISDIRECTED: Final = WebRefusal(
    421,
    "the name in the Host header is not one of this gateway's; add it to `hosts` in "
    "[plugins.gateway]",
)
_UNAUTHORIZED: Final = 401
_CHALLENGE: Final = (("www-authenticate", "Bearer"),)

log = Log("argo_mw")


@frozen
class _Setting:
    """What all requests share until the chain is rebuilt."""

    config: GatewayConfig
    routes: Routes
    door: Door
    hosts: HostNames
    buffers: Buffers
    serving: Serving


class Gateway:
    """An ASGI application that answers what the endpoints of plugins offer.

    Mount it in an application of your own, or run it with ``argo-mw gateway``. It needs an open
    :class:`~argo_mw.Argo`, and answers with 503 while there is none.

    Args:
        argo: The application. It may be opened later, and must outlive all requests.
        checks_hosts: Whether only requests under the configured names are answered. Switch it off
            where an application around this one does so.

    Attributes:
        in_flight: Requests that are being answered.
    """

    def __init__(self, argo: Argo, *, checks_hosts: bool = True) -> None:
        self._argo = argo
        self._checks_hosts = checks_hosts
        self._ids = TimeOrderedIds()
        self._setting: _Setting | None = None
        self._draining = False
        self._idle = asyncio.Event()
        self.in_flight = 0

        @observes(Reconfigured)
        def reconfigured(_: Event) -> None:
            self._setting = None

        observe(argo, reconfigured)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, by ASGI 3."""
        kind = scope["type"]
        if kind == "http":
            await self._serve(scope, receive, send)
        elif kind == "lifespan":
            await _live(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1003, "reason": "HTTP only"})

    @property
    def is_ready(self) -> bool:
        """Whether it answers requests: the application is open, and the gateway is not draining."""
        return not self._draining and self._current() is not None

    def count_connections(self, number: int) -> None:
        """Report the *number* of connections that the server has open, for monitoring."""
        setting = self._current()
        if setting is not None:
            setting.serving.connections = number

    def refuse_new(self) -> None:
        """Answer new requests with 503 from now on; complete those under way."""
        self._draining = True

    async def drain(self) -> None:
        """Refuse new requests, and wait until those under way have ended."""
        self.refuse_new()
        while self.in_flight:
            self._idle.clear()
            await self._idle.wait()

    @property
    def routes(self) -> Routes:
        """The endpoints that it answers now.

        Raises:
            Closed: The application is not open.
        """
        setting = self._current()
        if setting is None:
            msg = "the gateway has no routes before its application is open"
            raise Closed(msg)
        return setting.routes

    def _current(self) -> _Setting | None:
        try:
            context_of(self._argo)
            if self._setting is None:
                self._setting = self._set_up()
        except Closed:
            self._setting = None
        return self._setting

    def _set_up(self) -> _Setting:
        context = context_of(self._argo)
        config = config_of(self._argo, GatewayConfig)
        clock, file = context.clock, key_file(config, context.state_dir)
        return _Setting(
            config,
            Routes(endpoints_of(self._argo)),
            Door(config.clients, Keys(file, clock.monotonic, clock.time)),
            config.names,
            Buffers(config.max_buffered_bytes),
            plugin_of(self._argo, Serving),
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        setting = self._current()
        config = GatewayConfig() if setting is None else setting.config
        request_id = self._ids.text(self._ids())
        reply = Reply(send, scope["method"], request_id, config.write_timeout)
        serving = Serving() if setting is None else setting.serving
        self.in_flight += 1
        serving.in_flight += 1
        try:
            await _Exchange(self, setting, scope, receive, reply, request_id).run()
        except ClientLeft:
            reply.status = 0
        finally:
            self.in_flight -= 1
            serving.in_flight -= 1
            serving.answered[reply.status] += 1
            if not self.in_flight:
                self._idle.set()


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        gateway: Gateway,
        setting: _Setting | None,
        scope: Scope,
        receive: Receive,
        reply: Reply,
        request_id: str,
    ) -> None:
        self._gateway = gateway
        self._setting = setting
        self._method: str = scope["method"].upper()
        self._version: str = scope.get("http_version", "1.1")
        self._path = path_of(scope)
        self._query: str = scope.get("query_string", b"").decode("latin-1")
        self._headers = headers_of(scope)
        self._known = dict(self._headers)
        self._receive = receive
        self._reply = reply
        self._request_id = request_id
        self._endpoint: Endpoint | None = None

    async def run(self) -> None:
        """Answer the request.

        Raises:
            ClientLeft: The client has left.
            BrokenOff: The answer broke off.
        """
        if self._path in (HEALTH, READINESS):
            await self._tell_health()
            return
        setting = self._setting
        if setting is None:
            await self._refuse(WebRefusal(503, "the gateway is not open yet"), close=True)
            return
        body = BodyReader(self._receive, self._known, setting.config, setting.buffers)
        try:
            route, client = self._admitted(setting)
            request = self._request(route, client, await body.read())
            await self._answer(route, client, request)
        except Refused as refused:
            await body.discard()
            await self._refuse(refused.refusal, refused.headers, close=not body.done)
        finally:
            body.close()

    def _admitted(self, setting: _Setting) -> tuple[Route, Client]:
        """Return the route of the request, and the client that sends it.

        Raises:
            Refused: The request is not to be answered.
        """
        if refusal := self._unfit(setting):
            raise Refused(refusal)
        route = setting.routes.find(self._method, self._path)
        if isinstance(route, Route):
            self._endpoint = route.endpoint
        client = setting.door.client(self._known)
        if isinstance(client, WebRefusal):
            raise Refused(client, _CHALLENGE if client.status == _UNAUTHORIZED else ())
        if not isinstance(route, Route):
            raise _nothing_there(route)
        return route, client

    def _unfit(self, setting: _Setting) -> WebRefusal | None:
        """Return why the request is refused whatever its client and route, or ``None``."""
        if self._gateway._draining:
            return _DRAINING
        if fault := fault_of_headers(self._headers) or fault_of_path(self._path):
            return WebRefusal(400, f"this request is ambiguous: {fault}")
        if self._gateway._checks_hosts and (refusal := self._misdirected(setting.hosts)):
            return refusal
        if self._method not in _READS and is_cross_site(self._known):
            return _CROSS_SITE
        if self._method not in _METHODS:
            return _NO_METHOD
        if self._known.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            return _NO_CODING
        size = size_of(self._headers) + len(self._path) + len(self._query)
        return _LARGE_HEADERS if size > setting.config.max_header_bytes else None

    def _misdirected(self, hosts: HostNames) -> WebRefusal | None:
        host = self._known.get("host")
        if host is None and self._version == "1.0":
            return None  # HTTP/1.0 has no Host header, and no browser sends it
        if host is None and self._version == "1.1":
            return _NO_HOST
        return None if hosts.includes(host) else _MISDIRECTED

    def _request(self, route: Route, client: Client, body: bytes) -> WebRequest:
        return WebRequest(
            self._method,
            self._path,
            route.rest,
            self._query,
            without_credentials(without_connection(self._headers), client),
            body,
        )

    async def _answer(self, route: Route, client: Client, request: WebRequest) -> None:
        try:
            async with EndsWithClient(self._receive):
                response = await self._asked(route, client, request)
                await self._reply.send(response, self._now())
        except ArgoError as error:
            await self._fail(status_of(error), str(error), error)
        except (ClientLeft, BrokenOff, Refused):
            raise
        except Exception:
            log.exception("a request failed", request=self._request_id, path=self._path)
            what = f"an error of the gateway; see request {self._request_id} in its log"
            await self._fail(500, what)

    async def _asked(self, route: Route, client: Client, request: WebRequest) -> WebResponse:
        call: WebCall = await route.endpoint.read(request)
        refusal = client.refusal(call)
        if refusal is not None:
            raise Refused(refusal)
        return await call.answer(client.caller(self._gateway._argo))

    async def _fail(self, status: int, message: str, error: ArgoError | None = None) -> None:
        if self._reply.status:
            raise BrokenOff from error
        response = self._shaped(status, message)
        seconds = None if error is None else retry_after(error, self._now())
        if seconds is not None:
            headers = with_header(response, "retry-after", str(seconds))
            response = WebResponse(response.status, headers, response.body)
        await self._reply.send(response, self._now())

    async def _refuse(
        self, refusal: WebRefusal, headers: Sequence[tuple[str, str]] = (), *, close: bool
    ) -> None:
        response = self._shaped(refusal.status, refusal.reason)
        if headers:
            named = (*response.headers, *headers)
            response = WebResponse(response.status, named, response.body)
        await self._reply.send(response, self._now(), close=close)

    def _shaped(self, status: int, message: str) -> WebResponse:
        shape = plain_refusal if self._endpoint is None else self._endpoint.refuse
        return shape(status, redact(message))

    def _now(self) -> float:
        try:
            return context_of(self._gateway._argo).clock.time()
        except Closed:
            return 0.0

    async def _tell_health(self) -> None:
        """Say whether the process lives, or whether it takes requests."""
        well = self._path == HEALTH or self._gateway.is_ready
        body = json.dumps({"status": "ok" if well else "not ready"}).encode()
        headers = (("content-type", "application/json"), ("cache-control", "no-store"))
        await self._reply.send(WebResponse(200 if well else 503, headers, body), self._now())


def _nothing_there(allowed: Sequence[str]) -> Refused:
    if allowed:
        methods = ", ".join(allowed)
        return Refused(WebRefusal(405, f"this path takes {methods} only"), [("allow", methods)])
    what = "nothing is at this path; `argo-mw gateway routes` lists what is"
    return Refused(WebRefusal(404, what))


async def _live(receive: Receive, send: Send) -> None:
    """Acknowledge the server's lifespan events, which neither open nor close the application."""
    while True:
        kind: str = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
