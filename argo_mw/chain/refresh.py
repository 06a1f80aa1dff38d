"""Refreshes: questions that are asked again in the background."""

from __future__ import annotations

import asyncio

from argo_mw.base.errors import ArgoError, DeadlineExceeded
from argo_mw.model.copies import OutcomeCopies
from argo_mw.model.outcome import Outcome


class Refresh:
    """A question that is being asked again, which any number of callers may wait for.

    Attributes:
        done: Whether it has ended.
    """

    def __init__(self, label: str, task: asyncio.Task[Outcome]) -> None:
        self._label = label
        self._task = task
        self._copies: OutcomeCopies | None = None

    @property
    def done(self) -> bool:
        return self._task.done()

    async def wait(self) -> Outcome:
        """Return the new answer, for one caller; a caller that leaves does not disturb it.

        Raises:
            Exception: What asking raised, for this caller alone.
            DeadlineExceeded: It was stopped.
        """
        if not self._task.done():
            await asyncio.wait((self._task,))
        if self._copies is None:
            self._copies = OutcomeCopies(self._result())
        return self._copies.take()

    def _result(self) -> Outcome | Exception:
        if self._task.cancelled():
            return self._stopped()
        error = self._task.exception()
        if error is None:
            return self._task.result()
        if isinstance(error, Exception):
            return error
        raise error

    def _stopped(self) -> Exception:
        if self._task.cancelling():
            return DeadlineExceeded(f"the refresh of {self._label} was stopped by shutdown")
        return ArgoError(f"the refresh of {self._label} failed: it raised CancelledError by itself")
