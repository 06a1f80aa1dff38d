"""Quotas: requests per second, minute and day, and requests under way at once.

Windows are counted in Shared, so that every process that shares it shares the quota: fixed
windows of the wall clock, a day being a UTC day. A request waits for up to a second for a window to
open; beyond that it is refused with the time at which to come back. A pushback of the upstream (a
429 with a time to wait) holds in every process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial

from attrs import frozen
from msgspec import Struct

from argo_mw.base.clock import Clock
from argo_mw.base.errors import QuotaExceeded, UpstreamError
from argo_mw.base.tasks import Tasks
from argo_mw.model.guard import Left, Request, Result, Standing
from argo_mw.model.upstream import Limits, Upstream
from argo_mw.store.epochs import Epochs
from argo_mw.store.give_backs import GiveBacks
from argo_mw.store.protocol import Shared

MAX_WAIT = 1.0
"""Seconds that a call waits for a window to open before it is refused."""

_LOST = "the shared store has lost what it counted"
_SLOW = "the shared store takes longer to count than its windows last"
_TOO_MANY = 429
_MAX_PUSHBACK = 86_400.0


class _Period(Struct, frozen=True):
    """One period of a window, in seconds since the epoch, and the counter of its requests."""

    began: float
    ends: float
    key: str
    ttl: float

    def holds(self, now: float) -> bool:
        """Return whether *now* lies in it."""
        return self.began <= now < self.ends


class _Window:
    """A limit on the requests of each period of so many *seconds*."""

    def __init__(self, prefix: str, name: str, seconds: int, limit: int) -> None:
        self.name = name
        self.seconds = seconds
        self.limit = limit
        self._prefix = f"{prefix}:{name}:"
        self._period = self._new(0.0)

    def at(self, now: float) -> _Period:
        """Return the period of *now*; it is kept, since many requests fall into each."""
        if not self._period.holds(now):
            self._period = self._new(now)
        return self._period

    def _new(self, now: float) -> _Period:
        number, seconds = int(now // self.seconds), self.seconds
        began = float(number * seconds)
        return _Period(began, began + seconds, f"{self._prefix}{number}", 2.0 * seconds)


class _Taken(Struct, frozen=True):
    """What a request has taken: one of each period that it was charged to, and maybe a slot."""

    charged: Sequence[_Period]
    slot: bool


@frozen
class _Full:
    """A window that lets no request pass until it *opens*, for a *reason* if not its limit."""

    opens: float
    reason: str


class _Counted(Struct, frozen=True):
    """What the counter of a window held, and when that window began, in seconds."""

    began: float
    value: int


class Quota:
    """Keeps the requests to one upstream within its limits.

    A metered upstream without a limit on its rate is refused, unless the configuration has lifted
    one: where money is at stake, that must be a decision. A window whose count the store has lost
    counts as full.

    Args:
        upstream: The upstream.
        shared: Counts.
        clock: The time.
        epochs: Notices that *shared* has lost what it counted.
        tasks: Owns what gives back when a caller leaves.
        lifted: Whether the configuration has lifted some limit of *upstream*.
    """

    name = "quota"

    def __init__(
        self,
        upstream: Upstream,
        shared: Shared,
        clock: Clock,
        *,
        epochs: Epochs | None = None,
        tasks: Tasks | None = None,
        lifted: bool = False,
    ) -> None:
        self._upstream = upstream.name
        self._shared = shared
        self._clock = clock
        self._epochs = epochs if epochs is not None else Epochs(shared, clock)
        self._give_backs = GiveBacks(clock, tasks)
        prefix = f"argo:quota:{{{self._upstream}}}"
        self._windows = _windows(prefix, upstream.limits)
        self._forbidden = upstream.metered and not self._windows and not lifted
        self._blocked_key = f"{prefix}:blocked"
        self._concurrency = upstream.limits.concurrency
        self._slots = asyncio.Semaphore(self._concurrency) if self._concurrency else None
        self._taken: dict[Request, _Taken] = {}
        self._counted: dict[str, _Counted] = {}
        self._blocked_until = 0.0

    async def reserve(self, request: Request) -> None:
        """Charge one request, waiting for at most a second.

        Raises:
            QuotaExceeded: A quota is used up, or a metered upstream has none.
        """
        if self._forbidden:
            raise self._no_limits()
        # The slot first: a request that waits for it would be sent in later windows than charged.
        if self._slots is not None:
            await self._slots.acquire()
        try:
            charged = await self._wait_for_windows()
        except BaseException:
            # What was charged by then is on its way back already.
            self._free_slot()
            raise
        self._taken[request] = _Taken(charged, slot=True)

    async def dry_run(self, request: Request) -> str:
        """Say what is left of each window.

        Raises:
            QuotaExceeded: As for :meth:`reserve`.
        """
        if self._forbidden:
            raise self._no_limits()
        now = self._clock.time()
        full, left = await self._look(now)
        if full is not None and full.opens - now > MAX_WAIT:
            raise self._exceeded(full, now)
        if self._slots is not None and self._slots.locked():
            left.append("would wait for a request under way to end")
        if full is not None:
            left.append(f"would wait for {full.opens - now:.2f} s")
        return ", ".join(left)

    def standing(self) -> Standing:
        """Return what is left of each window, as this instance has found at its last request.

        Of a window that has ended since, all. Before the first request nothing is known.
        """
        now = self._clock.time()
        limits: dict[str, Left] = {}
        for window in self._windows:
            if (counted := self._counted.get(window.name)) is not None:
                used = counted.value if counted.began == window.at(now).began else 0
                limits[window.name] = Left(max(0, window.limit - used), window.limit)
        if at_once := self._concurrency:
            under_way = sum(taken.slot for taken in self._taken.values())
            limits["at once"] = Left(at_once - under_way, at_once)
        return Standing(limits, {"pushed back": self._blocked_until > now})

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Free the slot, and remember a pushback."""
        self._take_back(request)
        for answer in result:
            if isinstance(answer, UpstreamError) and answer.status == _TOO_MANY:
                return self._push_back(answer.retry_after)
        return None

    async def charge_extra(self, request: Request) -> None:
        """Charge the windows for one more request, which uses the slot of the first.

        Raises:
            QuotaExceeded: A quota is used up.
        """
        self._taken[request] = _Taken(await self._wait_for_windows(), slot=False)

    async def release(self, request: Request) -> None:
        """Give back the slot, and what was charged to the windows that it was charged to."""
        charged = self._take_back(request)
        if charged:
            await asyncio.wait(self._return(charged))

    def _take_back(self, request: Request) -> Sequence[_Period]:
        """Free the slot of *request*, and return what it has charged."""
        taken = self._taken.pop(request, None)
        if taken is None:
            return ()
        if taken.slot:
            self._free_slot()
        return taken.charged

    def _free_slot(self) -> None:
        if self._slots is not None:
            self._slots.release()

    async def _wait_for_windows(self) -> list[_Period]:
        """Charge the windows in which the request can be sent, and return what was charged."""
        end = self._clock.monotonic() + MAX_WAIT
        while True:
            now = self._clock.time()
            charged: list[_Period] = []
            try:
                full = await self._charge(now, charged)
            except BaseException:
                self._return(charged)
                raise
            if full is None:
                if self._last(charged):
                    return charged
                # Charging took so long that a window has ended, and the next one was not charged.
                full = _Full(now, _SLOW)
            if charged:
                await asyncio.wait(self._return(charged))
            if full.opens - now > MAX_WAIT or (
                full.reason == _SLOW and self._clock.monotonic() > end
            ):
                raise self._exceeded(full, now)
            await self._clock.sleep(full.opens - now)

    def _last(self, charged: Sequence[_Period]) -> bool:
        """Return whether none of the periods that were *charged* has ended."""
        now = self._clock.time()
        return all(period.holds(now) for period in charged)

    async def _charge(self, now: float, charged: list[_Period]) -> _Full | None:
        """Charge every window, noting in *charged* what was; or return when a full one opens."""
        pushback = await self._pushback(now)
        if pushback is not None:
            return pushback
        for window in self._windows:
            period = window.at(now)
            count = await self._epochs.add(
                period.key, began=period.began, limit=window.limit, ttl=period.ttl
            )
            value = window.limit if count is None else count.value
            self._counted[window.name] = _Counted(period.began, value)
            if count is None or not count.added:
                return _Full(period.ends, "" if count is not None else _LOST)
            charged.append(period)
        return None

    async def _look(self, now: float) -> tuple[_Full | None, list[str]]:
        """Return what would refuse a request, and what is left of the windows looked at."""
        pushback = await self._pushback(now)
        if pushback is not None:
            return pushback, []
        left: list[str] = []
        for window in self._windows:
            period = window.at(now)
            count = await self._epochs.count(period.key, began=period.began)
            if count is None or count >= window.limit:
                return _Full(period.ends, "" if count is not None else _LOST), left
            left.append(f"{window.limit - count} left of {window.limit} per {window.name}")
        return None, left

    async def _pushback(self, now: float) -> _Full | None:
        blocked = await self._shared.get(self._blocked_key)
        self._blocked_until = 0.0 if blocked is None else float(blocked)
        if self._blocked_until > now:
            return _Full(self._blocked_until, "its own pushback")
        return None

    def _return(self, charged: Sequence[_Period]) -> list[asyncio.Future[None]]:
        """Give *charged* back in the background, where no caller's leaving reaches it."""
        name = f"quota:{self._upstream}"
        return [
            self._give_backs.start(name, partial(self._give_back, period), seconds=period.ttl)
            for period in charged
        ]

    async def _give_back(self, period: _Period) -> None:
        # With a time to live, since the counter may have expired in the meantime.
        await self._epochs.give_back(period.key, 1, ttl=period.ttl)

    async def _push_back(self, seconds: float | None) -> None:
        if seconds is None or seconds <= 0:
            return
        wait = min(seconds, _MAX_PUSHBACK)
        until = self._blocked_until = self._clock.time() + wait
        await self._shared.set(self._blocked_key, repr(until).encode(), ttl=wait)

    def _no_limits(self) -> QuotaExceeded:
        msg = (
            f"upstream {self._upstream!r} costs money and has no limit on its rate; set "
            f"per_minute or per_day in [upstreams.{self._upstream}], or one of them to 0 for none"
        )
        return QuotaExceeded(msg)

    def _exceeded(self, full: _Full, now: float) -> QuotaExceeded:
        limits = ", ".join(f"{w.limit} per {w.name}" for w in self._windows)
        msg = (
            f"the quota of upstream {self._upstream!r} ({full.reason or limits}) is used up; "
            f"ask again in {full.opens - now:.0f} s"
        )
        return QuotaExceeded(msg, retry_at=full.opens)


def _windows(prefix: str, limits: Limits) -> Sequence[_Window]:
    given = (
        ("second", 1, limits.per_second),
        ("minute", 60, limits.per_minute),
        ("day", 86_400, limits.per_day),
    )
    # The longest first: a request refused for the day must not be charged to the second.
    return [
        _Window(prefix, name, seconds, limit)
        for name, seconds, limit in reversed(given)
        if limit is not None
    ]
