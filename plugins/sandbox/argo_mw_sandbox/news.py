"""Synthetic headlines, one for each real day that moved: never a hint of a later price."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from attrs import frozen

from argo_mw_sandbox.exchange import Exchange
from argo_mw_sandbox.instruments import Instrument, completed

NOTABLE = 0.005
"""A day's log return below which nothing is written."""

MAX_DAYS = 400
LABELS = (
    (-0.35, "Bearish"),
    (-0.15, "Somewhat-Bearish"),
    (0.15, "Neutral"),
    (0.35, "Somewhat-Bullish"),
)


@frozen
class Headline:
    """A synthetic piece of news about one complete day.

    Attributes:
        id: Its unique number.
        symbol: What it is about.
        published: When it appeared: within the minute after the close.
        title: What happened.
        summary: The same with numbers, and that it is synthetic.
        url: An address that leads nowhere.
        score: Sentiment from -1 to 1: the day's return with noise.
    """

    id: int
    symbol: str
    published: datetime
    title: str
    summary: str
    url: str
    score: float

    @property
    def label(self) -> str:
        """The score in Alpha Vantage's words."""
        return sentiment_label(self.score)


def sentiment_label(score: float) -> str:
    """Return Alpha Vantage's word for a sentiment score."""
    return next((label for bound, label in LABELS if score <= bound), "Bullish")


def headlines(
    exchange: Exchange, symbols: Sequence[str], start: float, end: float, seed: int
) -> list[Headline]:
    """Return headlines published from *start* to *end* (seconds since the epoch), newest first.

    Args:
        exchange: Where the prices come from.
        symbols: About these, or about all real symbols if there are none.
        start: Earliest publication.
        end: Latest publication; not after the replayed now.
        seed: What the noise depends on.
    """
    named = [exchange.find(symbol) for symbol in symbols]
    about = named if symbols else [each for each in exchange if each.source != "synthetic"]
    found = [item for each in about if each is not None for item in _about(each, start, end, seed)]
    return sorted(found, key=lambda item: (item.published, item.symbol), reverse=True)


def _about(instrument: Instrument, start: float, end: float, seed: int) -> list[Headline]:
    last = completed(instrument, end)
    first = max(completed(instrument, start - 60), 1, last - MAX_DAYS)
    written = (_write(instrument, row, seed) for row in range(first, last))
    return [
        item for item in written if item is not None and start <= item.published.timestamp() <= end
    ]


def _write(instrument: Instrument, row: int, seed: int) -> Headline | None:
    close, before = float(instrument.daily.close[row]), float(instrument.daily.close[row - 1])
    move = float(np.log(close / before))
    if abs(move) < NOTABLE:
        return None
    number = zlib.crc32(f"{seed}:{instrument.symbol}:{instrument.complete[row]}".encode())
    rng = np.random.default_rng(number)
    score = float(np.clip(np.tanh(20 * move) + rng.normal(0.0, 0.15), -1.0, 1.0))
    published = datetime.fromtimestamp(int(instrument.complete[row]) + number % 60, UTC)
    direction = "gains" if move > 0 else "loses"
    title = f"{instrument.symbol} {direction} {abs(close / before - 1):.1%} to {close:.2f}"
    return Headline(
        number,
        instrument.symbol,
        published,
        title,
        f"{title} from {before:.2f} the day before. Synthetic headline of the argo-mw sandbox, "
        "written from that day's prices.",
        f"http://127.0.0.1/news/{number}",
        round(score, 6),
    )
