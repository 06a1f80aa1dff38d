"""A sandbox of the providers, and a gateway before it that listens on a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import httpx2
import pytest
import trustme
from attrs import evolve, frozen

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo
from argo_mw.plugin import Charge, RequestSettled, context_of, observe, observes
from argo_mw_cache.plugin import CachePlugin
from argo_mw_gateway import Gateway, GatewayConfig, GatewayPlugin
from argo_mw_gateway.keys import KEYS, ClientKey, KeyFile, make_key
from argo_mw_gateway.server import serve
from argo_mw_llm import LlmPlugin
from argo_mw_sandbox import Sandbox, SandboxConfig

PROVIDERS = ("claude", "glm", "deepseek", "qwen", "openai")
VENDOR_KEY = "sk-vendor-0123456789abcdef"
MESSAGE: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "RSI 30, price 10?"}],
}
CHAT: dict[str, Any] = {
    "model": "deepseek-v4-pro",
    "messages": [{"role": "user", "content": "RSI 30, price 10?"}],
}


@frozen
class Running:
    """A gateway that listens.

    Attributes:
        url: Where it listens.
        argo: Its application.
        gateway: Itself.
        charges: What its requests cost.
        stop: Stops it, as a signal does, and returns when it has ended.
    """

    url: str
    argo: Argo
    gateway: Gateway
    charges: list[Charge]
    stop: Callable[[], Any]
    folder: Path

    def key(self, name: str = "tests", **more: Any) -> str:
        """Return a new key of a client."""
        return new_key(self.folder, name, **more)

    def client(self, key: str | None = None, **more: Any) -> httpx2.AsyncClient:
        """Return a plain client that presents *key*, by default a new one."""
        headers = {"authorization": f"Bearer {self.key() if key is None else key}"}
        return httpx2.AsyncClient(
            base_url=self.url, headers={} if key == "" else headers, timeout=20, **more
        )


class Start(Protocol):
    """Starts a gateway before the sandbox."""

    def __call__(
        self,
        *,
        plugins: Mapping[str, object] | None = None,
        llm: Mapping[str, object] | None = None,
        tables: Mapping[str, object] | None = None,
        providers: Mapping[str, Mapping[str, object]] | None = None,
        bounds: Callable[[GatewayConfig], GatewayConfig] | None = None,
        **gateway: object,
    ) -> AbstractAsyncContextManager[Running]: ...


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority that is not trusted anywhere."""
    path = tmp_path_factory.mktemp("certificate") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path
) -> None:
    for name in ("ANTHROPIC", "ZAI", "ZHIPUAI", "DEEPSEEK", "DASHSCOPE", "OPENAI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox."""
    async with Sandbox(SandboxConfig()) as running:
        yield running


def new_key(folder: Path, name: str, **more: Any) -> str:
    """Write a new key of a client into *folder*, and return it."""
    template = ClientKey(id="", name=name, digest="", created=time.time(), unread=True)
    key, kept = make_key(evolve(template, **more))
    KeyFile(folder / KEYS).change(lambda known: [*known.values(), kept])
    return key


@pytest.fixture
def start(sandbox: Sandbox, tmp_path: Path) -> Start:
    """Starts gateways before the sandbox."""

    @asynccontextmanager
    async def started(
        *,
        plugins: Mapping[str, object] | None = None,
        llm: Mapping[str, object] | None = None,
        tables: Mapping[str, object] | None = None,
        providers: Mapping[str, Mapping[str, object]] | None = None,
        bounds: Callable[[GatewayConfig], GatewayConfig] | None = None,
        **gateway: object,
    ) -> AsyncIterator[Running]:
        known = {name: {"url": sandbox.url(name), "key": VENDOR_KEY} for name in PROVIDERS}
        for name, table in (providers or {}).items():
            known[name] = {**known.get(name, {}), **cast("Any", table)}
        table = {n: str(v) if isinstance(v, Path) else v for n, v in gateway.items()}
        config = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {
                "llm": {"providers": known, **(llm or {})},
                "gateway": table,
                **(tables or {}),
            },
            "upstreams": {
                name: {"per_minute": 1_000_000} for name in (*known, "openai_embeddings")
            },
        }
        own = {
            "cache": CachePlugin,
            "coalesce": coalesce,
            "llm": LlmPlugin,
            "gateway": GatewayPlugin,
            **(plugins or {}),
        }
        given = {name: one for name, one in own.items() if one is not None}
        async with Argo.open(config, plugins=given, installed=False) as argo:
            charges: list[Charge] = []

            @observes(RequestSettled)
            def settled(event: RequestSettled) -> None:
                charges.extend(event.charges)

            observe(argo, settled)
            async with _serving(Gateway(argo), bounds, gateway) as (url, app, stop):
                yield Running(url, argo, app, charges, stop, context_of(argo).state_dir)

    return started


@asynccontextmanager
async def _serving(
    gateway: Gateway,
    bounds: Callable[[GatewayConfig], GatewayConfig] | None,
    table: Mapping[str, object],
) -> AsyncIterator[tuple[str, Gateway, Callable[[], Any]]]:
    config = GatewayConfig(port=0, **cast("Any", table))
    config = bounds(config) if bounds else config
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(gateway, config, listening.set_result))

    async def stop() -> None:
        server.cancel()
        await asyncio.wait([server])

    try:
        await asyncio.wait([server, listening], return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        yield listening.result(), gateway, stop
    finally:
        await stop()
