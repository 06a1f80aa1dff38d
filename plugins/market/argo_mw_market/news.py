"""Articles: the answer to ``news``, the same from every vendor."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from argo_mw_market.instants import MAX_SKEW


@frozen
class Article:
    """A piece of news about one symbol.

    Attributes:
        title: Its headline.
        url: Its address.
        published: When it appeared, in UTC.
        source: Its publisher.
        summary: A summary; may be "".
        sentiment: From -1 (bearish) to 1 (bullish) for the symbol, or ``None`` where the vendor
            gives none.
        relevance: From 0 to 1, how much it is about the symbol; 1 where the vendor gives none.
    """

    title: str
    url: str
    published: datetime
    source: str
    summary: str = ""
    sentiment: float | None = None
    relevance: float = 1.0


def problem_of(value: object) -> str | None:
    """Return why *value* is not an answer to ``news``, or ``None``; no articles are an answer."""
    if isinstance(value, tuple) and all(isinstance(one, Article) for one in value):
        return None
    return f"a {type(value).__name__} instead of articles"


def future_of(value: object, now: float) -> str | None:
    """Return why *value*, articles, is of the future of *now*, in seconds since the epoch."""
    assert isinstance(value, tuple)
    for article in value:
        if article.published.timestamp() > now + MAX_SKEW:
            return f"an article of {article.published:%Y-%m-%d %H:%M} lies in the future"
    return None
