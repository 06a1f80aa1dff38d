"""Articles: what ``news`` answers, whoever was asked."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen


@frozen
class Article:
    """A piece of news about one symbol.

    Attributes:
        title: Its headline.
        url: Where it is.
        published: When it appeared, in UTC.
        source: Who wrote it.
        summary: What it says, in short; may be "".
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


def complaint(value: object) -> str | None:
    """What keeps *value* from being an answer to ``news``; none at all is an answer."""
    if isinstance(value, tuple) and all(isinstance(one, Article) for one in value):
        return None
    return f"a {type(value).__name__} instead of articles"
