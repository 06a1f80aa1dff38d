"""Voices: what they say about series whose answer is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_signals.news_sentiment import HALF_LIFE, news_sentiment
from argo_mw_signals.voices import PRICE_VOICES, mean_reversion, momentum, trend, volume
from argo_mw_signals.votes import complaint, read_vote

NOW = 1_700_000_000.0


def bars(close: np.ndarray, *, at: float = 0.5, traded: float = 1000.0) -> pd.DataFrame:
    """Bars with these closes, each at the share *at* of its range."""
    low = close - 0.01 * close * at
    index = pd.date_range("2024-01-01", periods=len(close), freq="D", tz="UTC", name="time")
    columns = {
        "open": close,
        "high": low + 0.01 * close,
        "low": low,
        "close": close,
        "volume": np.full(len(close), traded),
    }
    return pd.DataFrame(columns, index=index)


def walk(drift: float, seed: int = 1, count: int = 62) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(drift, 0.01, count)
    return 100.0 * np.exp(np.cumsum(noise))


def test_trend_and_momentum_follow_a_rise_and_a_fall() -> None:
    for voice in (trend, momentum):
        assert voice(bars(walk(0.01))).score > 0.3
        assert voice(bars(walk(-0.01))).score < -0.3


def test_mean_reversion_goes_against_the_last_move() -> None:
    close = walk(0.0)
    close[-1] *= 1.08
    assert mean_reversion(bars(close)).score < -0.5
    close[-1] *= 0.85
    assert mean_reversion(bars(close)).score > 0.5


def test_volume_hears_closes_near_the_high_and_near_the_low() -> None:
    assert volume(bars(walk(0.0), at=0.95)).score > 0.5
    assert volume(bars(walk(0.0), at=0.05)).score < -0.5


@pytest.mark.parametrize("name", sorted(PRICE_VOICES))
@given(
    close=st.lists(st.floats(0.01, 1e6), min_size=62, max_size=90),
    factor=st.sampled_from([0.125, 8.0, 1024.0]),
)
def test_every_vote_is_in_range_and_does_not_depend_on_the_currency(
    name: str, close: list[float], factor: float
) -> None:
    prices = np.array(close)
    vote = PRICE_VOICES[name](bars(prices))
    assert complaint(vote) is None
    other = PRICE_VOICES[name](bars(prices * factor))
    assert other.score == pytest.approx(vote.score, abs=1e-6)
    assert other.confidence == pytest.approx(vote.confidence, abs=1e-6)


@pytest.mark.parametrize("name", sorted(PRICE_VOICES))
def test_a_flat_series_is_no_reason_to_act(name: str) -> None:
    vote = PRICE_VOICES[name](bars(np.full(62, 50.0)))
    assert abs(vote.score) < 0.05


@pytest.mark.parametrize("name", sorted(PRICE_VOICES))
def test_too_few_bars_are_said_to_be(name: str) -> None:
    with pytest.raises(ValueError, match="bars and got 5"):
        PRICE_VOICES[name](bars(walk(0.0, count=5)))


def test_no_volume_is_said_to_be() -> None:
    with pytest.raises(ValueError, match="no volume"):
        volume(bars(walk(0.0), traded=0.0))


@frozen
class Article:
    title: str
    hours: float = 0.0
    sentiment: float | None = None
    relevance: float = 1.0

    @property
    def published(self) -> datetime:
        return datetime.fromtimestamp(NOW, UTC) - timedelta(hours=self.hours)


def test_scored_articles_count_by_age_and_relevance() -> None:
    old = Article("", hours=HALF_LIFE / 3600, sentiment=-1.0)
    new = Article("", sentiment=1.0)
    assert news_sentiment([old, new], NOW).score == pytest.approx(np.tanh(2 / 3))
    aside = Article("", sentiment=-1.0, relevance=0.1)
    assert news_sentiment([new, aside], NOW).score > 0.9


def test_unscored_headlines_are_read_by_their_words_and_count_for_half() -> None:
    good = news_sentiment([Article("ACME beats estimates as sales surge")], NOW)
    bad = news_sentiment([Article("ACME misses, shares plunge")], NOW)
    assert good.score > 0.9
    assert bad.score < -0.9
    assert good.confidence == news_sentiment([Article("", sentiment=1.0)], NOW).confidence / 2


@pytest.mark.parametrize(
    ("articles", "reason"),
    [([], "no recent news"), ([Article("ACME to speak at event")], "none with a sentiment")],
)
def test_news_that_say_nothing_are_sure_of_nothing(articles: list[Article], reason: str) -> None:
    vote = news_sentiment(articles, NOW)
    assert (vote.score, vote.confidence) == (0.0, 0.0)
    assert reason in vote.reason


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "BUY",
        {"score": 2.0, "confidence": 0.5, "reason": ""},
        {"score": 0.5, "confidence": -0.1, "reason": ""},
        {"score": float("nan"), "confidence": 0.5, "reason": ""},
        {"score": "x", "confidence": 0.5, "reason": ""},
    ],
)
def test_what_is_no_vote_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"vote|score"):
        read_vote(bad)
    assert complaint(bad) is not None
