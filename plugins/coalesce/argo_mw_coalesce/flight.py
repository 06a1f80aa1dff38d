"""One flight: the one call that several callers wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from argo_mw.plugin import NotShareable, Outcome, Stream, copy_error
from argo_mw.store import Snapshot, TagSnapshot, snapshot


class Flight:
    r"""A call under way, and those who wait for it.

    It belongs to no caller: a caller that leaves takes only its own place away, and the last
    one *abandon*\ s it.

    Attributes:
        waiting: How many wait now.
        joined: How many have waited in all.
        task: What flies.
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
        # In the order in which they came: so are they answered.
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
        """The outcome of the flight, for one caller.

        Raises:
            Exception: A fresh copy of what the flight ended in.
        """
        self.joined += 1
        if not self.landed:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[place] = None
            try:
                await place
            finally:
                self._waiters.pop(place, None)
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
        """*outcome* itself: to everyone when that is harmless, else to the first who comes."""
        if self._unshareable is not None:
            if self._given_away:
                raise copy_error(self._unshareable)
            self._given_away = True
        return outcome

    def _wake(self) -> None:
        for place in self._waiters:
            if not place.done():
                place.set_result(None)
