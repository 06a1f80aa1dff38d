"""The vendors' own clients against the sandbox, with nothing but the base URL changed.

They block, so they run in threads beside the loop that serves them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, TypeVar

import pytest

from argo_mw_sandbox import Sandbox

T = TypeVar("T")
JANUARY, MARCH = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 2, tzinfo=UTC)
LAST_CLOSE = 430.47
"""Of AAPL on 2013-03-01, the last real day."""
UNITS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")


async def run(ask: Callable[[], T]) -> T:
    return await asyncio.to_thread(ask)


# -- alpaca-py -----------------------------------------------------------------------------------


@contextmanager
def alpaca(sandbox: Sandbox, kind: str, *keys: str) -> Iterator[Any]:
    historical = pytest.importorskip("alpaca.data.historical")
    client = getattr(historical, kind)(*keys, url_override=sandbox.url("alpaca"))
    try:
        yield client
    finally:
        client._session.close()


@pytest.mark.parametrize(
    "amount_and_unit",
    [(1, "Minute"), (5, "Minute"), (1, "Hour"), (1, "Day"), (1, "Week"), (1, "Month")],
)
async def test_alpaca_py_reads_bars_of_every_timeframe(
    sandbox: Sandbox, amount_and_unit: tuple[int, str]
) -> None:
    requests = pytest.importorskip("alpaca.data.requests")
    frames = pytest.importorskip("alpaca.data.timeframe")
    amount, unit = amount_and_unit
    wanted = requests.StockBarsRequest(
        symbol_or_symbols=["AAPL", "IBM"],
        timeframe=frames.TimeFrame(amount, getattr(frames.TimeFrameUnit, unit)),
        start=JANUARY,
        end=MARCH,
    )
    with alpaca(sandbox, "StockHistoricalDataClient", "key", "secret") as client:
        bars = (await run(lambda: client.get_stock_bars(wanted))).data
    assert {"AAPL", "IBM"} == set(bars)
    assert LAST_CLOSE == bars["AAPL"][-1].close


async def test_alpaca_py_reads_prices_adjusted_for_splits_and_as_traded(sandbox: Sandbox) -> None:
    requests = pytest.importorskip("alpaca.data.requests")
    frames = pytest.importorskip("alpaca.data.timeframe")
    closes = {}
    with alpaca(sandbox, "StockHistoricalDataClient", "key", "secret") as client:
        for adjustment in ("raw", "split", "dividend", "all"):
            wanted = requests.StockBarsRequest(
                symbol_or_symbols="AAPL",
                timeframe=frames.TimeFrame.Day,
                start=datetime(2005, 2, 25, tzinfo=UTC),
                end=datetime(2005, 3, 1, tzinfo=UTC),
                adjustment=adjustment,
            )
            bars = await run(lambda wanted=wanted: client.get_stock_bars(wanted))
            closes[adjustment] = [bar.close for bar in bars["AAPL"]]
    assert [88.99, 44.86] == closes["raw"] == closes["dividend"]
    assert [44.495, 44.86] == closes["split"] == closes["all"]


async def test_alpaca_py_reads_crypto_without_keys(sandbox: Sandbox) -> None:
    requests = pytest.importorskip("alpaca.data.requests")
    frames = pytest.importorskip("alpaca.data.timeframe")
    wanted = requests.CryptoBarsRequest(
        symbol_or_symbols="BTC/USD", timeframe=frames.TimeFrame.Day, start=JANUARY, end=MARCH
    )
    with alpaca(sandbox, "CryptoHistoricalDataClient") as client:
        bars = await run(lambda: client.get_crypto_bars(wanted))
    assert 60 == len(bars["BTC/USD"])


async def test_alpaca_py_is_refused_stocks_without_keys(sandbox: Sandbox) -> None:
    requests = pytest.importorskip("alpaca.data.requests")
    frames = pytest.importorskip("alpaca.data.timeframe")
    errors = pytest.importorskip("alpaca.common.exceptions")
    wanted = requests.StockBarsRequest(
        symbol_or_symbols="AAPL", timeframe=frames.TimeFrame.Day, start=JANUARY
    )
    with alpaca(sandbox, "CryptoHistoricalDataClient") as client:
        # The client of crypto sends no keys: at the path of stocks it is refused.
        query = wanted.to_request_fields()
        client._api_version = "v2"
        with pytest.raises(errors.APIError, match="forbidden"):
            await run(lambda: client.get("/stocks/bars", query))


async def test_alpaca_py_reads_news(sandbox: Sandbox) -> None:
    requests = pytest.importorskip("alpaca.data.requests")
    wanted = requests.NewsRequest(symbols="AAPL", start=JANUARY, end=MARCH, limit=10)
    with alpaca(sandbox, "NewsClient", "key", "secret") as client:
        news = await run(lambda: client.get_news(wanted))
    assert 10 == len(news.data["news"])
    assert all(article.symbols == ["AAPL"] for article in news.data["news"])


# -- massive, and polygon-api-client, its name before ----------------------------------------------


@pytest.fixture(params=["massive", "polygon"])
def massive(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Any]:
    pytest.importorskip(request.param)
    make = import_module(request.param).RESTClient
    client = make("key", base=sandbox.url("massive"), retries=0)
    yield client
    client.client.clear()


@pytest.mark.parametrize("unit", UNITS)
async def test_massive_reads_bars_of_every_timespan(massive: Any, unit: str) -> None:
    bars = await run(
        lambda: list(massive.list_aggs("AAPL", 1, unit, "2013-01-01", "2013-03-01", limit=50_000))
    )
    days = await run(lambda: massive.get_aggs("AAPL", 1, "day", "2013-01-01", "2013-03-01"))
    assert LAST_CLOSE == bars[-1].close
    if unit != "week":  # the first week began in the year before
        assert sum(day.volume for day in days) == sum(bar.volume for bar in bars)
        assert max(day.high for day in days) == max(bar.high for bar in bars)


async def test_massive_s_limit_counts_what_bars_are_made_of(massive: Any) -> None:
    """Two hours of minutes, or thirty days: not that many bars."""
    day = ("2013-03-01", "2013-03-01")
    hours = await run(lambda: massive.get_aggs("AAPL", 1, "hour", *day, limit=120))
    assert 2 == len(hours)
    months = await run(
        lambda: massive.get_aggs("AAPL", 1, "month", "2012-10-01", "2013-03-01", limit=30)
    )
    assert 1 == len(months)
    minutes = await run(lambda: massive.get_aggs("AAPL", 1, "minute", *day, limit=120))
    assert 120 == len(minutes)


@pytest.mark.parametrize("unit", ["minute", "hour", "day", "week", "quarter"])
@pytest.mark.parametrize("limit", [1, 50, 1000])
async def test_massive_s_pages_lose_and_repeat_nothing(massive: Any, unit: str, limit: int) -> None:
    start = "2013-02-27" if unit in ("minute", "hour") else "2012-09-03"
    if unit == "minute" and limit == 1:
        start = "2013-03-01"
    whole = await run(lambda: massive.get_aggs("AAPL", 2, unit, start, "2013-03-01", limit=50_000))
    paged = await run(
        lambda: list(massive.list_aggs("AAPL", 2, unit, start, "2013-03-01", limit=limit))
    )
    assert whole == paged


async def test_massive_reads_prices_adjusted_for_splits_and_as_traded(massive: Any) -> None:
    closes = {}
    for adjusted in (None, True, False):
        bars = await run(
            lambda adjusted=adjusted: massive.get_aggs(
                "AAPL", 1, "day", "2005-02-25", "2005-02-28", adjusted=adjusted
            )
        )
        closes[adjusted] = [bar.close for bar in bars]
    assert [44.495, 44.86] == closes[None] == closes[True]
    assert [88.99, 44.86] == closes[False]


# -- alpha_vantage ---------------------------------------------------------------------------------


@pytest.fixture
def alphavantage(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Makes a client with an output format; the address is a constant of its class."""
    base = pytest.importorskip("alpha_vantage.alphavantage")
    series = pytest.importorskip("alpha_vantage.timeseries")
    url = f"{sandbox.url('alphavantage')}/query?"
    monkeypatch.setattr(base.AlphaVantage, "_ALPHA_VANTAGE_API_URL", url)
    return lambda form: series.TimeSeries("key", output_format=form)


