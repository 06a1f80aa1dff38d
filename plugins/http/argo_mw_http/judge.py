"""What counts as an answer: the status, and what a body says of itself."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import zstandard

from argo_mw_http.answers import HttpAnswer

_MANY_BYTES: Final = 64 * 1024
_MAX_DECODED: Final = 64 * 1024 * 1024
"""Bytes of a body, decompressed, in which errors are looked for."""
_CHUNK: Final = 64 * 1024
_STEP: Final = 4096
"""Bytes that are decompressed at once: what follows the end of a part is copied for each part."""
_ESCAPES: Final = (("~1", "/"), ("~0", "~"))
_MAX_DIGITS: Final = 9


class Unreadable(Exception):
    """A body cannot be looked into."""


async def error_in(answer: HttpAnswer, pointers: Sequence[str]) -> str | None:
    """Return which of *pointers* shows an error in the body of *answer*, or ``None``.

    A large body is read in a thread.

    Raises:
        Unreadable: It is not JSON, or compressed in a way that cannot be undone here.
    """
    if len(answer.body) > _MANY_BYTES or answer.header("content-encoding"):
        return await asyncio.to_thread(_error_in, answer, pointers)
    return _error_in(answer, pointers)


def _error_in(answer: HttpAnswer, pointers: Sequence[str]) -> str | None:
    try:
        document: object = msgspec.json.decode(_decompressed(answer))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = "is not JSON"
        raise Unreadable(msg) from error
    return next((one for one in pointers if at(document, one)), None)


def at(document: object, pointer: str) -> object:
    """Return what a JSON *pointer* (RFC 6901) shows in *document*; ``None`` for nothing."""
    for written in pointer.split("/")[1:]:
        token = written
        for escaped, plain in _ESCAPES:
            token = token.replace(escaped, plain)
        if isinstance(document, Mapping):
            document = document.get(token)
        elif isinstance(document, list) and token.isascii() and token.isdigit():
            place = int(token[:_MAX_DIGITS])
            document = document[place] if place < len(document) else None
        else:
            return None
    return document


def _decompressed(answer: HttpAnswer) -> bytes:
    """Return the body of *answer*, decompressed step by step, each of them bounded."""
    body = answer.body
    encodings = (answer.header("content-encoding") or "").split(",")
    for encoding in reversed([one.strip().lower() for one in encodings if one.strip()]):
        if encoding == "identity":
            continue
        undo = _UNDO.get(encoding)
        if undo is None:
            msg = f"is compressed by {encoding!r:.40}"
            raise Unreadable(msg)
        try:
            body = undo(body)
        except (zlib.error, zstandard.ZstdError) as error:
            msg = f"is damaged ({encoding})"
            raise Unreadable(msg) from error
    return body


def _ungzip(body: bytes) -> bytes:
    return _inflate(body, zlib.MAX_WBITS | 16)


def _undeflate(body: bytes) -> bytes:
    try:
        return _inflate(body, zlib.MAX_WBITS)
    except zlib.error:  # some servers omit the wrapper that the standard requires
        return _inflate(body, -zlib.MAX_WBITS)


def _inflate(body: bytes, frame: int) -> bytes:
    whole, one = bytearray(), zlib.decompressobj(frame)
    for begin in range(0, len(body), _STEP):
        piece = body[begin : begin + _STEP]
        while piece:
            if one.eof:
                one = zlib.decompressobj(frame)
            whole += one.decompress(piece, _MAX_DECODED - len(whole) + 1)
            _check(len(whole))
            piece = one.unused_data
    if body and not one.eof:
        msg = "is damaged (cut off)"
        raise Unreadable(msg)
    return bytes(whole)


def _unzstd(body: bytes) -> bytes:
    whole = bytearray()
    limits = zstandard.ZstdDecompressor(max_window_size=2**27)
    with limits.stream_reader(body, read_across_frames=True) as reader:
        while piece := reader.read(_CHUNK):
            whole += piece
            _check(len(whole))
    return bytes(whole)


def _check(size: int) -> None:
    if size > _MAX_DECODED:
        msg = f"has more than {_MAX_DECODED} bytes"
        raise Unreadable(msg)


_UNDO: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": _ungzip,
    "x-gzip": _ungzip,
    "deflate": _undeflate,
    "zstd": _unzstd,
}
