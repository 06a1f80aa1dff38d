"""Export of recorded signals to files, a page at a time, so that any number fits into memory."""

from __future__ import annotations

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from argo_mw.plugin import TimeOrderedIds, iso_time
from argo_mw_signals.errors import SignalsError
from argo_mw_signals.frames import COLUMNS, to_frame
from argo_mw_signals.recorded import RecordedSignal

Pages = AsyncIterator[Sequence[RecordedSignal]]


async def write_csv(file: Path, pages: Pages) -> int:
    """Write *pages* to the new *file* as CSV, times in ISO 8601, and return how many signals.

    Raises:
        SignalsError: The file exists, or cannot be written.
    """
    count = 0
    with _new(file), file.open("x", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["timestamp", *COLUMNS])
        async for signals in pages:
            await asyncio.to_thread(writer.writerows, [_line(signal) for signal in signals])
            count += len(signals)
    return count


async def write_parquet(file: Path, pages: Pages) -> int:
    """Write *pages* to the new *file* as Parquet, and return how many signals.

    Raises:
        SignalsError: The file exists, or cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    writer: pq.ParquetWriter | None = None
    with _new(file), file.open("xb") as out:
        async for signals in pages:
            if signals or writer is None:
                part = pa.Table.from_pandas(to_frame(signals), schema=_schema())
                writer = writer or pq.ParquetWriter(out, part.schema)
                await asyncio.to_thread(writer.write_table, part)
            count += len(signals)
        if writer is not None:
            writer.close()
    return count


@contextlib.contextmanager
def _new(file: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        msg = f"{file} exists; an export overwrites nothing, name a new file"
        raise SignalsError(msg) from None
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror or error}"
        raise SignalsError(msg) from error


def _schema() -> object:
    import pyarrow as pa

    times = pa.timestamp("us", tz="UTC")
    types = {
        "confidence": pa.float64(),
        "price": pa.float64(),
        "exit_price": pa.float64(),
        "profit": pa.float64(),
        "is_active": pa.bool_(),
        "exit_timestamp": times,
    }
    columns = [(name, types.get(name, pa.string())) for name in COLUMNS]
    return pa.schema([*columns, ("timestamp", times)])


def _line(signal: RecordedSignal) -> list[object]:
    cells = {name: getattr(signal, name) for name in COLUMNS}
    cells["id"] = TimeOrderedIds.text(signal.id)
    cells["exit_timestamp"] = _time(signal.exit_timestamp)
    return [_time(signal.timestamp), *cells.values()]


def _time(timestamp: int | None) -> str:
    return "" if timestamp is None else iso_time(timestamp)
