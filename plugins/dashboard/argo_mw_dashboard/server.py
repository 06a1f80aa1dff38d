"""The web application: the page, what it shows, and what a person does in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import Final

import msgspec
from attrs import frozen
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from argo_mw.plugin import ArgoError, Context, CountersOf, WebGuard
from argo_mw_dashboard.feed import Feed

_PAGE: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MAX_BODY: Final = 16_384


@frozen
class _Press:
    """What a person does: *button* of *panel*, for the line with *key*."""

    panel: str
    button: str
    key: str


class Site:
    """Answers the requests of pages.

    Args:
        context: The services of an application that has the configuration of what is shown.
        guard: Refuses requests.
        of: What is shown unless a page asks for less.
    """

    def __init__(self, context: Context, guard: WebGuard, of: CountersOf = "fleet") -> None:
        self._context = context
        self._of: CountersOf = of
        self._feeds: dict[str, Feed] = {}
        self._presses = context.overview(of)
        routes = [Route(path, _page(*page)) for path, page in _PAGE.items()]
        routes += [
            Route("/api/live", self._live),
            Route("/api/snapshot", self._snapshot),
            Route("/api/press", self._press, methods=["POST"]),
        ]
        self.app: ASGIApp = _Guarded(Starlette(routes=routes), guard)

    @property
    def viewers(self) -> int:
        """How many pages look."""
        return sum(feed.viewers for feed in self._feeds.values())

    def close(self) -> None:
        """End what pages are sent."""
        for feed in self._feeds.values():
            feed.close()

    async def _live(self, request: Request) -> Response:
        feed = self._feed(request.query_params.get("instance", ""))
        return StreamingResponse(feed.events(), media_type="text/event-stream")

    async def _snapshot(self, request: Request) -> Response:
        instance = request.query_params.get("instance", "")
        feed = self._feeds.get(instance)
        read = self._context.overview(self._of, instance).read if feed is None else feed.read
        try:
            now = await read()
        except ArgoError as error:  # such as: the program is still starting
            return _refused(503, str(error))
        return Response(msgspec.json.encode(now), media_type="application/json")

    async def _press(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                return _refused(413, "that is too long")
        try:
            press = msgspec.json.decode(body, type=_Press)
        except msgspec.DecodeError as error:
            return _refused(400, f"that is not a request of this page: {error}")
        try:
            done = await self._presses.press(press.panel, press.button, press.key)
        except ArgoError as error:
            return _refused(409, str(error))
        return JSONResponse({"done": done})

    def _feed(self, instance: str) -> Feed:
        feed = self._feeds.get(instance)
        if feed is None:
            context = self._context
            read = context.overview(self._of, instance).read
            feed = Feed(read, context.clock, context.tasks, partial(self._forget, instance))
            self._feeds[instance] = feed
        return feed

    def _forget(self, instance: str) -> None:
        self._feeds.pop(instance, None)


class _Guarded:
    """Lets the guard look at each request first, and has browsers keep to the page's own files."""

    def __init__(self, app: ASGIApp, guard: WebGuard) -> None:
        self._app = app
        self._guard = guard
        self._guard_of_page = _reading_freely(guard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        # The page itself holds nothing that is secret, and has to come before the token does.
        guard = self._guard_of_page if scope["path"] in _PAGE else self._guard
        refusal = guard.refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await _refused(refusal.status, refusal.reason)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def _reading_freely(guard: WebGuard) -> WebGuard:
    return WebGuard(guard.token, guard.hosts, reads_freely=True)


def _page(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files("argo_mw_dashboard") / "page" / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"why": why}, status_code=status)
