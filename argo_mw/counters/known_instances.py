"""The instances that publish their counters: a list in the shared store."""

from __future__ import annotations

from typing import Final

from argo_mw.store.codec import Codecs
from argo_mw.store.protocol import Shared

MAX_INSTANCES: Final = 1_000
"""Instances that publish their counters at once; those that were seen last are kept."""

_KEY: Final = "argo:counters:instances"
_TRIES: Final = 8
_FORGOTTEN: Final = 3_600.0


class KnownInstances:
    """The names of instances, and when each was seen last.

    One small value, since a look at all keys of a store may take long.
    """

    def __init__(self, shared: Shared, codecs: Codecs) -> None:
        self._shared = shared
        self._codecs = codecs

    async def names(self) -> list[str]:
        """Return their names.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        return list(self._read(await self._shared.get(_KEY)))

    async def announce(self, instance: str, at: float) -> None:
        """Add *instance* to the list, and again if the store has lost it.

        Args:
            instance: Its name.
            at: Seconds since the epoch, now.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        for _ in range(_TRIES):
            value = await self._shared.get(_KEY)
            known = self._read(value)
            if known.get(instance, 0.0) > at - _FORGOTTEN / 2:
                return
            known = {name: seen for name, seen in known.items() if seen > at - _FORGOTTEN}
            newest = sorted({**known, instance: at}.items(), key=lambda one: -one[1])
            changed = self._codecs.encode(dict(newest[:MAX_INSTANCES]), _KEY)
            if await self._shared.compare_and_set(_KEY, value, changed, ttl=_FORGOTTEN):
                return

    def _read(self, value: bytes | None) -> dict[str, float]:
        plain = None if value is None else self._codecs.decode(value, _KEY)
        if not isinstance(plain, dict):
            return {}
        return {str(name): at for name, at in plain.items() if isinstance(at, float)}
