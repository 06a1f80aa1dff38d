"""Import of an existing Argo ``signals`` table, from a SQLite file of any of its versions."""

# Names of tables and columns are this package's own; values are always bound.

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from attrs import frozen

from argo_mw_persist.errors import PersistError
from argo_mw_persist.poison import write_sound
from argo_mw_persist.records import Result, Signal, micros
from argo_mw_persist.sink import Sink

_BATCH = 1000
# What versions of the table have called the same thing.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol",),
    "action": ("action",),
    "confidence": ("confidence",),
    "timestamp": ("timestamp", "created_at"),
    "price": ("price", "entry_price"),
    "upstream": ("data_source", "upstream", "source"),
    "outcome": ("outcome",),
    "active": ("is_active",),
    "exit_price": ("exit_price",),
    "profit_percent": ("profit_loss_pct",),
    "exit_timestamp": ("exit_timestamp",),
}
_REQUIRED = ("symbol", "action", "confidence", "timestamp")
_OUTCOMES: Mapping[str, Result] = {
    "win": "win",
    "loss": "loss",
    "flat": "flat",
    "breakeven": "flat",
    "expired": "flat",
}


@frozen
class Imported:
    """What an import did.

    Attributes:
        read: Rows of the old table.
        refused: Rows that could not be understood or kept, as dead letters where possible.
        problems: The first of the reasons.
    """

    read: int
    refused: int
    problems: tuple[str, ...]


async def import_signals(
    path: Path,
    sink: Sink,
    *,
    now: Callable[[], float],
    zone: str = "UTC",
    progress: Callable[[int], None] = lambda rows: None,
) -> Imported:
    """Copy the table ``signals`` of the file *path* into *sink*.

    Identifiers are made from the rows, so importing twice keeps one of each.

    Args:
        path: The old database.
        sink: Where the signals go; open already.
        now: Seconds since the epoch, for dead letters.
        zone: The time zone of times that name none.
        progress: Told how many rows have been read.

    Raises:
        PersistError: There is no such file, or no such table in it.
    """
    read, problems = 0, list[str]()
    refused = 0
    async for rows in _batches(path):
        signals = []
        for row in rows:
            try:
                signals.append(_signal(row, ZoneInfo(zone)))
            except (KeyError, TypeError, ValueError) as error:
                refused += 1
                problems.append(f"row {row.get('id')}: {error}")
        written = await write_sound(sink, [signal.entry() for signal in signals], now=now())
        refused += len(written.refused)
        problems += [str(error) for error in written.refused.values()]
        read += len(rows)
        progress(read)
    return Imported(read, refused, tuple(problems[:5]))


async def _batches(path: Path) -> AsyncIterator[Sequence[dict[str, object]]]:
    place = 0
    while True:
        rows, place = await asyncio.to_thread(_read, path, place)
        if not rows:
            return
        yield rows


def _read(path: Path, after: int) -> tuple[list[dict[str, object]], int]:
    if not path.is_file():
        msg = f"there is no file {path} to import from"
        raise PersistError(msg)
    query = "SELECT rowid AS rowid_, * FROM signals WHERE rowid > ? ORDER BY rowid LIMIT ?"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as old:
            old.row_factory = sqlite3.Row
            rows = [dict(row) for row in old.execute(query, (after, _BATCH))]
    except sqlite3.Error as error:
        msg = f"{path} has no signals table that can be read: {error}"
        raise PersistError(msg) from error
    return rows, int(str(rows[-1].pop("rowid_"))) if rows else after


def _signal(row: dict[str, object], zone: ZoneInfo) -> Signal:
    found = {name: _first(row, names) for name, names in _NAMES.items()}
    lacking = [name for name in _REQUIRED if found[name] is None]
    if lacking:
        msg = f"it has no {', '.join(lacking)}"
        raise ValueError(msg)
    made = _moment(found["timestamp"], zone)
    profit = _number(found["profit_percent"])
    outcome = _OUTCOMES.get(str(found["outcome"]).lower())
    closed = None if found["exit_timestamp"] is None else _moment(found["exit_timestamp"], zone)
    used = {name for names in _NAMES.values() for name in names}
    rest = {k: v for k, v in row.items() if k not in used and v is not None and k != "rowid_"}
    return Signal(
        symbol=str(found["symbol"]),
        action=str(found["action"]).upper(),
        confidence=float(str(found["confidence"])),
        timestamp=made,
        price=_number(found["price"]),
        upstream=None if found["upstream"] is None else str(found["upstream"]),
        detail=json.dumps(rest, default=str) if rest else None,
        id=_identifier(row, made),
        outcome=outcome,
        is_active=outcome is None if found["active"] is None else bool(found["active"]),
        exit_price=_number(found["exit_price"]),
        profit=None if profit is None else profit / 100.0,
        exit_timestamp=closed,
    )


def _identifier(row: Mapping[str, object], timestamp: int) -> bytes:
    """A UUID version 7 whose random part is a digest of what identifies the row."""
    # Its own identifier where it has one: the rest of a row changes when it is closed.
    named = row.get("signal_id") or row.get("id") or sorted(row.items(), key=lambda item: item[0])
    digest = hashlib.blake2b(f"{named}:{timestamp}".encode(), digest_size=10).digest()
    head = max(timestamp // 1000, 0).to_bytes(6, "big")
    middle = bytes([0x70 | digest[0] & 0x0F, digest[1], 0x80 | digest[2] & 0x3F])
    return head + middle + digest[3:]


def _first(row: Mapping[str, object], names: Iterable[str]) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


def _moment(value: object, zone: ZoneInfo) -> int:
    if isinstance(value, int | float):
        return micros(float(value))
    moment = datetime.fromisoformat(str(value))
    return micros((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
