"""The flags of the fleet in the shared store: one value, replaced by compare-and-set, announced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from argo_mw.base.clock import Clock
from argo_mw.base.errors import ConfigError, SharedUnavailable
from argo_mw.flags.changes import Change
from argo_mw.flags.fleet import Fleet, dump_fleet, parse_fleet
from argo_mw.store.codec import Codecs, Undecodable
from argo_mw.store.protocol import Shared, Subscription

KEY: Final = "argo:flags"
CHANNEL: Final = "argo:flags"

_CHANGED: Final = b"changed"
_ATTEMPTS: Final = 20


@frozen
class Stored:
    """What the store was found to hold.

    Attributes:
        data: The bytes; ``None`` where there are none.
        fleet: What they mean.
    """

    data: bytes | None
    fleet: Fleet


class FleetStore:
    """Reads and changes the flags of the fleet.

    Args:
        shared: The store.
        codecs: Signs and encrypts, where the application has keys.
        clock: Dates changes.
    """

    def __init__(self, shared: Shared, codecs: Codecs, clock: Clock) -> None:
        self._shared = shared
        self._codecs = codecs
        self._clock = clock

    async def read(self) -> Stored:
        """Return what the store holds.

        Raises:
            SharedUnavailable: It cannot be read.
            ConfigError: It holds something else than flags that this process may read.
        """
        data = await self._shared.get(KEY)
        return Stored(data, Fleet() if data is None else self._fleet(data))

    async def change(self, known: Fleet, name: str, change: Change) -> Fleet:
        """Set flag *name* to what *change* makes of its rule, and return what the store holds then.

        Args:
            known: What this process knows: the store may have lost it.
            name: The flag.
            change: Returns the new rule.

        Raises:
            SharedUnavailable: The store took no change.
            ConfigError: What it holds cannot be read.
        """
        for _ in range(_ATTEMPTS):
            stored = await self.read()
            fleet = known.merged(stored.fleet).changed(name, change, self._clock.time())
            if fleet == stored.fleet or await self._replace(stored, fleet):
                return fleet
        msg = f"the flags of the fleet were changed {_ATTEMPTS} times meanwhile; try again"
        raise SharedUnavailable(msg)

    async def put_back(self, stored: Stored, known: Fleet) -> None:
        """Give the store what it has lost: *known* in place of what was *stored*, if it still is.

        Raises:
            SharedUnavailable: It took no change.
        """
        if await self._replace(stored, known):
            await self.announce()

    async def announce(self) -> None:
        """Let every process that listens read what the store holds.

        Raises:
            SharedUnavailable: No message was sent.
        """
        await self._shared.publish(CHANNEL, _CHANGED)

    async def subscribe(
        self,
        on_change: Callable[[], None],
        on_gap: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> Subscription:
        """Call *on_change* at each announcement, *on_lost* and *on_gap* as the store does.

        Raises:
            SharedUnavailable: The store has no channels for us now.
        """
        return await self._shared.subscribe(
            CHANNEL, lambda _: on_change(), on_gap, on_lost=lambda _: on_lost()
        )

    async def _replace(self, stored: Stored, fleet: Fleet) -> bool:
        data = self._codecs.encode(dump_fleet(fleet), KEY)
        return await self._shared.compare_and_set(KEY, stored.data, data)

    def _fleet(self, data: bytes) -> Fleet:
        plain = self._codecs.decode(data, KEY)
        if isinstance(plain, Undecodable):
            why = f"{plain.reason.value}: {plain.detail}".rstrip(": ")
        else:
            try:
                return parse_fleet(plain)
            except ConfigError as error:
                why = str(error)
        msg = (
            f"the flags of the fleet, under {KEY!r} in the shared store, cannot be read ({why}): "
            "use the same keys and version everywhere, or delete that key"
        )
        raise ConfigError(msg)
