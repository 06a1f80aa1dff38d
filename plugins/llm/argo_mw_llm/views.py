"""Views: from indicators and news to a prompt, and from a reply to an opinion."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from argo_mw_llm.answers import Action, Completion, Malformed, Opinion
from argo_mw_llm.bodies.foreign_json import read_json
from argo_mw_llm.costs.estimate import rough_tokens
from argo_mw_llm.providers.request import ModelRequest

_SYSTEM = (
    "You are a careful market analyst. Weigh the indicators and the news, and answer with JSON "
    'only: {"action": "BUY", "SELL" or "HOLD", "confidence": a number from 0 to 1, '
    '"reason": one short sentence}.'
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "action": {"type": "string", "enum": ["BUY", "SELL", "HOLD"]},
        "confidence": {"type": "number"},
        "reason": {"type": "string"},
    },
    "required": ["action", "confidence", "reason"],
    "additionalProperties": False,
}
_MAX_TOKENS = 300
_MAX_REASON = 2000
"""The most characters of a reason; a model that follows its instructions writes fewer."""
_ACTIONS = ("BUY", "SELL", "HOLD")
_MONTH, _RSI, _FAST, _SLOW = 20, 14, 12, 26

TOLERANCES: Mapping[str, str] = {
    "indicators.price": "10bp",
    "indicators.rsi": "1 point",
    f"indicators.sma{_MONTH}": "10bp",
    "indicators.momentum": "0.001",
    "indicators.macd": "10%",
    "indicators.volatility": "10%",
    "epoch": "any",
}
"""How far indicators may move until an opinion on them no longer holds. A share of zero is zero, so
it never holds for a MACD that changes its sign."""


def opinion_request(parameters: Mapping[str, object], model: str) -> ModelRequest:
    """Return the question for an opinion, from the parameters of the operation ``opinion``."""
    indicators = cast("Mapping[str, object]", parameters["indicators"])
    lines = [f"Symbol {parameters['symbol']}", "Indicators:"]
    lines += [f"{name}: {_number(value)}" for name, value in sorted(indicators.items())]
    news = cast("Sequence[str]", parameters["news"])
    if news:
        lines += ["News, the latest first:", *(f"* {headline}" for headline in news)]
    if parameters["epoch"]:
        lines.append(f"Data as of {parameters['epoch']}")
    prompt = "\n".join(lines)
    return ModelRequest(
        model,
        ({"role": "user", "content": prompt},),
        system=_SYSTEM,
        schema=_SCHEMA,
        max_tokens=_MAX_TOKENS,
        rough=rough_tokens(_SYSTEM + json.dumps(_SCHEMA) + prompt),
    )


def read_opinion(completion: Completion) -> Opinion | Malformed:
    """Return the opinion in *completion*: strict JSON, bare or in one fence of Markdown."""
    text = completion.text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.strip("`").removeprefix("json").strip()

    def refuse(why: str) -> Malformed:
        return Malformed(
            f"{completion.model} gave no opinion: {why}", completion.model, completion.usage
        )

    if completion.stop != "end":
        return refuse(f"it stopped at {completion.stop!r}")
    try:
        fields = read_json(text, strict=True)
    except ValueError as error:
        return refuse(f"its reply is not valid JSON: {error}")
    if not isinstance(fields, dict) or set(fields) != {"action", "confidence", "reason"}:
        return refuse("its JSON needs action, confidence and reason, and nothing else")
    action, sure, reason = fields["action"], fields["confidence"], fields["reason"]
    if action not in _ACTIONS or not isinstance(reason, str):
        return refuse(f"its action is {str(action)[:20]!r}")
    if isinstance(sure, bool) or not isinstance(sure, (int, float)) or not 0.0 <= sure <= 1.0:
        return refuse("its confidence is not a number from 0 to 1")
    # Text with half a surrogate pair cannot be encoded.
    line = " ".join(reason[:_MAX_REASON].encode("utf-8", "replace").decode().split())
    return Opinion(cast("Action", action), float(sure), line, completion.model, completion.usage)


def indicators_of(bars: Any) -> dict[str, float]:
    """Return the indicators of a frame of bars, ascending in time, with a column ``close``.

    Raises:
        ValueError: There are too few bars, or prices too far apart.
        ArithmeticError: The same.
    """
    closes = [float(close) for close in bars["close"]]
    if len(closes) <= _SLOW:
        msg = f"{len(closes)} bars are too few for indicators; ask for more days"
        raise ValueError(msg)
    last = closes[-1]
    moves = [b - a for a, b in zip(closes[-_RSI - 1 :], closes[-_RSI:], strict=False)]
    up, down = sum(m for m in moves if m > 0), -sum(m for m in moves if m < 0)
    returns = [math.log(b / a) for a, b in pairwise(closes)]
    mean = sum(returns) / len(returns)
    spread = math.sqrt(sum((r - mean) ** 2 for r in returns) / len(returns))
    found = {
        "price": last,
        "rsi": 50.0 if up + down == 0 else 100.0 * up / (up + down),
        f"sma{_MONTH}": sum(closes[-_MONTH:]) / _MONTH,
        "momentum": last / closes[-1 - _MONTH] - 1.0,
        "macd": _ewma(closes, _FAST) - _ewma(closes, _SLOW),
        "volatility": spread,
    }
    if not all(map(math.isfinite, found.values())):
        msg = "its prices are too far apart for indicators"
        raise ValueError(msg)
    return found


def _ewma(closes: Sequence[float], span: int) -> float:
    mean, share = closes[0], 2.0 / (span + 1.0)
    for close in closes[1:]:
        mean += share * (close - mean)
    return mean


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
