"""A deterministic analyst: an opinion computed from the numbers in a prompt.

No language model is at work. Labelled numbers (``RSI 71``, ``SMA20: 431.2``, ``momentum -2.1%``)
become votes, each model weighs them in its own way, and equal prompts get equal replies.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator

from attrs import frozen

LABELLED = re.compile(
    r"\b(?P<label>[A-Za-z][A-Za-z0-9_]*+(?: ?\(\d{1,3}\)| \d{1,3}(?=\s*[:=]))?)[\"']?"
    r"\s*+(?:(?:is|of|at|=|:)\s*+)?"
    r"(?P<value>[-+]?\d++(?:\.\d++)?+)(?P<percent>\s?%)?(?![\d.]*[-/:]\d)"
)
_AVERAGE = re.compile(r"(sma|ema|ma|average|mean)\b|(sma|ema|ma)[ _(]?\d")
PRICES = ("price", "close", "last")
"""How labels of the current price end."""

BAND = 0.12
"""Scores closer to zero than this are a hold."""


@frozen
class Opinion:
    """A view on a market.

    Attributes:
        action: ``buy``, ``sell`` or ``hold``.
        confidence: From 0.5 to 1.
        reason: The votes behind it.
    """

    action: str
    confidence: float
    reason: str

    def as_json(self, prompt: str) -> str:
        """Return the opinion as JSON, the action in the case in which the prompt writes it."""
        shouted = "BUY" in prompt and "buy" not in prompt
        action = self.action.upper() if shouted else self.action
        return json.dumps({"action": action, "confidence": self.confidence, "reason": self.reason})

    def as_text(self) -> str:
        """Return the opinion as prose."""
        return (
            f"My view is to {self.action}, with a confidence of {self.confidence:.2f}. "
            f"{self.reason} This reply was computed by the argo-mw sandbox from the numbers in "
            "the prompt; no language model was asked."
        )


def opine(prompt: str, model: str) -> Opinion:
    """Form *model*'s opinion of the numbers in *prompt*."""
    votes = list(_votes(prompt))
    if not votes:
        return Opinion("hold", 0.5, "The prompt holds no number that I can read.")
    weighed = [vote * _weight(model, label) for label, _, vote in votes]
    score = math.tanh(sum(weighed) / math.sqrt(len(weighed)))
    action = "hold" if abs(score) < BAND else "buy" if score > 0 else "sell"
    sure = BAND - abs(score) if action == "hold" else abs(score)
    named = ", ".join(f"{label} {value:g} ({vote:+.2f})" for label, value, vote in votes[:6])
    return Opinion(action, round(0.5 + 0.5 * sure, 2), f"Votes: {named}.")


def _votes(prompt: str) -> Iterator[tuple[str, float, float]]:
    found = [
        (match["label"].lower().strip(), float(match["value"]), bool(match["percent"]))
        for match in LABELLED.finditer(prompt)
    ]
    price = next((v for label, v, _ in found if label.endswith(PRICES)), None)
    for label, value, percent in found:
        vote = _vote(label, value / 100 if percent else value, price)
        if vote is not None:
            yield label, value, max(-1.0, min(1.0, vote))


def _vote(label: str, value: float, price: float | None) -> float | None:
    if label.startswith("rsi"):
        return (50 - value) / 25
    if _AVERAGE.match(label):
        return None if price is None or value <= 0 else 20 * (price / value - 1)
    if label.startswith(("momentum", "return", "change", "trend", "roc", "drift")):
        return 10 * value
    if label.startswith("macd"):
        return math.copysign(0.5, value) if value else 0.0
    if label.startswith(("sentiment", "score")):
        return value
    if label.startswith(("zscore", "z_score", "bollinger")):
        return -value / 2
    return None


def _weight(model: str, label: str) -> float:
    """Return how much a model makes of a kind of number: 0.6 to 1.4, fixed for good."""
    return 0.6 + 0.8 * (zlib.crc32(f"{model}:{label}".encode()) % 1000) / 999
