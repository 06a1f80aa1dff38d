"""Doors: transports that send requests through the chain, for each library."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeVar

from attrs import evolve

from argo_mw import BlockingArgo
from argo_mw.plugin import (
    Argo,
    DeadlineExceeded,
    Refusal,
    UnknownOperation,
    context_of,
    plugin_of,
)
from argo_mw_http.answers import Headers
from argo_mw_http.config import Route
from argo_mw_http.exchange import Arrived, Asked, Served, exchange, why_alone
from argo_mw_http.identity import HttpRequest
from argo_mw_http.libraries import Library
from argo_mw_http.plugin import HttpPlugin
from argo_mw_http.routes import Match

T = TypeVar("T")

_MAX_THREADS: Final = 10_000
"""More threads than a process has callers of synchronous clients, each of which has a thread
anyway."""

_senders = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="argo-mw:http")
# The loop's own executor has four threads more than cores, for which all others would wait.


class Door:
    """A transport that sends requests of routes through the chain, and everything else straight on.

    Args:
        argo: The application.
        library: The library of its requests.
        inner: The transport that sends.
        tenant: The tenant of the calls, or ``None`` for the application's.
    """

    def __init__(self, argo: Argo, library: Library, inner: Any, tenant: str | None) -> None:
        self._argo = argo
        self._library = library
        self._inner = inner
        self._tenant = tenant
        self._plugin: HttpPlugin | None = None

    async def handle_async_request(self, request: Any) -> Any:
        """Return the response to *request*."""
        context = context_of(self._argo)
        plugin = self._plugin = self._plugin or plugin_of(self._argo, HttpPlugin)
        read = self._library.read(request)
        match = plugin.match(read)
        tags = plugin.changed_by(read, match)
        try:
            if match is not None:
                return await self._routed(request, read, match, plugin.config.max_bytes)
            return await self._inner.handle_async_request(request)
        finally:
            if tags:  # in any case: a change may have been made though no response arrives
                await context.invalidate(tags)

    async def _routed(self, request: Any, read: HttpRequest, match: Match[Route], most: int) -> Any:
        argo, library = self._argo, self._library
        clock = context_of(argo).clock
        asked = _asked(match, read, library, request)
        if not asked.alone and library.length_of(request):
            asked = _with_body(asked, await request.aread())

        async def send(conditions: Headers) -> Arrived[Any]:
            sent = library.with_conditions(request, conditions)
            response = await self._inner.handle_async_request(sent)
            return await library.take(request, response, most, asked.alone)

        try:
            came = await exchange(argo.options(tenant=self._tenant), clock, asked, send, _drop)
        except Refusal as error:
            return library.refused(error, clock.time())
        except DeadlineExceeded as error:
            raise library.too_late(error, request) from error
        except UnknownOperation:  # the routes have just changed
            return await self._inner.handle_async_request(request)
        if isinstance(came, Served):
            return library.response(came, read.method, clock.time())
        return came

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()


class BlockingDoor:
    """Does what :class:`Door` does, for synchronous clients."""

    def __init__(
        self, argo: BlockingArgo, library: Library, inner: Any, tenant: str | None
    ) -> None:
        self._argo = argo
        self._library = library
        self._inner = inner
        self._tenant = tenant
        self._plugin: HttpPlugin | None = None

    def handle_request(self, request: Any) -> Any:
        """Return the response to *request*."""
        library = self._library
        if self._plugin is None:
            self._plugin = self._argo.run(_plugin_of)
        read = library.read(request)
        match = self._plugin.match(read)
        tags = self._plugin.changed_by(read, match)
        try:
            if match is not None:
                return self._routed(request, read, match, self._plugin.config.max_bytes)
            return self._inner.handle_request(request)
        finally:
            if tags:
                self._argo.invalidate(*tags)

    def _routed(self, request: Any, read: HttpRequest, match: Match[Route], most: int) -> Any:
        library = self._library
        asked = _asked(match, read, library, request)
        if not asked.alone and library.length_of(request):
            asked = _with_body(asked, request.read())
        try:
            return self._argo.run(partial(self._ask, request=request, asked=asked, limit=most))
        except DeadlineExceeded as error:
            raise library.too_late(error, request) from error
        except UnknownOperation:
            return self._inner.handle_request(request)

    def close(self) -> None:
        """Close what sends."""
        self._inner.close()

    async def _ask(self, argo: Argo, *, request: Any, asked: Asked, limit: int) -> Any:
        library, clock = self._library, context_of(argo).clock

        def sent(conditions: Headers) -> Arrived[Any]:
            response = self._inner.handle_request(library.with_conditions(request, conditions))
            return library.take_blocking(request, response, limit, asked.alone)

        async def send(conditions: Headers) -> Arrived[Any]:
            return await _in_thread(partial(sent, conditions), lambda late: late.own.close())

        async def drop(response: Any) -> None:
            with contextlib.suppress(Exception):
                await _in_thread(response.close, lambda _: None)

        caller = argo.options(tenant=self._tenant)
        try:
            came = await exchange(caller, clock, asked, send, drop)
        except Refusal as error:
            return library.refused(error, clock.time())
        if isinstance(came, Served):
            return library.response(came, asked.request.method, clock.time())
        return came


class Transports:
    """Makes transports of one library, which are doors with the library's own classes as bases.

    Args:
        module: The library.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._library = Library(module)
        self._asynchronous: Any = type("Transport", (Door, module.AsyncBaseTransport), {})
        self._blocking: Any = type("BlockingTransport", (BlockingDoor, module.BaseTransport), {})

    def between(self, argo: Argo | BlockingArgo, inner: Any, tenant: str | None) -> Any:
        """Return a transport with the chain of *argo* in front of *inner*, or of the library's own.

        Raises:
            TypeError: *argo* and *inner* are not both synchronous or both asynchronous, or *inner*
                is of another library.
        """
        module, name = self._module, self._library.name
        # Some transports serve clients of both kinds.
        if isinstance(argo, BlockingArgo):
            inner = module.HTTPTransport() if inner is None else inner
            if not isinstance(inner, module.BaseTransport):
                msg = f"inner is not a {name}.BaseTransport; a client with a BlockingArgo needs one"
                raise TypeError(msg)
            return self._blocking(argo, self._library, inner, tenant)
        inner = module.AsyncHTTPTransport() if inner is None else inner
        if not isinstance(inner, module.AsyncBaseTransport):
            msg = f"inner is not a {name}.AsyncBaseTransport, which an asynchronous client needs"
            raise TypeError(msg)
        return self._asynchronous(argo, self._library, inner, tenant)


def _asked(match: Match[Route], read: HttpRequest, library: Library, request: Any) -> Asked:
    alone = why_alone(match.route, read, library.length_of(request))
    return Asked(match, read, alone, library.patience_of(request))


def _with_body(asked: Asked, body: bytes) -> Asked:
    return evolve(asked, request=evolve(asked.request, body=body))


async def _drop(response: Any) -> None:
    with contextlib.suppress(Exception):
        await response.aclose()


async def _plugin_of(argo: Argo) -> HttpPlugin:
    context_of(argo)  # raises where the application is not open
    return plugin_of(argo, HttpPlugin)


async def _in_thread(function: Callable[[], T], late: Callable[[T], object]) -> T:
    """Run *function*, which waits for the network, in a thread of its own, and return its result.

    A thread cannot be interrupted: what it returns after its caller has left is given to *late*.
    """
    context = contextvars.copy_context()
    sending = _senders.submit(context.run, function)
    try:
        return await asyncio.wrap_future(sending)
    except asyncio.CancelledError:
        sending.add_done_callback(partial(_late, late))
        raise


def _late(late: Callable[[T], object], sent: Future[T]) -> None:
    if not sent.cancelled() and sent.exception() is None:
        late(sent.result())
