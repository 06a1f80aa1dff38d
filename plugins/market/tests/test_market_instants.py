"""Times of vendors: whatever they send, no frame holds the future, and no time is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argo_mw import InvalidAnswer, Outcome
from argo_mw.plugin import Call, Upstream
from argo_mw.testing import FakePlugin
from argo_mw_market.frames import make_frame, problem_of
from argo_mw_market.instants import EARLIEST, MAX_SKEW, Instants
from argo_mw_sandbox import Sandbox
from argo_mw_sandbox.vendors.protocol import Answer

NOW = datetime(2026, 8, 14, 15, 0, tzinfo=UTC).timestamp()
INSTANTS = Instants(NOW)
BAR = [10.0, 12.0, 9.0, 11.0, 100.0]
DAY = 86_400
NEW_YORK = ZoneInfo("America/New_York")


def read(times: Callable[[], np.ndarray]) -> tuple[np.ndarray, str]:
    """Return the times that were read, or none and the error."""
    try:
        return times(), ""
    except ValueError as error:
        return np.empty(0), str(error)


def within(seconds: np.ndarray) -> bool:
    return bool(((seconds >= EARLIEST) & (seconds <= NOW + MAX_SKEW)).all())


@given(st.lists(st.integers() | st.integers(0, 2 * int(NOW * 1000)), max_size=5))
@example([-9 * 10**18])
@example([int(NOW) * 10**9])
@example([10**400])
def test_milliseconds_become_times_that_have_been_or_one_error(numbers: list[int]) -> None:
    seconds, error = read(lambda: INSTANTS.from_milliseconds(numbers))
    assert within(seconds)
    assert not error or "now it is 2026-08-14 15:00:00 UTC" in error


@given(
    st.lists(
        st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), NEW_YORK])),
        max_size=5,
    )
)
@example([datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))])
@example([datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))])
def test_moments_become_times_that_have_been_or_one_error(moments: list[datetime]) -> None:
    seconds, error = read(lambda: INSTANTS.from_datetimes(moments))
    assert within(seconds)
    assert error or [one.timestamp() for one in moments] == seconds.tolist()


@given(st.lists(st.text() | st.dates().map(str), max_size=3))
@example(["NaT"])
@example([""])
@example(["now"])
@example(["2026-08-13T00:00:00Z"])
@example(["0001-01-01"])
@example(["9999-12-31"])
def test_local_days_become_times_that_have_been_or_one_line(texts: list[str]) -> None:
    seconds, error = read(lambda: INSTANTS.from_local(texts, "%Y-%m-%d", NEW_YORK))
    assert within(seconds)
    assert "\n" not in error
    days = [datetime.fromtimestamp(one, NEW_YORK).date().isoformat() for one in seconds.tolist()]
    assert error or texts == days


def test_a_clock_that_is_a_little_ahead_is_believed_and_no_more() -> None:
    at = int((NOW + MAX_SKEW) * 1000)
    assert NOW + MAX_SKEW == INSTANTS.from_milliseconds([at])[0]
    with pytest.raises(ValueError, match="in the future.*check this machine's clock"):
        INSTANTS.from_milliseconds([at + 1])


def test_a_time_in_another_unit_is_called_that() -> None:
    for unit in (1, 10**6, 10**9):
        with pytest.raises(ValueError, match="in another unit"):
            INSTANTS.from_milliseconds([int(NOW) * unit])


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_no_frame_has_a_time_that_is_missing(seconds: list[float]) -> None:
    try:
        frame = make_frame(np.array(seconds), np.array([BAR] * len(seconds)))
    except ValueError:
        return
    assert problem_of(frame) is None
    assert frame.index[0].timestamp() <= frame.index[-1].timestamp()


@pytest.mark.parametrize(
    "times", [["NaT", "2026-08-13"], ["2026-08-13", "2026-08-12"], ["2026-08-13", "2026-08-13"]]
)
def test_a_frame_of_anyone_with_such_times_is_no_answer(times: list[str]) -> None:
    frame = make_frame(np.array([0.0, 1.0]), np.array([BAR, BAR]))
    frame.index = pd.DatetimeIndex(times, tz="UTC")
    assert "not ascending, or one is missing" in str(problem_of(frame))


def massive(seconds: list[float]) -> object:
    names = dict(zip("ohlcv", BAR, strict=True))
    return {"status": "OK", "results": [{"t": int(s * 1000), **names} for s in seconds]}


def alpaca(seconds: list[float]) -> object:
    names = dict(zip("ohlcv", BAR, strict=True))
    times = [datetime.fromtimestamp(s, UTC).isoformat() for s in seconds]
    return {"bars": {"IBM": [{"t": t, **names} for t in times]}, "next_page_token": None}


def alphavantage(seconds: list[float]) -> object:
    columns = ("open", "high", "low", "close", "volume")
    row = {f"{i}. {name}": str(BAR[i - 1]) for i, name in enumerate(columns, 1)}
    form = "%Y-%m-%d %H:%M:%S"
    times = [datetime.fromtimestamp(s, NEW_YORK).strftime(form) for s in seconds]
    return {"Time Series (60min)": dict.fromkeys(times[::-1], row)}


VENDORS = {"massive": massive, "alpaca": alpaca, "alphavantage": alphavantage}


@pytest.fixture
def bars_of(sandbox: Sandbox, open_argo, monkeypatch: pytest.MonkeyPatch):
    """Asks *vendor* for bars, which answers with bars that start at *seconds*."""

    async def ask(vendor: str, seconds: list[float]) -> pd.DataFrame:
        body = json.dumps(VENDORS[vendor](seconds)).encode()
        made = type(sandbox.endpoint(vendor).vendor)
        monkeypatch.setattr(made, "answer", lambda *_: Answer(body))
        async with open_argo(vendor) as argo:
            frame = await argo.call("bars", symbol="IBM", timeframe="1Hour", days=5)
        assert isinstance(frame, pd.DataFrame)
        return frame

    return ask


@pytest.mark.parametrize("ahead", [MAX_SKEW + 1.0, 86_400.0, 174 * 365 * 86_400.0])
async def test_an_upstream_of_another_plugin_has_no_bars_of_the_future_either(
    sandbox, open_argo, ahead: float
) -> None:
    async def fetch(_: Call) -> Outcome:
        times = np.array([sandbox.clock.time(), sandbox.clock.time() + ahead])
        return Outcome(make_frame(times, np.array([BAR, BAR])))

    other = FakePlugin(upstreams=[Upstream("other", {"bars"}, fetch)])
    async with open_argo("other", plugins={"other": other}) as argo:
        with pytest.raises(InvalidAnswer, match="lies in the future"):
            await argo.call("bars", symbol="IBM")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda good, now: now + MAX_SKEW + 1.0, id="a minute ahead"),
        pytest.param(lambda good, now: now + 5 * 3600.0, id="hours ahead"),
        pytest.param(lambda good, now: 7_258_118_400.0, id="the year 2200"),
    ],
)
async def test_a_bar_of_the_future_makes_any_vendor_s_answer_invalid(
    sandbox, bars_of, vendor: str, place: int, changed: Callable[[float, float], float]
) -> None:
    now = sandbox.clock.time()
    hour = now // 3600 * 3600
    seconds = [hour - 7200.0, hour - 3600.0, hour]
    assert seconds == [at.timestamp() for at in (await bars_of(vendor, seconds)).index]
    seconds[place] = changed(seconds[place], now)
    with pytest.raises(InvalidAnswer, match="lies in the future, now it is") as failed:
        await bars_of(vendor, seconds)
    assert vendor in str(failed.value)


@pytest.mark.parametrize("unit", [1e-3, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("places", [[0], [2], [0, 2], [0, 1, 2]])
async def test_bars_in_other_and_mixed_units_are_one_clear_error(
    sandbox, bars_of, unit: float, places: list[int]
) -> None:
    hour = sandbox.clock.time() // 3600 * 3600
    seconds = [hour - 7200.0, hour - 3600.0, hour]
    seconds = [s * unit if i in places else s for i, s in enumerate(seconds)]
    with pytest.raises(InvalidAnswer, match="malformed bars of IBM: .* lies"):
        await bars_of("massive", seconds)


@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        (
            "alpaca",
            {
                "news": [
                    {"headline": "h", "created_at": "2200-01-01T00:00:00Z", "symbols": ["IBM"]}
                ],
                "next_page_token": None,
            },
        ),
        ("alphavantage", {"feed": [{"title": "t", "time_published": "22000101T000000"}]}),
    ],
)
async def test_an_article_of_the_future_makes_the_answer_invalid(
    sandbox, open_argo, monkeypatch, vendor: str, body: object
) -> None:
    made = type(sandbox.endpoint(vendor).vendor)
    monkeypatch.setattr(made, "answer", lambda *_: Answer(json.dumps(body).encode()))
    async with open_argo(news=vendor) as argo:
        with pytest.raises(InvalidAnswer, match="in the future"):
            await argo.call("news", symbol="IBM")
