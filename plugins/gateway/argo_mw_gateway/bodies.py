"""Bodies of requests: read completely, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from argo_mw.plugin import WebRefusal
from argo_mw_gateway.asgi import ClientLeft, Receive
from argo_mw_gateway.config import GatewayConfig

_STEP: Final = 64 * 1024
"""The bytes that a client must send within each ``body_timeout``."""
_MAX_DISCARDED: Final = 1 << 20
_DISCARDING: Final = 1.0
"""Seconds for which a refused body is still read: many clients read no answer while they send."""


class Refused(Exception):
    """A request is refused before anything is asked.

    Attributes:
        refusal: Why.
        headers: Further headers of its response.
    """

    def __init__(self, refusal: WebRefusal, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal
        self.headers = headers


class Buffers:
    """How much memory the bodies of all requests take.

    Args:
        limit: Bytes at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, size: int) -> None:
        """Count *size* more bytes.

        Raises:
            Refused: There is no room for them.
        """
        if self.taken + size > self.limit:
            raise Refused(WebRefusal(503, "the gateway is reading all it may; try again soon"))
        self.taken += size

    def give_back(self, size: int) -> None:
        """Count *size* bytes as freed."""
        self.taken -= size


class BodyReader:
    """Reads the body of one request.

    Args:
        receive: Returns its next part.
        headers: The request's headers, by name in lower case.
        config: The bounds.
        buffers: Counts the memory of all bodies.
    """

    def __init__(
        self, receive: Receive, headers: Mapping[str, str], config: GatewayConfig, buffers: Buffers
    ) -> None:
        self._receive = receive
        self._config = config
        self._buffers = buffers
        self._declared = _length(headers.get("content-length"))
        self._taken = 0
        self._done = self._declared == 0 and "transfer-encoding" not in headers
        self._is_asked_for = headers.get("expect", "").lower() != "100-continue"

    @property
    def done(self) -> bool:
        """Whether all of it has been read."""
        return self._done

    async def read(self) -> bytes:
        """Return the body.

        Raises:
            ClientLeft: The client left before it had sent all of it.
            Refused: It is too large or too slow, or all bodies together are too large.
        """
        if self.done:
            return b""
        if self._declared > self._config.max_body_bytes:
            raise self._too_large()
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._config.body_timeout) as patience:
                content, more = await self._part()
                if not more:
                    return content
                gathered = bytearray(content)
                while more:
                    content, more = await self._part()
                    gathered += content
                    steps = 1 + len(gathered) // _STEP
                    patience.reschedule(started + steps * self._config.body_timeout)
        except TimeoutError:
            raise Refused(WebRefusal(408, "the request took too long to arrive")) from None
        return bytes(gathered)

    async def discard(self) -> None:
        """Read and drop some of what is left, unless the client waits for ``100 Continue``."""
        if not self._is_asked_for:
            return
        left = _MAX_DISCARDED
        try:
            async with asyncio.timeout(_DISCARDING):
                while not self.done and left > 0:
                    left -= len(await self._next())
        except (TimeoutError, ClientLeft):
            pass

    def close(self) -> None:
        """Give back the memory that was counted for the body."""
        self._buffers.give_back(self._taken)
        self._taken = 0

    async def _next(self) -> bytes:
        self._is_asked_for = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        self._done = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    async def _part(self) -> tuple[bytes, bool]:
        """Return the next part, counted, and whether there are more."""
        part = await self._next()
        self._take(len(part))
        return part, not self._done

    def _take(self, size: int) -> None:
        if self._taken + size > self._config.max_body_bytes:
            raise self._too_large()
        self._buffers.take(size)
        self._taken += size

    def _too_large(self) -> Refused:
        limit = self._config.max_body_bytes
        return Refused(
            WebRefusal(413, f"the request has more than {limit} bytes, the gateway's limit")
        )


def _length(declared: str | None) -> int:
    return int(declared) if declared is not None and declared.isdecimal() else 0
