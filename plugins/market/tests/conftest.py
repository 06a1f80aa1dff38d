"""A sandbox of the vendors, and applications that ask it over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest

from argo_mw import Argo
from argo_mw_market import MarketPlugin
from argo_mw_sandbox import Sandbox, SandboxConfig

KEYS = {
    "alpaca": {"key": "alpaca-key-id", "secret": "alpaca-secret-key"},
    "massive": {"key": "massive-key"},
    "alphavantage": {"key": "alphavantage-key", "paid": True},
}


class OpenArgo(Protocol):
    """Opens an application with only the market, and only the named vendors if any are."""

    def __call__(
        self, *vendors: str, plugins: Mapping[str, object] | None = None, **table: object
    ) -> AbstractAsyncContextManager[Argo]: ...


@pytest.fixture(autouse=True)
def _no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in (
        "APCA_API_KEY_ID",
        "APCA_API_SECRET_KEY",
        "MASSIVE_API_KEY",
        "POLYGON_API_KEY",
        "ALPHAVANTAGE_API_KEY",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox that holds its clock a minute after the last real day."""
    async with Sandbox(SandboxConfig(speed=0)) as running:
        yield running


@pytest.fixture
def open_argo(sandbox: Sandbox) -> OpenArgo:
    """Opens applications whose vendors are the sandbox's, and whose time is its own."""

    def opened(
        *vendors: str,
        news: str | None = None,
        per_minute: int = 0,
        plugins: Mapping[str, object] | None = None,
        **table: object,
    ) -> AbstractAsyncContextManager[Argo]:
        market = {name: {**KEYS[name], "url": sandbox.url(name)} for name in KEYS}
        config: dict[str, object] = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"market": {**market, **table}},
            # The plans' own limits have a test of their own.
            "upstreams": {
                name: {"per_second": 0, "per_minute": per_minute, "per_day": 10_000}
                for name in KEYS
            },
        }
        operations = {"bars": list(vendors), "news": [news] if news else []}
        config["operations"] = {n: {"upstreams": o} for n, o in operations.items() if o}
        return Argo.open(
            config,
            plugins={"market": MarketPlugin(), **(plugins or {})},
            installed=False,
            clock=sandbox.clock,
        )

    return opened


Held = Callable[[Callable[[], Awaitable[object]], float], Awaitable[None]]


@pytest.fixture
def ends_on_time() -> Held:
    """Fails when what is asked does not end within some seconds and a twentieth.

    A busy machine may be late once, and a few times; a deadline that does not hold always is.
    """

    async def held(ask: Callable[[], Awaitable[object]], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        took = []
        while not took or min(took) > seconds + 0.05:
            assert len(took) < 10, f"{seconds} s took {took}"
            began = loop.time()
            await ask()
            took.append(loop.time() - began)

    return held
