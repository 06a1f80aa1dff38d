"""Services behind transports of both libraries, and applications with routes to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import httpx
import httpx2
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo, BlockingArgo
from argo_mw.testing import FakeClock
from argo_mw_cache.plugin import CachePlugin
from argo_mw_http import HttpPlugin

HOST = "api.example.com"
BARS = {
    "host": HOST,
    "path": "/v2/stocks/{symbol}/bars",
    "name": "bars_of",
    "api": "example",
    "subject": "symbol",
}
URL = f"https://{HOST}/v2/stocks/AAPL/bars"
LAYERS: Mapping[str, object] = {"cache": CachePlugin, "coalesce": coalesce}


def config(*routes: Mapping[str, object], **more: object) -> dict[str, Any]:
    """Return settings with *routes*, by default those of bars."""
    return {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"http": {"routes": list(routes or [BARS]), **more}},
    }


class OpenArgo(Protocol):
    """Opens an application with routes."""

    def __call__(
        self,
        *routes: Mapping[str, object],
        layers: Mapping[str, object] = LAYERS,
        tables: Mapping[str, object] | None = None,
        clock: FakeClock | None = None,
        **more: object,
    ) -> AbstractAsyncContextManager[Argo]: ...


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


@pytest.fixture
def plugin() -> HttpPlugin:
    """The plugin of the application."""
    return HttpPlugin()


@pytest.fixture
def open_argo(plugin: HttpPlugin) -> OpenArgo:
    """Opens applications with routes."""

    def opened(
        *routes: Mapping[str, object],
        layers: Mapping[str, object] = LAYERS,
        tables: Mapping[str, object] | None = None,
        clock: FakeClock | None = None,
        **more: object,
    ) -> AbstractAsyncContextManager[Argo]:
        settings = config(*routes, **more)
        for name, table in (tables or {}).items():
            settings.setdefault(name, {}).update(table)
        plugins = {"http": plugin, **layers}
        return Argo.open(settings, plugins=plugins, installed=False, clock=clock)

    return opened


@pytest.fixture
def blocking() -> Iterator[Callable[..., BlockingArgo]]:
    """Opens applications for synchronous clients."""
    opened: list[BlockingArgo] = []

    def open_one(*routes: Mapping[str, object], **more: object) -> BlockingArgo:
        plugins = {"http": HttpPlugin, **LAYERS}
        argo = BlockingArgo(config(*routes, **more), plugins=plugins, installed=False)
        opened.append(argo.__enter__())
        return argo

    yield open_one
    for argo in opened:
        argo.__exit__(None, None, None)


class Pieces(
    httpx2.AsyncByteStream, httpx2.SyncByteStream, httpx.AsyncByteStream, httpx.SyncByteStream
):  # type: ignore[misc]
    """A body that comes in pieces, and may break off or hang after them."""

    def __init__(self, *pieces: bytes, then: Exception | asyncio.Event | None = None) -> None:
        self._pieces = pieces
        self._then = then
        self.given = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.given += 1
            yield piece
        if isinstance(self._then, Exception):
            raise self._then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece
        if isinstance(self._then, asyncio.Event):
            await self._then.wait()

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


Answer = Callable[[Any], tuple[int, Any, Pieces]]


def whole(
    body: bytes = b'{"bars":[1]}',
    status: int = 200,
    headers: Any = (),
    kind: str = "application/json",
) -> tuple[int, Any, Pieces]:
    """Return a response with *body*."""
    return status, {"content-type": kind, **dict(headers)}, Pieces(body)


class Service(
    httpx2.AsyncBaseTransport, httpx2.BaseTransport, httpx.AsyncBaseTransport, httpx.BaseTransport
):
    """A service behind a transport of either library, and *answer*, which decides what it sends."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.asked: list[Any] = []
        self.answer: Answer = answer or (lambda _: whole())
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.bodies: list[Pieces] = []

    async def handle_async_request(self, request: Any) -> Any:
        self.asked.append(request)
        self.arrived.set()
        seconds = request.extensions.get("timeout", {}).get("read")
        try:
            await asyncio.wait_for(self.go.wait(), seconds)
        except TimeoutError:
            raise _library(request).ReadTimeout("nothing came", request=request) from None
        return self._made(request)

    def handle_request(self, request: Any) -> Any:
        self.asked.append(request)
        self.may_go_on.wait()
        return self._made(request)

    def _made(self, request: Any) -> Any:
        status, headers, body = self.answer(request)
        self.bodies.append(body)
        return _library(request).Response(status, headers=headers, stream=body)

    @property
    def times(self) -> int:
        """How often it was asked."""
        return len(self.asked)


def _library(request: Any) -> ModuleType:
    return httpx2 if isinstance(request, httpx2.Request) else httpx
