"""A guard that believes what a vendor says is left of its quota."""

from __future__ import annotations

from typing import Protocol

from argo_mw.plugin import Clock, QuotaExceeded, Request, Result, Standing


class CountsItself(Protocol):
    """A vendor that says in its answers how much of its quota is left."""

    name: str
    clock: Clock

    @property
    def closed_until(self) -> float:
        """Return the seconds since the epoch until which the quota is used up."""


class HeaderQuota:
    """Refuses requests while the vendor's own count says that none is left.

    Args:
        vendor: Reads the count of each answer.
    """

    name = "alpaca_header_quota"

    def __init__(self, vendor: CountsItself) -> None:
        self._vendor = vendor

    async def reserve(self, request: Request) -> None:
        """Let the request pass, unless the window is used up.

        Raises:
            QuotaExceeded: It is.
        """
        opens = self._vendor.closed_until
        left = opens - self._vendor.clock.time()
        if left > 0:
            name = self._vendor.name
            msg = f"upstream {name!r} says that its quota is used up; ask again in {left:.0f} s"
            raise QuotaExceeded(msg, retry_at=opens)

    async def dry_run(self, request: Request) -> str:
        """Refuse what :meth:`reserve` refuses; neither takes anything.

        Raises:
            QuotaExceeded: The window is used up.
        """
        await self.reserve(request)
        return ""

    def standing(self) -> Standing:
        """Return whether the vendor has said that its quota is used up."""
        used_up = self._vendor.closed_until > self._vendor.clock.time()
        return Standing(states={"used up": used_up})

    def settle(self, request: Request, result: Result) -> None:
        """Do nothing: the client reads the headers itself."""

    async def release(self, request: Request) -> None:
        """Do nothing: nothing was charged."""
