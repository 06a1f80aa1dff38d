"""Plain data is restored exactly; damaged and foreign bytes are misses, never errors."""

from __future__ import annotations

import datetime as dt
import math
import random
import struct
import subprocess
import sys
import uuid
import zlib
from decimal import Decimal
from enum import Enum
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pandas as pd
import pytest
import pytz
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw.base.errors import NotEncodable, PluginError
from argo_mw.store.codec import Codecs, Envelope, Undecodable, UndecodableReason

CODECS = Codecs()
LONG_REPRS = pytest.mark.filterwarnings("ignore:Generating overly large repr")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.complex_numbers(allow_nan=False)
)
hashables = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3)
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=3)
    ),
    max_leaves=20,
)


def anatomy(value):
    """The value with the exact type of each part, for comparisons that see 1, 1.0 and True."""
    kind = type(value)
    if kind is dict:
        return kind, [(anatomy(key), anatomy(item)) for key, item in value.items()]
    if kind in (list, tuple):
        return kind, [anatomy(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(anatomy(item)) for item in value)
    if kind is dt.datetime:
        return kind, value.replace(tzinfo=None), value.fold, str(value.tzinfo), value.utcoffset()
    if kind is float:
        return kind, value.hex()
    return kind, str(value)


@LONG_REPRS
@given(values)
def test_plain_data_is_restored_exactly(value):
    assert anatomy(value) == anatomy(CODECS.decode(CODECS.encode(value, "k"), "k"))


@LONG_REPRS
@given(values)
def test_a_value_that_was_encoded_once_is_a_part_of_several(value):
    part = CODECS.part(value)
    for whole in ([1, part, b"more"], {"key": (part,)}):
        bare = [1, value, b"more"] if type(whole) is list else {"key": (value,)}
        assert anatomy(bare) == anatomy(CODECS.decode(CODECS.encode(whole, "k"), "k"))


def test_a_part_is_the_value_as_it_was():
    rows = [[1], [2]]
    part = CODECS.part(rows)
    rows.append([3])
    assert [[1], [2]] == CODECS.decode(CODECS.encode(part))
    assert 1.5 == CODECS.part(1.5)
    with pytest.raises(NotEncodable, match="register a codec"):
        CODECS.part([object()])


def test_nan_is_restored():
    assert math.isnan(CODECS.decode(CODECS.encode(float("nan"))))


@pytest.mark.parametrize(
    "value",
    [
        pytz.timezone("US/Eastern").localize(dt.datetime(2024, 7, 1)),
        pytz.timezone("US/Eastern").localize(dt.datetime(2024, 11, 3, 1, 30), is_dst=False),
        dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2), "EET")),
        dt.time(1, 2, tzinfo=dt.UTC),
        bytearray(b"x"),
        2**9000,
    ],
    ids=lambda value: repr(value)[:40],
)
def test_unusual_values_are_restored(value):
    decoded = CODECS.decode(CODECS.encode(value))
    assert (type(value), value) == (type(decoded), decoded)
    if isinstance(value, dt.datetime):
        assert (value.tzname(), value.fold) == (decoded.tzname(), decoded.fold)


class Colour(Enum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value", [object(), Colour.RED, Text("x"), lambda: 1, [1, (2, {3: Colour.RED})], "\ud800"]
)
def test_a_value_without_a_codec_is_refused(value):
    with pytest.raises(NotEncodable):
        CODECS.encode(value)


def test_encoding_and_decoding_bound_the_depth():
    deep: object = 1
    for _ in range(200):
        deep = (deep,)
    with pytest.raises(NotEncodable, match="deeper than 64"):
        CODECS.encode(deep)
    decoded = CODECS.decode(Codecs(max_depth=1000).encode(deep))
    assert UndecodableReason.CORRUPT is decoded.reason


@attrs.frozen
class Parcel:
    holds: object


@attrs.frozen
class Letter:
    pass


