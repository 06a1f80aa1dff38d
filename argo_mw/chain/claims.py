"""Claims: leases that are asked for together with a look into the store.

A new answer is looked for before it is loaded, and a layer further in takes a lease for the load.
Asked one after the other, these are two round trips. The layer that takes leases says which one a
call will need, the layer that looks lets it be asked for with the look, and what that gave waits
here until the first one takes it. Neither knows the other. A hit takes no lease.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from argo_mw.base.clock import Clock, Timer
from argo_mw.base.errors import SharedUnavailable
from argo_mw.model.call import Call
from argo_mw.store.give_backs import GiveBacks
from argo_mw.store.protocol import Lease, Shared

_UNTAKEN: Final = 0.25
"""Seconds after which a lease is given up that no load has taken: its caller has left before."""
_PAUSE: Final = 1.0
"""Seconds for which none is asked for with a look after the store has refused one."""


class ClaimWanted(Struct, frozen=True):
    """What a load will ask for.

    Attributes:
        lease: The key of the lease.
        result: The key to read when it was granted or refused.
        ttl: Seconds for which the lease is to be held.
    """

    lease: str
    result: str
    ttl: float


class Claim(Struct, frozen=True):
    """What was granted or refused.

    Attributes:
        lease: The lease, or ``None`` while another holder has it.
        result: What was kept at the key of the result then.
        asked_at: When it was asked for, in monotonic seconds.
        ttl: Seconds for which a lease was granted.
    """

    lease: Lease | None
    result: bytes | None
    asked_at: float
    ttl: float


class Claims:
    """What was asked for with looks, and is not taken yet.

    Args:
        shared: The store.
        clock: The time.
        give_backs: Gives up leases that no load takes.

    Attributes:
        foresee: Returns what a call will ask for if nothing is found, or ``None``; it is set by the
            layer that takes leases.
    """

    def __init__(self, shared: Shared, clock: Clock, give_backs: GiveBacks) -> None:
        self._shared = shared
        self._clock = clock
        self._give_backs = give_backs
        self._untaken: dict[str, Claim] = {}
        self._refused_until = 0.0
        self._timer: Timer | None = None
        self.foresee: Callable[[Call], ClaimWanted | None] | None = None

    def __len__(self) -> int:
        return len(self._untaken)

    async def look(self, key: str, call: Call) -> bytes | None:
        """Return what the store holds at *key*; if nothing, ask for what *call* will need.

        Raises:
            SharedUnavailable: The store cannot be read.
        """
        wanted = None if self.foresee is None else self.foresee(call)
        now = self._clock.monotonic()
        if wanted is None or wanted.lease in self._untaken or now < self._refused_until:
            return await self._shared.get(key)
        try:
            found, lease, result = await self._shared.get_or_acquire(
                key, wanted.lease, wanted.result, ttl=wanted.ttl
            )
        except SharedUnavailable:
            # Maybe only leases are refused, and hits go on. The load asks again and reports it.
            self._refused_until = now + _PAUSE
            return await self._shared.get(key)
        if found is None:
            self._keep(wanted.lease, Claim(lease, result, now, wanted.ttl))
        return found

    def take(self, lease: str) -> Claim | None:
        """Return what was granted or refused for the key *lease*; the caller owns it then."""
        return self._untaken.pop(lease, None)

    def give_up(self, lease: str) -> None:
        """Give up what was granted for the key *lease*, if no load has taken it."""
        claim = self._untaken.pop(lease, None)
        if claim is None or claim.lease is None:
            return
        held = claim.lease
        self._give_backs.start(
            f"claims:release:{lease}",
            lambda: self._shared.release(held),
            seconds=claim.ttl,
            idempotent=True,
        )

    def leave(self, call: Call) -> None:
        """Give up what *call* has not taken, now that its load has ended."""
        if self._untaken and self.foresee is not None:
            wanted = self.foresee(call)
            if wanted is not None:
                self.give_up(wanted.lease)

    def _keep(self, lease: str, claim: Claim) -> None:
        if claim.lease is None and lease in self._untaken:
            return  # refused because of the lease that waits here
        self._untaken[lease] = claim
        if self._timer is None:
            self._timer = self._clock.call_at(claim.asked_at + _UNTAKEN, self._give_up_old)

    def _give_up_old(self) -> None:
        """Give up what waits for too long, with one timer for all."""
        self._timer = None
        old = self._clock.monotonic() - _UNTAKEN
        for lease, claim in list(self._untaken.items()):
            if claim.asked_at <= old:
                self.give_up(lease)
        if self._untaken:
            oldest = min(claim.asked_at for claim in self._untaken.values())
            self._timer = self._clock.call_at(oldest + _UNTAKEN, self._give_up_old)

    def close(self) -> None:
        """Give up all that waits. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for lease in list(self._untaken):
            self.give_up(lease)
