"""The envelope around an encoded value: its version, its place, and whether it is intact.

Layout: magic ``AM``, version, flags; the content; last a CRC-32, or with a signing key an
HMAC-SHA256, of all of that and of the name of the place to which the value belongs. The content is
the body, with compression preceded by its length before it was compressed (4 bytes,
little-endian); with encryption keys it is encrypted (see :mod:`argo_mw.store.codec.encryption`).
"""

from __future__ import annotations

import hmac
import struct
import threading
from enum import Enum
from typing import Final
from zlib import crc32

import zstandard
from attrs import field, frozen

from argo_mw.store.codec.encryption import EncryptionKeys, Undecryptable

VERSION: Final = 1
_MAGIC: Final = b"AM"
_HEADER: Final = struct.Struct("<2sBB")
_LENGTH: Final = struct.Struct("<I")
_CHECKSUM: Final = struct.Struct("<I")
_HEADER_OF: Final = slice(_HEADER.size)
_BODY_OF: Final = slice(_HEADER.size, -_CHECKSUM.size)
"""Where header and body are in what is neither signed, compressed nor encrypted."""
_RESIDUE: Final = 0x2144DF1C
"""The CRC-32 of whatever ends with its own CRC-32, little-endian."""
_COMPRESSED: Final = 1
_SIGNED: Final = 2
_ENCRYPTED: Final = 4
_HEADERS: Final = {
    kind: tuple(_HEADER.pack(_MAGIC, VERSION, kind | f) for f in (0, _COMPRESSED))
    for kind in (0, _SIGNED, _ENCRYPTED, _SIGNED | _ENCRYPTED)
}
_MAC_BYTES: Final = 32
_LARGE: Final = 128 * 1024
"""Bytes of a body that takes some milliseconds to decode, if it holds many small values."""
# Higher levels take twice the time to save a few percent.
_LEVEL: Final = 1

_local = threading.local()  # zstandard's objects must not be used by two threads at once


class UndecodableReason(Enum):
    """Why bytes could not be decoded."""

    FOREIGN = "foreign"
    """They were not written by this codec."""
    VERSION = "version"
    """They were written by another version of it."""
    CORRUPT = "corrupt"
    """They were damaged, or moved to another place."""
    SIGNATURE = "signature"
    """They are not signed with our key."""
    ENCRYPTION = "encryption"
    """They are not encrypted with one of our keys, or not encrypted at all."""
    TOO_LARGE = "too large"
    """Decompressed, they would be larger than allowed."""
    UNKNOWN_TYPE = "unknown type"
    """They hold a type that is not registered here."""
    REJECTED = "rejected"
    """They hold a type whose decoder refused them."""


@frozen
class Undecodable:
    """The result of :meth:`Codecs.decode` for bytes that hold no value: a miss.

    Attributes:
        reason: Why they hold none.
        detail: More about it, for a log; never the data itself.
    """

    reason: UndecodableReason
    detail: str = ""


