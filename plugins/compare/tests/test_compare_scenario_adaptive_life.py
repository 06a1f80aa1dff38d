"""The scenario of the adaptive life, for one symbol and a day."""

from __future__ import annotations

import pandas as pd
import pytest

from argo_mw_compare.scenarios.adaptive_life import AdaptiveLife, Seen, Tally
from argo_mw_compare.scenarios.fixed_life import error_at, life_for
from argo_mw_compare.scenarios.prices import Prices
from argo_mw_compare.scenarios.promise import by_key
from argo_mw_compare.scenarios.scenario import measure


def rising(*closes: float) -> Prices:
    """Return the prices of a symbol whose minutes begin at 0, 60, …."""
    starts = [60.0 * number for number in range(len(closes))]
    frame = pd.DataFrame({"close": closes}, index=pd.to_datetime(starts, unit="s", utc=True))
    return Prices("AAPL", starts, closes, frame)


def test_a_week_is_told_apart_into_its_phases_and_saves_while_the_market_is_closed(tmp_path):
    found = measure(AdaptiveLife(symbols=("AAPL",), days=1, every=600.0), tmp_path)
    requests = by_key([found])["adaptive_life.requests"]
    assert 140 <= requests["before"] <= 144
    assert requests["ours"] < 0.5
    phases = ["all sessions", "calm session", "closed market"]
    assert phases == sorted({one.phase for one in found.shown})
    assert found.said[0].startswith("In the sessions together: ")


def test_a_phase_in_which_prices_are_staler_is_named():
    calm, stormy = Tally(100, [1.0]), Tally(100, [9.0])
    before = Seen({"calm session": calm, "storm": calm}, ())
    after = Seen({"calm session": calm, "storm": stormy}, ())
    [_, staler] = AdaptiveLife().findings(before, after).said
    assert "Staler than the original's: storm, 3.00 bp instead of 1.00." == staler


def test_no_minute_is_answered_before_it_is_complete():
    prices = rising(10.0, 11.0, 12.0)
    assert (10.0, 10.0, 11.0) == (prices.at(60.0), prices.at(119.0), prices.at(120.0))
    assert [10.0, 11.0] == list(prices.answer(179.0)["close"])


def test_the_range_of_a_session_is_from_its_lowest_price_to_its_highest():
    assert rising(10.0, 8.0, 12.0, 99.0).day_range(0.0, 180.0) == pytest.approx(0.5)


def test_a_fixed_life_is_found_that_makes_as_many_requests():
    prices = rising(*(100.0 + number for number in range(60)))
    reads = [(60.0 * (1 + number), prices) for number in range(50)]
    life = life_for(reads, 10)
    assert 240.0 < life <= 300.0
    assert error_at(reads, life) > error_at(reads, 60.0) == 0.0
