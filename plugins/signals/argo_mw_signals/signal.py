"""Signals: the answers of the operation ``signal``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from attrs import frozen

from argo_mw.plugin import html_grid, html_table

Action = Literal["BUY", "SELL", "HOLD"]


@frozen
class Contribution:
    """The vote of one voice, and its weight.

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
        symbol: What it is about.
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: From 0 to 1; missing voices lower it.
        lean: The weighted mean of the voices, from -1 (sell) to 1 (buy).
        price: The last close.
        bar: The start of the bar that closed there, in seconds since the epoch.
        as_of: The moment that the prices speak for, in seconds since the epoch.
        contributions: The votes of the voices, the weightiest first.
        missing: The voices that were not heard.
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
        """Return the seconds from the moment that the prices speak for to *now*."""
        return max(0.0, now - self.as_of)

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        heard = [
            (one.voice, f"{one.score:+.2f}", f"{one.confidence:.2f}", f"{one.weight:g}", one.reason)
            for one in self.contributions
        ]
        unheard = [(one.voice, "", "", f"{one.weight:g}", one.reason) for one in self.missing]
        head = ("voice", "score", "confidence", "weight", "reason")
        return html_table(
            {
                self.symbol: f"{self.action}, confidence {self.confidence:.2f}",
                "lean": f"{self.lean:+.2f}",
                "price": f"{self.price:g}",
                "as of": iso(self.as_of),
                "voices": html_grid(head, heard + unheard),
            }
        )

    def as_dict(self) -> dict[str, object]:
        """Return the signal as plain data for JSON, times in ISO 8601."""
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
    """Return a moment in ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
