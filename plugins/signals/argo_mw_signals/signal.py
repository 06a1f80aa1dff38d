"""Signals: what the consensus answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from attrs import frozen

Action = Literal["BUY", "SELL", "HOLD"]


@frozen
class Contribution:
    """What one voice said.

    Attributes:
        voice: Its name.
        score: From -1 (sell) to 1 (buy).
        confidence: From 0 to 1, how sure it is.
        weight: How much it counts.
        reason: Why, in one line.
    """

    voice: str
    score: float
    confidence: float
    weight: float
    reason: str


@frozen
class Missing:
    """A voice that was not heard.

    Attributes:
        voice: Its name.
        weight: How much it would have counted.
        reason: Why, in one line.
    """

    voice: str
    weight: float
    reason: str


@frozen
class Signal:
    """A trading signal.

    Attributes:
        symbol: About what.
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: From 0 to 1; missing voices lower it.
        lean: The weighted mean of the voices, from -1 (sell) to 1 (buy).
        price: The last close.
        bar: The start of the bar that closed there, in seconds since the epoch.
        as_of: The moment that the prices speak for, in seconds since the epoch.
        contributions: What the voices said, the weightiest first.
        missing: Those that were not heard.
    """

    symbol: str
    action: Action
    confidence: float
    lean: float
    price: float
    bar: float
    as_of: float
    contributions: tuple[Contribution, ...]
    missing: tuple[Missing, ...] = ()

    def age(self, now: float) -> float:
        """Seconds from the moment that the prices speak for to *now*."""
        return max(0.0, now - self.as_of)

    def as_dict(self) -> dict[str, object]:
        """The signal as plain data for JSON, times in ISO 8601."""
        return {
            "symbol": self.symbol,
            "action": self.action,
            "confidence": round(self.confidence, 4),
            "lean": round(self.lean, 4),
            "price": self.price,
            "bar": iso(self.bar),
            "as_of": iso(self.as_of),
            "contributions": [
                {
                    "voice": one.voice,
                    "score": round(one.score, 4),
                    "confidence": round(one.confidence, 4),
                    "weight": one.weight,
                    "reason": one.reason,
                }
                for one in self.contributions
            ],
            "missing": [
                {"voice": one.voice, "weight": one.weight, "reason": one.reason}
                for one in self.missing
            ],
        }


def iso(seconds: float) -> str:
    """A moment in ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
