"""Distributed coalescing: one load for all processes that share a store.

The process that takes the lease on a question loads it and publishes the result in the store for
a moment, under the lease's fence; the others wait to be notified. A lease is for efficiency, not
for mutual exclusion: its holder may die, and then the next in line loads after the lease has run
out. While the store is away, every process loads for itself. An answer is never given up because
publishing it failed.
"""

from __future__ import annotations

import asyncio
import contextlib

from attrs import define, frozen

from argo_mw.plugin import (
    Call,
    Closed,
    Context,
    Next,
    Outcome,
    SharedUnavailable,
    TimeLimitExceeded,
    fail_at,
)
from argo_mw.store import Freshness, Lease, Subscription, TagSnapshot
from argo_mw_coalesce.shared_result import SharedResult, read_result, write_result

NAME = "coalesce.distributed"
CHANNEL = "argo:results"
LOAD_START = "coalesce.load_start"
"""The extension in which a flight tells this layer when its load began: a :class:`LoadStart`."""

_LEASE = "argo:flight:"
_RESULT = "argo:result:"
_RENEWALS = 3
_RETRIES = 8


@frozen(eq=False)
class LoadStart:
    """The beginning of a load.

    Attributes:
        began: Seconds since the epoch.
        tag_snapshot: The versions that the call's tags had then: a result from before an
            invalidation that the call comes after is not for it.
    """

    began: float
    tag_snapshot: TagSnapshot


@define(eq=False)
class _Recency:
    """Decides whether a shared result is recent enough for a call.

    Attributes:
        began: When the call began, in seconds since the epoch.
        fence: The fence of the result that was there at the first look. Clocks of two machines
            differ, so a result that replaces it is recent whatever its time is.
    """

    began: float
    fence: int | None = None

    def accepts(self, result: SharedResult) -> bool:
        """Whether *result* is recent enough."""
        if self.fence is None:
            self.fence = result.fence
        return result.fence > self.fence or result.at >= self.began


