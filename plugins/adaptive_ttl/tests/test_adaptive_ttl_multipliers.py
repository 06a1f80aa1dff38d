"""The policy ``multipliers``: all rules of the plan."""

from __future__ import annotations

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_adaptive_ttl import (
    Calendar,
    Calendars,
    ExtendedHours,
    MultiplierConfig,
    MultiplierPolicy,
    Phase,
    Regime,
    Situation,
)
from argo_mw_adaptive_ttl.config import DATA_TYPES
from argo_mw_adaptive_ttl.symbol import Symbol

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
NOON = 1_718_726_400.0  # Tuesday 2024-06-18, 12:00 in New York
NIGHT = NOON + 12 * 3600

TYPES = {
    "market_data": 1.0,
    "indicators": 1.5,
    "sentiment": 2.0,
    "ai_reasoning": 10.0,
    "consensus": 3.0,
}
REGIMES = {Regime.VOLATILE: 0.7, Regime.CONSOLIDATION: 1.5}


class Still:
    """A detector with a fixed regime."""

    def __init__(self, regime: Regime) -> None:
        self.regime = regime

    def learn(self, move: float, expected: float, trend: float) -> None:
        """Nothing changes it."""


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendars().of("AAPL", NOON)


def situation(
    calendar: Calendar, data_type: str, volatility: float | None, regime: Regime, at: float
) -> Situation:
    symbol = Symbol("AAPL", calendar, calendar.day(at), Still(regime))
    return GivenVolatility(data_type, "AAPL", at, calendar, symbol, given=volatility)


@frozen(eq=False)
class GivenVolatility(Situation):
    """A situation whose volatility is given exactly, zero included."""

    given: float | None = None

    @property
    def volatility(self) -> float | None:
        return self.given


@given(
    data_type=st.sampled_from(DATA_TYPES),
    volatility=st.one_of(st.none(), st.just(0.0), st.floats(0.0, 0.2)),
    regime=st.sampled_from(list(Regime)),
    is_open=st.booleans(),
)
def test_the_multipliers_are_those_of_the_plan(
    calendar: Calendar,
    data_type: str,
    volatility: float | None,
    regime: Regime,
    is_open: bool,
) -> None:
    """Base x type x volatility x regime x hours, clamped: 0.0 is low, unknown changes nothing."""
    expected = 120.0 * TYPES[data_type]
    if volatility is not None and volatility > 0.05:
        expected *= 0.5
    if volatility is not None and volatility < 0.01:
        expected *= 2.0
    expected *= REGIMES.get(regime, 1.0) * (1.0 if is_open else 3.0)
    expected = max(10.0, min(expected, 3600.0))

    at = NOON if is_open else NIGHT
    decision = MultiplierPolicy(MultiplierConfig()).decide(
        situation(calendar, data_type, volatility, regime, at)
    )

    assert pytest.approx(decision.ttl) == expected


def test_a_volatility_of_zero_counts_as_low(calendar: Calendar) -> None:
    """The plan's rule asked ``if volatility:`` and so ignored a market that stands still."""
    still = situation(calendar, "market_data", 0.0, Regime.UNKNOWN, NOON)

    assert 240.0 == MultiplierPolicy(MultiplierConfig()).decide(still).ttl


def test_an_answer_without_a_subject_lives_by_its_type() -> None:
    assert (
        240.0 == MultiplierPolicy(MultiplierConfig()).decide(Situation("sentiment", "", NOON)).ttl
    )


def test_every_number_can_be_configured(calendar: Calendar) -> None:
    config = MultiplierConfig(
        base_ttl=100.0,
        indicators=3.0,
        high_volatility=0.02,
        when_high=0.1,
        volatile=0.5,
        min_ttl=1.0,
    )

    ttl = (
        MultiplierPolicy(config)
        .decide(situation(calendar, "indicators", 0.03, Regime.VOLATILE, NOON))
        .ttl
    )

    assert pytest.approx(100.0 * 3.0 * 0.1 * 0.5) == ttl


@pytest.mark.parametrize("data_type", ["", "weather"])
def test_a_data_type_without_a_factor_counts_as_plain_data(
    calendar: Calendar, data_type: str
) -> None:
    known = situation(calendar, data_type, None, Regime.UNKNOWN, NOON)
    decision = MultiplierPolicy(MultiplierConfig()).decide(known)

    assert (120.0, f"data, {SIGMA} unknown, UNKNOWN, open") == (decision.ttl, decision.why())


@pytest.mark.parametrize(("hour", "expected"), [(5, 240.0), (12, 120.0), (17, 240.0), (22, 360.0)])
def test_before_and_after_the_session_have_a_factor_of_their_own(
    hour: int, expected: float
) -> None:
    """Between open and closed, where the calendar says that there is trading."""
    long_day = Calendars(extended={"XNYS": ExtendedHours("04:00", "20:00")}).of("AAPL", NOON)
    at = NOON + (hour - 12) * 3600
    known = situation(long_day, "market_data", None, Regime.UNKNOWN, at)

    assert MultiplierPolicy(MultiplierConfig(extended_hours=2.0)).decide(known).ttl == expected


@pytest.mark.parametrize("name", ["base_ttl", "closed", "max_ttl", "when_low"])
def test_a_number_that_is_not_positive_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be above 0"):
        MultiplierConfig(**{name: 0.0})


def test_the_reason_names_what_is_known(calendar: Calendar) -> None:
    decision = MultiplierPolicy(MultiplierConfig()).decide(
        situation(calendar, "market_data", 0.031, Regime.VOLATILE, NIGHT)
    )

    assert f"market_data, {SIGMA} 3.1 %/day, VOLATILE, {Phase.CLOSED.value}" == decision.why()
