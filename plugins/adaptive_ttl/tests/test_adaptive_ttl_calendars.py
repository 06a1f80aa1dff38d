"""Calendars and the symbols that keep them."""

from __future__ import annotations

import ast
import re
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import exchange_calendars
import pytest
import pytz
from exchange_calendars.calendar_utils import resolve_alias
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import BadParameter, ConfigError
from argo_mw_adaptive_ttl import (
    Calendar,
    Calendars,
    ExtendedHours,
    Phase,
    calendar_of,
    exchanges,
    pair_of,
)

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

NEW_YORK = pytz.timezone("America/New_York")
LONDON = pytz.timezone("Europe/London")
SHANGHAI = pytz.timezone("Asia/Shanghai")
TOKYO = pytz.timezone("Asia/Tokyo")

calendars = Calendars()
around_the_clock = Calendars(extended={"XNYS": ExtendedHours(pre="04:00", post="20:00")})


@pytest.fixture(scope="module")
def tokyo() -> Calendar:
    return Calendars().of("7203.T", 1_718_726_400.0)


def at(zone: pytz.BaseTzInfo, year: int, month: int, day: int, hour: int, minute: int) -> datetime:
    return zone.localize(datetime(year, month, day, hour, minute))


@pytest.mark.parametrize(
    ("symbol", "when", "expected"),
    [
        ("AAPL", at(NEW_YORK, 2024, 11, 29, 12, 55), Phase.OPEN),  # the day after Thanksgiving
        ("AAPL", at(NEW_YORK, 2024, 11, 29, 13, 5), Phase.CLOSED),
        ("AAPL", at(NEW_YORK, 2024, 6, 19, 11, 0), Phase.CLOSED),  # Juneteenth
        ("AAPL", at(NEW_YORK, 2024, 6, 18, 9, 29), Phase.CLOSED),
        ("AAPL", at(NEW_YORK, 2024, 6, 18, 9, 30), Phase.OPEN),
        ("AAPL", at(NEW_YORK, 2024, 6, 18, 16, 0), Phase.CLOSED),
        ("AAPL", at(NEW_YORK, 2024, 6, 22, 12, 0), Phase.CLOSED),  # Saturday
        ("AAPL", at(NEW_YORK, 2024, 3, 8, 9, 30), Phase.OPEN),  # the last day of winter time
        ("AAPL", at(NEW_YORK, 2024, 3, 11, 9, 29), Phase.CLOSED),  # the first of summer time
        ("AAPL", at(NEW_YORK, 2024, 3, 11, 9, 30), Phase.OPEN),
        ("AAPL", at(NEW_YORK, 2024, 11, 4, 15, 59), Phase.OPEN),  # the first of winter time
        ("AAPL", at(NEW_YORK, 2024, 11, 4, 16, 0), Phase.CLOSED),
        ("BTC-USD", at(pytz.utc, 2024, 6, 23, 3, 0), Phase.OPEN),  # Sunday
        ("VOD.L", at(LONDON, 2024, 6, 18, 8, 0), Phase.OPEN),
        ("VOD.L", at(LONDON, 2024, 6, 18, 16, 29), Phase.OPEN),
        ("VOD.L", at(LONDON, 2024, 6, 18, 16, 30), Phase.CLOSED),
        ("VOD.L", at(LONDON, 2024, 8, 26, 12, 0), Phase.CLOSED),  # summer bank holiday
        ("7203.T", at(TOKYO, 2024, 6, 18, 11, 29), Phase.OPEN),
        ("7203.T", at(TOKYO, 2024, 6, 18, 12, 0), Phase.BREAK),
        ("7203.T", at(TOKYO, 2024, 6, 18, 12, 30), Phase.OPEN),
        ("7203.T", at(TOKYO, 2024, 6, 18, 15, 0), Phase.CLOSED),
        ("EUR/USD", at(pytz.utc, 2024, 6, 22, 12, 0), Phase.CLOSED),  # Saturday
        ("EUR/USD", at(pytz.utc, 2024, 6, 18, 3, 0), Phase.OPEN),
    ],
)
def test_a_market_is_open_when_it_is(symbol: str, when: datetime, expected: Phase) -> None:
    assert expected == calendars.phase(symbol, when)


@pytest.mark.parametrize(
    ("hour", "minute", "expected"),
    [
        (3, 59, Phase.CLOSED),
        (4, 0, Phase.PRE),
        (9, 30, Phase.OPEN),
        (16, 0, Phase.POST),
        (20, 0, Phase.CLOSED),
    ],
)
def test_extended_hours_lie_between_open_and_closed(
    hour: int, minute: int, expected: Phase
) -> None:
    when = at(NEW_YORK, 2024, 6, 18, hour, minute)

    assert expected == around_the_clock.phase("AAPL", when)


