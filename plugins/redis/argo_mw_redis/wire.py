"""One connection, which carries one batch at a time in callbacks of the event loop.

redis-py connects, with TLS and passwords. From then on nothing lies between the socket and the
callers: replies are parsed as they arrive, by hiredis, and handed to their futures right there. A
task and a stream for each batch cost as much as six of its gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Protocol

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from argo_mw.plugin import Clock, StallAwareLimit, Timer

NONSENSE: Final = "the server answered something else than it was asked"
_CLOSED: Final = "Connection closed by server."
_BUFFER: Final = 2**20
"""Bytes that are kept to read into: hiredis gives its memory back after each batch otherwise."""

Parse = Callable[[], Any]
"""Returns the next reply that has arrived, an error as a value; else ``NOT_ENOUGH_DATA``."""
Replies = Generator[None, None, Any]
"""Takes replies as far as they have arrived, whenever it is resumed."""


class Owner(Protocol):
    """Whose batches a wire carries."""

    def done(self, wire: Wire) -> None:
        """Take *wire* back, which has carried its batch."""

    def lost(self, wire: Wire, error: Exception) -> None:
        """Take into account that *wire* has ended because of *error*, with a batch under way."""


class Wire(asyncio.Protocol):
    """A connection.

    Args:
        connection: redis-py's, which is connected. Nobody else may use it any more.
        owner: Learns how a batch has ended.
        timeout: Seconds for a batch.
        clock: Measures them.

    Attributes:
        parse: Returns the next reply.
    """

    def __init__(
        self, connection: AbstractConnection, owner: Owner, timeout: float, clock: Clock
    ) -> None:
        owned: Any = connection  # its parts are private, and hardly typed
        self._transport: asyncio.Transport = owned._writer.transport
        self._reader: Any = owned._parser._reader
        self._connection = owned
        self._reader.setmaxbuf(_BUFFER)
        self.parse: Parse = self._reader.gets
        self._owner = owner
        self._timeout = timeout
        self._clock = clock
        self._replies: Iterator[None] | None = None
        self._limit = StallAwareLimit(0.0, 0.0)
        self._timer: Timer | None = None
        self._transport.set_protocol(self)

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more, as the server has closed it."""
        return self._transport.is_closing()

    def carry(self, batch: list[bytes], replies: Iterator[None]) -> None:
        """Send the bytes of a *batch*, and take its *replies*, until there are no more."""
        self._replies = replies
        now = self._clock.monotonic()
        self._limit = StallAwareLimit(now, now + self._timeout)
        self._timer = self._clock.call_at(self._limit.due, self._on_due)
        self._transport.writelines(batch)

    def close(self) -> None:
        """End it, and whatever is under way, without a word to its owner."""
        self._finish()
        self._connection._close()
        self._transport.abort()

    # -- what the event loop says --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take the replies in *data*."""
        if self._replies is None:  # nothing was asked: what followed would answer something else
            self._transport.abort()
            return
        try:
            self._reader.feed(data)
            next(self._replies)
        except StopIteration:
            self._end_batch()
        except Exception as error:
            self._lose(error)

    def eof_received(self) -> None:
        """Take into account that the server sends nothing any more."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take into account that the connection has ended."""
        if self._replies is not None:
            self._lose(exc or RedisConnectionError(_CLOSED))

    def _on_due(self) -> None:
        if self._limit.restart_if_stalled(self._clock.monotonic()):
            self._timer = self._clock.call_at(self._limit.due, self._on_overdue)
        else:
            self._on_overdue()

    def _on_overdue(self) -> None:
        self._lose(TimeoutError())

    # -- how a batch ends ----------------------------------------------------------------

    def _end_batch(self) -> None:
        if self._reader.has_data():  # it would be taken for replies to the next batch
            self._lose(InvalidResponse(NONSENSE))
            return
        self._finish()
        self._owner.done(self)

    def _lose(self, error: Exception) -> None:
        self.close()
        self._owner.lost(self, error)

    def _finish(self) -> None:
        self._replies = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def next_reply(
    parse: Parse, *, raised: tuple[type[Exception], ...] = (RedisConnectionError,)
) -> Replies:
    """Return the next reply once it has arrived, an error that was answered as a value.

    Raises:
        Exception: The server answered one of *raised*.
    """
    while (reply := parse()) is NOT_ENOUGH_DATA:
        yield
    if isinstance(reply, raised):
        raise reply
    return reply