def test_a_decoder_may_decode_too_whatever_comes_of_that():
    codecs = Codecs(max_depth=3)
    codecs.register(Parcel, "parcel", lambda one: codecs.encode(one.holds), codecs.decode)
    assert (((1,),), ((2,),)) == codecs.decode(codecs.encode((Parcel(((1,),)), ((2,),))))
    too_deep = Codecs().encode(((((1,),),),))
    codecs.register(Letter, "letter", lambda _: too_deep, codecs.decode)
    found, beside = codecs.decode(codecs.encode((Letter(), ((2,),))))
    assert UndecodableReason.CORRUPT is found.reason
    assert ((2,),) == beside


def test_a_cycle_is_refused():
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(NotEncodable):
        CODECS.encode(cycle)


@attrs.frozen
class Signal:
    symbol: str
    _score: float
    at: dt.datetime
    parts: tuple[object, ...] = ()


def registry():
    codecs = Codecs()
    codecs.register_fields(Signal, "tests.signal")
    return codecs


def test_an_attrs_class_is_encoded_field_by_field():
    signal = Signal("AAPL", 0.5, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), ({1: (2,)},))
    codecs = registry()
    assert signal == codecs.decode(codecs.encode(signal))


def test_an_unregistered_type_is_a_miss():
    data = registry().encode(Signal("A", 1.0, dt.datetime(2024, 1, 1)))
    assert Undecodable(UndecodableReason.UNKNOWN_TYPE, "tests.signal") == CODECS.decode(data)


def test_a_class_whose_fields_have_changed_is_a_miss():
    codecs, older = registry(), Codecs()
    older.register(Signal, "tests.signal", lambda _: [5, "A"], lambda _: None)
    decoded = codecs.decode(older.encode(Signal("A", 1.0, dt.datetime(2024, 1, 1))))
    assert UndecodableReason.REJECTED is decoded.reason


def test_a_name_or_a_type_cannot_be_registered_twice():
    codecs = registry()
    with pytest.raises(PluginError, match="exists"):
        codecs.register_fields(Signal, "tests.other")
    with pytest.raises(PluginError, match="exists"):
        codecs.register(Colour, "tests.signal", str, Colour)


def test_a_failing_encoder_raises_not_encodable():
    codecs = Codecs()
    codecs.register(Colour, "tests.colour", lambda value: 1 / 0, Colour)
    with pytest.raises(NotEncodable, match="ZeroDivisionError"):
        codecs.encode(Colour.RED)


# -- damage ----------------------------------------------------------------------------------

