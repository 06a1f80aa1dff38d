"""Patience with a server, which ends no sooner because the event loop was held up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_HELD_UP = 0.1
"""The share of its time by which a timer rings late when the loop was busy with something else."""


@contextlib.asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Wait *seconds* for what is inside, and as long again if the loop was held up meanwhile.

    What has come while it was held up lies in the socket, unread: a server that answered in time
    would else be taken for one that is away.

    Raises:
        TimeoutError: It took longer.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    async with asyncio.timeout(None) as limit:

        def ring() -> None:
            held_up = loop.time() - due > seconds * _HELD_UP
            limit.reschedule(loop.time() + (seconds if held_up else 0.0))

        timer = loop.call_at(due, ring)
        try:
            yield
        finally:
            timer.cancel()
