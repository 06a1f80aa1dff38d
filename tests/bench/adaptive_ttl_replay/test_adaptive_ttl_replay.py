"""The harness of the bench: no policy sees what it has not fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from argo_mw_adaptive_ttl import Calendars, ErrorBudget, Situation, Symbol, TtlDecision
from tests.bench.adaptive_ttl_replay.compare import phases_of
from tests.bench.adaptive_ttl_replay.fixed import count, fit
from tests.bench.adaptive_ttl_replay.replay import Tally, reads_of, replay
from tests.bench.adaptive_ttl_replay.score import Sums, ratio_of
from tests.bench.adaptive_ttl_replay.series import Era, Segment, Series, eras_of, walk

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

MONDAY = 1_704_722_400.0
POLICY = {"policy": "error_budget", "error_budget": {"fetches": 0.1}}


def era(*series: Series) -> Era:
    calendar = Calendars().of("AAPL", MONDAY)
    segments = []
    for one in series:
        minutes = one.ends[:-1]
        first = calendar.day(minutes[0]).number
        days = tuple(calendar.day(minute).number - first for minute in minutes)
        segments.append(Segment(one, minutes, days))
    return Era(tuple(segments))


def two_stocks() -> tuple[Series, Series]:
    calendar = Calendars().of("AAPL", MONDAY)
    return walk(calendar, MONDAY, 3, seed="AAPL"), walk(calendar, MONDAY, 3, seed="MSFT")


def with_another_future(series: Series, after: float) -> Series:
    """The same bars up to *after*, and others from there on."""
    logs = tuple(
        level + (300.0 if end > after else 0.0)
        for end, level in zip(series.ends, series.logs, strict=True)
    )
    closes = tuple(float(np.exp(level / 1e4)) for level in logs)
    return evolve(series, logs=logs, closes=closes)


def until(tallies: list[Tally], moment: float) -> list[list[float]]:
    return [[at for at in tally.fetched_at if at <= moment] for tally in tallies]


@pytest.fixture(autouse=True)
def _state_of_each_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each replay keep what it learns in its own directory, or the next would begin with it."""
    monkeypatch.delenv("ARGO_MW_STATE_DIR", raising=False)


Decided = tuple[float, str, object]


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[Decided]:
    """Record all decisions of the policy with their moments: times to live and early expiries."""
    noted: list[Decided] = []
    decide, is_due = ErrorBudget.decide, ErrorBudget.is_due

    def note_decision(self: ErrorBudget, situation: Situation) -> TtlDecision:
        made = decide(self, situation)
        noted.append((situation.now, situation.subject, (made.ttl, made.recheck)))
        return made

    def note_due(self: ErrorBudget, symbol: Symbol, now: float) -> bool:
        made = is_due(self, symbol, now)
        noted.append((now, symbol.name, made))
        return made

    monkeypatch.setattr(ErrorBudget, "decide", note_decision)
    monkeypatch.setattr(ErrorBudget, "is_due", note_due)
    return noted


@pytest.mark.parametrize("nth", [20, 50, 90])
async def test_bars_that_were_not_revealed_change_no_earlier_decision(
    nth: int, decided: list[Decided]
) -> None:
    """The bars after a fetch change neither it, nor the fetches before it, nor their decisions.

    A time to live that was chosen with hindsight would show in fetches only when it ends.
    """
    aapl, msft = two_stocks()
    known = await replay([era(aapl, msft)], 1, policy=POLICY)
    moment = known[0].fetched_at[nth]
    known_decisions = [one for one in decided if one[0] <= moment]
    decided.clear()
    other = await replay([era(with_another_future(aapl, moment), msft)], 1, policy=POLICY)
    other_decisions = [one for one in decided if one[0] <= moment]

    assert until(known, moment) == until(other, moment)
    assert known_decisions == other_decisions
    assert known_decisions[-1][:2] == (moment, "AAPL")
    assert known[0].fetched_at != other[0].fetched_at


