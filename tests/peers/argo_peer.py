"""A plugin of pytest that puts something between the clients of an SDK's own suite and the network.

``ARGO_PEER`` says what: ``bare`` nothing at all, ``nothing`` a middleware that passes everything on,
``llm`` the chain with the plugin llm, ``all`` the chain with llm, coalesce and cache. Every test has a
tenant of its own, so that none is served the answer of another.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

MODE = os.environ.get("ARGO_PEER", "bare")
SDK = os.environ.get("ARGO_PEER_SDK", "")
OUTCOMES = os.environ.get("ARGO_PEER_OUTCOMES", "")

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
    return {
        "argo": {"shared": "memory://", "strict": True},
        "upstreams": dict.fromkeys(("claude", "openai"), plenty),
    }


def _plugins() -> dict[str, object]:
    from argo_mw_llm import LlmPlugin

    plugins: dict[str, object] = {"llm": LlmPlugin()}
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


# -- OpenAI's SDK ------------------------------------------------------------------------------


class _Between(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if MODE == "nothing":
            return self.inner.handle_request(request)
        from argo_mw_llm import transport

        chained = transport(_blocking_argo(), "openai", inner=self.inner, tenant=_now["test"])
        return chained.handle_request(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if MODE == "nothing" or not _on_asyncio():
            return await self.inner.handle_async_request(request)
        from argo_mw_llm import transport

        argo = await _argo()
        chained = transport(argo, "openai", inner=self.inner, tenant=_now["test"])
        return await chained.handle_async_request(request)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()


def _openai() -> None:
    from openai import _base_client

    for kind in (_base_client.SyncAPIClient, _base_client.AsyncAPIClient):
        _wrap_transports(kind)


def _wrap_transports(kind: Any) -> None:
    original = kind.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        client = self._client
        if not isinstance(client, (httpx2.Client, httpx2.AsyncClient)):
            return
        client._transport = _wrapped(client._transport)
        client._mounts = {pattern: _wrapped(one) for pattern, one in client._mounts.items()}

    kind.__init__ = __init__


def _wrapped(transport: Any) -> Any:
    known = (httpx2.BaseTransport, httpx2.AsyncBaseTransport)
    if isinstance(transport, _Between) or not isinstance(transport, known):
        return transport
    return _Between(transport)


if MODE != "bare":
    os.environ["ARGO_MW_STATE_DIR"] = tempfile.mkdtemp(prefix="argo-peer-")
    sys.dont_write_bytecode = True
    {"anthropic": _anthropic, "openai": _openai}[SDK]()
