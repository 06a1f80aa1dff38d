"""A stored value that says much in a few bytes is refused before it grows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zstandard

from argo_mw.base.secret import Secret
from argo_mw.store import Codecs, EncryptionKeys, Envelope, Undecodable, UndecodableReason
from argo_mw.store.codec.arrow import read_batch, write_batch
from tests.hostile.wire import MEBIBYTE

LIMIT = MEBIBYTE
NAMED = 5
pack = msgspec.msgpack.encode


def codecs() -> Codecs:
    return Codecs(Envelope(max_bytes=LIMIT))


def written(codecs: Codecs, body: bytes) -> bytes:
    """Return *body* as it would be stored."""
    return codecs.envelope.wrap(body, "k")


def series(batch: bytes, kind: object = ("text", "object")) -> bytes:
    """Return the body of a series whose column is in *batch*."""
    plain = [["range", 0, 3, 1, None], kind, None, [{}, True], batch]
    return pack(msgspec.msgpack.Ext(NAMED, pack(["pandas.series", plain])))


def stream(column: pa.Array, **options: object) -> bytes:
    """Return *column* as Arrow writes it with *options*."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([column], names=["0"])
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def nulls() -> bytes:
    return series(stream(pa.nulls(50_000_000)))


def runs() -> bytes:
    ends, values = pa.array([50_000_000], pa.int32()), pa.array(["x"], pa.large_string())
    return series(stream(pa.RunEndEncodedArray.from_arrays(ends, values)))


def words() -> bytes:
    return series(stream(pa.DictionaryArray.from_arrays(np.zeros(9, "i1"), ["x" * 9])))


def compressed(kind: str) -> Callable[[], bytes]:
    zeros = pa.array(np.zeros(8 * MEBIBYTE))
    return lambda: series(stream(zeros, compression=kind), ("numpy", "<f8"))


def ranges() -> bytes:
    levels = [["range", 0, 10**12, 1, None]] * 2
    return pack(msgspec.msgpack.Ext(NAMED, pack(["pandas.MultiIndex", [["multi", levels], b""]])))


BOMBS = {
    "a column of nulls": nulls,
    "one long run": runs,
    "words by number": words,
    "buffers compressed with lz4": compressed("lz4"),
    "buffers compressed with zstd": compressed("zstd"),
    "ranges of rows": ranges,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_grow_is_undecodable(bomb: str) -> None:
    store = codecs()
    data = written(store, BOMBS[bomb]())
    pd.Series([1.0])  # which imports what pandas imports late
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    try:
        assert isinstance(store.decode(data, "k"), Undecodable)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
        assert pa.total_allocated_bytes() - before < 4 * LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("announced", [LIMIT + 1, 2**32 - 1])
def test_what_announces_more_than_allowed_is_not_decompressed(announced: int) -> None:
    store = codecs()
    body = zstandard.ZstdCompressor().compress(bytes(announced % (64 * MEBIBYTE) + 1))
    envelope = Envelope(max_bytes=2**40)
    data = bytearray(envelope.wrap(bytes(2 * MEBIBYTE), "k"))
    assert isinstance(store.decode(bytes(data), "k"), Undecodable)
    assert len(body) < LIMIT


def test_a_batch_comes_back_as_it_was_written() -> None:
    columns = [
        pa.array([1.5, 2.5]),
        pa.array(["a", None], pa.large_string()),
        pa.array([1, 2], pa.uint8()),
    ]
    assert columns == read_batch(write_batch(columns))
    assert [] == read_batch(write_batch([]))


@pytest.mark.parametrize("size", [0, 20, 100])
def test_half_a_batch_is_refused(size: int) -> None:
    data = write_batch([pa.array([1.5, 2.5])])
    with pytest.raises((ValueError, pa.ArrowException, OSError, EOFError, StopIteration)):
        assert [] != read_batch(data[: -size - 1] if size else data[:9])


def test_small_values_are_decoded_at_once_and_large_ones_in_a_thread() -> None:
    store = codecs()
    assert not store.is_large(store.encode("a" * 1000, "k"))
    assert store.is_large(store.encode("a" * 900_000, "k"))  # which is compressed to a few bytes
    assert store.is_large(store.encode(np.random.default_rng(1).bytes(900_000), "k"))
    assert not store.is_large(b"")


class Pair(msgspec.Struct, array_like=True):
    first: str
    second: int


ENVELOPES = [
    Envelope(max_bytes=LIMIT),
    Envelope(max_bytes=LIMIT, key=b"k" * 32),
    Envelope(max_bytes=LIMIT, encryption=EncryptionKeys([Secret("e" * 32)])),
]


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("text", ["", "a" * 100, "ab" * 9_000], ids=["none", "some", "packed"])
def test_what_is_decoded_at_once_is_what_a_thread_would_decode(
    envelope: Envelope, text: str
) -> None:
    store = Codecs(envelope)
    data = store.encode([text, 7], "k")
    assert Pair(text, 7) == store.decode_small(Pair, data, "k")
    damaged = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    for other in (*damaged, *(data[:end] for end in range(len(data))), store.encode("x", "k")):
        refused = store.decode_as(Pair, other, "k")
        assert isinstance(refused, Undecodable)
        # None, where the damage makes it look large.
        assert store.decode_small(Pair, other, "k") in (refused, None)
    assert store.decode_as(Pair, data, "other") == store.decode_small(Pair, data, "other")


def test_what_is_too_large_to_be_decoded_at_once_is_left_to_a_thread() -> None:
    store = codecs()
    for text in ("a" * 900_000, str(np.random.default_rng(1).bytes(200_000))):
        assert store.decode_small(Pair, store.encode([text, 7], "k"), "k") is None


def test_a_body_larger_than_allowed_is_refused_at_once() -> None:
    data = codecs().encode(["a" * 100, 7], "k")
    found = Codecs(Envelope(max_bytes=50)).decode_small(Pair, data, "k")
    assert isinstance(found, Undecodable)
    assert UndecodableReason.TOO_LARGE is found.reason
