"""The fleet: one load for all instances that share a store.

Whoever takes the lease on a question loads it and leaves the answer in the store for a moment,
under the lease's fence; the others wait for word of it. A lease is for efficiency, not for mutual
exclusion: its holder may die, and then the next in line loads after the lease has run out.
Whenever the store is away, everyone loads for themselves. An answer is never given up because
leaving it in the store failed.
"""

from __future__ import annotations

import asyncio
import contextlib

from attrs import define

from argo_mw import (
    Call,
    Closed,
    Context,
    Expired,
    Freshness,
    LayerActed,
    Lease,
    Next,
    Outcome,
    SharedUnavailable,
    Stamped,
    Subscription,
    within,
)
from argo_mw_coalesce.landing import Landing, read_landing, write_landing

CHANNEL = "argo:landings"
_FLIGHT = "argo:flight:"
_LANDING = "argo:landing:"
_RENEWALS = 3
_RETRIES = 8


@define(eq=False)
class _Since:
    """From when on a landing is new to a call.

    Attributes:
        began: When the call began, in seconds since the epoch.
        fence: Of what lay there at the first look. Clocks of two machines differ, so what has
            taken its place later is new whatever its time is.
    """

    began: float
    fence: int | None = None

    def is_before(self, landing: Landing) -> bool:
        """Whether *landing* is new."""
        if self.fence is None:
            self.fence = landing.fence
        return landing.fence > self.fence or landing.at >= self.began


