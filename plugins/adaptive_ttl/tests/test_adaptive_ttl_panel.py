"""The panel of prices: how old the last known ones are, and how far off they may be."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from argo_mw.plugin import View
from argo_mw.testing import FakeClock
from argo_mw_adaptive_ttl.calendars import Calendars
from argo_mw_adaptive_ttl.panel import panel
from argo_mw_adaptive_ttl.regime import Efficiency
from argo_mw_adaptive_ttl.symbol import BASIS_POINTS, Symbol

NOON = datetime(2026, 3, 3, 17, 0, tzinfo=UTC).timestamp()


def shown(clock: FakeClock, *symbols: Symbol) -> View:
    view = panel(clock, lambda: symbols).read()
    assert isinstance(view, View)
    return view


def symbol(name: str, seen_at: float) -> Symbol:
    calendar = Calendars({}, default="XNYS", extended={}).of(name, seen_at)
    day = calendar.day(seen_at)
    made = Symbol(name, calendar, day, Efficiency())
    made.volatility.seed(25.0)
    made.price, made.seen_at, made.over = 187.2, seen_at, day.over(seen_at)
    return made


def test_the_error_of_a_price_grows_with_the_minutes_of_trading_since() -> None:
    clock = FakeClock(wall=NOON)
    one = symbol("AAPL", NOON - 16 * 60)
    (line,) = shown(clock, one).lines
    expected = math.sqrt(one.volatility.level * 16) / BASIS_POINTS
    assert line.cells == ("AAPL", 187.2, 960.0, expected, one.sigma_per_day, "XNYS")


def test_across_a_night_the_error_is_not_known() -> None:
    clock = FakeClock(wall=NOON)
    (line,) = shown(clock, symbol("AAPL", NOON - 86_400)).lines
    assert line.cells[3] is None


def test_the_newest_is_shown_first() -> None:
    clock = FakeClock(wall=NOON)
    view = shown(clock, symbol("AAPL", NOON - 60), symbol("MSFT", NOON))
    assert [line.cells[0] for line in view.lines] == ["MSFT", "AAPL"]
