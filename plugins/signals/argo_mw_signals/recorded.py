"""Recorded signals: checked before their rows are queued, and read back as they were."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
from attrs import evolve, field, fields, frozen

from argo_mw.plugin import MICROSECONDS, BadParameter, Cell, Row, TimeOrderedIds

Result = Literal["win", "loss", "flat"]

TABLE = "signals"
COLUMNS: Mapping[str, str] = {
    "id": "id",
    "tenant": "text",
    "symbol": "text",
    "action": "text",
    "confidence": "real",
    "timestamp": "int",
    "price": "real",
    "upstream": "text",
    "outcome": "text",
    "is_active": "flag",
    "exit_price": "real",
    "profit": "real",
    "exit_timestamp": "int",
    "voices": "text",
    "detail": "text",
}
"""What each column of the table holds."""
LACKS = "lacks"
"""The key in ``detail`` of what a degraded signal had to do without."""
MAX_SYMBOL = 64
_YEAR_10000 = 253_402_300_800 * MICROSECONDS

new_id = TimeOrderedIds()


@frozen
class RecordedVote:
    """The vote of one voice in a recorded signal.

    Attributes:
        name: The voice's name.
        action: ``BUY``, ``SELL`` or ``HOLD``; what performance by voice goes by.
        confidence: How sure it was.
        weight: What it counted for in the consensus.
        reason: Why, in one line.
    """

    name: str
    action: str
    confidence: float | None = None
    weight: float | None = None
    reason: str = ""


class _VoicesOnDemand:
    """The base of signals that were read: their voices are decoded when they are looked at.

    Decoding them is half the cost of reading a signal, and a program that asks for the newest of
    thousands looks at the voices of few.
    """

    __slots__ = ("_voices_text",)

    def __getattr__(self, name: str) -> object:
        # Called for a missing attribute: voices that are not decoded yet.
        if name != "voices":
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        voices = _decode_voices(object.__getattribute__(self, "_voices_text"))
        object.__setattr__(self, "voices", voices)
        return voices


@frozen
class RecordedSignal(_VoicesOnDemand):
    """A signal as it is kept, with how it ended.

    Attributes:
        symbol: What it is about.
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: How sure the consensus was, in the units of its origin.
        timestamp: When it was made, in microseconds since the epoch.
        price: The price when it was made, in the symbol's currency.
        voices: The vote of each voice.
        upstream: The upstream that made it.
        tenant: The tenant that it belongs to, or "" where tenants share it.
        detail: Anything else worth keeping, as JSON.
        id: 16 bytes, ordered by time; made with the signal, so that writing it twice keeps one,
            and the same in all instances that compute it from the same.
        outcome: How it ended, or ``None`` while that is open.
        is_active: Whether it is still open.
        exit_price: The price at which it was closed.
        profit: What acting on it earned, as a fraction of the price.
        exit_timestamp: When it was closed, in microseconds since the epoch.
    """

    symbol: str
    action: str
    confidence: float
    timestamp: int
    price: float | None = None
    voices: tuple[RecordedVote, ...] = ()
    upstream: str | None = None
    tenant: str = ""
    detail: str | None = None
    id: bytes = field(factory=new_id, repr=TimeOrderedIds.text)
    outcome: Result | None = None
    is_active: bool = True
    exit_price: float | None = None
    profit: float | None = None
    exit_timestamp: int | None = None

    @property
    def lacks(self) -> tuple[str, ...]:
        """The names of what it had to do without, from its ``detail``."""
        try:
            detail = json.loads(self.detail or "{}")
            return tuple(str(name) for name in detail[LACKS])
        except (ValueError, KeyError, TypeError):
            return ()  # no detail, or that of an imported signal

    def row(self) -> Row:
        """Return the row of this signal, and what changes with it.

        Raises:
            BadParameter: It has no symbol, one of absurd length, no finite confidence, or a time
                in other units.
        """
        if not 0 < len(self.symbol) <= MAX_SYMBOL or not math.isfinite(self.confidence):
            msg = (
                f"a signal needs a symbol of 1 to {MAX_SYMBOL} characters and a finite "
                f"confidence, got {self.symbol!r} and {self.confidence!r}"
            )
            raise BadParameter(msg)
        # SQLite would take anything, and keep it out of order.
        if type(self.timestamp) is not int or not -_YEAR_10000 < self.timestamp < _YEAR_10000:
            msg = (
                f"a signal's timestamp is whole microseconds since the epoch, not "
                f"{self.timestamp!r}; from seconds: int(seconds * 1e6)"
            )
            raise BadParameter(msg)
        cells = (
            self.id,
            self.tenant,
            self.symbol,
            self.action,
            self.confidence,
            self.timestamp,
            self.price,
            self.upstream,
            self.outcome,
            self.is_active,
            self.exit_price,
            self.profit,
            self.exit_timestamp,
            _voices_text(self.voices) if self.voices else None,
            self.detail,
        )
        return Row(TABLE, cells, signal_tags(self.symbol, self.outcome))

    @classmethod
    def from_cells(cls, cells: tuple[Cell, ...]) -> RecordedSignal:
        """Return the signal that was written as *cells*."""
        [signal] = cls.from_rows([cells])
        return signal

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[Cell, ...]]) -> list[RecordedSignal]:
        """Return the signals that were written as *rows*."""
        signals = [_new(cls) for _ in rows]
        # Column by column, by the setters of the slots: half the time of calling a frozen class.
        for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=bool(rows)):
            if name == "voices":
                for signal, voices in zip(signals, column, strict=True):
                    _keep_voices(signal, voices)
            else:
                cells = map(bool, column) if name == "is_active" else column
                deque(map(_KEEP[name], signals, cells), maxlen=0)
        return signals


_new = object.__new__
_KEEP: Mapping[str, Callable[[RecordedSignal, object], None]] = {
    name: getattr(RecordedSignal, name).__set__
    for name in (*(one.name for one in fields(RecordedSignal)), "_voices_text")
}


def _keep_voices(signal: RecordedSignal, text: Cell) -> None:
    if text is None:
        _KEEP["voices"](signal, ())
    else:
        _KEEP["_voices_text"](signal, text)


@lru_cache(maxsize=10_000)
def signal_tags(symbol: str, outcome: str | None) -> tuple[str, ...]:
    """Return the tags that a signal of *symbol* changes: of reads of that symbol, and over all.

    One that has an *outcome* changes how signals went, too.
    """
    tags = (f"signals:{symbol}", "signals")
    return tags if outcome is None else (*tags, f"outcomes:{symbol}", "outcomes")


def earned(action: str, price: float | None, exit_price: float) -> float:
    """Return the profit of following *action* from *price* to *exit_price*, as a fraction.

    Raises:
        BadParameter: The signal kept no price to compare with.
    """
    if not price:
        msg = "the signal has no price, so its profit cannot be computed; pass profit="
        raise BadParameter(msg)
    move = exit_price / price - 1.0
    return {"BUY": move, "SELL": -move}.get(action.upper(), 0.0)


def judged(profit: float) -> Result:
    """Return how a signal with this profit ended."""
    if profit == 0:
        return "flat"
    return "win" if profit > 0 else "loss"


_encode_voices = msgspec.json.Encoder().encode
_decode_voices = msgspec.json.Decoder(tuple[RecordedVote, ...]).decode
_NUL = r"\u0000"


def _voices_text(voices: tuple[RecordedVote, ...]) -> str:
    # msgspec: a seventh of the standard library's time, half of what a row cost.
    try:
        text = _encode_voices(voices).decode()
    except UnicodeEncodeError:
        text = _NUL
    if _NUL not in text:
        return text
    sound = [
        evolve(v, name=_sound(v.name), action=_sound(v.action), reason=_sound(v.reason))
        for v in voices
    ]
    return _encode_voices(sound).decode()


def _sound(text: str) -> str:
    """Return *text* without what no database keeps: NUL, and halves of surrogate pairs.

    A language model's words may hold either, and one such word in the JSON of one signal would
    make PostgreSQL refuse every query that looks inside.
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