class DistributedCoalesce:
    """Makes a load the only one among the processes that share a store.

    The inner half of the plugin, just inside the point where upstreams are selected, so that the
    caches outside of it answer without waiting for a lease.

    Args:
        context: The application's context.
        lease_ttl: Seconds after which a holder that has died is replaced.
        result_ttl: Seconds for which a result is kept in the store for waiting processes.
        store_timeout: Seconds to wait for the store once there is an answer.
    """

    def __init__(
        self, context: Context, *, lease_ttl: float, result_ttl: float, store_timeout: float
    ) -> None:
        self._context = context
        self._shared = context.shared
        self._clock = context.clock
        self._lease_ttl = lease_ttl
        self._result_ttl = result_ttl
        self._store_timeout = store_timeout
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._listening: asyncio.Task[Subscription] | None = None

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the outcome of this load, or of one elsewhere that ends after this call began."""
        start = call.extensions.get(LOAD_START)
        if not isinstance(start, LoadStart):
            return await call_next(call)
        place = _RESULT + call.branch_key
        try:
            await self._listen()
            found = await self._result_or_lease(place, _Recency(start.began), call)
        except SharedUnavailable:
            return await call_next(call)
        if isinstance(found, SharedResult):
            self._context.announce("coalesce", "joined elsewhere", call)
            return found.share()
        return await self._hold(place, found, start.tag_snapshot, call, call_next)

    async def _result_or_lease(
        self, place: str, recency: _Recency, call: Call
    ) -> SharedResult | Lease:
        """Return the result at *place*, or the lease of the process that is to load it."""
        lease = await self._acquire(call)
        try:
            while (result := await self._find_result(place, recency)) is None:
                if lease is not None:
                    held, lease = lease, None
                    return held
                lease = await self._next_in_line(place, recency, call)
            return result
        finally:
            if lease is not None:
                self._free(lease)

    async def _acquire(self, call: Call) -> Lease | None:
        return await self._shared.acquire(_LEASE + call.branch_key, ttl=self._lease_ttl)

    # -- holding ---------------------------------------------------------------------------

    async def _hold(
        self, place: str, lease: Lease, tag_snapshot: TagSnapshot, call: Call, call_next: Next
    ) -> Outcome:
        renewing = self._context.tasks.spawn(f"coalesce:renew:{lease.key}", self._renew(lease))
        try:
            outcome = await call_next(call)
        except asyncio.CancelledError:
            # At shutdown no task is left to do it: the lease runs out by itself.
            with contextlib.suppress(Closed):
                nothing = self._publish(place, lease, SharedResult())
                self._context.tasks.spawn(f"coalesce:publish:{lease.key}", nothing)
            raise
        except Exception as error:
            await self._publish(place, lease, self._result(tag_snapshot, error=error))
            raise
        else:
            result = self._result(tag_snapshot, outcome=outcome)
            superseded = not await self._publish(place, lease, result)
            newer = await self._newer(place, lease) if superseded else None
            return outcome if newer is None else newer
        finally:
            renewing.cancel()

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self._clock.sleep(self._lease_ttl / _RENEWALS)
            try:
                if not await self._shared.renew(lease, ttl=self._lease_ttl):
                    return
            except SharedUnavailable:
                continue

    def _result(
        self,
        tag_snapshot: TagSnapshot,
        *,
        outcome: Outcome | None = None,
        error: Exception | None = None,
    ) -> SharedResult:
        return SharedResult(outcome, error, self._clock.time(), tag_snapshot.versions)

    async def _publish(self, place: str, lease: Lease, result: SharedResult) -> bool:
        """Publish *result*, notify waiting processes and release the lease, if that is possible.

        Returns False when another process has taken the lease over, because this one stalled.
        """
        data = write_result(self._context.codecs, place, lease.fence, result)
        code = self._put(place, lease, data)
        try:
            return await fail_at(code, self._clock.monotonic() + self._store_timeout, self._clock)
        except (SharedUnavailable, TimeLimitExceeded) as failure:
            why = str(failure) or f"the shared store took longer than {self._store_timeout:g} s"
            self._context.warn_once("coalesce", f"a result could not be published: {why}")
            self._free(lease)
            return True

    async def _newer(self, place: str, lease: Lease) -> Outcome | None:
        """Return what a later holder has published, so that no cache replaces it with the older."""
        with contextlib.suppress(SharedUnavailable):
            result = await self._look(place)
            if result.fence > lease.fence and await self._holds(result):
                return result.outcome
        return None

    def _free(self, lease: Lease) -> None:
        with contextlib.suppress(Closed):
            self._context.tasks.spawn(f"coalesce:free:{lease.key}", self._free_soon(lease))

    async def _free_soon(self, lease: Lease) -> None:
        """Release *lease* once the store is reachable, so that no process waits until it runs out."""
        for _ in range(_RETRIES):
            with contextlib.suppress(SharedUnavailable):
                await self._shared.release(lease)
                return
            await self._clock.sleep(self._lease_ttl / _RETRIES)

    async def _put(self, place: str, lease: Lease, data: bytes) -> bool:
        # In this order, asked in one turn: drivers send them together and keep the order.
        left, _, _ = await asyncio.gather(
            self._shared.set_fenced(place, data, lease, ttl=self._result_ttl),
            self._shared.publish(CHANNEL, place.encode()),
            self._shared.release(lease),
        )
        return left

    # -- waiting ---------------------------------------------------------------------------

    async def _next_in_line(self, place: str, recency: _Recency, call: Call) -> Lease | None:
        """Wait for a result at *place*, or until the lease may be free; then try to acquire it."""
        word: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place, set()).add(word)
        try:
            # Looked at once more, now that word of it would be heard.
            if await self._find_result(place, recency) is None:
                retry = self._clock.monotonic() + self._lease_ttl / _RETRIES
                with contextlib.suppress(TimeLimitExceeded):
                    await fail_at(_until(word), retry, self._clock)
        finally:
            places = self._waiting[place]
            places.discard(word)
            if not places:
                del self._waiting[place]
        if await self._find_result(place, recency) is not None:
            return None
        return await self._acquire(call)

    async def _find_result(self, place: str, recency: _Recency) -> SharedResult | None:
        """Return the result at *place*, if it is recent enough and still holds."""
        result = await self._look(place)
        new = recency.accepts(result)
        return result if new and not result.empty and await self._holds(result) else None

    async def _look(self, place: str) -> SharedResult:
        data = await self._shared.get(place)
        return SharedResult() if data is None else read_result(self._context.codecs, place, data)

    async def _holds(self, result: SharedResult) -> bool:
        """Whether nothing that *result* is about was invalidated since its load began."""
        try:
            tag_snapshot = self._context.tag_versions.adopt(result.versions)
        except ValueError:
            return False
        return await self._context.tag_versions.check(tag_snapshot) is not Freshness.MISS

    async def _listen(self) -> None:
        if self._listening is None or (
            self._listening.done() and self._listening.exception() is not None
        ):
            self._listening = asyncio.ensure_future(self._subscribe())
        if not self._listening.done():
            await asyncio.shield(self._listening)
        self._listening.result()

    async def _subscribe(self) -> Subscription:
        return await self._shared.subscribe(CHANNEL, self._heard, self._missed)

    def _heard(self, message: bytes) -> None:
        _wake(self._waiting.get(message.decode("utf-8", "replace"), set()))

    def _missed(self) -> None:
        for places in self._waiting.values():
            _wake(places)


def _wake(places: set[asyncio.Future[None]]) -> None:
    for word in places:
        if not word.done():
            word.set_result(None)


async def _until(word: asyncio.Future[None]) -> None:
    await word
