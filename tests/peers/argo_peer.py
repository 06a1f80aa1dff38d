"""A plugin of pytest that puts something between the clients of an SDK's own suite and the network.

``ARGO_PEER`` says what: ``bare`` nothing at all, ``nothing`` a middleware that passes everything on,
``plugin`` the chain with the plugin llm or http alone, ``all`` the chain with coalesce and cache besides;
in other modes, nothing is between that their base URL does not lead to.
Every test has a tenant of its own, so that none is served the answer of another.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

MODE = os.environ.get("ARGO_PEER", "bare")
SDK = os.environ.get("ARGO_PEER_SDK", "")
OUTCOMES = os.environ.get("ARGO_PEER_OUTCOMES", "")
COINGECKO = "coingecko_sdk"

_now = {"test": "none"}
_blocking: list[Any] = []
_asynchronous: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = {}


# -- what happened -----------------------------------------------------------------------------


_outcomes: dict[str, str] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the test a tenant."""
    _now["test"] = item.nodeid


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a test went: the worst of its phases."""
    if report.failed or report.when == "call" or report.nodeid not in _outcomes:
        _outcomes[report.nodeid] = "failed" if report.failed else report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down how all tests went, and close the applications."""
    if OUTCOMES and not hasattr(session.config, "workerinput"):
        lines = [f"{outcome} {test}" for test, outcome in sorted(_outcomes.items())]
        Path(OUTCOMES).write_text("\n".join(lines) + "\n", "utf-8")
    for argo in _blocking:
        argo.__exit__(None, None, None)


# -- the applications --------------------------------------------------------------------------


def _settings() -> dict[str, object]:
    plenty = {"per_minute": 10_000_000, "concurrency": 100_000}
    settings: dict[str, object] = {"argo": {"shared": "memory://", "strict": True}}
    if SDK == COINGECKO:
        routes = [
            {"host": "127.0.0.1", "path": "/{rest:path}", "method": method}
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        ]
        return {**settings, "plugins": {"http": {"routes": routes}}}
    return {**settings, "upstreams": dict.fromkeys(("claude", "openai"), plenty)}


def _plugins() -> dict[str, object]:
    plugins: dict[str, object] = {}
    if SDK == COINGECKO:
        from argo_mw_http import HttpPlugin

        plugins["http"] = HttpPlugin
    else:
        from argo_mw_llm import LlmPlugin

        plugins["llm"] = LlmPlugin()
    if MODE == "all":
        import argo_mw_coalesce.plugin as coalesce
        from argo_mw_cache.plugin import CachePlugin

        plugins |= {"cache": CachePlugin, "coalesce": coalesce}
    return plugins


def _blocking_argo() -> Any:
    from argo_mw import BlockingArgo

    if not _blocking:
        argo = BlockingArgo(_settings(), plugins=_plugins(), installed=False)
        argo.__enter__()
        _blocking.append(argo)
    return _blocking[0]


async def _argo() -> Any:
    """Return the application of the running loop, which ends with that."""
    from argo_mw import Argo

    loop = asyncio.get_running_loop()
    if loop not in _asynchronous:
        argo = Argo.open(_settings(), plugins=_plugins(), installed=False)
        _asynchronous[loop] = loop.create_task(argo.__aenter__())
    return await asyncio.shield(_asynchronous[loop])


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# -- Anthropic's SDK ---------------------------------------------------------------------------


def _anthropic() -> None:
    import anthropic
    from anthropic import _base_client

    class Between(anthropic.Middleware):
        def handle(self, request: Any, call_next: Any) -> Any:
            if MODE == "nothing":
                return call_next(request)
            from argo_mw_llm import chain

            return chain(_blocking_argo(), tenant=_now["test"]).handle(request, call_next)

        async def handle_async(self, request: Any, call_next: Any) -> Any:
            if MODE == "nothing" or not _on_asyncio():
                return await call_next(request)
            from argo_mw_llm import chain

            argo = await _argo()
            return await chain(argo, tenant=_now["test"]).handle_async(request, call_next)

    between = Between()
    for kind in (_base_client.SyncAPIClient, _base_client.AsyncAPIClient):
        _add_middleware(kind, between)


def _add_middleware(kind: Any, between: object) -> None:
    original = kind.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        given = options.get("middleware") or ()
        given = tuple(one for one in given if one is not between)
        original(self, *arguments, **{**options, "middleware": (*given, between)})

    kind.__init__ = __init__


# -- SDKs whose client takes a transport ---------------------------------------------------------


class _Between:
    """What stands between a client and its transport; a base of it is the library's own."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def handle_request(self, request: Any) -> Any:
        if MODE == "nothing":
            return self.inner.handle_request(request)
        return _chained(_blocking_argo(), self.inner).handle_request(request)

    async def handle_async_request(self, request: Any) -> Any:
        if MODE == "nothing" or not _on_asyncio():
            return await self.inner.handle_async_request(request)
        return await _chained(await _argo(), self.inner).handle_async_request(request)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()


def _chained(argo: Any, inner: Any) -> Any:
    """Return *inner* with the chain in front of it."""
    if SDK == COINGECKO:
        from argo_mw_http import httpx_transport

        return httpx_transport(argo, inner=inner, tenant=_now["test"])
    from argo_mw_llm import transport

    return transport(argo, "openai", inner=inner, tenant=_now["test"])


def _openai() -> None:
    import httpx2
    from openai import _base_client

    _wrap_transports(httpx2, _base_client)


def _coingecko() -> None:
    import httpx
    from coingecko_sdk import _base_client

    _wrap_transports(httpx, _base_client)


def _wrap_transports(library: Any, base_client: Any) -> None:
    """Put something between all clients of an SDK, built on *library*, and their transports."""
    between = type("Between", (_Between, library.BaseTransport, library.AsyncBaseTransport), {})

    def wrapped(transport: Any) -> Any:
        known = (library.BaseTransport, library.AsyncBaseTransport)
        if isinstance(transport, between) or not isinstance(transport, known):
            return transport
        return between(transport)

    def wrap(kind: Any) -> None:
        original = kind.__init__

        def __init__(self: Any, *arguments: Any, **options: Any) -> None:
            original(self, *arguments, **options)
            client = self._client
            if not isinstance(client, (library.Client, library.AsyncClient)):
                return
            client._transport = wrapped(client._transport)
            client._mounts = {pattern: wrapped(one) for pattern, one in client._mounts.items()}

        kind.__init__ = __init__

    for kind in (base_client.SyncAPIClient, base_client.AsyncAPIClient):
        wrap(kind)


if MODE in ("nothing", "plugin", "all"):
    os.environ["ARGO_MW_STATE_DIR"] = tempfile.mkdtemp(prefix="argo-peer-")
    sys.dont_write_bytecode = True
    {"anthropic": _anthropic, "openai": _openai, COINGECKO: _coingecko}[SDK]()
