"""One signal, through the whole chain: what it costs, leaves behind and shows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

import argo_mw_coalesce.plugin as coalesce_plugin
from argo_mw import Argo, Outcome, UpstreamError
from argo_mw.plugin import LayerActed, RequestSent, hookimpl, operation
from argo_mw.testing import Captured, FakeClock, FakePlugin, Scripted, capture_events
from argo_mw_adaptive_ttl import AdaptiveTtlPlugin
from argo_mw_cache import CachePlugin
from argo_mw_persist import PersistPlugin, store_of
from argo_mw_persist.testing import postgres
from argo_mw_sandbox import Sandbox, SandboxConfig
from argo_mw_sandbox.clock import parse_instant
from argo_mw_sandbox.demo import settings
from argo_mw_signals import RecordedSignal, SignalsPlugin

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


# -- a signal that lacks a voice ---------------------------------------------------------------


@operation(data_type="market_data", subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> object:
    """Prices that speak for the last close."""


@operation(kind="llm", subject="symbol")
def opinion(symbol: str) -> object:
    """What a model thinks."""


CLOSED = 1_750_000_000.0
"""Sunday, 2025-06-15, 15:06 UTC."""
VIEW = {"score": 0.9, "confidence": 0.9, "reason": "it says so"}


class Market(FakePlugin):
    """Prices, and a model that is a voice of signals."""

    def __init__(self, *views: object) -> None:
        self.prices = Scripted("prices", ["bars"], lambda _: Outcome(frame(), as_of=CLOSED - 60))
        self.model = Scripted("model", ["opinion"], *views, retries=0)
        super().__init__(
            operations=[bars, opinion],
            upstreams=[self.prices, self.model],
            data_types=["market_data"],
        )

    @hookimpl(optionalhook=True)
    def register_voices(self) -> list[dict[str, object]]:
        return [{"name": "model", "operation": "opinion"}]


def frame() -> pd.DataFrame:
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.01, 0.01, 62)))
    index = pd.date_range(end="2025-06-13T20:00", periods=62, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close * 1.01, "low": close * 0.98, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


def open_with(
    market: Market,
    clock: FakeClock,
    database: str = "",
    *,
    weights: Mapping[str, float] = MappingProxyType({}),
    cache: Mapping[str, object] = MappingProxyType({}),
    **argo: object,
) -> Argo:
    """Open the layers that users have, and signals, over *market*."""
    plugins = {
        "cache": CachePlugin,
        "coalesce": coalesce_plugin,
        "adaptive_ttl": AdaptiveTtlPlugin,
        "signals": SignalsPlugin(),
        "market": market,
        **({"persist": PersistPlugin()} if database else {}),
    }
    tables = {"signals": {"weights": {"news": 0, **weights}}, "cache": dict(cache)}
    if database:
        tables["persist"] = {"url": database, "on_sigterm": False}
    return Argo.open(
        {"argo": {"shared": "memory://", "strict": True, **argo}, "plugins": tables},
        plugins=plugins,
        installed=False,
        clock=clock,
    )


async def test_a_signal_without_its_model_is_soon_tried_again_while_the_market_is_closed() -> None:
    clock = FakeClock(wall=CLOSED)
    market = Market(UpstreamError("529", upstream="model", status=529), VIEW)
    async with open_with(market, clock) as argo:
        degraded = await argo.outcome("signal", symbol="AAPL")
        assert frozenset({"opinion"}) == degraded.lacks
        assert ["model"] == [one.voice for one in degraded.value.missing]  # type: ignore[attr-defined]
        assert clock.time() + 60 == degraded.expires_at
        explained = {one.name: one.text for one in argo.explain("signal", symbol="AAPL")}
        assert "it lacks opinion" in explained["cache"]
        await clock.advance(30)
        assert frozenset({"opinion"}) == (await argo.outcome("signal", symbol="AAPL")).lacks
        assert 1 == len(market.model.asked)
        await clock.advance(31)
        whole = await argo.outcome("signal", symbol="AAPL")
        assert ((), frozenset()) == (whole.value.missing, whole.lacks)  # type: ignore[attr-defined]
        assert whole.expires_at is not None
        assert whole.expires_at > clock.time() + 3600
    assert (2, 1) == (len(market.model.asked), len(market.prices.asked))


# -- one signal, computed by many instances ----------------------------------------------------


async def recorded(argo: Argo) -> list[tuple[str, tuple[str, ...]]]:
    """Return action and lack of each recorded signal, in the order of their identifiers."""
    await store_of(argo).flush()
    signals: tuple[RecordedSignal, ...] = await argo.call("latest", symbol="AAPL")  # type: ignore[assignment]
    return [(one.action, one.lacks) for one in sorted(signals, key=lambda one: one.id)]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that instances share, which share nothing else."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'signals.db'}"
    else:
        with postgres() as server:
            yield server.database("signals")


async def test_a_signal_that_many_instances_compute_is_recorded_once(database: str) -> None:
    clock = FakeClock(wall=CLOSED)
    async with AsyncExitStack() as stack:
        instances = []
        for number in range(4):
            argo = open_with(Market(VIEW), clock, database, state_dir=f"state-{number}")
            instances.append(await stack.enter_async_context(argo))
        await asyncio.gather(*(one.call("signal", symbol="AAPL") for one in instances[:3]))
        await clock.advance(5)
        await instances[3].call("signal", symbol="AAPL")
        for one in instances:
            assert [("BUY", ())] == await recorded(one)


async def test_signals_that_follow_from_other_things_are_recorded_each(database: str) -> None:
    """A voice that is back, another configuration, and a model that has changed its mind."""
    clock = FakeClock(wall=CLOSED)
    failed = UpstreamError("529", upstream="model", status=529)
    against = {"score": -1.0, "confidence": 1.0, "reason": "no"}
    async with open_with(Market(failed, VIEW), clock, database) as argo:
        await argo.call("signal", symbol="AAPL")
        await store_of(argo).flush()  # so that no write is under way while a minute passes
        await clock.advance(61)
        await argo.call("signal", symbol="AAPL")
        assert {("BUY", ("opinion",)), ("BUY", ())} == {*await recorded(argo)}
    other = open_with(Market(VIEW), clock, database, weights={"model": 2.0})
    async with other as argo:
        await argo.call("signal", symbol="AAPL")
        assert 3 == len(await recorded(argo))
    sure = {"model": 2.0, **dict.fromkeys(("trend", "momentum", "volume"), 0.1)}
    for views, rows in ((VIEW,), 4), ((against,), 5), ((VIEW,), 5):
        async with open_with(Market(*views), clock, database, weights=sure) as argo:
            await argo.call("signal", symbol="AAPL")
            assert rows == len(await recorded(argo))


async def test_settings_that_decide_no_answer_make_no_second_row(database: str) -> None:
    clock = FakeClock(wall=CLOSED)
    for ttl in (60.0, 90.0):
        cache = {"ttl": ttl}
        async with open_with(Market(VIEW), clock, database, cache=cache) as argo:
            await argo.call("signal", symbol="AAPL")
            assert [("BUY", ())] == await recorded(argo)
