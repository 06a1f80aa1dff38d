"""Records: what is kept, checked before it is queued, and read back in the same form."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Literal, cast

import msgspec
from attrs import evolve, field, frozen

from argo_mw.plugin import BadParameter
from argo_mw_persist import ids
from argo_mw_persist.tables import ANSWERS, CHARGES, DEAD_LETTERS, SIGNALS, Entry, Row, Table

Result = Literal["win", "loss", "flat"]

MICROSECONDS = 1_000_000
LONGEST_SYMBOL = 64
_YEAR_10000 = 253_402_300_800 * MICROSECONDS

new_id = ids.Ids()


@frozen
class Voice:
    """What one voice contributed to a signal.

    Attributes:
        name: Whose it is.
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


_encode_voices = msgspec.json.Encoder().encode
_decode_voices = msgspec.json.Decoder(tuple[Voice, ...]).decode
_NUL = r"\u0000"


def _voices_text(voices: tuple[Voice, ...]) -> str:
    # msgspec: a seventh of the standard library's time, half of what a record cost.
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
    """*text* without what no database keeps: NUL, and halves of surrogate pairs.

    A language model's words may hold either, and one such word in the JSON of one signal would
    make PostgreSQL refuse every query that looks inside.
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def micros(seconds: float) -> int:
    """Whole microseconds since the epoch, as tables keep them."""
    return round(seconds * MICROSECONDS)


@frozen
class Signal:
    """A trading signal.

    Attributes:
        symbol: What it is about.
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: How sure the consensus was, in the units of whoever made it.
        timestamp: Microseconds since the epoch, UTC.
        price: The price when it was made, in the symbol's currency.
        voices: What each voice contributed.
        upstream: Who made it.
        tenant: Whose it is; "" is everybody's.
        detail: Anything else worth keeping, as JSON.
        id: 16 bytes, ordered by time; made here, so that writing it twice keeps one.
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
    voices: tuple[Voice, ...] = ()
    upstream: str | None = None
    tenant: str = ""
    detail: str | None = None
    id: bytes = field(factory=new_id, repr=ids.text)
    outcome: Result | None = None
    is_active: bool = True
    exit_price: float | None = None
    profit: float | None = None
    exit_timestamp: int | None = None

    def entry(self) -> Entry:
        """The row of this signal, and what changes with it.

        Raises:
            BadParameter: It has no symbol, one of absurd length, no finite confidence, or a time
                in other units.
        """
        if not 0 < len(self.symbol) <= LONGEST_SYMBOL or not math.isfinite(self.confidence):
            msg = (
                f"a signal needs a symbol of 1 to {LONGEST_SYMBOL} characters and a finite "
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
        row = (
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
        return Entry(SIGNALS, row, signal_tags(self.symbol, closed=self.outcome is not None))

    @classmethod
    def from_row(cls, row: Row) -> Signal:
        """The signal that was written as *row*."""
        (
            identifier,
            tenant,
            symbol,
            action,
            confidence,
            timestamp,
            price,
            upstream,
            outcome,
            is_active,
            exit_price,
            profit,
            exit_timestamp,
            voices,
            detail,
        ) = row
        return cls(
            cast(str, symbol),
            cast(str, action),
            cast(float, confidence),
            cast(int, timestamp),
            cast("float | None", price),
            () if voices is None else _decode_voices(cast(str, voices)),
            cast("str | None", upstream),
            cast(str, tenant),
            cast("str | None", detail),
            cast(bytes, identifier),
            cast("Result | None", outcome),
            bool(is_active),
            cast("float | None", exit_price),
            cast("float | None", profit),
            cast("int | None", exit_timestamp),
        )


@lru_cache(maxsize=10_000)
def signal_tags(symbol: str, *, closed: bool) -> tuple[str, ...]:
    """What a signal of *symbol* changes: reads of that symbol, and reads over all.

    One that is *closed* changes how signals went, too.
    """
    tags = (f"signals:{symbol}", "signals")
    return (*tags, f"outcomes:{symbol}", "outcomes") if closed else tags


def earned(action: str, price: float | None, exit_price: float) -> float:
    """The profit of following *action* from *price* to *exit_price*, as a fraction of *price*.

    Raises:
        BadParameter: The signal kept no price to compare with.
    """
    if not price:
        msg = "the signal has no price, so its profit cannot be computed; pass profit="
        raise BadParameter(msg)
    move = exit_price / price - 1.0
    return {"BUY": move, "SELL": -move}.get(action.upper(), 0.0)


def judged(profit: float) -> Result:
    """How a signal with this profit ended."""
    if profit == 0:
        return "flat"
    return "win" if profit > 0 else "loss"


@frozen
class Answer:
    """An answer of any other operation, as it came from its upstream.

    Attributes:
        operation: The operation's name.
        key: The call's key.
        subject: What it is about.
        upstream: Who answered.
        tenant: Whose it is; "" for public operations.
        timestamp: The moment that the answer speaks for, in microseconds since the epoch.
        value: The answer, encoded by the registry of codecs.
        id: 16 bytes, ordered by time.
    """

    operation: str
    key: str
    subject: str
    upstream: str | None
    tenant: str
    timestamp: int
    value: bytes = field(repr=False)
    id: bytes = field(factory=new_id, repr=ids.text)

    def entry(self) -> Entry:
        """The row of this answer."""
        row = (
            self.id,
            self.tenant,
            self.operation,
            self.key,
            self.subject,
            self.upstream,
            self.timestamp,
            self.value,
        )
        return Entry(ANSWERS, row, ("answers",))

    @classmethod
    def from_row(cls, row: Row) -> Answer:
        """The answer that was written as *row*."""
        identifier, tenant, operation, key, subject, upstream, timestamp, value = row
        return cls(
            cast(str, operation),
            cast(str, key),
            cast(str, subject),
            cast("str | None", upstream),
            cast(str, tenant),
            cast(int, timestamp),
            cast(bytes, value),
            cast(bytes, identifier),
        )


@frozen
class Charge:
    """A line of the cost ledger: one attempt at one upstream.

    Attributes:
        tenant: On whose behalf.
        operation: The operation's name.
        subject: What was asked about.
        upstream: Who was asked.
        timestamp: When it ended, in microseconds since the epoch.
        status: How it ended.
        latency: Seconds.
        usd: United States dollars, or ``None`` when the price is not known.
        tokens_in: Tokens sent.
        tokens_out: Tokens received.
        requests: Requests charged to a quota.
        estimated: Whether any part is an estimate.
        id: 16 bytes, ordered by time.
    """

    tenant: str
    operation: str
    subject: str
    upstream: str
    timestamp: int
    status: str
    latency: float
    usd: float | None
    tokens_in: int
    tokens_out: int
    requests: float
    estimated: bool
    id: bytes = field(factory=new_id, repr=ids.text)

    def entry(self) -> Entry:
        """The row of this charge."""
        row = (
            self.id,
            self.tenant,
            self.operation,
            self.subject,
            self.upstream,
            self.timestamp,
            self.status,
            self.latency,
            self.usd,
            self.tokens_in,
            self.tokens_out,
            self.requests,
            self.estimated,
        )
        return Entry(CHARGES, row, ("charges",))


def restored(table: Table, row: Row) -> Entry:
    """The entry that was written to *table* as *row*, whatever the sink made of truth values."""
    cells = tuple(
        bool(cell) if column.type == "flag" else cell
        for column, cell in zip(table.columns, row, strict=True)
    )
    if table is SIGNALS:
        symbol, outcome = (cells[table.names.index(name)] for name in ("symbol", "outcome"))
        return Entry(table, cells, signal_tags(str(symbol), closed=outcome is not None))
    # The reads of every other table carry its name.
    return Entry(table, cells, (table.name,))


def dead_letter(entry: Entry, reason: str, *, now: float) -> Entry:
    """The row that keeps what *entry* held and why its table refused it."""
    content = json.dumps(
        dict(zip(entry.table.names, entry.row, strict=False)), default=_shown, ensure_ascii=True
    )
    identifier = entry.row[0] if isinstance(entry.row[0], bytes) else new_id()
    # Text that its table refused, half a surrogate pair or a NUL, must not be refused here too.
    shown = reason.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
    return Entry(DEAD_LETTERS, (identifier, entry.table.name, shown, micros(now), content))


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
