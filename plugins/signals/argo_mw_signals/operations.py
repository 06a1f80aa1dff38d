"""The operations: the signal, and each voice by itself.

Tenants share signals and votes just as far as they share what those are made of: whenever the chain
is built, their scope follows the operations that they ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from argo_mw.plugin import AnyOperation, BadParameter, Operation, operation, scope_of
from argo_mw_signals import votes
from argo_mw_signals.recording import RECORDING
from argo_mw_signals.signal import Signal
from argo_mw_signals.voice_registry import NEWS, PREFIX, Voice
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


def _signals_apart(kept: object, fresh: object) -> float | None:
    """Return 1 for another action, else how far the two signals lean apart."""
    if not (isinstance(kept, Signal) and isinstance(fresh, Signal)):
        return None
    return 1.0 if kept.action != fresh.action else abs(kept.lean - fresh.lean)


@operation(
    kind="compute",
    data_type="consensus",
    accept=_is_signal,
    normalize=_normalize,
    timeout=60.0,
    subject="symbol",
    record=RECORDING,
    distance=_signals_apart,
)
def signal(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> Signal:
    """A trading signal: the weighted consensus of voices about one symbol."""
    raise NotImplementedError


@frozen(eq=False)
class SignalOperation(Operation[..., Signal]):
    """The operation ``signal``, with the voices that its scope was chosen for.

    Attributes:
        voices: Those that are heard.
    """

    voices: Sequence[Voice] = ()


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


_PRICE_VOICES = tuple(_price_voice(name) for name in PRICE_VOICES)

NAMES = (signal.name, *(one.name for one in _PRICE_VOICES), voice_news.name)
"""The names of all of them."""


def operations_for(
    voices: Sequence[Voice], registered: Mapping[str, AnyOperation]
) -> tuple[AnyOperation, ...]:
    """Return the operations, each in the scope that what it asks allows.

    Args:
        voices: Those that a signal hears.
        registered: The operations of other plugins, by name.
    """
    of_prices = scope_of(["bars"], registered)
    votes_of_prices = [attrs.evolve(one, scope=of_prices) for one in _PRICE_VOICES]
    vote_of_news = attrs.evolve(voice_news, scope=scope_of(["news"], registered))
    known = {**registered, **{one.name: one for one in (*votes_of_prices, vote_of_news)}}
    asked = ["bars", *(voice.operation for voice in voices)]
    heard = _with_voices(signal, scope=scope_of(asked, known), voices=tuple(voices))
    return (heard, *votes_of_prices, vote_of_news)


def _with_voices(base: AnyOperation, **changes: object) -> SignalOperation:
    fields = {one.name: getattr(base, one.name) for one in attrs.fields(Operation) if one.init}
    given: dict[str, Any] = {**fields, **changes}
    return SignalOperation(**given)
