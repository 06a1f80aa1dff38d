"""Whether a store can be used, and finding out in the background when it can again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from argo_mw.base.clock import Clock


def _nothing(_: str) -> None:
    return None


class Availability:
    """Knows whether a store is away; while it is, tries it again and again in the background.

    A store that could not be reached, took too long or refused a write is away until a *probe* has
    used it, so that no caller waits to find that out.

    Args:
        clock: Waits between attempts.
        probe: Uses the store as callers do, writing to it; returns whether it could.
        retry: Seconds between attempts.
        on_back: Called when the store was away and can be used again.
        name: The name of the task that tries.

    Attributes:
        why: Why the store cannot be used; ``None`` while it can, as far as is known.
        on_lost: Called with that reason at the beginning of each outage.
        on_found: Called with it at the end of the outage.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        probe: Callable[[], Awaitable[bool]],
        retry: float,
        on_back: Callable[[], None] = lambda: None,
        name: str = "argo-mw:store-probe",
    ) -> None:
        self.why: str | None = None
        self.on_lost: Callable[[str], None] = _nothing
        self.on_found: Callable[[str], None] = _nothing
        self._reported = ""
        self._clock = clock
        self._probe = probe
        self._on_back = on_back
        self._retry = retry
        self._name = name
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether the store could not be used when that was last tried."""
        return self.why is not None

    def watch(self, on_lost: Callable[[str], None], on_found: Callable[[str], None]) -> None:
        """Call *on_lost* and *on_found* from now on, the former at once if the store is away."""
        self.on_lost, self.on_found = on_lost, on_found
        if self.why is not None:
            on_lost(self._reported)

    def lost(self, why: str) -> None:
        """Note that the store cannot be used, because of *why*, and start trying it again."""
        first, self.why = self.why is None, why
        if first:
            self._reported = why
            self.on_lost(why)
        self.try_again()

    def try_again(self) -> None:
        """Start trying in the background, unless that is under way."""
        if not self._closed and (self._task is None or self._task.done()):
            # In no caller's context: it outlives the call that has found the store away.
            self._task = asyncio.create_task(
                self._try_until_used(), name=self._name, context=Context()
            )

    async def aclose(self) -> None:
        """Stop trying. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _try_until_used(self) -> None:
        while not await self._probe():
            await self._clock.sleep(self._retry)
        if self.why is not None:
            self.why = None
            self._on_back()
            self.on_found(self._reported)