def test_extended_hours_follow_the_exchanges_own_clock_into_summer_time() -> None:
    assert Phase.CLOSED == around_the_clock.phase("AAPL", at(NEW_YORK, 2024, 3, 11, 3, 59))
    assert Phase.PRE == around_the_clock.phase("AAPL", at(NEW_YORK, 2024, 3, 11, 4, 0))
    assert Phase.POST == around_the_clock.phase("AAPL", at(NEW_YORK, 2024, 3, 11, 19, 59))


def test_a_naive_datetime_is_refused() -> None:
    """It names no moment; exchange_calendars would take it for UTC and say nothing."""
    with pytest.raises(BadParameter, match="no time zone"):
        calendars.phase("AAPL", datetime(2024, 6, 18, 12, 0))


@pytest.mark.parametrize(
    "ticker", ["METH", "ETHO", "BTCS", "ETH", "BTC", "NASDAQ:METH", "BRK-B", "BF.B", "BAC-PRK"]
)
def test_letters_inside_a_ticker_make_no_pair(ticker: str) -> None:
    """The plan took every symbol with BTC or ETH in it for crypto."""
    assert pair_of(ticker) is None
    assert "XNYS" == calendar_of(ticker, {}, "XNYS")


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("BTC-USD", ("BTC", "USD")),
        ("eth/usdt", ("ETH", "USDT")),
        ("BTCUSD", ("BTC", "USD")),
        ("X:PEPEUSD", ("PEPE", "USD")),
        ("COINBASE:LTCUSD", ("LTC", "USD")),
        ("KRAKEN:NEWUSD", ("NEW", "USD")),
        ("C:EURUSD", ("EUR", "USD")),
        ("BTCBUSD", ("BTC", "BUSD")),
    ],
)
def test_a_pair_is_known_by_its_form(symbol: str, expected: tuple[str, str]) -> None:
    assert expected == pair_of(symbol)


AROUND_THE_CLOCK = """
    BTC/USDT:USDT ETH/USD:ETH BTC/USDT:USDT-260925 BTC-PERP BTC-PERPETUAL BTC-USDT-SWAP BTCUSDT.P
    1000PEPEUSDT WIFUSDT 1INCHUSD BTCUSD_PERP XBTUSDTM PF_XBTUSD BTC-27NOV26 XAUUSD XAU/USD SOLUSDA
    USD/CNH BTC.X BTC-USD.CC CRYPTO:BTC CME:BTC1! BINANCE:SOLUSDT KRAKEN:WIFUSD
    ES=F GC=F BTC=F /ES /ESU6 ESU6 ES1! CME_MINI:ES1! CME:ES1! ESU6.CME ^GSPC I:SPX
"""


@pytest.mark.parametrize("symbol", AROUND_THE_CLOCK.split())
def test_what_trades_around_the_clock_never_counts_as_closed(symbol: str) -> None:
    for hour in range(0, 7 * 24, 5):
        when = at(pytz.utc, 2026, 8, 10, 0, 0) + timedelta(hours=hour)
        assert Phase.OPEN == calendars.phase(symbol, when)


@pytest.mark.parametrize("symbol", ["EURUSD=X", "JPY=X", "C:EURUSD", "EUR/USD", "EURUSD"])
def test_currencies_trade_from_sunday_to_friday_evening_in_new_york(symbol: str) -> None:
    for month in (1, 8):  # winter and summer time
        sunday = at(NEW_YORK, 2026, month, 11 if month == 1 else 9, 17, 0)
        assert Phase.CLOSED == calendars.phase(symbol, sunday - timedelta(minutes=1))
        for hour in range(5 * 24):
            assert Phase.OPEN == calendars.phase(symbol, sunday + timedelta(hours=hour))
        assert Phase.CLOSED == calendars.phase(symbol, sunday + timedelta(days=5))


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("FPH.NZ", "XNZE"),
        ("RELIANCE.BO", "XBOM"),
        ("RELIANCE.NS", "XBOM"),
        ("091990.KQ", "XKRX"),
        ("BBCA.JK", "XIDX"),
        ("PETR4.SA", "BVMF"),
        ("SAP.DE", "XETR"),
        ("SAP.F", "XFRA"),
        ("000001.SZ", "XSHG"),
        ("6488.TWO", "XTAI"),
        ("VOD.XLON", "XLON"),
        ("LSE:VOD", "XLON"),
        ("XTKS:7203", "XTKS"),
        ("TSX:SHOP", "XTSE"),
        ("NYSE:BAC", "XNYS"),
        ("vod.l", "XLON"),
        ("TABC.AE", "unknown"),
        ("EMAAR.QA", "unknown"),
        ("VOD.XX", "unknown"),
        ("CEZ.PR", "unknown"),
        ("7203", "unknown"),
        ("TOOLONG", "unknown"),
        ("", "unknown"),
        ("Ä", "unknown"),
        ("aapl", "XNYS"),
        ("BAC.PRK", "XNYS"),
        ("BAC/PRK", "XNYS"),
        ("BAC-PK", "XNYS"),
        ("ABRpD", "XNYS"),
        ("ACHR.WS", "XNYS"),
        ("GIG.U", "XNYS"),
        ("AKO.A", "XNYS"),
        ("PBR-A", "XNYS"),
    ],
)
def test_a_symbol_has_the_calendar_of_the_exchange_that_it_names(
    symbol: str, expected: str
) -> None:
    assert expected == calendar_of(symbol, {}, "XNYS")


