"""A flight: the one call that several callers wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from argo_mw.plugin import NotShareable, Outcome, Stream, copy_error
from argo_mw.store import Snapshot, TagSnapshot, snapshot


class Flight:
    r"""A call under way and the callers that wait for it.

    It belongs to no caller: a caller that leaves gives up its own wait only, and the last one to
    leave *abandon*\ s the flight.

    Attributes:
        waiting: The number of callers that wait now.
        joined: The number of callers that have waited in all.
        task: The task that makes the call.
        failed_until: Monotonic seconds until which a failure is shared.
        tag_snapshot: The versions of the call's tags before the load, once they are known.
    """

    __slots__ = (
        "_abandon",
        "_error",
        "_given_away",
        "_outcome",
        "_snapshot",
        "_unshareable",
        "_waiters",
        "failed_until",
        "joined",
        "tag_snapshot",
        "task",
    )

    def __init__(self, abandon: Callable[[Flight], None]) -> None:
        self._abandon = abandon
        self.task: asyncio.Task[None] | None = None
        self.failed_until = 0.0
        self.joined = 0
        self.tag_snapshot: TagSnapshot | None = None
        # A dict for its order: callers are answered in the order in which they came.
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        self._snapshot: Snapshot | None = None
        self._unshareable: NotShareable | None = None
        self._given_away = False

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    @property
    def landed(self) -> bool:
        return self._outcome is not None or self._error is not None

    @property
    def failed(self) -> bool:
        return self._error is not None

    def land(self, outcome: Outcome) -> None:
        """Give *outcome* to every waiting caller."""
        self._outcome = outcome
        if self.joined > 1 and not isinstance(outcome.value, Stream):
            try:
                self._snapshot = snapshot(outcome.value)
            except NotShareable as error:
                self._unshareable = error
        self._wake()

    def fail(self, error: Exception) -> None:
        """Give every waiting caller a copy of *error*."""
        self._error = error
        self._wake()

    async def wait(self) -> Outcome:
        """Return the outcome of the flight, for one caller.

        Raises:
            Exception: A fresh copy of the error that the flight failed with.
        """
        self.joined += 1
        if not self.landed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                self._waiters.pop(waiter, None)
                if not self._waiters and not self.landed:
                    self._abandon(self)
        return self._share()

    def _share(self) -> Outcome:
        if self._error is not None:
            raise copy_error(self._error)
        assert self._outcome is not None
        if self._snapshot is None:
            return self._give_away(self._outcome)
        value = self._snapshot.copy()
        return self._outcome if value is self._outcome.value else self._outcome.evolve(value=value)

    def _give_away(self, outcome: Outcome) -> Outcome:
        """Return *outcome* itself: to every caller if that is harmless, else to the first only."""
        if self._unshareable is not None:
            if self._given_away:
                raise copy_error(self._unshareable)
            self._given_away = True
        return outcome

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
