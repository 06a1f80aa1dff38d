"""Prices: real, recorded and synthetic, never later than the replayed now."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw_sandbox import SandboxConfig
from argo_mw_sandbox.assembly import build_exchange, default_now
from argo_mw_sandbox.bars import DAY, Bars, Timeframe
from argo_mw_sandbox.exchange import Exchange, Span, read_bars
from argo_mw_sandbox.instruments import Instrument
from argo_mw_sandbox.sessions import STOCKS
from argo_mw_sandbox.sources import CALM, OVERLAP, STORMY, synthetic_days

DAILY = Timeframe(1, "day")
MINUTES = Timeframe(1, "minute")
ALL = Span(0.0, 4e9, 10**6)
EXCHANGE = build_exchange(SandboxConfig())


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def read(symbol: str, timeframe: Timeframe, span: Span, now: float) -> Bars:
    instrument = EXCHANGE.find(symbol)
    assert instrument is not None
    return read_bars(instrument, timeframe, span, now).bars


def test_the_real_symbols_overlap_where_documented() -> None:
    first = max(date(2000, 1, 1), *(_days(symbol)[0] for symbol in REAL))
    last = min(_days(symbol)[1] for symbol in REAL)
    assert (first, last) == OVERLAP


REAL = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def _days(symbol: str) -> tuple[date, date]:
    time = read(symbol, DAILY, ALL, 4e9).time
    dates = [datetime.fromtimestamp(int(t), STOCKS.zone).date() for t in (time[0], time[-1])]
    return dates[0], dates[1]


def test_the_last_real_close_is_served() -> None:
    now = default_now(EXCHANGE).timestamp()
    assert read("AAPL", DAILY, ALL, now).close[-1] == 430.47


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from(["AAPL", "FB", "SYN042", "BTC-USD"]),
    frame=st.sampled_from(["1Min", "15Min", "1Hour", "1Day", "1Week"]),
    now=st.floats(at("2012-06-01"), at("2013-03-01")),
)
def test_nothing_is_served_from_beyond_now(symbol: str, frame: str, now: float) -> None:
    """What is served now is what will be served of the past later on, but for the growing bar."""
    timeframe = Timeframe.parse(frame)
    span = Span(now - 9 * DAY, 4e9, 10**6)
    bars = read(symbol, timeframe, span, now)
    later = read(symbol, timeframe, span, now + 30 * DAY)
    assert (bars.time <= now).all()
    assert bars.close[:-1].tolist() == later.close[: max(len(bars) - 1, 0)].tolist()
    minutes = read(symbol, MINUTES, span, now)
    assert (minutes.time + 60 <= now).all()
    if len(bars) and len(minutes):
        assert bars.close[-1] == minutes.close[-1]


def test_a_growing_day_is_the_sum_of_its_complete_minutes() -> None:
    noon = at("2012-11-16T17:00:00")
    day = read("AAPL", DAILY, Span(noon - DAY / 2, 4e9, 10), noon)
    minutes = read("AAPL", MINUTES, Span(noon - DAY / 2, 4e9, 1000), noon)
    assert len(minutes) == 150
    assert len(day) == 1
    assert minutes.high.max() == day.high[0]
    assert minutes.volume.sum() == day.volume[0]


def test_before_the_open_today_has_no_bar() -> None:
    morning = at("2012-11-16T13:00:00")
    assert at("2012-11-15T05:00:00") == read("AAPL", DAILY, ALL, morning).time[-1]


def test_half_days_end_at_one() -> None:
    friday = Span(at("2012-11-23"), at("2012-11-24"), 1000)
    assert at("2012-11-23T17:59:00") == read("AAPL", MINUTES, friday, 4e9).time[-1]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    now = default_now(EXCHANGE).timestamp()
    weeks = read("AAPL", Timeframe(1, "week"), ALL, now)
    months = read("AAPL", Timeframe(1, "month"), ALL, now)
    local = [datetime.fromtimestamp(int(t), STOCKS.zone) for t in weeks.time]
    assert {0} == {stamp.weekday() for stamp in local}
    assert {1} == {datetime.fromtimestamp(int(t), STOCKS.zone).day for t in months.time}
    assert 430.47 == weeks.close[-1] == months.close[-1]
    assert read("AAPL", DAILY, ALL, now).volume.sum() == weeks.volume.sum()


def test_the_limit_counts_from_either_end() -> None:
    now = default_now(EXCHANGE).timestamp()
    whole = read("IBM", Timeframe(1, "hour"), Span(now - 9 * DAY, now, 1000), now)
    first = read("IBM", Timeframe(1, "hour"), Span(now - 9 * DAY, now, 10), now)
    last = read("IBM", Timeframe(1, "hour"), Span(now - 9 * DAY, now, 10, True), now)
    assert whole.time[:10].tolist() == first.time.tolist()
    assert whole.time[-10:].tolist() == last.time.tolist()


def test_vendors_spellings_name_one_instrument() -> None:
    found = {EXCHANGE.find(name) for name in ("BTC-USD", "BTC/USD", "X:BTCUSD", "btcusd")}
    assert len(found - {None}) == 1
    assert EXCHANGE.find("BTC-USD", STOCKS) is None
    assert EXCHANGE.find("NONE") is None


def test_there_are_200_synthetic_symbols_and_they_say_so() -> None:
    drawn = [each for each in EXCHANGE if each.source == "synthetic"]
    assert len(drawn) == 200
    assert {"bridge"} == {each.minutes_source for each in drawn}


def test_synthetic_prices_have_calm_and_stormy_regimes() -> None:
    _, daily = synthetic_days(STOCKS, (0, 7))
    moves = pd.Series(np.diff(np.log(daily.close)))
    rolling = moves.rolling(20).std().dropna()
    assert rolling.quantile(0.1) < 1.6 * CALM
    assert rolling.quantile(0.95) > 0.7 * STORMY
    assert (daily.low <= daily.high).all()
    assert daily.low.min() > 0


def test_equal_seeds_make_equal_synthetic_prices() -> None:
    again = build_exchange(SandboxConfig()).find("SYN001")
    other = build_exchange(SandboxConfig(seed=1)).find("SYN001")
    mine = EXCHANGE.find("SYN001")
    assert mine is not None
    assert again is not None
    assert other is not None
    assert mine.daily.close.tolist() == again.daily.close.tolist()
    assert mine.daily.close.tolist() != other.daily.close.tolist()


ROWS = pd.DataFrame(
    {
        "time": pd.date_range("2024-05-06T13:30Z", periods=500, freq="min"),
        "open": np.linspace(10, 11, 500),
        "high": np.linspace(10.2, 11.2, 500),
        "low": np.linspace(9.8, 10.8, 500),
        "close": np.linspace(10.1, 11.1, 500),
        "volume": 100.0,
    }
)


def _folder(path: Path) -> Exchange:
    return build_exchange(SandboxConfig(data=path))


def test_files_of_all_three_kinds_are_replayed(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "ONE_1m.csv", index=False)
    with gzip.open(tmp_path / "TWO.csv.gz", "wt") as stream:
        ROWS.to_csv(stream, index=False)
    ROWS.to_parquet(tmp_path / "THREE.parquet")
    exchange = _folder(tmp_path)
    for symbol in ("ONE", "TWO", "THREE"):
        instrument = exchange.find(symbol)
        assert instrument is not None
        assert (
            instrument.source,
            instrument.minutes_source,
            instrument.market.name,
        ) == ("file", "file", "stocks")
        now = default_now(exchange).timestamp()
        assert read_bars(instrument, DAILY, ALL, now).bars.close[-1] == 11.1
        assert len(read_bars(instrument, MINUTES, ALL, now).bars) == 500
    assert exchange.find("AAPL") is None


def test_a_file_that_trades_at_night_is_crypto(tmp_path: Path) -> None:
    night = ROWS.assign(time=pd.date_range("2024-05-04T01:00Z", periods=500, freq="min"))
    night.to_csv(tmp_path / "BTCUSD_x_1m.csv", index=False)
    instrument = _folder(tmp_path).find("BTC/USD")
    assert instrument is not None
    assert instrument.market.name == "crypto"


def test_daily_files_get_drawn_minutes(tmp_path: Path) -> None:
    days = ROWS.assign(time=pd.date_range("2022-01-03", periods=500, freq="B", tz="UTC"))
    days.to_csv(tmp_path / "DAYS.csv", index=False)
    instrument = _folder(tmp_path).find("DAYS")
    assert instrument is not None
    assert instrument.minutes_source == "bridge"
    assert instrument.minutes(499).close[-1] == 11.1


def test_aligned_files_end_on_one_day_at_their_own_times(tmp_path: Path) -> None:
    new = pd.date_range("2024-12-27T14:30Z", periods=300, freq="min")
    newer = pd.date_range("2024-12-31T14:30Z", periods=200, freq="min")
    ROWS.assign(time=new.append(newer)).to_csv(tmp_path / "NEW.csv", index=False)
    early = pd.date_range("2013-10-04T08:05Z", periods=300, freq="min")
    late = pd.date_range("2014-06-09T08:05Z", periods=200, freq="min")
    ROWS.assign(time=early.append(late)).to_csv(tmp_path / "OLD.csv", index=False)
    coins = pd.date_range("2018-04-05T00:00Z", periods=500, freq="5min")
    ROWS.assign(time=coins).to_csv(tmp_path / "BTCUSD.csv", index=False)
    exchange = build_exchange(SandboxConfig(data=tmp_path, align=True))
    sessions = {each.symbol: _local_days(each) for each in exchange if each.source == "file"}
    assert sessions["NEW"] == sessions["OLD"] == [date(2024, 12, 27), date(2024, 12, 31)]
    assert sessions["BTCUSD"] == [date(2024, 12, 30), date(2024, 12, 31)]
    old = exchange.find("OLD")
    assert old is not None
    assert old.market is STOCKS
    first = datetime.fromtimestamp(int(old.minutes(1).time[0]), STOCKS.zone)
    assert (first.hour, first.minute) == (4, 5)
    now = default_now(exchange).timestamp()
    for each in exchange:
        if each.source == "file":
            assert read_bars(each, DAILY, ALL, now).bars.close[-1] == 11.1


def _local_days(instrument: Instrument) -> list[date]:
    zone = instrument.market.zone
    return [datetime.fromtimestamp(int(t), zone).date() for t in instrument.daily.time]


def test_of_two_files_of_a_symbol_the_one_that_ends_last_is_used(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "X_b.csv", index=False)
    ROWS.assign(close=1.0).iloc[:-1].to_csv(tmp_path / "X_c.csv", index=False)
    instrument = _folder(tmp_path).find("X")
    assert instrument is not None
    assert instrument.daily.close[-1] == 11.1


def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "BAD.csv").write_text("time,open\n2024-01-01,1\n")
    with pytest.raises(ValueError, match=r"BAD\.csv: column high, low, close, volume is missing"):
        _folder(tmp_path)


def test_a_folder_without_bars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.csv, \.csv\.gz, \.parquet files"):
        _folder(tmp_path)


def _last(exchange: Exchange, symbol: str) -> Bars:
    instrument = exchange.find(symbol)
    assert instrument is not None
    now = default_now(exchange).timestamp()
    return read_bars(instrument, MINUTES, ALL, now).bars


def test_rows_count_by_their_instants_however_these_are_written(tmp_path: Path) -> None:
    """Over the hour that winter time repeats, text does not sort as time does."""
    autumn = pd.date_range("2024-11-03T05:00Z", periods=120, freq="min")
    local = [stamp.isoformat() for stamp in autumn.tz_convert("America/New_York")]
    rows = ROWS.iloc[:120].assign(time=local)
    rows.iloc[::-1].to_csv(tmp_path / "BTC-USD.csv", index=False)
    rows.assign(time=autumn.tz_convert("Asia/Tokyo")).to_parquet(tmp_path / "ETH-USD.parquet")
    rows.assign(time=autumn.tz_localize(None)).to_parquet(tmp_path / "LTC-USD.parquet")
    exchange = _folder(tmp_path)
    for symbol in ("BTC-USD", "ETH-USD", "LTC-USD"):
        bars = _last(exchange, symbol)
        assert autumn.as_unit("s").asi8.tolist() == bars.time.tolist()
        assert rows["close"].tolist() == bars.close.tolist()


def test_headers_in_any_case_blank_lines_and_minutes_without_a_trade_are_taken(
    tmp_path: Path,
) -> None:
    lines = [
        "Time, Open,HIGH,low ,Close,Volume,VWAP",
        "2024-05-06T13:30:00Z,1,2,1,1.5,10,7",
        "",
        "2024-05-06T13:31:00Z,,,,,,",
        "2024-05-06T13:32:00+00:00,1,2,1,1.75,10,7",
    ]
    (tmp_path / "BRK.B_1m.CSV").write_text("\ufeff" + "\n".join(lines), "utf-8")
    (tmp_path / "._BRK.B_1m.csv").write_bytes(b"what some systems leave beside a file")
    assert [1.5, 1.75] == _last(_folder(tmp_path), "BRK.B").close.tolist()


def test_of_rows_of_one_time_the_last_counts(tmp_path: Path) -> None:
    corrected = ROWS.iloc[-1:].assign(close=10.9, time="2024-05-06T21:49:00+00:00")
    pd.concat([ROWS, corrected]).to_csv(tmp_path / "X.csv", index=False)
    bars = _last(_folder(tmp_path), "X")
    assert (500, 10.9) == (len(bars), bars.close[-1])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("time", "yesterday", "line 9: its time is none in ISO 8601"),
        ("time", "", "line 9: its time is none in ISO 8601"),
        ("close", "abc", "line 9: a price is not a number above zero"),
        ("close", "", "line 9: a price is not a number above zero"),
        ("open", "0", "line 9: a price is not a number above zero"),
        ("low", "inf", "line 9: a price is not a number above zero"),
        ("volume", "-1", "line 9: its volume is not a number from zero"),
        ("high", "1", "line 9: its high is below its low"),
    ],
)
def test_a_wrong_row_is_named_with_its_file_and_line(
    tmp_path: Path, column: str, value: str, message: str
) -> None:
    rows = ROWS.astype(object)
    rows.loc[7, column] = value
    rows.to_csv(tmp_path / "BAD.csv", index=False)
    with pytest.raises(ValueError, match=rf"BAD\.csv: {message}") as failed:
        _folder(tmp_path)
    assert "\n" not in str(failed.value)


def test_times_that_are_bare_numbers_are_not_guessed_at(tmp_path: Path) -> None:
    ROWS.assign(time=ROWS["time"].astype("int64")).to_parquet(tmp_path / "X.parquet")
    with pytest.raises(ValueError, match=r"X\.parquet: row 1: its time is none in ISO 8601"):
        _folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("X.csv.gz", gzip.compress(ROWS.to_csv().encode())[:900]),
        ("X.csv.gz", gzip.compress(ROWS.to_csv().encode())[:400] + b"\0" * 400),
        ("X.csv.gz", b"no gzip"),
        ("X.parquet", b"no parquet"),
        ("X.csv", b""),
        ("X.csv", b"time;open;high;low;close;volume\n"),
        ("X.csv", b"time,open,high,low,close,volume,Close\n"),
        ("X.csv", b"time,open,high,low,close,volume\n"),
        ("X.csv", b"time,open,high,low,close,volume\n1,2\n1,2,3,4,5,6,7,8\n"),
        ("X.csv", bytes(range(256))),
        ("_1m.csv", b"time,open,high,low,close,volume\n"),
    ],
)
def test_a_file_that_is_no_table_of_bars_is_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name) as failed:
        _folder(tmp_path)
    assert "\n" not in str(failed.value)
