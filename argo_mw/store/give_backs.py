"""Giving back what was taken from a shared store, even if its taker left or the store is away.

A caller may be cancelled while what it takes is on its way: the store grants it to nobody. Drivers
give such late grants back, guards what a request took that was never sent, layers their leases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from attrs import frozen

from argo_mw.base.clock import Clock
from argo_mw.base.errors import ArgoError, Closed, EpochChanged, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.tasks import Tasks

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.1
_MAX_PAUSE: Final = 5.0

log = Log("argo_mw")


class GiveBacks:
    """Gives back what was taken from a store, in tasks that no caller can cancel.

    An attempt that the store has certainly not carried out is repeated; one that it may have
    carried out is not, since giving back twice would let others take too much.

    Args:
        clock: Paces the attempts.
        tasks: Owns the tasks; by default an owner of their own.
    """

    def __init__(self, clock: Clock, tasks: Tasks | None = None) -> None:
        self._clock = clock
        self._tasks = tasks if tasks is not None else Tasks()

    def start(
        self,
        name: str,
        attempt: Callable[[], Awaitable[object]],
        *,
        seconds: float,
        idempotent: bool = False,
    ) -> asyncio.Future[None]:
        """Give back in the background: try *attempt* once, and again for at most *seconds*.

        Args:
            name: The name of the task.
            attempt: Gives back.
            seconds: Seconds for which it is repeated while the store is away.
            idempotent: Whether it is repeated although the store may have carried it out.

        Returns:
            A task that ends with the first attempt; to wait for it, shield it.
        """
        return self._tasks.finish(name, self._start(_Attempt(name, attempt, idempotent), seconds))

    async def aclose(self) -> None:
        """Wait for what is being given back, and try a last time what is to be repeated."""
        await self._tasks.aclose()

    async def _start(self, attempt: _Attempt, seconds: float) -> None:
        if not await attempt.done():
            with suppress(Closed):
                self._tasks.spawn(attempt.name, self._repeat(attempt, seconds))

    async def _repeat(self, attempt: _Attempt, seconds: float) -> None:
        pause = _FIRST_PAUSE
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            try:
                await self._clock.sleep(pause)
            except asyncio.CancelledError:  # shutdown: the store is about to be closed
                await attempt.done()
                raise
            if await attempt.done():
                return
            pause = min(2 * pause, _MAX_PAUSE)
        log.warning(
            "the shared store was away too long to give back what was taken", task=attempt.name
        )


@frozen
class _Attempt:
    name: str
    run: Callable[[], Awaitable[object]]
    idempotent: bool

    async def done(self) -> bool:
        """Try it; return whether nothing is left to be done."""
        try:
            await self.run()
        except EpochChanged:
            return True  # the store has forgotten it
        except SharedUnavailable as error:
            return error.uncertain and not self.idempotent
        except ArgoError as error:
            log.warning(
                "what was taken from the shared store cannot be given back",
                task=self.name,
                error=str(error),
            )
        return True


async def claim(done: asyncio.Future[T], late: Callable[[T], None]) -> T:
    """Return the result of *done*, for drivers; hand it to *late* if the caller has left.

    A caller that is cancelled cancels *done* with it, and a driver that gets the reply afterwards
    calls *late* itself. Here it is called for a caller that was cancelled after its reply had come
    and before it could run.
    """
    try:
        return await done
    except asyncio.CancelledError:
        if done.done() and not done.cancelled() and done.exception() is None:
            late(done.result())
        raise
