"""Record batches of Arrow, read only in the form in which they are written here.

A few bytes of Arrow may stand for gigabytes: compressed buffers, run-end encoding, columns of
nulls. A stored value may come from anyone, so data that would grow beyond every limit is refused.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import pyarrow as pa

_FORM: Final = "not in the form in which frames are kept"
_HEADER: Final = 2
"""The field of a message that holds its record batch; fields are numbered by Arrow's schema."""
_COMPRESSION: Final = 3
"""The field of a record batch that says how its buffers are compressed."""


def write_batch(columns: list[pa.Array]) -> bytes:
    """Return *columns* as an Arrow IPC stream of one record batch; no bytes for no columns."""
    if not columns:
        return b""
    batch = pa.record_batch(columns, names=[str(n) for n in range(len(columns))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def read_batch(data: bytes) -> list[pa.Array]:
    """Return the columns in *data*, the result of :func:`write_batch`.

    Raises:
        ValueError: :func:`write_batch` did not write it, or it would grow when it is read.
    """
    if not data:
        return []
    messages = pa.ipc.MessageReader.open_stream(data)
    schema = pa.ipc.read_schema(messages.read_next_message())
    if not all(_is_flat(field.type) for field in schema):
        raise ValueError(_FORM)
    message = messages.read_next_message()
    if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
        raise ValueError(_FORM)
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    return list(batch.columns)


def _is_flat(kind: Any) -> bool:
    """Return whether values of *kind* take the bytes that they are written in."""
    return bool(pa.types.is_primitive(kind) or kind == pa.large_string())


def _is_compressed(metadata: bytes) -> bool:
    """Return whether the message with *metadata*, a flatbuffer, has compressed buffers."""
    try:
        (message,) = struct.unpack_from("<I", metadata, 0)
        header = _field(metadata, message, _HEADER)
        if header is None:
            return True
        (distance,) = struct.unpack_from("<I", metadata, header)
        return _field(metadata, header + distance, _COMPRESSION) is not None
    except struct.error:
        return True


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Return where field *number* of a flatbuffer's *table* is, or ``None`` if it has none."""
    (distance,) = struct.unpack_from("<i", buffer, table)
    (size,) = struct.unpack_from("<H", buffer, table - distance)
    at = 4 + 2 * number
    if at >= size:
        return None
    (offset,) = struct.unpack_from("<H", buffer, table - distance + at)
    return table + offset if offset else None
