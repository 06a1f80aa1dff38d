"""The sentiment of recent news, as a vote.

Articles come with a sentiment where the vendor scores them (Alpha Vantage). Where none does, the
words of the headline decide, and count for half: a word list sees neither irony nor negation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, cast

import numpy as np

from argo_mw_signals.votes import Vote

HALF_LIFE = 24 * 3600.0
"""Seconds in which an article loses half of its weight."""

ENOUGH = 5.0
"""Articles' worth of weight from which the voice is as sure as it gets."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOOD = _words(
    "advance advances approval approved beat beats boost boosts bullish climb climbs exceed "
    "exceeds gain gains grew grows growth jump jumps outperform outperforms profit profitable "
    "raise raised raises rallies rally record rebound rebounds rise rises soar soars strong surge "
    "surges surpass surpasses tops upbeat upgrade upgraded upgrades win wins"
)
_BAD = _words(
    "bankruptcy bearish cut cuts decline declines default delay delays disappoint disappoints "
    "downgrade downgraded downgrades drop drops fall falls fell fraud halt halts investigation "
    "lawsuit layoffs lose loses loss losses miss misses plunge plunges probe recall recalls sink "
    "sinks slump slumps sues tumble tumbles warn warning warns weak weaker worse"
)
_WORD = re.compile(r"[a-z]+")
_MAX_TITLE = 1000
"""Characters of a headline that are read."""


class Article(Protocol):
    """What this module reads of an article."""

    @property
    def title(self) -> str: ...
    @property
    def published(self) -> datetime: ...
    @property
    def sentiment(self) -> float | None: ...
    @property
    def relevance(self) -> float: ...


def news_sentiment(articles: object, now: float) -> Vote:
    """Return the vote of *articles* at *now*, in seconds since the epoch.

    Without news it is sure of nothing.
    """
    weighed = [_weigh(article, now) for article in cast("Iterable[Article]", articles)]
    scored = [(score, weight) for score, weight in weighed if score is not None]
    if not scored:
        reason = f"{len(weighed)} articles, none with a sentiment" if weighed else "no recent news"
        return Vote(0.0, 0.0, reason)
    scores, weights = np.array(scored).T
    total = float(weights.sum())
    mean = float((scores * weights).sum()) / max(total, 1e-9)
    reason = f"{len(scored)} articles, mean sentiment {mean:+.2f}"
    return Vote(float(np.tanh(2.0 * mean)), min(1.0, total / ENOUGH), reason)


def _weigh(article: Article, now: float) -> tuple[float | None, float]:
    age = max(0.0, now - article.published.timestamp())
    weight = article.relevance * 0.5 ** (age / HALF_LIFE)
    if article.sentiment is not None:
        return article.sentiment, weight
    return _by_words(article.title), weight / 2.0


def _by_words(title: str) -> float | None:
    words = _WORD.findall(title[:_MAX_TITLE].lower())
    good = sum(word in _GOOD for word in words)
    bad = sum(word in _BAD for word in words)
    return (good - bad) / (good + bad) if good + bad else None
