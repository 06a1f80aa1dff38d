"""The market data vendors' protocols over real sockets."""

from datetime import UTC, datetime

import httpx2
import pytest

from argo_mw_sandbox import FREE_PLAN, Sandbox, SandboxConfig

BARS = "/v2/stocks/bars"
AGGREGATES = "/v2/aggs/ticker/AAPL/range/1/day/2013-01-02/2013-03-01"


async def ask(
    client: httpx2.AsyncClient, sandbox: Sandbox, vendor: str, path: str, **query: str | int
) -> httpx2.Response:
    return await client.get(sandbox.url(vendor) + path, params=query or None)


async def test_alpaca_serves_the_real_last_close(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    response = await ask(
        client, sandbox, "alpaca", BARS, symbols="AAPL,NONE", timeframe="1Day", start="2013-03-01"
    )
    bar = {"t": "2013-03-01T05:00:00Z", "o": 438.0, "h": 438.1799, "l": 429.98, "c": 430.47}
    served = response.json()["bars"]
    assert list(served) == ["AAPL"]
    assert bar == {name: served["AAPL"][0][name] for name in bar}
    assert response.json()["next_page_token"] is None


@pytest.mark.parametrize("limit", [1, 7, 40, 10_000])
@pytest.mark.parametrize("sort", ["asc", "desc"])
async def test_alpaca_pages_split_symbols_and_lose_nothing(
    sandbox: Sandbox, client: httpx2.AsyncClient, limit: int, sort: str
) -> None:
    query = {
        "symbols": "MSFT,AAPL",
        "timeframe": "1Day",
        "start": "2013-02-01",
        "end": "2013-03-01",
        "sort": sort,
    }
    seen: list[tuple[str, str]] = []
    token: str | None = ""
    while token is not None:
        page = await ask(client, sandbox, "alpaca", BARS, **query, limit=limit, page_token=token)
        content = page.json()
        rows = [(s, bar["t"]) for s, bars in content["bars"].items() for bar in bars]
        assert len(rows) <= limit
        seen += rows
        token = content["next_page_token"]
    assert 2 * 20 == len(seen) == len(set(seen))
    assert seen == sorted(seen, key=lambda row: row[0])
    assert [t for s, t in seen if s == "AAPL"] == sorted(
        (t for s, t in seen if s == "AAPL"), reverse=sort == "desc"
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"timeframe": "1Day"}, "symbols is required"),
        ({"symbols": "AAPL"}, "timeframe is required"),
        ({"symbols": "AAPL", "timeframe": "1Year"}, "invalid timeframe: 1Year"),
        ({"symbols": "AAPL,$X", "timeframe": "1Day"}, "invalid symbol: $X"),
        ({"symbols": "AAPL", "timeframe": "1Day", "limit": "0"}, "invalid limit"),
        ({"symbols": "AAPL", "timeframe": "1Day", "sort": "up"}, "invalid sort: up"),
        ({"symbols": "AAPL", "timeframe": "1Day", "page_token": "!"}, "invalid page_token"),
        ({"symbols": "AAPL", "timeframe": "1Day", "start": "soon"}, "cannot read 'soon'"),
    ],
)
async def test_alpaca_refuses_a_bad_request_in_whole(
    sandbox: Sandbox, client: httpx2.AsyncClient, query: dict[str, str], message: str
) -> None:
    response = await ask(client, sandbox, "alpaca", BARS, **query)
    assert response.status_code == 400
    assert message in response.json()["message"]


async def test_alpaca_sells_no_recent_sip_bars_on_the_free_plan(client: httpx2.AsyncClient) -> None:
    query = {"symbols": "AAPL", "timeframe": "1Day", "start": "2013-02-01", "end": "2013-03-02"}
    async with Sandbox(SandboxConfig(paid=False, speed=0)) as sandbox:
        sip = await ask(client, sandbox, "alpaca", BARS, **query)
        iex = await ask(client, sandbox, "alpaca", BARS, **query, feed="iex")
    assert sip.status_code == 403
    assert sip.json()["message"] == "subscription does not permit querying recent SIP data"
    assert iex.status_code == 200


