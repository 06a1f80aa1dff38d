"""A flight: the one call that several callers wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct, field

from argo_mw.plugin import Outcome, OutcomeCopies, Stream, is_time_limit
from argo_mw.store import TagSnapshot


class Flight(Struct, eq=False):
    r"""A call under way and the callers that wait for it.

    It belongs to no caller: one that leaves ends its own wait only. When the last one leaves, the
    flight is abandoned; if the time of that caller was up, it goes on without callers.

    Attributes:
        waiting: The number of callers that wait now.
        joined: The number of callers that have waited in all.
        task: The task that makes the call.
        failed: Whether it ended in an error.
        failed_until: Monotonic seconds until which a failure is shared.
        tag_snapshot: The versions of the call's tags before the load, once they are known.
        banned: The tags that were banned when it began, as those of killed layers are.
    """

    _abandon: Callable[[Flight], None]
    banned: frozenset[str] = frozenset()
    task: asyncio.Task[None] | None = None
    failed: bool = False
    failed_until: float = 0.0
    joined: int = 0
    tag_snapshot: TagSnapshot | None = None
    # A dict for its order: callers are answered in the order in which they came.
    _waiters: dict[asyncio.Future[None], None] = field(default_factory=dict)
    _outcome: Outcome | None = None
    _copies: OutcomeCopies | None = None
    _untaken: Stream[object] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    @property
    def landed(self) -> bool:
        return self._outcome is not None or self._copies is not None

    def land(self, outcome: Outcome) -> None:
        """Give *outcome* to every waiting caller; a stream ends if all of them leave first.

        If the value cannot be copied because it raises, callers get its error.
        """
        if isinstance(outcome.value, Stream):
            self._untaken = outcome.value
        if self.joined > 1:
            try:
                self._copies = OutcomeCopies(outcome)
            except Exception as error:  # the code of a value may raise anything
                self.fail(error)
                return
        else:
            self._outcome = outcome
        self._wake()

    def fail(self, error: Exception) -> None:
        """Give every waiting caller an error like *error*, and the first one *error* itself."""
        self.failed = True
        self._copies = OutcomeCopies(error)
        self._wake()

    async def wait(self, *, ends_with_caller: bool = False) -> Outcome:
        """Return the outcome of the flight, for one caller.

        Args:
            ends_with_caller: Whether the flight is abandoned even if this is its last caller and
                leaves because its time is up.

        Raises:
            Exception: The error that the flight failed with, for this caller alone.
        """
        self.joined += 1
        if not self.landed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            left, goes_on = True, False
            try:
                await waiter
                left = False
            except asyncio.CancelledError as error:
                goes_on = is_time_limit(error) and not ends_with_caller
                raise
            finally:
                del self._waiters[waiter]
                if left and not self._waiters:
                    self._leave(goes_on=goes_on)
        self._untaken = None
        if self._copies is not None:
            return self._copies.take()
        assert self._outcome is not None
        return self._outcome

    def _leave(self, *, goes_on: bool) -> None:
        """Abandon the flight, unless it *goes_on*; one that has landed ends its stream."""
        if self._untaken is not None:
            self._untaken.abort("its callers left")
        elif not goes_on and not self.landed:
            self._abandon(self)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