@frozen
class Envelope:
    """Puts bodies into envelopes and takes them out.

    Attributes:
        compress_above: Bodies of more bytes than this are compressed, if that saves a tenth.
        max_bytes: The largest body, uncompressed, that is written or read.
        key: Signs all that is written; values without its signature are refused.
        encryption: Encrypts all that is written; values that are not encrypted with one of its
            keys are refused.
    """

    compress_above: int = 4096
    max_bytes: int = 64 * 2**20
    key: bytes | None = field(default=None, repr=False)
    encryption: EncryptionKeys | None = field(default=None, repr=False)
    _kind: int = field(init=False, repr=False)
    _plain: bytes = field(init=False, repr=False)
    _small: int = field(init=False, repr=False)

    @_kind.default
    def _flags_of_all(self) -> int:
        return (_SIGNED if self.key else 0) | (_ENCRYPTED if self.encryption else 0)

    @_plain.default
    def _header_of_plain(self) -> bytes:
        return b"" if self._kind else _HEADERS[0][0]

    @_small.default
    def _most_at_once(self) -> int:
        return min(_LARGE, self.max_bytes)

    def wrap(self, body: bytes, place: str = "") -> bytes:
        """Return *body* in an envelope that belongs to *place*."""
        flags = self._kind
        length = b""
        if len(body) > self.compress_above:
            packed = _compressor().compress(body)
            if len(packed) < 0.9 * len(body):
                length = _LENGTH.pack(len(body))
                flags |= _COMPRESSED
                body = packed
        header = _HEADER.pack(_MAGIC, VERSION, flags)
        name = place.encode("utf-8", "surrogatepass")
        if self.encryption is not None:
            sealed = header + self.encryption.encrypt(length + body, header + name)
        else:
            sealed = header + length + body
        return sealed + self._seal(sealed, name)

    def unwrap(self, data: bytes, place: str = "") -> bytes | memoryview | Undecodable:
        """Return the body in *data*, wrapped for *place*, or why there is none."""
        seal = _MAC_BYTES if self.key else _CHECKSUM.size
        header = data[: _HEADER.size]
        # The keys decide whether a signature and encryption are expected, never the data.
        if header not in _HEADERS[self._kind]:
            return self._not_ours(header)
        if len(data) < _HEADER.size + seal:
            return Undecodable(UndecodableReason.FOREIGN, "too short")
        name = place.encode("utf-8", "surrogatepass")
        if self.key:
            sealed = memoryview(data)[:-seal]
            if not hmac.compare_digest(self._seal(sealed, name), data[-seal:]):
                return Undecodable(UndecodableReason.SIGNATURE)
        elif crc32(data, crc32(name)) != _RESIDUE:
            return Undecodable(UndecodableReason.CORRUPT)
        # A slice of a view copies nothing.
        body: bytes | memoryview = memoryview(data)[_HEADER.size : -seal]
        if self.encryption is not None:
            try:
                body = self.encryption.decrypt(body, header + name)
            except Undecryptable as error:
                return Undecodable(UndecodableReason.ENCRYPTION, str(error))
        if header[-1] & _COMPRESSED:
            return self._decompress(body)
        if len(body) > self.max_bytes:
            return Undecodable(UndecodableReason.TOO_LARGE, f"{len(body)} bytes")
        return body

    def small_body(self, data: bytes, place: str = "") -> bytes | None:
        """Return the body in *data*, wrapped for *place*, if it is small and needs no unpacking.

        Half of the time of asking whether it is large, and unwrapping it. ``None`` says nothing.
        """
        if data[_HEADER_OF] != self._plain or len(data) > self._small:
            return None
        name = place.encode("utf-8", "surrogatepass")
        # To copy so little takes less than to make two views.
        return data[_BODY_OF] if crc32(data, crc32(name)) == _RESIDUE else None

    def is_large(self, data: bytes) -> bool:
        """Return whether to decode *data* may hold an event loop for more than a moment."""
        if len(data) > _LARGE:
            return True
        if len(data) < _HEADER.size + _LENGTH.size or not data[_HEADER.size - 1] & _COMPRESSED:
            return False
        if data[_HEADER.size - 1] & _ENCRYPTED:
            return len(data) > self.compress_above  # how large it was is encrypted too
        return bool(_LENGTH.unpack_from(data, _HEADER.size)[0] > _LARGE)

    def _not_ours(self, header: bytes) -> Undecodable:
        """Return why *header* is refused."""
        if len(header) < _HEADER.size:
            return Undecodable(UndecodableReason.FOREIGN, "too short")
        magic, version, flags = _HEADER.unpack(header)
        if magic != _MAGIC:
            return Undecodable(UndecodableReason.FOREIGN)
        if version != VERSION:
            return Undecodable(UndecodableReason.VERSION, f"version {version}, expected {VERSION}")
        if flags & ~(_COMPRESSED | _SIGNED | _ENCRYPTED):
            return Undecodable(UndecodableReason.CORRUPT, "unknown flags")
        if (flags ^ self._kind) & _ENCRYPTED:
            detail = "not encrypted" if self.encryption else "encrypted, but there is no key here"
            return Undecodable(UndecodableReason.ENCRYPTION, detail)
        detail = "not signed" if self.key else "signed, but there is no key here"
        return Undecodable(UndecodableReason.SIGNATURE, detail)

    def _decompress(self, body: bytes | memoryview) -> bytes | Undecodable:
        try:
            (length,) = _LENGTH.unpack_from(body)
            if length > self.max_bytes:
                return Undecodable(UndecodableReason.TOO_LARGE, f"{length} bytes")
            packed = body[_LENGTH.size :]
            # zstd allocates as much as the frame announces, whatever its limit: compare first.
            if zstandard.get_frame_parameters(packed).content_size != length:
                return Undecodable(UndecodableReason.CORRUPT, "lengths differ")
            return _decompressor().decompress(packed)
        except (zstandard.ZstdError, struct.error) as error:
            return Undecodable(UndecodableReason.CORRUPT, str(error))

    def _seal(self, sealed: bytes | memoryview, name: bytes) -> bytes:
        if self.key:
            # The length of the place separates it from the bytes that follow.
            mac = hmac.new(self.key, _LENGTH.pack(len(name)) + name, "sha256")
            mac.update(sealed)
            return mac.digest()
        return _CHECKSUM.pack(crc32(sealed, crc32(name)))


def _compressor() -> zstandard.ZstdCompressor:
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    decompressor: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    return decompressor