@pytest.mark.parametrize("intraday", [False, True])
async def test_alpha_vantage_reads_the_same_series_in_every_format(
    alphavantage: Callable[[str], Any], intraday: bool
) -> None:
    def ask(form: str) -> Any:
        client = alphavantage(form)
        if intraday:
            return client.get_intraday("AAPL", interval="5min", outputsize="full")[0]
        return client.get_daily("AAPL", outputsize="full")[0]

    series, table = await run(lambda: ask("json")), await run(lambda: ask("pandas"))
    header, *rows = await run(lambda: [*ask("csv")])
    assert ["timestamp", "open", "high", "low", "close", "volume"] == header
    assert [[time, *row.values()] for time, row in series.items()] == rows
    assert [float(row[4]) for row in rows] == table["4. close"].tolist()
    assert LAST_CLOSE == float(rows[0][4])


async def test_alpha_vantage_s_errors_are_no_tables(alphavantage: Callable[[str], Any]) -> None:
    with pytest.raises(ValueError, match="Invalid API call"):
        await run(lambda: alphavantage("json").get_daily("NOSUCH"))
    lines = await run(lambda: [*alphavantage("csv").get_daily("NOSUCH")[0]])
    assert "Error Message" in str(lines)


async def test_alpha_vantage_reads_news(
    alphavantage: Callable[[str], Any], sandbox: Sandbox
) -> None:
    intelligence = pytest.importorskip("alpha_vantage.alphaintelligence")
    client = intelligence.AlphaIntelligence("key", output_format="pandas")
    table, _ = await run(lambda: client.get_news_sentiment("IBM"))
    assert len(table) > 10
