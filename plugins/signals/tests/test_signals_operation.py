"""Signals through the chain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import structlog
from attrs import frozen

from argo_mw import (
    Argo,
    BadParameter,
    ConfigError,
    DeadlineExceeded,
    Outcome,
    PluginError,
    UpstreamError,
)
from argo_mw.plugin import CallEnded, Codecs, context_of, hookimpl, operation
from argo_mw.store import Freshness
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_signals import Contribution, Missing, Signal, SignalsPlugin


@operation(subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> object: ...


@operation(data_type="sentiment", subject="symbol")
def news(symbol: str, *, days: int = 3) -> object: ...


@operation(kind="compute", subject="symbol")
def opinion(symbol: str, *, model: str = "small") -> object: ...


@frozen
class Article:
    title: str
    published: datetime
    sentiment: float | None
    relevance: float


def frame() -> pd.DataFrame:
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.01, 0.01, 62)))
    index = pd.date_range("2025-04-01", periods=62, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close * 1.01, "low": close * 0.98, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


class Opinions(FakePlugin):
    """A plugin that adds a voice."""

    def __init__(self, upstream: Scripted, voice: Mapping[str, object]) -> None:
        super().__init__(operations=[opinion], upstreams=[upstream])
        self._voice = voice

    @hookimpl(optionalhook=True)
    def register_voices(self) -> Iterable[Mapping[str, object]]:
        return [self._voice]


@pytest.fixture(autouse=True)
def _private_state(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def prices(clock: FakeClock) -> Scripted:
    return Scripted("prices", ["bars"], lambda call: Outcome(frame(), as_of=clock.time() - 60))


@pytest.fixture
def papers(clock: FakeClock) -> Scripted:
    article = Article("", datetime.fromtimestamp(clock.time(), UTC), 0.8, 1.0)
    return Scripted("papers", ["news"], lambda call: (article,) * 6)


@pytest.fixture
def open_argo(clock: FakeClock, prices: Scripted, papers: Scripted):
    def opened(*, signals: Mapping[str, object] | None = None, **plugins: object) -> Argo:
        market = FakePlugin(operations=[bars, news], upstreams=[prices, papers])
        return Argo.open(
            {
                "argo": {"shared": "memory://", "strict": True},
                "plugins": {"signals": signals or {}},
            },
            plugins={"market": market, "signals": SignalsPlugin(), **plugins},
            installed=False,
            clock=clock,
        )

    return opened


async def test_a_signal_says_what_to_do_how_sure_it_is_and_why(open_argo, clock) -> None:
    async with open_argo() as argo:
        outcome = await argo.outcome("signal", symbol="AAPL")
    signal = outcome.value
    assert isinstance(signal, Signal)
    assert (signal.symbol, signal.action, signal.missing) == ("AAPL", "BUY", ())
    assert signal.confidence > 0.4
    assert signal.price == frame()["close"].iloc[-1]
    assert signal.bar == frame().index[-1].timestamp()
    assert signal.age(clock.time()) == 60
    assert outcome.as_of == signal.as_of
    heard = {one.voice for one in signal.contributions}
    assert heard == {"trend", "momentum", "mean_reversion", "volume", "news"}
    assert all(one.reason for one in signal.contributions)
    assert {"subject:AAPL", "op:signal", "op:bars", "op:news"} <= outcome.tags


async def test_every_step_is_an_operation_of_its_own(open_argo) -> None:
    async with open_argo() as argo:
        events = capture_events(argo)
        await argo.call("signal", symbol="AAPL")
        vote = await argo.call("voice_trend", symbol="AAPL")
    asked = {event.call.operation.name for event in events.of(CallEnded)}
    voices = {f"voice_{n}" for n in ("trend", "momentum", "mean_reversion", "volume", "news")}
    assert asked == {"signal", "bars", "news"} | voices
    assert vote.score > 0


async def test_voices_are_asked_at_the_same_time(open_argo, papers: Scripted) -> None:
    papers.gate.clear()
    async with open_argo() as argo:
        events = capture_events(argo)
        asking = asyncio.create_task(argo.call("signal", symbol="AAPL"))
        await papers.arrived.wait()
        await settle()
        ended = {event.call.operation.name for event in events.of(CallEnded)}
        papers.gate.set()
        await asking
    assert {"voice_trend", "voice_momentum", "voice_mean_reversion", "voice_volume"} <= ended


async def test_a_voice_that_fails_is_named_and_lowers_the_confidence(
    open_argo, clock, prices: Scripted
) -> None:
    async with open_argo() as argo:
        whole = await argo.call("signal", symbol="AAPL")
    broken = Scripted("broken", ["news"], UpstreamError("the paper is out", upstream="broken"))
    market = FakePlugin(operations=[bars, news], upstreams=[prices, broken])
    async with open_argo(market=market) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    assert [(m.voice, m.reason) for m in signal.missing] == [("news", "the paper is out")]
    assert signal.confidence < whole.confidence
    assert signal.action == whole.action


async def test_a_voice_that_is_late_is_missing_and_nobody_waits_for_it(
    open_argo, clock, papers: Scripted
) -> None:
    papers.gate.clear()
    async with open_argo(signals={"timeout": 5.0}) as argo:
        asking = asyncio.create_task(argo.call("signal", symbol="AAPL"))
        await papers.arrived.wait()
        await clock.advance(5.0)
        signal = await asking
    assert [(m.voice, m.reason) for m in signal.missing] == [("news", "it did not answer in time")]
    assert papers.cancelled == 1


async def test_the_callers_deadline_leaves_time_for_the_consensus(
    open_argo, clock, papers: Scripted
) -> None:
    papers.gate.clear()
    async with open_argo() as argo:
        asking = asyncio.create_task(argo.options(timeout=2.0).call("signal", symbol="AAPL"))
        await papers.arrived.wait()
        await clock.advance(1.9)
        signal = await asking
    assert [m.voice for m in signal.missing] == ["news"]


async def test_without_prices_there_is_no_signal(open_argo, papers: Scripted) -> None:
    down = Scripted("down", ["bars"], UpstreamError("the exchange is down", upstream="down"))
    market = FakePlugin(operations=[bars, news], upstreams=[down, papers])
    async with open_argo(market=market) as argo:
        with pytest.raises(UpstreamError, match="the exchange is down"):
            await argo.call("signal", symbol="AAPL")
    assert papers.requests == 0


async def test_too_few_bars_silence_the_voices_that_need_more(open_argo, clock) -> None:
    short = Scripted("short", ["bars"], lambda call: frame().iloc[-3:])
    quiet = Scripted("quiet", ["news"], lambda call: ())
    market = FakePlugin(operations=[bars, news], upstreams=[short, quiet])
    async with open_argo(market=market) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    assert {m.voice for m in signal.missing} == {"trend", "momentum", "mean_reversion", "volume"}
    assert all("got 3" in m.reason for m in signal.missing)
    assert (signal.action, signal.confidence) == ("HOLD", 0.0)
    assert signal.price == frame()["close"].iloc[-1]


async def test_cancelling_a_signal_cancels_what_it_asked_for(open_argo, papers: Scripted) -> None:
    papers.gate.clear()
    async with open_argo() as argo:
        asking = asyncio.create_task(argo.call("signal", symbol="AAPL"))
        await papers.arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert papers.cancelled == 1


async def test_a_deadline_that_prices_miss_is_the_callers(open_argo, clock, prices) -> None:
    prices.gate.clear()
    async with open_argo() as argo:
        asking = asyncio.create_task(argo.options(timeout=1.0).call("signal", symbol="AAPL"))
        await prices.arrived.wait()
        await clock.advance(1.0)
        with pytest.raises(DeadlineExceeded):
            await asking


@pytest.mark.parametrize("bad", ["", "  ", 7])
async def test_what_is_no_symbol_is_refused(open_argo, prices: Scripted, bad: object) -> None:
    async with open_argo() as argo:
        with pytest.raises(BadParameter, match="symbol"):
            await argo.call("signal", symbol=bad)
    assert prices.requests == 0


# -- Voices of other plugins -------------------------------------------------------------------

MODEL = {
    "name": "claude",
    "operation": "opinion",
    "parameters": {"model": "large"},
    "weight": 2.0,
}


async def test_other_plugins_add_voices(open_argo) -> None:
    said = {"score": -1.0, "confidence": 1.0, "reason": "overvalued"}
    model = Scripted("model", ["opinion"], lambda call: said)
    async with open_argo(llm=Opinions(model, MODEL)) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    first = signal.contributions[0]
    assert first == Contribution("claude", -1.0, 1.0, 2.0, "overvalued")
    assert model.asked[0].parameters == {"symbol": "AAPL", "model": "large"}


async def test_a_voice_whose_answer_is_no_vote_is_missing(open_argo) -> None:
    model = Scripted("model", ["opinion"], lambda call: "BUY!")
    async with open_argo(llm=Opinions(model, MODEL)) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    (lost,) = signal.missing
    assert lost.voice == "claude"
    assert "a vote has a score" in lost.reason


async def test_a_voice_of_an_operation_that_nobody_offers_is_missing(open_argo) -> None:
    model = Scripted("model", ["opinion"])
    async with open_argo(llm=Opinions(model, {**MODEL, "operation": "oracle"})) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    (lost,) = signal.missing
    assert "oracle" in lost.reason


async def test_weights_are_configured_and_nought_silences(open_argo) -> None:
    weights = {"trend": 3.0, "news": 0.0}
    async with open_argo(signals={"weights": weights}) as argo:
        signal = await argo.call("signal", symbol="AAPL")
    assert signal.contributions[0].voice == "trend"
    assert signal.contributions[0].weight == 3.0
    assert "news" not in {one.voice for one in (*signal.contributions, *signal.missing)}


@pytest.mark.parametrize(
    ("voice", "said"),
    [
        ({"name": "trend", "operation": "opinion"}, "which there is already"),
        ({"name": "x"}, "keys"),
        ({"name": "x", "operation": "opinion", "colour": "red"}, "keys"),
        ({"name": "x", "operation": "opinion", "weight": -1}, "weight"),
        ({"name": "x", "operation": "opinion", "weight": math.inf}, "weight"),
        ({"name": "x", "operation": "opinion", "weight": math.nan}, "weight"),
    ],
)
async def test_a_malformed_voice_is_an_error_at_the_start(
    open_argo, voice: Mapping[str, object], said: str
) -> None:
    plugin = Opinions(Scripted("model", ["opinion"]), voice)
    with pytest.raises(PluginError, match=said):
        async with open_argo(llm=plugin):
            pass


@pytest.mark.parametrize("weight", [math.inf, math.nan, 1e308, -1.0])
async def test_a_weight_that_is_no_share_of_others_is_an_error_at_the_start(
    open_argo, weight: float
) -> None:
    with pytest.raises((PluginError, ConfigError), match="weights"):
        async with open_argo(signals={"weights": {"trend": weight}}):
            pass


async def test_a_weight_for_a_voice_that_is_not_there_is_an_error_at_the_start(open_argo) -> None:
    with pytest.raises(PluginError, match="'trnd'; voices are trend"):
        async with open_argo(signals={"weights": {"trnd": 1.0}}):
            pass


async def test_changed_weights_hold_for_the_next_signal(open_argo) -> None:
    async with open_argo() as argo:
        tag_versions = context_of(argo).tag_versions
        tag_snapshot = await tag_versions.load(["op:signal"])
        await argo.call("signal", symbol="AAPL")
        base = {"argo": {"shared": "memory://", "strict": True}}
        await argo.reload({**base, "plugins": {"signals": {"weights": {"news": 0.0}}}})
        signal = await argo.call("signal", symbol="AAPL")
        assert await tag_versions.check(tag_snapshot) is Freshness.MISS
    assert "news" not in {one.voice for one in signal.contributions}


async def test_changed_weights_that_cannot_be_used_leave_the_old_ones(open_argo) -> None:
    base = {"argo": {"shared": "memory://", "strict": True}}
    async with open_argo(signals={"weights": {"trend": 3.0}}) as argo:
        with structlog.testing.capture_logs() as logs:
            await argo.reload({**base, "plugins": {"signals": {"weights": {"trnd": 1.0}}}})
        signal = await argo.call("signal", symbol="AAPL")
        assert argo.broken == ()
        await argo.reload({**base, "plugins": {"signals": {"weights": {"trend": 2.0}}}})
        mended = await argo.call("signal", symbol="AAPL")
    assert any("'trnd'; voices are trend" in str(entry) for entry in logs)
    assert (3.0, 2.0) == (signal.contributions[0].weight, mended.contributions[0].weight)


async def test_bars_that_are_no_frame_end_the_signal(open_argo, papers: Scripted) -> None:
    odd = Scripted("odd", ["bars"], lambda call: [1, 2, 3])
    market = FakePlugin(operations=[bars, news], upstreams=[odd, papers])
    async with open_argo(market=market) as argo:
        with pytest.raises(UpstreamError, match="came as a list, not a frame"):
            await argo.call("signal", symbol="AAPL")


def test_signals_travel_through_shared_stores_unchanged() -> None:
    codecs = Codecs()
    SignalsPlugin().register_codecs(codecs)
    signal = Signal(
        symbol="AAPL",
        action="SELL",
        confidence=0.5,
        lean=-0.4,
        price=430.47,
        bar=1.0,
        as_of=2.0,
        contributions=(Contribution("trend", -1.0, 1.0, 1.0, "down"),),
        missing=(Missing("news", 0.75, "late"),),
    )
    assert codecs.decode(codecs.encode(signal)) == signal
