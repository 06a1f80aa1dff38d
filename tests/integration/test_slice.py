"""The framework's main job, whole: signals over real sockets through the full chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argo_mw import Argo, Outcome
from argo_mw.app.application import engine_of
from argo_mw_sandbox import Sandbox, SandboxConfig
from argo_mw_sandbox.demo import settings

REAL = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxConfig()) as running:
        yield running


def patient(sandbox: Sandbox) -> dict[str, object]:
    """A configuration for a busy machine, on which a test may take minutes."""
    tables = settings(sandbox)
    plugins = {**tables["plugins"], "adaptive_ttl": {"operations": {"bars": {"ttl": 3600}}}}  # type: ignore[dict-item]
    return {
        **tables,
        "plugins": plugins,
        "operations": {"bars": {"timeout": 120}},
        "upstreams": {"alpaca": {"timeout": 120}},
    }


@pytest.fixture
async def argo(sandbox: Sandbox) -> AsyncIterator[Argo]:
    """Every installed plugin, as a user would have it."""
    async with Argo.open(patient(sandbox), clock=sandbox.clock) as opened:
        assert opened.broken == ()
        yield opened


async def test_signals_of_the_real_symbols_come_from_their_real_prices(argo: Argo) -> None:
    """The closes of 2013-03-01, as they stand in the exchanges' records."""
    closes = {"AAPL": 430.47, "FB": 27.78, "GOOG": 806.19, "IBM": 202.91, "MSFT": 27.95}
    outcomes = await argo.map("signal", REAL)
    prices = {s: o.value.price for s, o in outcomes.items() if isinstance(o, Outcome)}  # type: ignore[attr-defined]
    assert prices == closes


async def test_ten_thousand_equal_calls_make_one_request(argo: Argo, sandbox: Sandbox) -> None:
    calls = [argo.call("bars", symbol="AAPL") for _ in range(10_000)]
    frames = await asyncio.gather(*calls)
    assert sandbox.counts_of("alpaca").requests == 1
    assert len({id(frame) for frame in frames}) == 10_000


async def test_cancelling_every_caller_ends_the_request(argo: Argo, sandbox: Sandbox) -> None:
    """The vendor sees its client leave, and nothing stays behind."""
    sandbox.set_fault("alpaca", "stall")
    tasks = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(1_000)]
    await sandbox.until(lambda: sandbox.counts_of("alpaca").in_flight == 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await sandbox.until(lambda: sandbox.counts_of("alpaca").disconnects == 1)
    while any("coalesce" in name or "gather" in name for name in engine_of(argo).tasks.names):
        await asyncio.sleep(0)


async def test_a_hundred_symbols_take_at_most_two_requests(argo: Argo, sandbox: Sandbox) -> None:
    symbols = [str(s["symbol"]) for s in sandbox.symbols() if s["market"] != "crypto"][:100]
    outcomes = await argo.map("bars", symbols)
    assert [s for s, o in outcomes.items() if isinstance(o, Exception)] == []
    assert sandbox.counts_of("alpaca").requests <= 2


async def test_one_refused_symbol_leaves_the_others_answered(argo: Argo, sandbox: Sandbox) -> None:
    symbols = [str(s["symbol"]) for s in sandbox.symbols() if s["market"] != "crypto"][:99]
    outcomes = await argo.map("bars", [*symbols, "QQQQQ"])
    assert [s for s, o in outcomes.items() if isinstance(o, Exception)] == ["QQQQQ"]


async def test_a_flag_flips_under_load_a_thousand_times(argo: Argo, sandbox: Sandbox) -> None:
    """No call fails, no cache is emptied, no flight is split."""
    done = asyncio.Event()
    answered = 0

    async def load(symbol: str) -> None:
        nonlocal answered
        while not done.is_set():
            await argo.call("bars", symbol=symbol)
            answered += 1
            await asyncio.sleep(0)

    await argo.map("bars", REAL)
    tasks = [asyncio.create_task(load(symbol)) for symbol in REAL for _ in range(4)]
    base = patient(sandbox)
    for flip in range(1_000):
        await argo.reload({**base, "flags": {"coalesce": "on" if flip % 2 else "50%"}})
        await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*tasks)
    assert answered > 1_000
    assert sandbox.counts_of("alpaca").requests <= 1 + len(REAL)