class Fleet:
    """Makes a load the only one among the instances that share a store.

    Args:
        lease: Seconds after which a holder that has died is replaced.
        keep: Seconds for which an answer is left in the store for those who wait.
        patience: Seconds to wait for the store when an answer is there already.
    """

    def __init__(self, context: Context, *, lease: float, keep: float, patience: float) -> None:
        self._context = context
        self._shared = context.shared
        self._clock = context.clock
        self._lease = lease
        self._keep = keep
        self._patience = patience
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._listening: asyncio.Task[Subscription] | None = None

    async def __call__(
        self, began: float, stamped: Stamped, call: Call, call_next: Next
    ) -> Outcome:
        """The outcome of this load, or of one elsewhere that ends after this call began.

        Args:
            began: When the call began, in seconds since the epoch.
            stamped: The stamps that its tags had then: an answer from before an invalidation
                that this call is after is not for it.
        """
        place = _LANDING + call.branch_key
        try:
            await self._listen()
            found = await self._landing_or_lease(place, _Since(began), call)
        except SharedUnavailable:
            return await call_next(call)
        if isinstance(found, Landing):
            self._tell(call, "joined elsewhere")
            return found.share()
        return await self._hold(place, found, stamped, call, call_next)

    async def _landing_or_lease(self, place: str, since: _Since, call: Call) -> Landing | Lease:
        """What has landed at *place*, or the right to be the one who loads it."""
        lease = await self._acquire(call)
        try:
            while (landing := await self._landed(place, since)) is None:
                if lease is not None:
                    held, lease = lease, None
                    return held
                lease = await self._next_in_line(place, since, call)
            return landing
        finally:
            if lease is not None:
                self._free(lease)

    async def _acquire(self, call: Call) -> Lease | None:
        return await self._shared.acquire(_FLIGHT + call.branch_key, ttl=self._lease)

    # -- holding ---------------------------------------------------------------------------

    async def _hold(
        self, place: str, lease: Lease, stamped: Stamped, call: Call, call_next: Next
    ) -> Outcome:
        renewing = self._context.tasks.spawn(f"coalesce:renew:{lease.key}", self._renew(lease))
        try:
            outcome = await call_next(call)
        except asyncio.CancelledError:
            # At shutdown there is nobody left to do it: the lease runs out by itself.
            with contextlib.suppress(Closed):
                nothing = self._leave(place, lease, Landing())
                self._context.tasks.spawn(f"coalesce:leave:{lease.key}", nothing)
            raise
        except Exception as error:
            await self._leave(place, lease, self._landing(stamped, error=error))
            raise
        else:
            landing = self._landing(stamped, outcome=outcome)
            superseded = not await self._leave(place, lease, landing)
            newer = await self._newer(place, lease) if superseded else None
            return outcome if newer is None else newer
        finally:
            renewing.cancel()

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self._clock.sleep(self._lease / _RENEWALS)
            try:
                if not await self._shared.renew(lease, ttl=self._lease):
                    return
            except SharedUnavailable:
                continue

    def _landing(
        self,
        stamped: Stamped,
        *,
        outcome: Outcome | None = None,
        error: Exception | None = None,
    ) -> Landing:
        return Landing(outcome, error, self._clock.time(), stamped.marks)

    async def _leave(self, place: str, lease: Lease, landing: Landing) -> bool:
        """Leave *landing* for those who wait, wake them, free the lease: if that is possible.

        False when somebody has taken the lease over, after this process was held up.
        """
        data = write_landing(self._context.codecs, place, lease.fence, landing)
        code = self._put(place, lease, data)
        try:
            return await within(code, self._clock.monotonic() + self._patience, self._clock)
        except (SharedUnavailable, Expired) as failure:
            why = str(failure) or f"the shared store took longer than {self._patience:g} s"
            self._context.trouble("coalesce", f"an answer could not be left for others: {why}")
            self._free(lease)
            return True

    async def _newer(self, place: str, lease: Lease) -> Outcome | None:
        """What the one who took *lease* over has landed: no cache is to put the older over it."""
        with contextlib.suppress(SharedUnavailable):
            landing = await self._look(place)
            if landing.fence > lease.fence and await self._holds(landing):
                return landing.outcome
        return None

    def _free(self, lease: Lease) -> None:
        with contextlib.suppress(Closed):
            self._context.tasks.spawn(f"coalesce:free:{lease.key}", self._free_soon(lease))

    async def _free_soon(self, lease: Lease) -> None:
        """Free *lease* once the store can be told, so that nobody waits until it runs out."""
        for _ in range(_RETRIES):
            with contextlib.suppress(SharedUnavailable):
                await self._shared.release(lease)
                return
            await self._clock.sleep(self._lease / _RETRIES)

    async def _put(self, place: str, lease: Lease, data: bytes) -> bool:
        # In this order, asked in one turn: drivers send them together and keep the order.
        left, _, _ = await asyncio.gather(
            self._shared.set_fenced(place, data, lease, ttl=self._keep),
            self._shared.publish(CHANNEL, place.encode()),
            self._shared.release(lease),
        )
        return left

    # -- waiting ---------------------------------------------------------------------------

    async def _next_in_line(self, place: str, since: _Since, call: Call) -> Lease | None:
        """Wait for word of a landing at *place*, or until the lease may be had; then try for it."""
        word: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place, set()).add(word)
        try:
            # Looked at once more, now that word of it would be heard.
            if await self._landed(place, since) is None:
                retry = self._clock.monotonic() + self._lease / _RETRIES
                with contextlib.suppress(Expired):
                    await within(_until(word), retry, self._clock)
        finally:
            places = self._waiting[place]
            places.discard(word)
            if not places:
                del self._waiting[place]
        if await self._landed(place, since) is not None:
            return None
        return await self._acquire(call)

    async def _landed(self, place: str, since: _Since) -> Landing | None:
        """What has landed at *place* *since* and still holds."""
        landing = await self._look(place)
        new = since.is_before(landing)
        return landing if new and not landing.empty and await self._holds(landing) else None

    async def _look(self, place: str) -> Landing:
        data = await self._shared.get(place)
        return Landing() if data is None else read_landing(self._context.codecs, place, data)

    async def _holds(self, landing: Landing) -> bool:
        """Whether nothing that *landing* is about was invalidated since its load began."""
        try:
            stamped = self._context.stamps.adopt(landing.marks)
        except ValueError:
            return False
        return await self._context.stamps.check(stamped) is not Freshness.MISS

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

    def _tell(self, call: Call, action: str) -> None:
        events = self._context.events
        if events:
            events.emit(LayerActed("coalesce", action, call))


def _wake(places: set[asyncio.Future[None]]) -> None:
    for word in places:
        if not word.done():
            word.set_result(None)


async def _until(word: asyncio.Future[None]) -> None:
    await word
