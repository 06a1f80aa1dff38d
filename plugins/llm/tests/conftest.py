"""A sandbox of the providers, and applications that ask it over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, cast

import pytest
import trustme

from argo_mw import Argo
from argo_mw.testing import FakeClock
from argo_mw_llm import LlmPlugin
from argo_mw_sandbox import Sandbox, SandboxConfig

PROVIDERS = ("claude", "glm", "deepseek", "qwen", "openai")
MODELS = {
    "claude": "claude-sonnet-5-5",
    "glm": "glm-5.3",
    "deepseek": "deepseek-v4-pro",
    "qwen": "qwen3.8-max",
    "openai": "gpt-5.6",
}


class OpenArgo(Protocol):
    """Opens an application whose providers are the sandbox's."""

    def __call__(
        self,
        *,
        plugins: Mapping[str, object] | None = None,
        tables: Mapping[str, Mapping[str, object]] | None = None,
        upstreams: Mapping[str, Mapping[str, object]] | None = None,
        operations: Mapping[str, Mapping[str, object]] | None = None,
        clock: FakeClock | None = None,
        **llm: object,
    ) -> AbstractAsyncContextManager[Argo]: ...


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
    # Every client reads the trusted authorities: one is read sooner than all of them.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox."""
    async with Sandbox(SandboxConfig()) as running:
        yield running


@pytest.fixture
def plugin() -> LlmPlugin:
    """The plugin of the application."""
    return LlmPlugin()


@pytest.fixture
def open_argo(sandbox: Sandbox, plugin: LlmPlugin) -> OpenArgo:
    """Opens applications whose providers are the sandbox's."""

    def opened(
        *,
        plugins: Mapping[str, object] | None = None,
        tables: Mapping[str, Mapping[str, object]] | None = None,
        upstreams: Mapping[str, Mapping[str, object]] | None = None,
        operations: Mapping[str, Mapping[str, object]] | None = None,
        clock: FakeClock | None = None,
        **llm: object,
    ) -> AbstractAsyncContextManager[Argo]:
        own = {name: {"url": sandbox.url(name), "key": "any"} for name in PROVIDERS}
        more = cast("Mapping[str, object]", llm.pop("providers", {}))
        for name in PROVIDERS:
            changed = llm.pop(name, None)
            if isinstance(changed, Mapping):
                own[name] |= changed
        config: dict[str, object] = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"llm": {"providers": {**own, **more}, **llm}, **(tables or {})},
            "upstreams": {
                name: {"per_minute": 1_000_000, **(upstreams or {}).get(name, {})}
                for name in {*PROVIDERS, "openai_embeddings", *(upstreams or {})}
            },
            "operations": operations or {},
        }
        return Argo.open(
            config, plugins={"llm": plugin, **(plugins or {})}, installed=False, clock=clock
        )

    return opened
