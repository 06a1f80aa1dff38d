"""Quotas: requests per second, minute and day, and requests under way at once.

Windows are counted in Shared, so that every process that shares it shares the quota: fixed
windows of the wall clock, a day being a UTC day. A request waits for up to a second for a window to
open; beyond that it is refused with the time at which to come back. A pushback of the upstream (a
429 with a time to wait) holds in every process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from attrs import frozen

from argo_mw.base.clock import Clock
from argo_mw.base.errors import QuotaExceeded, UpstreamError
from argo_mw.model.guard import Request, Result
from argo_mw.model.upstream import Limits, Upstream
from argo_mw.store.protocol import Shared

MAX_WAIT = 1.0
"""Seconds that a call waits for a window to open before it is refused."""

_TOO_MANY = 429
_MAX_PUSHBACK = 86_400.0


@frozen
class _Window:
    name: str
    seconds: int
    limit: int


class Quota:
    """Keeps the requests to one upstream within its limits.

    A metered upstream without any limit is refused: where money is at stake, limits must be
    configured.
    """

    name = "quota"

    def __init__(self, upstream: Upstream, shared: Shared, clock: Clock) -> None:
        self._upstream = upstream.name
        self._shared = shared
        self._clock = clock
        self._forbidden = upstream.metered and upstream.limits.unlimited
        self._windows = _windows(upstream.limits)
        self._blocked_key = f"argo:quota:{self._upstream}:blocked"
        concurrency = upstream.limits.concurrency
        self._slots = asyncio.Semaphore(concurrency) if concurrency else None
        self._charged: dict[Request, float] = {}

    async def reserve(self, request: Request) -> None:
        """Charge one request, waiting for at most a second.

        Raises:
            QuotaExceeded: A quota is used up, or a metered upstream has none.
        """
        if self._forbidden:
            msg = (
                f"upstream {self._upstream!r} costs money and has no limits; set per_minute or "
                f"per_day in [upstreams.{self._upstream}]"
            )
            raise QuotaExceeded(msg)
        # The slot first: a request that waits for it would be sent in later windows than charged.
        if self._slots is not None:
            await self._slots.acquire()
        try:
            self._charged[request] = await self._wait_for_windows()
        except BaseException:
            self._free_slot()
            raise

    def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
        """Free the slot, and remember a pushback."""
        self._free_slot()
        self._charged.pop(request, None)
        for answer in result:
            if isinstance(answer, UpstreamError) and answer.status == _TOO_MANY:
                return self._push_back(answer.retry_after)
        return None

    async def charge_extra(self, request: Request) -> None:
        """Charge the windows for one more request, which uses the slot of the first.

        Raises:
            QuotaExceeded: A quota is used up.
        """
        await self._wait_for_windows()

    async def release(self, request: Request) -> None:
        """Give back the slot, and what was charged to the windows that it was charged to."""
        self._free_slot()
        charged_at = self._charged.pop(request, None)
        if charged_at is not None:
            await self._give_back(self._windows, charged_at)

    def _free_slot(self) -> None:
        if self._slots is not None:
            self._slots.release()

    async def _wait_for_windows(self) -> float:
        """Charge the windows and return the wall time that they were charged at."""
        while True:
            now = self._clock.time()
            opens = await self._charge(now)
            if opens is None:
                return now
            if opens - now > MAX_WAIT:
                raise self._exceeded(opens, now)
            await self._clock.sleep(opens - now)

    async def _charge(self, now: float) -> float | None:
        """Charge every window, or none and return when the full one opens again."""
        blocked = await self._shared.get(self._blocked_key)
        if blocked is not None and float(blocked) > now:
            return float(blocked)
        charged: list[_Window] = []
        for window in self._windows:
            key = self._key(window, now)
            count = await self._shared.add(key, limit=window.limit, ttl=2.0 * window.seconds)
            if not count.added:
                await self._give_back(charged, now)
                return (now // window.seconds + 1) * window.seconds
            charged.append(window)
        return None

    async def _give_back(self, windows: Sequence[_Window], charged_at: float) -> None:
        for window in windows:
            # With a time to live, since the counter may have expired in the meantime.
            await self._shared.add(self._key(window, charged_at), -1, ttl=2.0 * window.seconds)

    async def _push_back(self, seconds: float | None) -> None:
        if seconds is None or seconds <= 0:
            return
        wait = min(seconds, _MAX_PUSHBACK)
        until = self._clock.time() + wait
        await self._shared.set(self._blocked_key, repr(until).encode(), ttl=wait)

    def _key(self, window: _Window, now: float) -> str:
        return f"argo:quota:{self._upstream}:{window.name}:{int(now // window.seconds)}"

    def _exceeded(self, opens: float, now: float) -> QuotaExceeded:
        limits = ", ".join(f"{w.limit} per {w.name}" for w in self._windows) or "its own pushback"
        msg = (
            f"the quota of upstream {self._upstream!r} ({limits}) is used up; "
            f"ask again in {opens - now:.0f} s"
        )
        return QuotaExceeded(msg, retry_at=opens)


def _windows(limits: Limits) -> Sequence[_Window]:
    given = (
        ("second", 1, limits.per_second),
        ("minute", 60, limits.per_minute),
        ("day", 86_400, limits.per_day),
    )
    # The longest first: a request refused for the day must not be charged to the second.
    return [_Window(name, s, limit) for name, s, limit in reversed(given) if limit is not None]
