"""One connection, which carries one batch at a time in callbacks of the event loop.

redis-py connects, with TLS and passwords. From then on replies are parsed by hiredis as they arrive
and handed to their futures at once, without a task and a stream for each batch, which would cost as
much as six of its gets.
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
"""Bytes of hiredis's read buffer that are kept: it would free them after each batch."""

Parse = Callable[[], Any]
"""Returns the next reply that has arrived, an error as a value; else ``NOT_ENOUGH_DATA``."""
Replies = Generator[None, None, Any]
"""Handles the replies that have arrived so far, each time it is resumed."""


class Owner(Protocol):
    """The owner of a wire, whose batches it carries."""

    def done(self, wire: Wire) -> None:
        """Take *wire* back once its batch is answered."""

    def lost(self, wire: Wire, error: Exception) -> None:
        """Fail the batch on *wire*, which was lost to *error*."""


class Wire(asyncio.Protocol):
    """A connection.

    Args:
        connection: A connected connection of redis-py, for the exclusive use of this wire.
        owner: Called with how a batch has ended.
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
        """Whether the server has closed the connection, so that nothing can be sent."""
        return self._transport.is_closing()

    def carry(self, batch: list[bytes], replies: Iterator[None]) -> None:
        """Send the bytes of a *batch*, and resume *replies* until it has handled all of them."""
        self._replies = replies
        now = self._clock.monotonic()
        self._limit = StallAwareLimit(now, now + self._timeout)
        self._timer = self._clock.call_at(self._limit.due, self._on_due)
        self._transport.writelines(batch)

    def close(self) -> None:
        """Close the connection and drop what is under way, without calling the owner."""
        self._finish()
        self._connection._close()
        self._transport.abort()

    # -- callbacks of the event loop -----------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Handle the replies in *data*."""
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
        """Lose the connection, since the server sends nothing any more."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lose the connection, which has ended."""
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
        if self._reader.has_data():  # else taken for replies to the next batch
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
    """Return the next reply once it has arrived, an error reply as a value.

    Raises:
        Exception: The server answered one of *raised*.
    """
    while (reply := parse()) is NOT_ENOUGH_DATA:
        yield
    if isinstance(reply, raised):
        raise reply
    return reply
