"""Bars over real sockets, from every vendor."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from argo_mw import (
    Action,
    AllUpstreamsFailed,
    BadParameter,
    InvalidAnswer,
    NotFound,
    Outcome,
    QuotaExceeded,
    UpstreamError,
)
from argo_mw.plugin import RequestSent, context_of
from argo_mw.testing import capture_events
from argo_mw_market import alpaca, massive
from argo_mw_market.frames import problem_of
from argo_mw_sandbox import Fault, Sandbox
from argo_mw_sandbox.vendors.protocol import Answer

VENDORS = ("alpaca", "massive", "alphavantage")
REAL = ("AAPL", "GOOG", "IBM", "MSFT", "FB")


def requests(sandbox: Sandbox, vendor: str) -> object:
    return sandbox.counts()[vendor]["requests"]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_every_vendor_answers_the_same_frame(sandbox, open_argo, vendor: str) -> None:
    async with open_argo("alpaca") as argo:
        expected = await argo.call("bars", symbol="IBM")
    async with open_argo(vendor) as argo:
        outcome = await argo.outcome("bars", symbol="IBM")
    frame = outcome.value
    assert vendor == outcome.upstream
    assert problem_of(frame) is None
    assert len(frame) > 55
    pd.testing.assert_frame_equal(expected, frame)


async def test_a_number_of_days_may_be_one_of_numpys(sandbox, open_argo) -> None:
    async with open_argo("alpaca") as argo:
        frame = await argo.call("bars", symbol="IBM", days=np.int64(5))
        plain, of_numpy = (
            context_of(argo).make_call("bars", "", {"symbol": "IBM", "days": days})
            for days in (5, np.int64(5))
        )
    assert len(frame) > 2
    assert (plain.key, int) == (of_numpy.key, type(of_numpy.parameters["days"]))


@pytest.mark.parametrize("vendor", VENDORS)
async def test_minutes_of_every_vendor_are_the_same(sandbox, open_argo, vendor: str) -> None:
    question = {"symbol": "IBM", "timeframe": "30Min", "days": 5}
    async with open_argo("alpaca") as argo:
        expected = await argo.call("bars", **question)
    async with open_argo(vendor) as argo:
        frame = await argo.call("bars", **question)
    assert len(frame) > 30
    pd.testing.assert_frame_equal(expected, frame)


@pytest.mark.parametrize("vendor", ["alpaca", "massive"])
async def test_pairs_trade_on_every_day(sandbox, open_argo, vendor: str) -> None:
    async with open_argo(vendor) as argo:
        outcome = await argo.outcome("bars", symbol="BTC/USD", days=14)
    assert 15 == len(outcome.value)
    assert {0, 1, 2, 3, 4, 5, 6} == set(outcome.value.index.day_of_week)
    assert sandbox.clock.time() == outcome.as_of


async def test_an_answer_speaks_for_now_when_the_market_has_closed_since(
    sandbox, open_argo
) -> None:
    async with open_argo("alpaca") as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
    assert sandbox.clock.time() == outcome.as_of


async def test_an_answer_in_the_session_speaks_for_its_last_minute(sandbox, open_argo) -> None:
    sandbox.clock.set(datetime(2013, 2, 27, 16, 0, 20, tzinfo=UTC))
    async with open_argo("massive") as argo:
        outcome = await argo.outcome("bars", symbol="AAPL", timeframe="1Min", days=1)
    assert datetime(2013, 2, 27, 16, tzinfo=UTC).timestamp() == outcome.as_of


async def test_a_hundred_symbols_go_in_one_request(sandbox, open_argo) -> None:
    drawn = [s["symbol"] for s in sandbox.symbols() if s["market"] == "stocks"]
    symbols = (list(REAL) + [s for s in drawn if s not in REAL])[:100]
    async with open_argo("alpaca") as argo:
        answers = await argo.map("bars", symbols)
    assert 100 == sum(isinstance(answer, Outcome) for answer in answers.values())
    assert 1 == requests(sandbox, "alpaca")
    assert pytest.approx(1.0) == sum(answer.cost.requests for answer in answers.values())


async def test_stocks_and_pairs_together_take_two_requests(sandbox, open_argo) -> None:
    async with open_argo("alpaca") as argo:
        answers = await argo.map("bars", [*REAL, "BTC-USD", "ETH-USD"])
    assert all(isinstance(answer, Outcome) for answer in answers.values())
    assert 2 == requests(sandbox, "alpaca")


async def test_a_symbol_that_alpaca_refuses_leaves_the_others_answered(
    sandbox, open_argo, monkeypatch
) -> None:
    drawn = [s["symbol"] for s in sandbox.symbols() if s["market"] == "stocks"]
    symbols = [*drawn[:99], "BAD"]
    # Our own check lets through what Alpaca's does not: it refuses the whole request for it.
    monkeypatch.setattr(alpaca, "_spelling", lambda s: "b@d" if s.name == "BAD" else s.name)
    async with open_argo("alpaca") as argo:
        answers = await argo.map("bars", symbols)
    assert 99 == sum(isinstance(answer, Outcome) for answer in answers.values())
    assert isinstance(answers["BAD"], NotFound)
    assert 2 == requests(sandbox, "alpaca")


async def test_a_single_refused_symbol_is_not_found(sandbox, open_argo, monkeypatch) -> None:
    monkeypatch.setattr(alpaca, "_spelling", lambda s: "b@d")
    async with open_argo("alpaca") as argo:
        with pytest.raises(NotFound, match="does not know this symbol"):
            await argo.call("bars", symbol="BAD")
    assert 1 == requests(sandbox, "alpaca")


async def test_the_configured_feed_is_asked_for(open_argo, sandbox) -> None:
    """On a free plan the sandbox has no recent bars of the feed that is the default."""
    keys = {"key": "k", "secret": "s", "url": sandbox.url("alpaca")}
    asked: list[str] = []
    endpoint = sandbox.endpoint("alpaca")
    receive = endpoint.receive
    endpoint.receive = lambda ask, now: asked.append(ask.query.get("feed", "")) or receive(ask, now)
    async with open_argo("alpaca", alpaca={**keys, "feed": "iex"}) as argo:
        assert len(await argo.call("bars", symbol="IBM")) > 55
        assert len(await argo.call("bars", symbol="BTC-USD")) > 55
    assert ["iex", ""] == asked


BODIES = {
    "alpaca": [
        b"[]",
        b'{"bars":{"IBM":[{"t":"yesterday","o":1,"h":1,"l":1,"c":1,"v":1}]}}',
        b'{"bars":{"IBM":[{"t":"2013-03-01T05:00:00Z","o":0,"h":1,"l":1,"c":1,"v":1}]}}',
    ],
    "massive": [b"null", b'{"status":"OK","results":[{"t":"x","o":1,"h":1,"l":1,"c":1,"v":1}]}'],
    "alphavantage": [
        b"{}",
        b'{"Time Series (Daily)":[]}',
        b'{"Time Series (Daily)":{"2013-03-01":{"1. open":"1"}}}',
        (
            b'{"Time Series (Daily)":{"someday":{"1. open":"1","2. high":"1","3. low":"1",'
            b'"4. close":"1","5. volume":"1"}}}'
        ),
        b'{"Information":{"nested":true}}',
    ],
}


@pytest.mark.parametrize(("vendor", "body"), [(v, b) for v, all_ in BODIES.items() for b in all_])
async def test_answers_of_another_shape_are_refused_in_one_line(
    sandbox, open_argo, monkeypatch, vendor: str, body: bytes
) -> None:
    made = sandbox.endpoint(vendor).vendor
    monkeypatch.setattr(type(made), "answer", lambda *_: Answer(body))
    async with open_argo(vendor) as argo:
        with pytest.raises(UpstreamError) as failed:
            await argo.call("bars", symbol="IBM")
    assert failed.value.action is Action.SWITCH
    assert "\n" not in str(failed.value)


async def test_a_symbol_without_bars_leaves_the_others_answered(sandbox, open_argo) -> None:
    async with open_argo("alpaca") as argo:
        answers = await argo.map("bars", [*REAL, "ZZZZ"])
    assert isinstance(answers["ZZZZ"], InvalidAnswer)
    assert "check the symbol" in str(answers["ZZZZ"])
    assert 5 == sum(isinstance(answer, Outcome) for answer in answers.values())


async def test_a_failure_of_pairs_leaves_stocks_answered(sandbox, open_argo) -> None:
    sandbox.set_fault("alpaca", Fault("sip", symbol="BTC/USD"))
    async with open_argo("alpaca") as argo:
        answers = await argo.map("bars", ["AAPL", "BTC-USD", "IBM", "ETH-USD"])
    kinds = {symbol: type(answer) for symbol, answer in answers.items()}
    assert kinds["AAPL"] is kinds["IBM"] is Outcome
    assert kinds["BTC-USD"] is kinds["ETH-USD"] is UpstreamError


async def test_every_request_that_is_sent_is_announced(sandbox, open_argo, monkeypatch) -> None:
    monkeypatch.setattr(alpaca, "_MAX_BARS", 40)
    async with open_argo() as argo:
        events = capture_events(argo)
        await argo.map("bars", [*REAL, "BTC-USD", "ZZZZ"])
    announced = Counter(event.upstream for event in events.of(RequestSent))
    sent = {vendor: requests(sandbox, vendor) for vendor in VENDORS}
    assert announced == sent
    assert announced["alpaca"] > 8


async def test_pages_are_put_together(sandbox, open_argo, monkeypatch) -> None:
    async with open_argo("alpaca") as argo:
        whole = await argo.map("bars", REAL)
    sandbox.reset_counts()
    monkeypatch.setattr(alpaca, "_MAX_BARS", 40)
    async with open_argo("alpaca") as argo:
        pages = await argo.map("bars", REAL)
    assert 8 == requests(sandbox, "alpaca")
    for symbol in REAL:
        pd.testing.assert_frame_equal(whole[symbol].value, pages[symbol].value)


async def test_the_limit_of_pages_grows_with_the_number_of_symbols(open_argo, monkeypatch) -> None:
    monkeypatch.setattr(alpaca, "_MAX_BARS", 40)
    monkeypatch.setattr(alpaca, "MAX_PAGES", 2)
    async with open_argo("alpaca") as argo:
        together = await argo.map("bars", REAL)
    assert [] == [s for s, o in together.items() if not isinstance(o, Outcome)]


async def test_links_to_next_pages_are_followed(sandbox, open_argo, monkeypatch) -> None:
    async with open_argo("massive") as argo:
        whole = await argo.call("bars", symbol="IBM")
    sandbox.reset_counts()
    monkeypatch.setattr(massive, "_MAX_BARS", 40)
    async with open_argo("massive") as argo:
        outcome = await argo.outcome("bars", symbol="IBM")
    pd.testing.assert_frame_equal(whole, outcome.value)
    assert 2 == requests(sandbox, "massive") == outcome.cost.requests


async def test_further_pages_are_charged_to_the_quota(sandbox, open_argo, monkeypatch) -> None:
    monkeypatch.setattr(massive, "_MAX_BARS", 40)
    async with open_argo("massive", per_minute=1) as argo:
        with pytest.raises(QuotaExceeded, match="1 per minute"):
            await argo.call("bars", symbol="IBM")
    assert 1 == requests(sandbox, "massive")


@pytest.mark.parametrize("vendor", ["alpaca", "massive"])
async def test_endless_pages_end(sandbox, open_argo, monkeypatch, vendor: str) -> None:
    module = {"alpaca": alpaca, "massive": massive}[vendor]
    monkeypatch.setattr(module, "_MAX_BARS", 1)
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    async with open_argo(vendor) as argo:
        with pytest.raises(UpstreamError, match="more than 3 pages"):
            await argo.call("bars", symbol="IBM")
    assert 3 == requests(sandbox, vendor)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("fault", "text"), [("empty", "no 1Day bars|malformed"), ("stale", "stale")]
)
async def test_empty_and_stale_answers_are_invalid(
    sandbox, open_argo, vendor: str, fault: str, text: str
) -> None:
    sandbox.set_fault(vendor, fault)
    async with open_argo(vendor) as argo:
        with pytest.raises(InvalidAnswer, match=text):
            await argo.call("bars", symbol="AAPL")


async def test_the_next_vendor_answers_when_one_fails(sandbox, open_argo) -> None:
    sandbox.set_fault("alpaca", "garbage")
    sandbox.set_fault("massive", "not_authorized")
    async with open_argo() as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
    assert "alphavantage" == outcome.upstream


async def test_when_no_vendor_answers_every_cause_is_reported(sandbox, open_argo) -> None:
    for vendor in VENDORS:
        sandbox.set_fault(vendor, "garbage")
    async with open_argo() as argo:
        with pytest.raises(AllUpstreamsFailed) as failed:
            await argo.call("bars", symbol="AAPL")
    assert 3 == len(failed.value.causes)
    assert all(vendor in str(failed.value) for vendor in VENDORS)


@pytest.mark.parametrize(
    "question",
    [
        {"symbol": "no symbol"},
        {"symbol": "AAPL", "timeframe": "1day"},
        {"symbol": "AAPL", "days": 0},
        {"symbol": "AAPL", "days": "90"},
        {"symbol": "AAPL", "days": True},
        {"symbol": "AAPL", "days": 5.0},
        {"symbol": "AAPL", "days": np.array([5, 6])},
    ],
)
async def test_a_bad_question_is_refused_before_any_vendor_is_asked(
    sandbox, open_argo, question: dict[str, object]
) -> None:
    async with open_argo() as argo:
        with pytest.raises(BadParameter):
            await argo.call("bars", **question)
    assert [0, 0, 0] == [requests(sandbox, vendor) for vendor in VENDORS]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_cancelling_all_callers_ends_the_request(sandbox, open_argo, vendor: str) -> None:
    sandbox.set_fault(vendor, "stall")
    async with open_argo(vendor) as argo:
        callers = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await until(lambda: sandbox.counts()[vendor]["in_flight"])
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        await until(lambda: not sandbox.counts()[vendor]["in_flight"])
    counts = sandbox.counts()[vendor]
    assert counts["requests"] == counts["disconnects"] > 0
    assert all(caller.cancelled() for caller in callers)


@pytest.mark.parametrize(
    ("paid", "question", "text"),
    [
        (True, {"symbol": "BTC-USD"}, "has no bars of pairs like BTC-USD"),
        (True, {"symbol": "IBM", "timeframe": "1Min", "days": 60}, "has 30 days of 1Min bars"),
        (False, {"symbol": "IBM", "timeframe": "1Min", "days": 1}, "only daily bars on the free"),
        (False, {"symbol": "IBM", "days": 300}, "has 100 bars on the free plan"),
    ],
)
async def test_data_that_alpha_vantage_lacks_costs_no_request(
    sandbox, open_argo, paid: bool, question: dict[str, object], text: str
) -> None:
    table = {"key": "k", "paid": paid, "url": sandbox.url("alphavantage")}
    async with open_argo("alphavantage", alphavantage=table) as argo:
        with pytest.raises(UpstreamError, match=text):
            await argo.call("bars", **question)
    assert 0 == requests(sandbox, "alphavantage")


async def test_the_free_plan_of_alpha_vantage_answers_the_default_question(
    sandbox, open_argo
) -> None:
    table = {"key": "k", "url": sandbox.url("alphavantage")}
    async with open_argo("alphavantage", alphavantage=table) as argo:
        frame = await argo.call("bars", symbol="IBM")
    assert len(frame) > 55


async def test_the_paid_plan_of_alpha_vantage_answers_years(sandbox, open_argo) -> None:
    async with open_argo("alphavantage") as argo:
        frame = await argo.call("bars", symbol="IBM", days=1000)
    assert len(frame) > 600


async def test_cancelling_one_caller_does_not_cancel_the_batch(sandbox, open_argo) -> None:
    sandbox.set_fault("alpaca", Fault("stall", hold=0.5))
    async with open_argo("alpaca") as argo:
        callers = [asyncio.create_task(argo.call("bars", symbol=s)) for s in REAL]
        await sandbox.until(lambda: sandbox.counts_of("alpaca").in_flight > 0)
        callers[0].cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert 4 == sum(isinstance(answer, pd.DataFrame) for answer in answers)
    assert 0 == sandbox.counts()["alpaca"]["disconnects"]


async def until(true) -> None:
    """Return once *true* is: the sandbox notices things when its sockets do."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)
