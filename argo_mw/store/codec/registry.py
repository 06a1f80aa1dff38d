"""The registry of codecs: values to bytes and back, exactly, without running stored code."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID
from zlib import crc32

import attrs
import msgspec
from attrs import define, frozen

from argo_mw.base.errors import NotEncodable, PluginError
from argo_mw.store.codec.envelope import Envelope, Undecodable, UndecodableReason
from argo_mw.store.codec.times import TIMES

T = TypeVar("T")

_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
_TUPLE: Final = 1
_SET: Final = 2
_FROZENSET: Final = 3
_INTEGER: Final = 4
_NAMED: Final = 5
_PACK: Final = msgspec.msgpack.Encoder().encode
_REFUSED: Final = frozenset({UndecodableReason.SIGNATURE, UndecodableReason.ENCRYPTION})
_MODULES: Final = {"numpy": "argo_mw.store.codec.arrays", "pandas": "argo_mw.store.codec.frames"}


@frozen
class _Codec:
    """How values of one type are encoded.

    Attributes:
        name: The type's name in the bytes.
        to_plain: Turns a value into something simpler.
        from_plain: Turns that back.
    """

    name: str
    to_plain: Callable[[Any], object]
    from_plain: Callable[[Any], object]


@frozen
class _Part:
    """A value that is encoded already."""

    raw: msgspec.Raw


class _UnknownTypeError(Exception):
    """The bytes name a type that is not registered."""


@define(eq=False)
class Codecs:
    """Encodes values for shared stores.

    Plain data needs no registration: ``None``, booleans, integers of any size, floats, text, bytes,
    lists, tuples, dicts with any such keys, sets, dates and times with their zones, ``Decimal``,
    ``UUID``; numpy arrays and scalars; pandas frames and series. Other types are registered
    with :meth:`register` or :meth:`register_fields`. There is no pickle, and
    names in the bytes are looked up in this registry only.

    Attributes:
        envelope: Decides about compression, size, signatures and encryption.
        max_depth: How deep values may be nested.
        on_refused: Called with the reason when a value written with another key counts as a miss.
    """

    envelope: Envelope = attrs.field(factory=Envelope)
    max_depth: int = 64
    on_refused: Callable[[Undecodable], object] | None = attrs.field(default=None, repr=False)
    _by_type: dict[type, _Codec] = attrs.field(factory=dict, init=False, repr=False)
    _by_name: dict[str, _Codec] = attrs.field(factory=dict, init=False, repr=False)
    _loaded: set[str] = attrs.field(factory=set, init=False, repr=False)
    # A reader counts depth, so each thread has one of its own; making it takes 2 µs.
    _local: threading.local = attrs.field(factory=threading.local, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for kind, (to_plain, from_plain) in TIMES.items():
            self.register(kind, kind.__name__, to_plain, from_plain)
        self.register(Decimal, "decimal", str, Decimal)
        self.register(UUID, "uuid", lambda value: value.bytes, lambda plain: UUID(bytes=plain))
        self.register(complex, "complex", lambda v: [v.real, v.imag], lambda plain: complex(*plain))
        self.register(bytearray, "bytearray", bytes, bytearray)

    # -- registering ---------------------------------------------------------------------

    def register(
        self,
        kind: type[T],
        name: str,
        encode: Callable[[T], object],
        decode: Callable[[Any], T],
    ) -> None:
        """Register a codec for values of exactly *kind*.

        Args:
            kind: The type; its subclasses are not covered.
            name: The type's name in the bytes: unique, and never changed. Plugins begin it with
                their own name and a dot.
            encode: Turns a value into plain data, or into values of other registered types.
            decode: Turns that back. It may receive anything, and raises any exception when that
                is not such a value.

        Raises:
            PluginError: The name or the type is already taken.
        """
        taken = self._by_name.get(name) or self._by_type.get(kind)
        if taken is not None:
            msg = f"cannot register a codec {name!r} for {kind.__qualname__}: {taken.name!r} exists"
            raise PluginError(msg, plugin=name.partition(".")[0])
        codec = _Codec(name, encode, decode)
        self._by_type[kind] = self._by_name[name] = codec

    def register_fields(self, kind: type[T], name: str) -> None:
        """Register a codec for *kind*, an attrs class or a msgspec Struct, field by field.

        A stored value is undecodable once *kind* has other fields.

        Args:
            kind: The class; its subclasses are not covered.
            name: The type's name in the bytes; see :meth:`register`.

        Raises:
            PluginError: The name or the type is already taken.
        """
        names, aliases = _fields(kind)
        shape = crc32(" ".join(names).encode())

        def encode(value: T) -> object:
            return [shape, *(getattr(value, name) for name in names)]

        def decode(plain: Any) -> T:
            stored, *values = plain
            if stored != shape:
                msg = "the fields differ"
                raise ValueError(msg)
            return kind(**dict(zip(aliases, values, strict=True)))

        self.register(kind, name, encode, decode)

    def knows(self, kind: type) -> bool:
        """Return whether values of *kind* can be encoded, if what they hold can."""
        return kind in _ATOMS or kind in _CONTAINERS or self._codec_for(kind) is not None

    # -- encoding ------------------------------------------------------------------------

    def encode(self, value: object, place: str = "") -> bytes:
        """Encode *value* as bytes.

        Args:
            value: What to encode.
            place: The key under which the bytes will be kept; they can be decoded for no other.

        Raises:
            NotEncodable: Something in *value* has no codec, is nested too deep or too large.
        """
        body = self._body(value)
        if len(body) > self.envelope.max_bytes:
            msg = (
                f"a value of {len(body)} bytes is too large: {self.envelope.max_bytes} are allowed"
            )
            raise NotEncodable(msg)
        return self.envelope.wrap(body, place)

    def part(self, value: object) -> object:
        """Return what can stand for *value* in several values, so that it is encoded only once.

        It is *value* itself where that costs nothing; else *value* as it is now.

        Raises:
            NotEncodable: As for :meth:`encode`.
        """
        return value if type(value) in _ATOMS else _Part(msgspec.Raw(self._body(value)))

    def decode(self, data: bytes, place: str = "") -> object | Undecodable:
        """Return the value in *data*, or :class:`Undecodable`; never raise because of *data*.

        *place* is the one for which it was encoded: a value of another place is undecodable.
        """
        return self._read(None, data, place)

    def decode_as(self, kind: type[T], data: bytes, place: str = "") -> T | Undecodable:
        """Like :meth:`decode`, for a value that was encoded as a list of the fields of *kind*.

        Twice as fast, because types are checked while the bytes are read.

        Args:
            kind: A :class:`msgspec.Struct` with ``array_like=True``.
            data: The bytes.
            place: The key under which they were kept.
        """
        return self._read(kind, data, place)  # type: ignore[return-value]

    def decode_small(self, kind: type[T], data: bytes, place: str = "") -> T | Undecodable | None:
        """Like :meth:`decode_as`; ``None`` if that may hold an event loop for more than a moment.

        *data* is then for :meth:`decode_as_off_loop`.
        """
        body = self.envelope.small_body(data, place)
        if body is not None:
            return self._decoded(kind, body)  # type: ignore[return-value]
        return None if self.envelope.is_large(data) else self.decode_as(kind, data, place)

    def is_large(self, data: bytes) -> bool:
        """Return whether to decode *data* may hold an event loop for more than a moment."""
        return self.envelope.is_large(data)

    async def decode_off_loop(self, data: bytes, place: str = "") -> object | Undecodable:
        """Like :meth:`decode`; a large value is decoded in a thread, and holds no event loop."""
        if self.envelope.is_large(data):
            return await asyncio.to_thread(self._read, None, data, place)
        return self._read(None, data, place)

    async def decode_as_off_loop(
        self, kind: type[T], data: bytes, place: str = ""
    ) -> T | Undecodable:
        """Like :meth:`decode_as`; a large value is decoded in a thread, and holds no event loop."""
        if self.envelope.is_large(data):
            return await asyncio.to_thread(self.decode_as, kind, data, place)
        return self.decode_as(kind, data, place)

    def _read(self, kind: type | None, data: bytes, place: str) -> object | Undecodable:
        body = self.envelope.unwrap(data, place)
        if isinstance(body, Undecodable):
            if self.on_refused is not None and body.reason in _REFUSED:
                self.on_refused(body)
            return body
        return self._decoded(kind, body)

    def _decoded(self, kind: type | None, body: bytes | memoryview) -> object | Undecodable:
        try:
            reader: _Reader = getattr(self._local, "reader", None) or self._new_reader()
            return reader.read(kind, body)  # type: ignore[no-any-return]
        except _UnknownTypeError as error:
            return Undecodable(UndecodableReason.UNKNOWN_TYPE, str(error))
        except (msgspec.MsgspecError, RecursionError) as error:
            return Undecodable(UndecodableReason.CORRUPT, type(error).__name__)
        except Exception as error:  # a decoder may receive anything, and raise anything
            return Undecodable(UndecodableReason.REJECTED, f"{type(error).__name__}: {error}"[:200])

    def _new_reader(self) -> _Reader:
        reader = self._local.reader = _Reader(self)
        return reader

    def _body(self, value: object) -> bytes:
        try:
            try:
                return _PACK(_Writer(self, big=False).plain(value, 0))
            except OverflowError:
                return _PACK(_Writer(self, big=True).plain(value, 0))
        except UnicodeEncodeError as error:
            msg = "a text with half a surrogate pair cannot be stored as UTF-8"
            raise NotEncodable(msg) from error

    def _codec_for(self, kind: type) -> _Codec | None:
        codec = self._by_type.get(kind)
        if codec is None:
            self._load(kind.__module__.partition(".")[0])
            codec = self._by_type.get(kind)
        return codec

    def _codec_named(self, name: str) -> _Codec:
        codec = self._by_name.get(name)
        if codec is None:
            self._load(name.partition(".")[0])
            codec = self._by_name.get(name)
        if codec is None:
            raise _UnknownTypeError(name)
        return codec

    def _load(self, package: str) -> None:
        """Register the codecs for the types of *package*, if it is one that is imported lazily."""
        module = _MODULES.get(package)
        if module is None or package in self._loaded:
            return
        self._loaded.add(package)
        try:
            __import__(module)
        except ImportError:
            return
        sys.modules[module].register(self)


@define(eq=False)
class _Writer:
    """Turns a value into plain data that msgpack keeps exactly."""

    _codecs: Codecs
    _big: bool

    def plain(self, value: Any, depth: int) -> object:
        kind = type(value)
        if kind in _ATOMS:
            if kind is int and self._big and not -(2**63) <= value < 2**64:
                return self._ext(_INTEGER, _integer_to_plain(value))
            return value
        if depth >= self._codecs.max_depth:
            msg = f"a value nested deeper than {self._codecs.max_depth} levels cannot be stored"
            raise NotEncodable(msg)
        code = _CONTAINERS.get(kind)
        if code is None:
            return self._named(kind, value, depth + 1)
        if kind is dict:
            return self._dict(value, depth + 1)
        items = self._items(value, depth + 1)
        return items if kind is list else self._ext(code, items)

    def _items(self, value: Iterable[object], depth: int) -> object:
        if not self._big and _ATOMS.issuperset(map(type, value)):
            return value if type(value) is list else list(value)
        return [self.plain(item, depth) for item in value]

    def _dict(self, value: dict[Any, object], depth: int) -> object:
        if not self._big and _ATOMS.issuperset(map(type, value)):
            if _ATOMS.issuperset(map(type, value.values())):
                return value
            return {key: self.plain(item, depth) for key, item in value.items()}
        # As an extension: msgpack's own maps cannot have extensions for keys everywhere.
        pairs = [(self.plain(key, depth), self.plain(item, depth)) for key, item in value.items()]
        return self._ext(_DICT, pairs)

    def _named(self, kind: type, value: object, depth: int) -> object:
        if isinstance(value, _Part):
            return value.raw
        codec = self._codecs._codec_for(kind)
        if codec is None:
            msg = (
                f"a {kind.__module__}.{kind.__qualname__} cannot be stored: register a codec for "
                f"it with register_codecs, or return plain data"
            )
            raise NotEncodable(msg)
        try:
            simpler = codec.to_plain(value)
        except NotEncodable:
            raise
        except Exception as error:
            msg = f"a {kind.__qualname__} could not be encoded: {type(error).__name__}: {error}"
            raise NotEncodable(msg) from error
        return self._ext(_NAMED, [codec.name, self.plain(simpler, depth)])

    def _ext(self, code: int, plain: object) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(code, _PACK(plain))


class _Reader:
    """Turns msgpack back into values, to a maximum depth."""

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs
        self._by_name = codecs._by_name
        self._depth = 0
        self._decode = msgspec.msgpack.Decoder(ext_hook=self._extension).decode
        self._decode_as: dict[type | None, Callable[[bytes | memoryview], Any]] = {
            None: self._decode
        }

    def read(self, kind: type | None, data: bytes | memoryview) -> Any:
        decode = self._decode_as.get(kind)
        if decode is None:
            decode = msgspec.msgpack.Decoder(kind, ext_hook=self._extension).decode
            self._decode_as[kind] = decode
        self._depth = 0
        return decode(data)

    def _extension(self, code: int, data: memoryview) -> object:
        self._depth += 1
        if self._depth > self._codecs.max_depth:
            raise RecursionError
        plain = self._decode(data)
        self._depth -= 1  # not after an exception, which ends the whole decoding
        if code != _NAMED:
            return _REBUILD[code](plain)
        name, simpler = plain
        codec = self._by_name.get(name) or self._codecs._codec_named(name)
        depth = self._depth
        value = codec.from_plain(simpler)
        self._depth = depth  # a registered decoder may have read too
        return value


def _integer_to_plain(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _integer_from_plain(plain: bytes) -> int:
    return int.from_bytes(plain, "little", signed=True)


_DICT: Final = 6
_CONTAINERS: Final[Mapping[type, int]] = {
    list: 0,
    dict: 0,
    tuple: _TUPLE,
    set: _SET,
    frozenset: _FROZENSET,
}
_REBUILD: Final[Mapping[int, Callable[[Any], object]]] = {
    _TUPLE: tuple,
    _SET: set,
    _FROZENSET: frozenset,
    _INTEGER: _integer_from_plain,
    _DICT: dict,
}


def _fields(kind: type) -> tuple[list[str], list[str]]:
    """Return the names of the fields of *kind*, and of the arguments that set them."""
    if issubclass(kind, msgspec.Struct):
        names = list(kind.__struct_fields__)
        return names, names
    fields = [field for field in attrs.fields(kind) if field.init]  # type: ignore[arg-type]
    return [field.name for field in fields], [field.alias for field in fields]