@given(st.text(max_size=15))
def test_only_the_form_of_a_ticker_is_taken_for_new_york(symbol: str) -> None:
    """Whatever else is asked for: what is not known counts as open."""
    if calendar_of(symbol, {}, "DEFAULT") == "DEFAULT":
        assert re.fullmatch(r"[A-Za-z]{1,7}([-./][A-Za-z]{1,3})?", symbol)


def test_the_tables_of_exchanges_are_those_of_exchange_calendars() -> None:
    known = set(exchange_calendars.get_calendar_names(include_aliases=False))
    assert exchanges.CALENDARS == known - {"24/5", "24/7", "us_futures"}
    others = set(exchange_calendars.get_calendar_names(include_aliases=True)) - known
    assert exchanges.ALIASES == {name: resolve_alias(name) for name in others}
    assert set(exchanges.SAME_HOURS.values()) <= exchanges.CALENDARS


def test_the_suffixes_are_yahoo_s() -> None:
    """Read without importing yfinance, which needs much that is not needed here."""
    found = find_spec("yfinance")
    if found is None or found.origin is None:
        pytest.skip("yfinance is not installed")
    tree = ast.parse((Path(found.origin).parent / "const.py").read_text("utf-8"))
    (codes,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MIC_TO_YAHOO_SUFFIX"
    ]
    of_exchanges = {
        suffix: code
        for code, suffix in codes.items()
        if suffix and suffix not in exchanges.AMBIGUOUS and exchanges.calendar_of_code(code)
    }
    assert of_exchanges == exchanges.SUFFIXES


@pytest.mark.parametrize("name", exchange_calendars.get_calendar_names(include_aliases=False))
def test_every_calendar_is_computed_or_counts_as_not_recorded(name: str) -> None:
    try:
        Calendars({"X": name}).of("X", at(pytz.utc, 2026, 8, 10, 0, 0).timestamp())
    except ConfigError as error:
        said = str(error)
    else:
        said = "are not recorded"
    assert "are not recorded" in said


def test_a_rule_of_the_configuration_comes_first() -> None:
    assert "XFRA" == calendar_of("VOD.L", {"*.L": "XFRA"}, "XNYS")


def test_an_unknown_calendar_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'XXXX'"):
        Calendars({"A": "XXXX"}).of("A", 1_718_726_400.0)


@pytest.mark.parametrize("year", [1970, 1996, 2262, 9999])
def test_a_moment_whose_holidays_are_not_recorded_is_an_error_that_helps(year: int) -> None:
    when = datetime(year, 6, 18, 3, 0, tzinfo=pytz.utc)
    with pytest.raises(ConfigError, match="holidays of XTKS around .* not recorded: update"):
        Calendars().phase("7203.T", when)


def test_a_market_is_known_up_to_where_its_holidays_are_recorded() -> None:
    """Those of some exchanges are published a year ahead, less than what is computed at once."""
    newest = exchange_calendars.get_calendar("XSHG").bound_max().to_pydatetime()
    monday = newest - timedelta(days=14 + newest.weekday())
    noon = Calendars().phase(
        "600000.SS", at(SHANGHAI, monday.year, monday.month, monday.day, 12, 0)
    )
    known = Calendars()

    assert noon in {Phase.BREAK, Phase.CLOSED}
    with pytest.raises(ConfigError, match="XSHG"):
        known.of("600000.SS", newest.timestamp() + 40 * 86_400)
    assert known.lacks("600000.SS", newest.timestamp() + 40 * 86_400)
    assert not known.lacks("600000.SS", newest.timestamp())


@given(offset=st.integers(0, 300 * 86_400))
def test_minutes_and_moments_agree(tokyo: Calendar, offset: int) -> None:
    """Whatever the moment: that many minutes of the day are over, and not one more."""
    moment = 1_718_726_400.0 + offset
    day = tokyo.day(moment)
    over = day.over(moment)

    assert 0 <= over <= day.minutes
    if over:
        assert day.when(over) <= moment
    if over < day.minutes:
        assert day.when(over + 1) > moment


def test_edges_are_computed_anew_beyond_what_is_known() -> None:
    """A process that runs for years does not run out of sessions."""
    known = Calendars()
    first = known.of("AAPL", 1_718_726_400.0)
    later = 1_718_726_400.0 + 2 * 365 * 86_400

    assert not first.covers(later)
    assert known.ready("AAPL", later) is None
    assert known.of("AAPL", later).covers(later)
