"""The operations: the signal, and each voice by itself."""

from __future__ import annotations

from argo_mw.plugin import AnyOperation, BadParameter, operation
from argo_mw_signals import votes
from argo_mw_signals.recording import RECORDING
from argo_mw_signals.signal import Signal
from argo_mw_signals.voice_registry import NEWS, PREFIX
from argo_mw_signals.voices import PRICE_VOICES
from argo_mw_signals.votes import Vote


def _normalize(given: dict[str, object]) -> dict[str, object]:
    symbol = given["symbol"]
    if not isinstance(symbol, str) or not symbol.strip():
        msg = f"a symbol is text, like 'AAPL'; got {symbol!r}"
        raise BadParameter(msg)
    return {**given, "symbol": symbol.strip().upper()}


def _is_signal(value: object) -> str | None:
    return None if isinstance(value, Signal) else f"a {type(value).__name__} instead of a signal"


@operation(
    kind="compute",
    data_type="consensus",
    accept=_is_signal,
    normalize=_normalize,
    timeout=60.0,
    subject="symbol",
    record=RECORDING,
)
def signal(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> Signal:
    """A trading signal: the weighted consensus of voices about one symbol."""
    raise NotImplementedError


def _price_voice(name: str) -> AnyOperation:
    @operation(
        name=PREFIX + name,
        kind="compute",
        data_type="indicators",
        accept=votes.complaint,
        normalize=_normalize,
        subject="symbol",
    )
    def voice(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> Vote:
        raise NotImplementedError

    return voice


@operation(
    name=PREFIX + NEWS,
    kind="compute",
    data_type="sentiment",
    accept=votes.complaint,
    normalize=_normalize,
    subject="symbol",
)
def voice_news(symbol: str) -> Vote:
    """A vote by the sentiment of recent news."""
    raise NotImplementedError


OPERATIONS = (signal, *(_price_voice(name) for name in PRICE_VOICES), voice_news)
"""All of them."""
