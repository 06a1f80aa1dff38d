"""A connection ends when its other side takes nothing, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from argo_mw.plugin import WriteLimit


class Loop:
    """A loop whose timers ring when they are told to."""

    def __init__(self) -> None:
        self.timers: list[tuple[asyncio.TimerHandle, Callable[[], object]]] = []

    def call_later(self, seconds: float, ring: Callable[[], object]) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        self.timers.append((asyncio.TimerHandle(seconds, ring, (), loop), ring))
        return self.timers[-1][0]

    def ring(self) -> None:
        due, self.timers = self.timers, []
        for handle, ring in due:
            if not handle.cancelled():
                ring()


class Connection(asyncio.WriteTransport):
    """A connection on which so many bytes wait to be taken."""

    waiting = 100
    aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.aborted = True


def limited(connection: Connection) -> tuple[WriteLimit, Loop]:
    loop = Loop()
    return WriteLimit(connection, cast("asyncio.AbstractEventLoop", loop), 30.0), loop


async def test_it_ends_when_nothing_is_taken() -> None:
    connection = Connection()
    limit, loop = limited(connection)
    limit.start()
    loop.ring()
    assert connection.aborted


async def test_it_goes_on_as_long_as_something_is_taken() -> None:
    connection = Connection()
    limit, loop = limited(connection)
    limit.start()
    for waiting in (99, 98):
        connection.waiting = waiting
        loop.ring()
        assert not connection.aborted
    loop.ring()
    assert connection.aborted


async def test_what_was_stopped_ends_nothing() -> None:
    connection = Connection()
    limit, loop = limited(connection)
    limit.start()
    limit.start()
    assert 1 == sum(not handle.cancelled() for handle, _ in loop.timers)
    limit.stop()
    limit.stop()
    loop.ring()
    assert not connection.aborted