async def test_the_policy_keeps_to_its_budget_and_reads_are_all_scored() -> None:
    aapl, msft = two_stocks()
    place = era(aapl, msft)
    tallies = await replay([place], 2, policy=POLICY)

    for segment, tally in zip(place.segments, tallies, strict=True):
        assert len(reads_of(segment, 2)) == len(tally.squares)
        assert 0.09 <= tally.fetches / len(tally.squares) <= 0.11


async def test_a_fixed_time_to_live_makes_the_fetches_it_was_fitted_to() -> None:
    aapl, _ = two_stocks()
    place = era(aapl)
    runs = [[reads_of(place.segments[0], seed)] for seed in range(5)]
    ttl = fit(runs, 117.0)
    made = [(await replay([place], seed, policy=None, ttls=(ttl,)))[0].fetches for seed in range(5)]

    assert [count(reads[0], ttl) for reads in runs] == made
    assert pytest.approx(sum(made) / 5, rel=0.01) == 117.0


async def test_each_stretch_of_a_series_has_its_own_time_to_live_and_fetches() -> None:
    """A thin series is cut where nothing was traded for days, and another one goes on meanwhile."""
    aapl, msft = two_stocks()
    (whole,) = era(aapl).segments
    stretches = [
        evolve(whole, minutes=whole.minutes[part], days=whole.days[part])
        for part in (slice(300), slice(600, None))
    ]
    place = Era((*stretches, *era(msft).segments))
    ttls = (120.0, 600.0, 300.0)
    tallies = await replay([place], 1, policy=None, ttls=ttls)

    assert [
        count(reads_of(segment, 1), ttl) for segment, ttl in zip(place.segments, ttls, strict=True)
    ] == [tally.fetches for tally in tallies]


def test_what_was_never_wrong_is_compared_with_its_equal() -> None:
    never, once = Sums.of(5), Sums.of(5)
    for sums, squares in ((never, 0.0), (once, 4.0)):
        sums.add(np.arange(5), np.full(5, squares), 5, 1.0)

    assert (1.0, None) == (ratio_of(never, never).value, ratio_of(never, never).low)
    assert float("inf") == ratio_of(once, never).value


async def test_a_read_that_fetches_is_not_off() -> None:
    """With an answer that never lives, every read sees the truth."""
    aapl, _ = two_stocks()
    (tally,) = await replay([era(aapl)], 1, policy=None, ttls=(0.001,))

    assert max(tally.squares) == 0.0


def test_equal_policies_have_a_ratio_of_one() -> None:
    sums = Sums.of(5)
    sums.add(np.arange(5), np.arange(5.0), 3, 1.0)
    ratio = ratio_of(sums, sums)

    assert (ratio.value, ratio.low, ratio.high) == (1.0, 1.0, 1.0)


def test_an_era_with_a_short_series_is_run_three_times_as_often() -> None:
    """Its companions may be as long as they like: the short one needs the runs."""
    aapl, msft = two_stocks()
    long = evolve(era(aapl).segments[0], minutes=tuple(range(6_000)))
    short = era(msft).segments[0]

    assert range(20) == phases_of([Era((long,))], (0,), 20)
    assert range(60) == phases_of([Era((long, short))], (0,), 20)
    assert range(20) == phases_of([Era((long,)), Era((evolve(short, series=aapl),))], (0,), 20)


def test_a_gap_of_four_days_begins_a_new_era(tmp_path: Path) -> None:
    import gzip

    rows = ["time,open,high,low,close,volume"]
    times = [f"2024-06-{day:02d}T00:{minute:02d}:00Z" for day in (1, 10) for minute in (0, 5)]
    rows += [f"{time},1,1,1,1,1" for time in times]
    with gzip.open(tmp_path / "BTCUSD_coinbase_1m.csv.gz", "wt") as file:
        file.write("\n".join(rows))
    eras = eras_of(tmp_path, Calendars(), skip=0)

    assert len(eras) == 2
    assert [len(one.segments[0].minutes) for one in eras] == [5, 5]
    assert [one.segments[0].days[0] for one in eras] == [0, 1]
    assert eras[0].segments[0].series.symbol == "COINBASE:BTCUSD"
