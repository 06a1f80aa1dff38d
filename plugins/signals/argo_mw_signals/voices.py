"""Voices that read prices: each turns bars into a vote.

Every one is a pure function of a frame with the columns ``close`` and so on, ascending in time.
Moves are measured in units of the series' own volatility, so that calm and stormy symbols are
judged alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from argo_mw_signals.votes import Vote

Floats = npt.NDArray[np.float64]

FAST, SLOW = 12, 26
"""Bars of the two moving averages: Appel's MACD."""

MONTH = 20
"""Bars in a month of trading: Bollinger's and Chaikin's period."""

RSI_PERIOD = 14
"""Wilder's period."""

_FLAT = 1e-9


def trend(bars: pd.DataFrame) -> Vote:
    """Compare a fast moving average with a slow one (Appel's MACD, over volatility)."""
    close = _closes(bars, SLOW)
    fast, slow = _ewma(close, FAST), _ewma(close, SLOW)
    gap = (fast - slow) / (close[-1] * _volatility(close))
    direction = "above" if gap >= 0 else "below"
    reason = f"{FAST}-bar average {abs(gap):.1f} sigma {direction} the {SLOW}-bar one"
    return _vote(np.tanh(gap / 2.0), min(1.0, len(close) / (2 * SLOW)), reason)


def momentum(bars: pd.DataFrame) -> Vote:
    """Vote by the move of a month over its volatility (Jegadeesh and Titman, 1993)."""
    close = _closes(bars, MONTH + 1)
    move = float(np.log(close[-1] / close[-1 - MONTH]))
    sigmas = move / (_volatility(close) * MONTH**0.5)
    reason = f"{np.expm1(move):+.1%} in {MONTH} bars, {sigmas:+.1f} sigma"
    return _vote(np.tanh(sigmas), 0.5 + 0.5 * min(1.0, abs(sigmas)), reason)


def mean_reversion(bars: pd.DataFrame) -> Vote:
    """Vote by the distance from the mean (Bollinger, 20 bars), with Wilder's RSI as witness."""
    close = _closes(bars, max(MONTH, RSI_PERIOD + 1))
    window = close[-MONTH:]
    spread = max(float(window.std()), _FLAT * float(window[-1]))
    z = float(close[-1] - window.mean()) / spread
    index = _rsi(close)
    agrees = (index - 50.0) * z > 0
    confidence = min(1.0, abs(z) / 2.0) * (1.0 if agrees else 0.5)
    return _vote(-np.tanh(z / 2.0), confidence, f"{z:+.1f} sigma from its mean, RSI {index:.0f}")


def volume(bars: pd.DataFrame) -> Vote:
    """Vote by whether volume goes with rising or falling closes (Chaikin's money flow, 20 bars)."""
    _closes(bars, MONTH)
    last = bars.iloc[-MONTH:]
    high, low, close, traded = (
        last[name].to_numpy(np.float64) for name in ("high", "low", "close", "volume")
    )
    if traded.sum() <= 0:
        msg = "no volume was traded"
        raise ValueError(msg)
    span = np.maximum(high - low, _FLAT * close)
    flow = float((((close - low) - (high - close)) / span * traded).sum() / traded.sum())
    word = "buying" if flow >= 0 else "selling"
    return _vote(np.tanh(3.0 * flow), 0.75, f"money flow {flow:+.2f}: {word} pressure")


def _closes(bars: pd.DataFrame, least: int) -> Floats:
    if len(bars) < least:
        msg = f"it needs {least} bars and got {len(bars)}; ask for more days"
        raise ValueError(msg)
    return bars["close"].to_numpy(np.float64)


def _volatility(close: Floats) -> float:
    """Return the standard deviation of the log returns, per bar."""
    return max(float(np.diff(np.log(close)).std()), _FLAT)


def _ewma(close: Floats, span: int) -> float:
    """Return the exponential moving average, its weights normalised."""
    weights = (1.0 - 2.0 / (span + 1.0)) ** np.arange(len(close))[::-1]
    return float((weights * close).sum() / weights.sum())


def _rsi(close: Floats) -> float:
    """Return Wilder's relative strength index, from plain means of the last period."""
    moves = np.diff(close)[-RSI_PERIOD:]
    up, down = float(moves.clip(min=0).sum()), float(-moves.clip(max=0).sum())
    return 50.0 if up + down == 0 else 100.0 * up / (up + down)


def _vote(score: float, confidence: float, reason: str) -> Vote:
    return Vote(float(np.clip(score, -1.0, 1.0)), float(np.clip(confidence, 0.0, 1.0)), reason)


PRICE_VOICES = {
    "trend": trend,
    "momentum": momentum,
    "mean_reversion": mean_reversion,
    "volume": volume,
}
"""The voices of this module, by name."""
