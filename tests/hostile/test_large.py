"""Bodies as large as allowed, of every kind that vendors have: none is worked on for long at once."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from argo_mw import Argo, ArgoError
from argo_mw_adaptive_ttl.bars import read_bars
from argo_mw_adaptive_ttl.calendars import Calendars
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats
from argo_mw_market import MarketPlugin
from tests.hostile.growth import HELD, seconds
from tests.hostile.test_bodies import KEY, LIMIT, Watch
from tests.hostile.wire import Hostile, hostile_server

NOW = int(time.time()) // 60 * 60


def _stamps(count: int, form: str) -> list[bytes]:
    moments = (datetime.fromtimestamp(NOW - 60 * at, UTC) for at in range(count, 0, -1))
    return [moment.strftime(form).encode() for moment in moments]


def _alpaca_bars(size: int) -> bytes:
    stamps = _stamps(size // 70, "%Y-%m-%dT%H:%M:%SZ")
    bars = b",".join(b'{"t":"%b","o":1,"h":1,"l":1,"c":1,"v":1}' % one for one in stamps)
    return b'{"bars":{"AAPL":[' + bars + b"]}}"


def _alpaca_symbols(size: int) -> bytes:
    return b'{"bars":{' + b",".join(b'"%d":[]' % at for at in range(size // 12)) + b"}}"


def _alpaca_news(size: int) -> bytes:
    items = (
        b'{"headline":"","symbols":["AAPL"],"created_at":"%b"}' % one
        for one in _stamps(size // 75, "%Y-%m-%dT%H:%M:%SZ")
    )
    return b'{"news":[' + b",".join(items) + b"]}"


def _alpaca_mentions(size: int) -> bytes:
    symbols = b",".join(b'"A%d"' % at for at in range(size // 10))
    (stamp,) = _stamps(1, "%Y-%m-%dT%H:%M:%SZ")
    return b'{"news":[{"headline":"","created_at":"%b","symbols":[%b]}]}' % (stamp, symbols)


def _series(size: int) -> bytes:
    row = b'{"1. open":"1","2. high":"1","3. low":"1","4. close":"1","5. volume":"1"}'
    stamps = _stamps(size // 105, "%Y-%m-%d %H:%M:%S")
    rows = b",".join(b'"%b":%b' % (one, row) for one in stamps)
    return b'{"Time Series (1min)":{' + rows + b"}}"


def _long_numbers(size: int) -> bytes:
    row = b'{"1. open":"%b","2. high":"1","3. low":"1","4. close":"1","5. volume":"1"}'
    rows = [b'"%b":%b' % (one, row % b"1") for one in _stamps(1000, "%Y-%m-%d %H:%M:%S")]
    rows[-1] = rows[-1].replace(b'"1"', b'"%b"' % (b"1" * (size - 200_000)), 1)
    return b'{"Time Series (1min)":{' + b",".join(rows) + b"}}"


def _feed(size: int) -> bytes:
    items = (
        b'{"title":"","time_published":"%b"}' % one for one in _stamps(size // 60, "%Y%m%dT%H%M%S")
    )
    return b'{"feed":[' + b",".join(items) + b"]}"


def _scores(size: int) -> bytes:
    one = b'{"ticker":"B","relevance_score":1,"ticker_sentiment_score":1}'
    (stamp,) = _stamps(1, "%Y%m%dT%H%M%S")
    scores = b",".join([one] * (size // (len(one) + 1) - 10))
    return b'{"feed":[{"title":"","time_published":"%b","ticker_sentiment":[%b]}]}' % (
        stamp,
        scores,
    )


def _wide(size: int) -> bytes:
    return b"{" + b",".join(b'"%d":1' % at for at in range(size // 10)) + b"}"


BODIES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "alpaca bars": ("bars", _alpaca_bars),
    "alpaca symbols": ("bars", _alpaca_symbols),
    "alpaca news": ("news", _alpaca_news),
    "alpaca mentions": ("news", _alpaca_mentions),
    "alphavantage series": ("bars", _series),
    "alphavantage long numbers": ("bars", _long_numbers),
    "alphavantage feed": ("news", _feed),
    "alphavantage scores": ("news", _scores),
    "alphavantage keys": ("bars", _wide),
    "alphavantage notice": ("bars", lambda size: b'{"Note":"' + b"<" * (size - 20) + b'"}'),
    "alphavantage no text": ("news", lambda size: b'{"Note":[' + b"1," * (size // 2 - 20) + b"1]}"),
    "alphavantage no UTF-8": ("bars", lambda size: b'{"Note":"' + b"\x80" * (size - 20) + b'"}'),
    "massive error": (
        "bars",
        lambda size: b'{"status":"ERROR","error":"' + b"<" * (size - 40) + b'"}',
    ),
    "massive status": ("bars", lambda size: b'{"status":"' + b"://a:" * (size // 5 - 10) + b'"}'),
    "massive link": ("bars", lambda size: b'{"next_url":"' + b"[" * (size - 40) + b'"}'),
}


BARS: dict[str, list[tuple[float, float]]] = {
    **{
        f"{step} s each, until {days} days ago": [
            (NOW - 86_400 * days - step * at, 1.0 + at % 7) for at in range(1000, 0, -1)
        ]
        for step in (60, 3600, 14_400, 43_199, 86_400)
        for days in (0, 3, 1000, 15_000)
    },
    "of 1970": [(60.0, 1.0), (120.0, 2.0)],
    "of all times": [(-1e300, 1.0), (0.0, 2.0), (NOW - 60.0, 3.0)],
    "days apart, but for two": [
        *((NOW - 3.9 * 86_400 * at, 1.0 + at % 7) for at in range(1000, 0, -1)),
        (NOW - 60.0, 2.0),
    ],
    "of all prices": [(NOW - 60 * at, 5e-324 if at % 2 else 1e308) for at in range(1000, 0, -1)],
}


@pytest.mark.parametrize("symbol", ["BTC-USD", "AAPL", "EUR-USD", "nobody knows"])
@pytest.mark.parametrize("kind", BARS)
def test_no_bars_hold_the_loop_while_they_are_learned(kind: str, symbol: str) -> None:
    """Of wrapped functions too, which may answer with bars of any age."""
    calendars = Calendars()
    calendar = calendars.of(symbol, NOW)
    frame = [{"t": time, "c": close} for time, close in BARS[kind]]

    def learns() -> None:
        stats = SymbolStats()
        bars = read_bars(frame, NOW)
        assert bars is not None
        stats.learn(symbol, bars, calendar, NOW)
        found = stats.get(symbol)
        assert found is not None
        assert found.sigma_per_day is None or 0.0 <= found.sigma_per_day < math.inf

    assert seconds(learns) < HELD


def test_of_a_frame_of_years_only_the_last_bars_are_read() -> None:
    index = pd.date_range(end=pd.Timestamp(NOW, unit="s", tz="UTC"), periods=500_000, freq="min")
    frame = pd.DataFrame({"close": 1.0}, index=index)
    read_bars(frame.tail(10), NOW)

    def reads() -> None:
        bars = read_bars(frame, NOW)
        assert bars is not None
        assert (1000, NOW) == (len(bars.closes), bars.starts[-1])

    assert seconds(reads) < HELD


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as started:
        yield started


@pytest.mark.parametrize("kind", BODIES)
async def test_no_large_body_of_a_vendor_holds_the_loop(
    tmp_path: Path, server: Hostile, kind: str
) -> None:
    operation, made = BODIES[kind]
    vendor = kind.partition(" ")[0]
    table: dict[str, object] = {"url": server.url, "key": KEY}
    more = {"alpaca": {"secret": KEY}, "alphavantage": {"paid": True}}
    config = {
        "argo": {"shared": "memory://", "state_dir": str(tmp_path)},
        "operations": {operation: {"upstreams": [vendor]}},
        "upstreams": {vendor: {"per_second": 0, "per_minute": 0, "per_day": 0}},
        "plugins": {"market": {vendor: table | more.get(vendor, {}), "max_decoded_bytes": LIMIT}},
    }
    asked: dict[str, object] = {"days": 20}
    if operation == "bars":
        asked["timeframe"] = "1Min"
    async with Argo.open(config, plugins={"market": MarketPlugin()}, installed=False) as argo:
        server.body = lambda: iter([made(250_000)])
        with suppress(ArgoError):  # which imports what a large body imports
            await argo.call(operation, symbol="MSFT", **asked)
        body = made(LIMIT)
        assert LIMIT * 0.5 < len(body) <= LIMIT
        server.body = lambda: iter([body])
        before = server.requests
        async with Watch() as watch:
            with suppress(ArgoError):
                await argo.call(operation, symbol="AAPL", **asked)
        assert server.requests > before
    assert watch.held < HELD
