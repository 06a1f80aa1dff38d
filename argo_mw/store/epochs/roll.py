"""The roll of a part of a store: who has added to it lately, kept in the store itself.

After a copy has taken over that lacks the last writes, it tells who must have added again what was
lost before anything can be counted on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import asdict, evolve, field, frozen, validators

from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.protocol import WITNESS_TTL, Shared

RECENT: Final = 120.0
"""Seconds after which what a process has added is on every copy: it is not waited for any more."""
_FORGOTTEN: Final = 600.0
_ATTEMPTS: Final = 100


@frozen
class Entry:
    """One process on the roll of an epoch.

    Attributes:
        at: When it last said that it adds, in seconds since the epoch.
        carried: The earlier epochs of which it has added again what was lost.
        witness: The counter of its machine's additions, once it has left.
        number: What that counter held after its last addition.
    """

    at: float = field(validator=validators.instance_of((int, float)))
    carried: Sequence[int] = ()
    witness: str = field(default="", validator=validators.instance_of(str))
    number: int = field(default=0, validator=validators.instance_of(int))


class Roll:
    """Who adds to a *part* of the store *shared*, in each of its epochs.

    Attributes:
        name: What this process is called on it.
    """

    def __init__(self, shared: Shared, clock: Clock, part: str) -> None:
        self.name = os.urandom(8).hex()
        self._shared = shared
        self._clock = clock
        self._part = part
        self._epoch = 0
        self._written: list[float] = []

    def age(self, epoch: int) -> float:
        """Return for how many seconds this process has been on the roll of *epoch*, or infinity."""
        if epoch != self._epoch or not self._written:
            return float("inf")
        return self._clock.time() - self._written[-1]

    async def join(self, epoch: int, carried: Iterable[int] = ()) -> None:
        """Say that this process adds in *epoch*, and has *carried* earlier ones into it.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        now = self._clock.time()
        await self._write(epoch, Entry(now, tuple(carried)))
        if epoch != self._epoch:
            self._epoch, self._written = epoch, []
        self._written = [*self._written[-1:], now]

    async def leave(self, epoch: int, witness: str, number: int) -> None:
        """Say that this process has added for the last time, which was *number* of *witness*.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        if epoch == self._epoch:
            await self._write(epoch, Entry(self._clock.time(), (), witness, number))

    async def survives(self, epoch: int) -> bool:
        """Return whether the store knows what this process has last said about *epoch*.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        entry = (await self._read(epoch))[1].get(self.name)
        return epoch == self._epoch and entry is not None and entry.at in self._written

    async def missing(self, earlier: Iterable[int], epoch: int, began: float) -> list[str]:
        """Return who has not carried the *earlier* epochs into *epoch* yet, which *began* then.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        here = (await self._read(epoch))[1]
        found = []
        for one in earlier:
            for name, entry in (await self._read(one))[1].items():
                has = here.get(name)
                if entry.at >= began - RECENT and (has is None or one not in has.carried):
                    found += [] if await self._is_done(entry) else [name]
        return found

    async def _is_done(self, entry: Entry) -> bool:
        """Return whether a process has left, and all that it had added is here."""
        if not entry.witness:
            return False
        return int(await self._shared.get(entry.witness) or 0) >= entry.number

    async def _write(self, epoch: int, entry: Entry) -> None:
        since = self._clock.time() - _FORGOTTEN
        for _ in range(_ATTEMPTS):
            kept, entries = await self._read(epoch)
            before = entries.pop(self.name, None)
            if before is not None:
                entry = evolve(entry, carried=[*{*entry.carried, *before.carried}])
            entries = {name: one for name, one in entries.items() if one.at > since}
            text = json.dumps(
                {name: asdict(one) for name, one in [*entries.items(), (self.name, entry)]}
            )
            if await self._shared.compare_and_set(
                self._key(epoch), kept, text.encode(), ttl=WITNESS_TTL
            ):
                return
        msg = "too many processes begin to count in the shared store at once"
        raise SharedUnavailable(msg)

    async def _read(self, epoch: int) -> tuple[bytes | None, dict[str, Entry]]:
        kept = await self._shared.get(self._key(epoch))
        try:
            entries: Mapping[str, Mapping[str, object]] = json.loads(kept or b"{}")
            return kept, {name: Entry(**one) for name, one in entries.items()}  # type: ignore[arg-type]
        except (ValueError, TypeError, AttributeError, RecursionError):
            return kept, {}

    def _key(self, epoch: int) -> str:
        return f"argo:roll:{epoch}:{{{self._part}}}"
