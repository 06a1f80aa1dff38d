"""What programs and plugins do with flags: set them, hold them off, let them go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from argo_mw.flags.model import Asker, Decision, Flag, Rule


class FlagControl(Protocol):
    """The flags of an application, and the means to change them.

    Each change is for this machine, or with *fleet* for all that share the store: what is set is
    kept there and remembered on disk by each instance. A change that returns is in use in this
    process. Raises :class:`~argo_mw.ConfigError` for a flag that does not exist, and where the
    chain cannot be built with the change, which is then not made; and
    :class:`~argo_mw.SharedUnavailable` where the fleet's flags cannot be changed, because the store
    is away.
    """

    @property
    def all(self) -> Mapping[str, Flag]:
        """The flags with the rules in use, by name."""

    @property
    def stale(self) -> str:
        """Why the flags of the fleet are those last known, and not those of now; or ""."""

    def decide(self, name: str, asker: Asker) -> Decision:
        """Return what flag *name* decides for *asker*: a call, or what else has its three units."""

    async def set(
        self, name: str, rule: str | Mapping[str, object] | Rule, *, fleet: bool = False
    ) -> bool:
        """Set flag *name* to *rule*, in any form that ``[flags]`` knows; a hold stays.

        Args:
            name: The flag.
            rule: What to set it to.
            fleet: Whether for all that share the store.

        Returns:
            Whether others hear of it at once. If not, within ten seconds.
        """

    async def kill(self, name: str, *, fleet: bool = False) -> bool:
        """Hold flag *name* off, before everything else, and forget what its layer served.

        Args:
            name: The flag.
            fleet: Whether for all that share the store.

        Returns:
            Whether others hear of it at once, and count as gone what the layer served. If not, as
            soon as the shared store lets them.
        """

    async def roll_back(self, name: str, why: str, *, fleet: bool = False) -> bool:
        """Hold flag *name* off as :meth:`kill` does, and show *why*; for the *fleet*, if so."""

    async def revive(self, name: str, *, fleet: bool = False) -> bool:
        """Undo a kill or a rollback of flag *name*; *fleet* and result are as of :meth:`set`."""

    async def unset(self, name: str, *, fleet: bool = False) -> bool:
        """Take away all that was set for flag *name*; *fleet* and result are as of :meth:`set`."""
