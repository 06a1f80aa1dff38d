"""The ramps of the fleet, in the shared store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen

from argo_mw.plugin import ConfigError, Context, SharedUnavailable
from argo_mw_rollout.ramp import Ramp

_FLAGS: Final = "argo:rollout:flags"
_RAMP: Final = "argo:rollout:of:"
_TRIES: Final = 20


@frozen
class Stored:
    """A ramp as the store was found to hold it.

    Attributes:
        data: The bytes; ``None`` where there is none.
        ramp: What they mean; ``None`` where there is none.
    """

    data: bytes | None
    ramp: Ramp | None


class Ramps:
    """Reads and changes the ramps: each is one value, replaced by compare-and-set."""

    def __init__(self, context: Context) -> None:
        self._shared = context.shared
        self._codecs = context.codecs

    async def flags(self) -> list[str]:
        """Return the names of the flags that have a ramp, ended ones included.

        Raises:
            SharedUnavailable: The store is away.
        """
        return self._names(await self._shared.get(_FLAGS))

    async def read(self, flag: str) -> Stored:
        """Return the ramp of *flag*, as it is stored.

        Raises:
            SharedUnavailable: The store is away.
            ConfigError: It cannot be read.
        """
        key = _RAMP + flag
        data = await self._shared.get(key)
        if data is None:
            return Stored(None, None)
        plain = await self._codecs.decode_off_loop(data, key)
        return Stored(data, Ramp.of_data(plain))

    async def replace(self, stored: Stored, ramp: Ramp) -> Stored | None:
        """Put *ramp* in the place of what was *stored*, if that is still there.

        Returns:
            What is stored now; ``None`` if somebody else has changed it.

        Raises:
            SharedUnavailable: The store is away.
        """
        before = 0 if stored.ramp is None else stored.ramp.revision
        ramp = evolve(ramp, revision=max(before, ramp.revision) + 1)
        key = _RAMP + ramp.flag
        data = self._codecs.encode(ramp.as_data(), key)
        written = await self._shared.compare_and_set(key, stored.data, data)
        return Stored(data, ramp) if written else None

    async def change(self, flag: str, change: Callable[[Ramp | None], Ramp]) -> Ramp:
        """Put what *change* makes of the ramp of *flag* in its place, and return it.

        Raises:
            SharedUnavailable: The store is away.
            ConfigError: *change* refuses, or the ramp cannot be read.
        """
        for _ in range(_TRIES):
            stored = await self.read(flag)
            ramp = change(stored.ramp)
            if ramp == stored.ramp or await self.replace(stored, ramp):
                await self.enlist(flag)
                return ramp
        msg = f"the ramp of {flag!r} was changed {_TRIES} times meanwhile; try again"
        raise SharedUnavailable(msg)

    async def enlist(self, flag: str) -> None:
        """Have *flag* among those that have a ramp.

        Raises:
            SharedUnavailable: The store is away.
            ConfigError: The list cannot be read.
        """
        for _ in range(_TRIES):
            data = await self._shared.get(_FLAGS)
            names = self._names(data)
            if flag in names:
                return
            changed = self._codecs.encode(sorted([*names, flag]), _FLAGS)
            if await self._shared.compare_and_set(_FLAGS, data, changed):
                return
        msg = "the list of ramps was changed by others at each try; try again"
        raise SharedUnavailable(msg)

    def _names(self, data: bytes | None) -> list[str]:
        plain = [] if data is None else self._codecs.decode(data, _FLAGS)
        if not isinstance(plain, list):
            msg = f"{_FLAGS!r} in the shared store cannot be read; use the same keys everywhere"
            raise ConfigError(msg)
        return [str(name) for name in plain]
