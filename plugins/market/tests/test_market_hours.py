"""By which time a frame is dated."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from argo_mw_market import TIMEFRAMES, read_symbol
from argo_mw_market.hours import DAY as SECONDS
from argo_mw_market.hours import AgeLimits, end_of, moment_of

NEW_YORK = ZoneInfo("America/New_York")
DAY, MINUTE = TIMEFRAMES["1Day"], TIMEFRAMES["1Min"]
STOCK, PAIR = read_symbol("AAPL"), read_symbol("BTC-USD")


def at(text: str, zone: str = "America/New_York") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_a_day_of_a_stock_ends_at_its_close_not_at_midnight() -> None:
    assert at("2024-03-08T16:00") == end_of(at("2024-03-08T00:00"), STOCK, DAY)
    # The day on which clocks change is a day like any other.
    assert at("2024-03-11T16:00") == end_of(at("2024-03-11T00:00"), STOCK, DAY)


def test_a_day_of_a_pair_ends_after_24_hours() -> None:
    bar = at("2024-03-08T00:00", "UTC")
    assert bar + 86_400 == end_of(bar, PAIR, DAY)


@pytest.mark.parametrize(
    ("bar", "now", "moment"),
    [
        ("2024-03-08T00:00", "2024-03-08T11:00", "2024-03-08T11:00"),  # it is still growing
        ("2024-03-08T00:00", "2024-03-08T18:00", "2024-03-08T18:00"),  # closed for today
        ("2024-03-08T00:00", "2024-03-09T12:00", "2024-03-09T12:00"),  # Saturday
        ("2024-03-08T00:00", "2024-03-11T09:29", "2024-03-11T09:29"),  # Monday before the opening
        ("2024-03-08T00:00", "2024-03-11T09:31", "2024-03-08T16:00"),  # Monday: something is new
        ("2024-03-06T00:00", "2024-03-07T20:00", "2024-03-06T16:00"),  # a day is missing
    ],
)
def test_a_daily_frame_speaks_for_now_until_the_market_opens_again(
    bar: str, now: str, moment: str
) -> None:
    assert at(moment) == moment_of(at(bar), STOCK, DAY, at(now))


@pytest.mark.parametrize(
    ("bar", "now", "moment"),
    [
        ("2024-03-08T11:00", "2024-03-08T11:00:30", "2024-03-08T11:00:30"),
        ("2024-03-08T11:00", "2024-03-08T11:01:40", "2024-03-08T11:01"),
        ("2024-03-08T15:59", "2024-03-08T18:00", "2024-03-08T16:00"),  # traded after hours, maybe
        ("2024-03-08T19:59", "2024-03-09T12:00", "2024-03-09T12:00"),
        ("2024-03-08T19:59", "2024-03-11T03:59", "2024-03-11T03:59"),
        ("2024-03-08T19:59", "2024-03-11T04:01", "2024-03-08T20:00"),
    ],
)
def test_a_frame_of_minutes_counts_the_hours_around_the_session(
    bar: str, now: str, moment: str
) -> None:
    assert at(moment) == moment_of(at(bar), STOCK, MINUTE, at(now))


def test_a_pair_trades_around_the_clock() -> None:
    saturday = at("2024-03-09T12:00", "UTC")
    assert saturday + 60 == moment_of(saturday, PAIR, MINUTE, saturday + 3600)


def test_a_market_that_is_not_known_counts_as_open() -> None:
    """London trades before New York opens: the close of New York says nothing about it."""
    london = read_symbol("VOD.LON")
    bar, now = at("2024-03-08T00:00"), at("2024-03-11T06:00")
    assert now == moment_of(bar, STOCK, DAY, now)
    assert bar + SECONDS == moment_of(bar, london, DAY, now)


def test_a_long_weekend_is_not_stale_and_a_week_is() -> None:
    friday = at("2024-03-28T00:00")  # Good Friday is the next day
    limits = AgeLimits(stocks=5 * SECONDS, pairs=SECONDS)
    assert not limits.stale(friday, STOCK, DAY, at("2024-04-01T16:05"))
    assert limits.stale(friday, STOCK, DAY, at("2024-04-05T12:00"))


def test_a_pair_is_stale_sooner() -> None:
    bar = at("2024-03-08T00:00", "UTC")
    limits = AgeLimits(stocks=5 * SECONDS, pairs=SECONDS)
    assert not limits.stale(bar, PAIR, MINUTE, bar + 80_000)
    assert limits.stale(bar, PAIR, MINUTE, bar + 90_000)
    assert not limits.stale(bar, PAIR, DAY, bar + 4 * SECONDS)
    assert limits.stale(bar, PAIR, DAY, bar + 4 * SECONDS + 60)