SAMPLES = [
    {"text": "news " * 400, "n": [1, 2.5, None, (3,)]},
    pd.DataFrame({"close": [1.5, 2.5], "symbol": ["A", "B"]}),
    "x",
]
KEYS = {"checksum": None, "signature": b"k" * 32}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_a_changed_value_is_a_miss_and_never_an_error(key, data):
    codecs = Codecs(Envelope(key=key))
    encoded = codecs.encode(data.draw(st.sampled_from(SAMPLES)), "k")
    changed = bytearray(encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    decoded = codecs.decode(bytes(changed), "k")
    assert isinstance(decoded, Undecodable) or bytes(changed) == encoded


@pytest.mark.parametrize("sample", SAMPLES, ids=["compressed", "frame", "text"])
def test_three_thousand_mutations_are_all_misses(sample):
    encoded, rng = CODECS.encode(sample, "k"), random.Random(7)
    served = 0
    for _ in range(3_400):
        start, length = rng.randrange(len(encoded)), rng.randrange(1, 9)
        noise = rng.randbytes(length)
        change = rng.choice(
            [
                encoded[:start],
                encoded[:start] + noise + encoded[start + length :],
                encoded[:start] + encoded[start + length :],
                encoded[:start] + noise + encoded[start:],
                rng.randbytes(len(encoded)),
            ]
        )
        if change != encoded:
            served += not isinstance(CODECS.decode(change, "k"), Undecodable)
    assert served == 0


@settings(max_examples=1000, deadline=None)
@given(body=st.binary(max_size=60))
def test_any_body_in_a_valid_envelope_never_raises(body):
    """The checksum finds damage; these bytes could be written by an attacker."""
    CODECS.decode(CODECS.envelope.wrap(body))


@LONG_REPRS
@settings(max_examples=500, deadline=None)
@given(
    name=st.sampled_from([*sorted(Codecs()._by_name), "pandas.frame", "numpy.array", "x.y"]),
    plain=values,
)
def test_any_plain_value_under_any_name_never_raises(name, plain):
    class Anything:
        pass

    stranger = Codecs()
    del stranger._by_name[name if name in stranger._by_name else "complex"]
    if name in stranger._by_name:
        return
    stranger.register(Anything, name, lambda _: plain, lambda plain: plain)
    try:
        data = stranger.encode(Anything())
    except NotEncodable:
        return
    CODECS.decode(data)


def test_a_value_moved_to_another_key_is_a_miss():
    for key in KEYS.values():
        codecs = Codecs(Envelope(key=key))
        assert isinstance(codecs.decode(codecs.encode(1, "price:AAPL"), "price:MSFT"), Undecodable)


def test_only_values_signed_with_our_key_are_read():
    ours, theirs, unsigned = (Codecs(Envelope(key=key)) for key in (b"a" * 32, b"b" * 32, None))
    assert UndecodableReason.SIGNATURE is ours.decode(theirs.encode(1)).reason
    assert UndecodableReason.SIGNATURE is ours.decode(unsigned.encode("x" * 100)).reason
    assert UndecodableReason.SIGNATURE is unsigned.decode(ours.encode(1)).reason
    assert ours.decode(ours.encode(1)) == 1


def test_the_key_is_in_no_repr():
    assert "secret" not in repr(Codecs(Envelope(key=b"secret")))


def test_an_envelope_of_another_version_is_a_miss_with_that_reason():
    encoded = bytearray(CODECS.encode(1))
    encoded[2] += 1
    assert UndecodableReason.VERSION is CODECS.decode(bytes(encoded)).reason


def test_foreign_bytes_are_misses():
    for foreign in (b"", b"A", b'{"json": true}', msgspec.msgpack.encode([1] * 20)):
        assert UndecodableReason.FOREIGN is CODECS.decode(foreign).reason


def sealed(flags, rest):
    data = b"AM" + bytes([1, flags]) + rest
    return data + struct.pack("<I", zlib.crc32(data, zlib.crc32(b"")))


def test_a_decompression_bomb_is_refused():
    bomb = zstandard.ZstdCompressor().compress(b"\0" * 2**20)
    small = Codecs(Envelope(max_bytes=2**16))
    honest = sealed(1, struct.pack("<I", 2**20) + bomb)
    lying = sealed(1, struct.pack("<I", 100) + bomb)
    assert UndecodableReason.TOO_LARGE is small.decode(honest).reason
    assert UndecodableReason.CORRUPT is small.decode(lying).reason
    streamed = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * 2**20)
    assert (
        UndecodableReason.CORRUPT
        is small.decode(sealed(1, struct.pack("<I", 100) + streamed)).reason
    )


def test_a_value_that_is_too_large_is_refused():
    with pytest.raises(NotEncodable, match="too large"):
        Codecs(Envelope(max_bytes=1000)).encode("x" * 2000)


def test_large_values_are_compressed_and_small_ones_are_not():
    assert len(CODECS.encode("x" * 100_000)) < 200
    assert b"hello" in CODECS.encode("hello")


def test_incompressible_values_are_not_compressed():
    noise = random.Random(1).randbytes(5000)
    assert noise in CODECS.encode(noise)


def test_plain_values_import_neither_numpy_nor_pandas():
    code = (
        "import sys; from argo_mw.store.codec import Codecs; c = Codecs();"
        "c.decode(c.encode({'a': (1,), 'u': {2}})); c.decode(b'AM' + bytes(50));"
        "print({'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_uuids_and_decimals_keep_their_digits():
    number = Decimal("1.1000")
    assert str(number) == str(CODECS.decode(CODECS.encode(number)))
    assert uuid.UUID(int=5) == CODECS.decode(CODECS.encode(uuid.UUID(int=5)))
