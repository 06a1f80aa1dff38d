"""Removes our key from answers of a provider, since some errors repeat the request's key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from argo_mw.plugin import WebStream

STRUCK_OUT: Final = b"***"
_MIN_LENGTH: Final = 8
"""The length of the shortest key that is removed; a shorter one would be removed from words."""


class Concealment:
    """Removes *key* from what a provider sends.

    Args:
        key: The key; "" if the provider is asked without one of ours.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode() if len(key) >= _MIN_LENGTH else b""

    def body(self, content: bytes) -> bytes:
        """Return *content* without the key."""
        if not self._key or self._key not in content:
            return content
        return content.replace(self._key, STRUCK_OUT)

    def headers(self, headers: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """Return the *headers* that do not contain the key."""
        key = self._key.decode()
        return [one for one in headers if key not in one[1]] if key else headers

    def stream(self, stream: WebStream) -> WebStream:
        """Return *stream* without the key, even if that is split over two pieces."""
        return _Concealed(stream, self._key) if self._key else stream


class _Concealed:
    def __init__(self, stream: WebStream, key: bytes) -> None:
        self._stream = stream
        self._key = key

    async def __aiter__(self) -> AsyncIterator[bytes]:
        key, held = self._key, b""
        async for arrived in self._stream:
            piece = held + arrived if held else arrived
            if key in piece:
                piece = piece.replace(key, STRUCK_OUT)
            begun = _begun(piece, key)
            held = piece[len(piece) - begun :] if begun else b""
            if begun:
                piece = piece[:-begun]
            if piece:
                yield piece
        if held:
            yield held

    async def aclose(self) -> None:
        await self._stream.aclose()


def _begun(piece: bytes, key: bytes) -> int:
    """Return how many bytes at the end of *piece* may be the beginning of *key*."""
    start = max(0, len(piece) - len(key) + 1)
    while (start := piece.find(key[:1], start)) >= 0:
        if key.startswith(piece[start:]):
            return len(piece) - start
        start += 1
    return 0
