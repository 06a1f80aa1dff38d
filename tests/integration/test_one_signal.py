"""One signal, through the whole chain: what it costs, leaves behind and shows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argo_mw import Argo
from argo_mw.plugin import LayerActed, RequestSent
from argo_mw.testing import Captured, capture_events
from argo_mw_sandbox import Sandbox, SandboxConfig
from argo_mw_sandbox.clock import parse_instant
from argo_mw_sandbox.demo import settings

SYMBOLS = ("AAPL", "GOOG", "IBM")
SATURDAY = "2012-11-17T15:00:00Z"
FRIDAY = "2012-11-16T20:00:00Z"


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(params=[SATURDAY, FRIDAY], ids=["closed", "open"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxConfig(now=parse_instant(request.param), latency={})) as running:
        running.clock.set(speed=0)
        yield running


def open_argo(sandbox: Sandbox, **argo: object) -> Argo:
    """Open every installed plugin, as a user would have it."""
    tables = settings(sandbox)
    plugins = {**tables["plugins"], "persist": {"url": "sqlite:///signals.db"}}  # type: ignore[dict-item]
    config = {**tables, "argo": {"shared": "sqlite", **argo}, "plugins": plugins}
    return Argo.open(config, clock=sandbox.clock)


def computed(events: Captured) -> Counter[str]:
    """Return how often the signal of each symbol was computed."""
    made = [e.call.subject for e in events.of(LayerActed) if e.action == "recorded" and e.call]
    sent = [e for e in events.of(RequestSent) if e.operation == "signal"]
    assert len(made) == len(sent)
    return Counter(made)


@pytest.mark.parametrize("side_by_side", [False, True])
async def test_the_signal_of_a_new_symbol_is_computed_once_also_after_a_restart(
    sandbox: Sandbox, side_by_side: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for start in ("first", "again, with what was learned"):
        async with open_argo(sandbox) as argo:
            assert argo.broken == ()
            events = capture_events(argo)
            for _ in range(3):
                if side_by_side:
                    await asyncio.gather(*(argo.call("signal", symbol=s) for s in SYMBOLS))
                else:
                    for symbol in SYMBOLS:
                        await argo.call("signal", symbol=symbol)
            assert dict.fromkeys(SYMBOLS, 1) == computed(events), start
            assert [] == [e for e in events.of(LayerActed) if e.action == "skipped"]
            await argo.invalidate("op:signal", "op:bars")
            await argo.expire(*(f"price:{symbol}" for symbol in SYMBOLS))