async def test_alpaca_serves_crypto_around_the_clock(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    query = {"symbols": "BTC/USD", "timeframe": "1Hour", "start": "2013-02-23", "end": "2013-02-23"}
    response = await ask(client, sandbox, "alpaca", "/v1beta3/crypto/us/bars", **query)
    assert len(response.json()["bars"]["BTC/USD"]) == 24


async def test_stocks_and_crypto_have_endpoints_of_their_own(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    crypto = await ask(
        client, sandbox, "alpaca", "/v1beta3/crypto/us/bars", symbols="SYN001", timeframe="1Day"
    )
    assert (crypto.status_code, crypto.json()["message"]) == (400, "invalid symbol: SYN001")
    lost = await ask(client, sandbox, "alpaca", "/v2/options/bars")
    assert lost.status_code == 404


async def test_news_is_synthetic_says_so_and_never_comes_early(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.clock.set(datetime(2013, 2, 20, 20, 30, tzinfo=UTC))
    alpaca = await ask(client, sandbox, "alpaca", "/v1beta1/news", symbols="AAPL", limit=50)
    vantage = await ask(
        client,
        sandbox,
        "alphavantage",
        "/query",
        function="NEWS_SENTIMENT",
        tickers="AAPL",
        apikey="k",
    )
    news, feed = alpaca.json()["news"], vantage.json()["feed"]
    assert news
    assert {"synthetic"} == {item["source"] for item in [*news, *feed]}
    assert max(item["created_at"] for item in news) < "2013-02-20T20:30:00Z"
    assert max(item["time_published"] for item in feed) < "20130220T203000"
    assert isinstance(feed[0]["overall_sentiment_score"], float)
    assert isinstance(feed[0]["ticker_sentiment"][0]["ticker_sentiment_score"], str)


async def test_alpaca_news_is_paged(sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    seen: list[int] = []
    token: str | None = ""
    while token is not None:
        page = await ask(
            client,
            sandbox,
            "alpaca",
            "/v1beta1/news",
            symbols="AAPL,MSFT",
            limit=5,
            page_token=token,
        )
        seen += [item["id"] for item in page.json()["news"]]
        token = page.json()["next_page_token"]
    assert len(seen) > 5
    assert len(seen) == len(set(seen))


async def test_massive_links_its_pages(sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    url: str | None = sandbox.url("massive") + AGGREGATES + "?limit=15"
    times: list[int] = []
    while url:
        content = (await client.get(url)).json()
        assert content["status"] == "OK"
        assert len(content["results"]) == content["resultsCount"]
        times += [bar["t"] for bar in content["results"]]
        url = content.get("next_url")
    assert 41 == len(times) == len(set(times))
    assert times == sorted(times)


async def test_massive_links_work_behind_the_base_url_as_its_sdk_has_it(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    first = (await ask(client, sandbox, "massive", AGGREGATES, limit=15)).json()
    link = httpx2.URL(first["next_url"])
    second = await client.get(sandbox.url("massive") + link.raw_path.decode())
    assert second.json() == (await client.get(first["next_url"])).json()
    assert second.json()["resultsCount"] == 15


async def test_massive_leaves_results_out_where_there_are_none(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    path = AGGREGATES.replace("AAPL", "NONE")
    content = (await ask(client, sandbox, "massive", path)).json()
    assert "results" not in content
    assert content["resultsCount"] == 0


async def test_massive_has_crypto_under_its_prefix_only(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    crypto = AGGREGATES.replace("AAPL", "X:BTCUSD")
    bare = AGGREGATES.replace("AAPL", "BTCUSD")
    assert (await ask(client, sandbox, "massive", crypto)).json()["resultsCount"] == 59
    assert (await ask(client, sandbox, "massive", bare)).json()["resultsCount"] == 0


async def test_massive_sorts_both_ways(sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    up = (await ask(client, sandbox, "massive", AGGREGATES)).json()["results"]
    down = (await ask(client, sandbox, "massive", AGGREGATES, sort="desc")).json()["results"]
    assert up == down[::-1]


@pytest.mark.parametrize(
    "path",
    [
        AGGREGATES.replace("day", "fortnight"),
        AGGREGATES.replace("2013-01-02", "soon"),
        AGGREGATES.replace("2013-01-02", "2014-01-02"),
        AGGREGATES + "?limit=0",
    ],
)
async def test_massive_refuses_a_bad_request(
    sandbox: Sandbox, client: httpx2.AsyncClient, path: str
) -> None:
    response = await ask(client, sandbox, "massive", path)
    assert (response.status_code, response.json()["status"]) == (400, "ERROR")


async def test_alpha_vantage_writes_strings_newest_first(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    query = {"function": "TIME_SERIES_DAILY", "symbol": "AAPL", "apikey": "k"}
    content = (await ask(client, sandbox, "alphavantage", "/query", **query)).json()
    series = content["Time Series (Daily)"]
    assert "2013-03-01" == content["Meta Data"]["3. Last Refreshed"] == next(iter(series))
    assert len(series) == 100
    assert series["2013-03-01"]["4. close"] == "430.4700"
    assert sorted(series, reverse=True) == list(series)


async def test_alpha_vantage_tells_complete_days_only(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.clock.set(datetime(2013, 2, 20, 20, 30, tzinfo=UTC))
    query = {"function": "TIME_SERIES_DAILY", "symbol": "AAPL", "apikey": "k"}
    content = (await ask(client, sandbox, "alphavantage", "/query", **query)).json()
    assert content["Meta Data"]["3. Last Refreshed"] == "2013-02-19"


async def test_alpha_vantage_intraday_is_eastern_time(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    query = {"function": "TIME_SERIES_INTRADAY", "symbol": "AAPL", "interval": "60min"}
    content = (
        await ask(
            client,
            sandbox,
            "alphavantage",
            "/query",
            **query,
            apikey="k",
            month="2012-11",
            outputsize="full",
        )
    ).json()
    series = content["Time Series (60min)"]
    assert next(iter(series)) == "2012-11-30 15:00:00"
    assert {"2012-11"} == {stamp[:7] for stamp in series}


@pytest.mark.parametrize(
    ("query", "key", "text"),
    [
        ({"function": "TIME_SERIES_DAILY", "symbol": "NONE"}, "Error Message", "Invalid API call"),
        ({"function": "TIME_SERIES_WRONG"}, "Error Message", "does not exist"),
        (
            {"function": "TIME_SERIES_INTRADAY", "symbol": "AAPL", "interval": "2min"},
            "Error Message",
            "Invalid API call",
        ),
        ({"function": "NEWS_SENTIMENT", "time_from": "x"}, "Information", "Invalid inputs"),
        ({"function": "NEWS_SENTIMENT", "sort": "x"}, "Information", "Invalid inputs"),
        (
            {"function": "TIME_SERIES_DAILY", "symbol": "AAPL", "outputsize": "x"},
            "Error Message",
            "Invalid API call",
        ),
        (
            {
                "function": "TIME_SERIES_INTRADAY",
                "symbol": "AAPL",
                "interval": "1min",
                "month": "2012-13",
            },
            "Error Message",
            "Invalid API call",
        ),
    ],
)
async def test_alpha_vantage_errors_are_200(
    sandbox: Sandbox, client: httpx2.AsyncClient, query: dict[str, str], key: str, text: str
) -> None:
    response = await ask(client, sandbox, "alphavantage", "/query", **query, apikey="k")
    assert (200, [key]) == (response.status_code, list(response.json()))
    assert text in response.json()[key]
    assert sandbox.counts_of("alphavantage").failed == 1


async def test_bars_say_where_they_come_from(sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    async def source(vendor: str, path: str) -> str:
        return (await client.get(sandbox.url(vendor) + path)).headers["X-Sandbox-Source"]

    assert await source("alpaca", BARS + "?symbols=AAPL&timeframe=1Day&start=2013-02-01") == "real"
    assert (
        await source("alpaca", BARS + "?symbols=AAPL,SYN001&timeframe=1Min&start=2013-03-01")
        == "real days with drawn minutes, synthetic"
    )
    assert await source("massive", AGGREGATES.replace("AAPL", "X:BTCUSD")) == "synthetic"
    query = "/query?function=TIME_SERIES_INTRADAY&symbol=IBM&interval=5min&apikey=k"
    assert await source("alphavantage", query) == "real days with drawn minutes"


async def test_alpha_vantage_premium_needs_a_paid_plan(client: httpx2.AsyncClient) -> None:
    query = {"function": "TIME_SERIES_DAILY", "symbol": "AAPL", "outputsize": "full"}
    async with Sandbox(SandboxConfig(paid=False)) as sandbox:
        free = await ask(client, sandbox, "alphavantage", "/query", **query, apikey="k")
    async with Sandbox(SandboxConfig()) as sandbox:
        paid = await ask(client, sandbox, "alphavantage", "/query", **query, apikey="k")
    assert "premium endpoint" in free.json()["Information"]
    assert len(paid.json()["Time Series (Daily)"]) == 3270


@pytest.mark.parametrize("vendor", ["alpaca", "massive", "alphavantage", "claude", "deepseek"])
async def test_paths_that_a_vendor_lacks_are_404(
    sandbox: Sandbox, client: httpx2.AsyncClient, vendor: str
) -> None:
    response = await client.get(sandbox.url(vendor) + "/v9/none?apikey=k")
    assert response.status_code == 404


async def test_massive_takes_milliseconds_and_pages_backwards(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    start = int(datetime(2013, 1, 2, tzinfo=UTC).timestamp() * 1000)
    path = AGGREGATES.replace("2013-01-02", str(start)) + "?limit=25&sort=desc"
    first = (await client.get(sandbox.url("massive") + path)).json()
    rest = (await client.get(first["next_url"])).json()
    times = [bar["t"] for bar in first["results"] + rest["results"]]
    assert len(times) == 41
    assert times == sorted(times, reverse=True)
    assert "next_url" not in rest


async def test_quotas_are_answered_in_each_vendors_words(client: httpx2.AsyncClient) -> None:
    config = SandboxConfig(quotas={name: FREE_PLAN[name] for name in ("alpaca", "massive")})
    query = {"symbols": "AAPL", "timeframe": "1Day"}
    async with Sandbox(config) as sandbox:
        alpaca = [await ask(client, sandbox, "alpaca", BARS, **query) for _ in range(201)]
        massive = [await ask(client, sandbox, "massive", AGGREGATES) for _ in range(6)]
        reset = sandbox.clock.time()
    assert alpaca[0].headers["X-Ratelimit-Remaining"] == "199"
    assert reset < int(alpaca[0].headers["X-Ratelimit-Reset"]) <= reset + 61
    assert [response.status_code for response in alpaca] == [200] * 200 + [429]
    assert alpaca[-1].json()["message"] == "too many requests."
    assert [response.status_code for response in massive] == [200] * 5 + [429]
    assert "maximum requests per minute" in massive[-1].json()["error"]


@pytest.mark.parametrize(
    ("vendor", "path", "status"),
    [("alpaca", BARS, 403), ("massive", AGGREGATES, 401), ("alphavantage", "/query", 200)],
)
async def test_a_missing_or_wrong_key_is_refused(vendor: str, path: str, status: int) -> None:
    async with Sandbox(SandboxConfig(keys=frozenset({"right"}))) as sandbox:
        for headers in ({}, {"Authorization": "Bearer wrong", "APCA-API-KEY-ID": "wrong"}):
            async with httpx2.AsyncClient(headers=headers) as client:
                response = await client.get(sandbox.url(vendor) + path)
            assert status == response.status_code
        assert sandbox.counts_of(vendor).failed == 2
