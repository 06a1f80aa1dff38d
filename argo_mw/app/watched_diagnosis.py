"""The diagnosis of an application for screens: made in the background, and the newest kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from argo_mw.app.findings import Finding
from argo_mw.base.clock import Clock
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.log import Log
from argo_mw.base.printable import printable
from argo_mw.base.secret import redact
from argo_mw.base.tasks import Tasks

log = Log("argo_mw")

DIAGNOSIS_EVERY: Final = 30.0
"""Seconds between two diagnoses."""

PATIENCE: Final = 2.0
"""Seconds that the first reading waits for the first diagnosis."""

_UNDER_WAY: Final = "what argo-mw doctor finds is not known yet"


class WatchedDiagnosis:
    """What is not well about an application, for all screens that show it.

    A diagnosis asks services, and takes seconds if they are down: only a screen's first reading
    waits for it.

    Args:
        diagnose: Makes a diagnosis.
        clock: The time.
        tasks: Owns a diagnosis under way.
    """

    def __init__(
        self, diagnose: Callable[[], Awaitable[Sequence[Finding]]], clock: Clock, tasks: Tasks
    ) -> None:
        self._diagnose = diagnose
        self._clock = clock
        self._tasks = tasks
        self._problems: Sequence[str] | None = None
        self._due = 0.0
        self._under_way: asyncio.Task[None] | None = None

    async def problems(self) -> Sequence[str]:
        """Return what was not well when that was found out last; have it found out again if due.

        Raises:
            Closed: The application is closed.
        """
        now = self._clock.monotonic()
        if self._under_way is None and (self._problems is None or now >= self._due):
            self._under_way = self._tasks.spawn("diagnosis", self._look())
        if self._problems is None and self._under_way is not None:
            with suppress(TimeLimitExceeded):
                await fail_at(_ended(self._under_way), now + PATIENCE, self._clock)
        return (_UNDER_WAY,) if self._problems is None else self._problems

    async def _look(self) -> None:
        try:
            found = await self._diagnose()
            self._problems = [
                printable(f"{one.where}, {one.what}: {one.found}") for one in found if not one.well
            ]
        except Exception as error:
            log.debug("the diagnosis failed", error=repr(error))
            why = redact(printable(f"{type(error).__name__}: {error}"))
            self._problems = [f"the diagnosis failed: {why}"]
        finally:
            self._due = self._clock.monotonic() + DIAGNOSIS_EVERY
            self._under_way = None


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
