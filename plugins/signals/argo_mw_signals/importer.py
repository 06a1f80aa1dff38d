"""Import of the original service's ``signals`` table, from a SQLite file of any of its versions."""

# Names of tables and columns are this package's own; values are always bound.

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from argo_mw.plugin import BadParameter, micros
from argo_mw_signals.errors import SignalsError
from argo_mw_signals.history import Database
from argo_mw_signals.recorded import RecordedSignal, Result, earned

_BATCH = 1000
# The names of each column in the versions of the table.
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
_NO = ("0", "0.0", "false", "f", "no", "n", "")
_FIRST_ROW = -(2**63)
_YEAR_10000 = 253_402_300_800


@frozen
class Imported:
    """The result of an import.

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
    database: Database,
    *,
    tenant: str = "",
    zone: str = "UTC",
    progress: Callable[[int], None] = lambda rows: None,
) -> Imported:
    """Copy the table ``signals`` of the file *path* into *database*.

    Identifiers are made from the rows and the tenant, so importing twice keeps one of each.

    Args:
        path: The old database.
        database: Where the signals go.
        tenant: The tenant that they belong to, or "" where tenants share them.
        zone: The time zone of times that name none.
        progress: Called with how many rows have been read.

    Raises:
        BadParameter: There is no such time zone.
        SignalsError: There is no such file, or no such table in it.
    """
    local = _zone(zone)
    read, refused, problems = 0, 0, list[str]()
    async for old in _batches(path):
        rows = []
        for one in old:
            try:
                rows.append(_signal(one, local, tenant).row())
            except (BadParameter, TypeError, ValueError, OverflowError) as error:
                refused += 1
                problems.append(f"row {one.get('id')}: {error}")
        reasons = await database.write(rows)
        refused += len(reasons)
        problems += reasons.values()
        read += len(old)
        progress(read)
    return Imported(read, refused, tuple(problems[:5]))


async def _batches(path: Path) -> AsyncIterator[Sequence[dict[str, object]]]:
    place = _FIRST_ROW
    while True:
        rows, place = await asyncio.to_thread(_read, path, place)
        if not rows:
            return
        yield rows


def _read(path: Path, after: int) -> tuple[list[dict[str, object]], int]:
    if not path.is_file():
        msg = f"there is no file {path} to import from"
        raise SignalsError(msg)
    query = "SELECT rowid AS rowid_, * FROM signals WHERE rowid > ? ORDER BY rowid LIMIT ?"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as old:
            old.row_factory = sqlite3.Row
            old.text_factory = lambda text: text.decode(errors="replace")
            # SQLite does not mind the case of a column's name.
            rows = [
                {name.lower(): row[name] for name in row.keys()}  # noqa: SIM118 - rows are not mappings
                for row in old.execute(query, (after, _BATCH))
            ]
    except sqlite3.Error as error:
        msg = f"{path} has no signals table that can be read: {error}"
        raise SignalsError(msg) from error
    return rows, int(str(rows[-1].pop("rowid_"))) if rows else after


def _signal(row: dict[str, object], zone: ZoneInfo, tenant: str) -> RecordedSignal:
    found = {name: _first(row, names) for name, names in _NAMES.items()}
    lacking = [name for name in _REQUIRED if found[name] is None]
    if lacking:
        msg = f"it has no {', '.join(lacking)}"
        raise ValueError(msg)
    action, price = str(found["action"]).upper(), _number(found["price"])
    exit_price, active = _number(found["exit_price"]), found["active"]
    outcome = _OUTCOMES.get(str(found["outcome"]).lower())
    profit = _number(found["profit_percent"])
    if profit is not None:
        profit /= 100.0
    elif outcome is not None and price and exit_price is not None:
        profit = earned(action, price, exit_price)
    used = {name for names in _NAMES.values() for name in names}
    if outcome is None:
        # A word that is not one of ours is kept.
        used.discard("outcome")
    rest = {k: v for k, v in row.items() if k not in used and v is not None and k != "rowid_"}
    made = _timestamp(found["timestamp"], zone)
    return RecordedSignal(
        symbol=str(found["symbol"]),
        action=action,
        confidence=float(str(found["confidence"])),
        timestamp=made,
        price=price,
        upstream=None if found["upstream"] is None else str(found["upstream"]),
        detail=json.dumps(rest, default=str) if rest else None,
        tenant=tenant,
        id=_identifier(row, made, tenant),
        outcome=outcome,
        is_active=outcome is None if active is None else str(active).lower() not in _NO,
        exit_price=exit_price,
        profit=profit,
        exit_timestamp=_timestamp(found["exit_timestamp"], zone)
        if found["exit_timestamp"]
        else None,
    )


def _identifier(row: Mapping[str, object], timestamp: int, tenant: str) -> bytes:
    """Return a UUID version 7 whose random part is a digest of what identifies the row."""
    # Its own identifier where it has one: the rest of a row changes when it is closed.
    named = row.get("signal_id") or row.get("id") or sorted(row.items(), key=lambda item: item[0])
    # Its symbol too: two files may both count from 1, and a column `id` need not be unique.
    text = f"{tenant}:{named}:{row['symbol']}:{timestamp}"
    digest = hashlib.blake2b(text.encode(), digest_size=10).digest()
    head = max(timestamp // 1000, 0).to_bytes(6, "big")
    middle = bytes([0x70 | digest[0] & 0x0F, digest[1], 0x80 | digest[2] & 0x3F])
    return head + middle + digest[3:]


def _first(row: Mapping[str, object], names: Iterable[str]) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _number(value: object) -> float | None:
    number = None if value is None else float(str(value))
    return number if number is None or math.isfinite(number) else None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        msg = f"there is no time zone {name!r}; name one like America/New_York, or UTC"
        raise BadParameter(msg) from None


def _timestamp(value: object, zone: ZoneInfo) -> int:
    if isinstance(value, int | float):
        if not abs(value) < _YEAR_10000:
            msg = f"{value!r} is not a time in seconds since the epoch"
            raise ValueError(msg)
        return micros(float(value))
    moment = datetime.fromisoformat(str(value))
    return micros((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
