"""Which results of other processes are recent enough for a call."""

from __future__ import annotations

from attrs import define

from argo_mw_coalesce.shared_result import SharedResult

CLOCK_DIFFERENCE = 60.0
"""Seconds by which the clocks of two machines that share results may differ."""


@define(eq=False)
class Recency:
    """Decides whether a shared result is recent enough for a call.

    Attributes:
        began: When the call began, in seconds since the epoch.
        life: Seconds for which a result is kept in the store.
        takes_kept: Whether the call may be served a kept answer from before it began.
        fence: The fence of the result that the first look found, 0 for none. A result with a later
            fence is recent even if its time is before the call, since clocks of two machines
            differ. One that is older than such a difference explains was put back into the store.
    """

    began: float
    life: float
    takes_kept: bool = False
    fence: int | None = None

    def accepts(self, result: SharedResult) -> bool:
        """Return whether the load of *result* ended after the call began."""
        if self.fence is None:
            self.fence = result.fence
        if self._is_put_back(result):
            return False
        return result.fence > self.fence or result.at >= self.began

    def accepts_kept(self, result: SharedResult, now: float) -> bool:
        """Return whether a cache that has *result* would serve it to the call.

        The call may have looked into the store before the answer was stored there, and asked for
        the lease after its holder released it. A refresh, or a call that limits the age of its
        answer, takes no kept answer.
        """
        return self.takes_kept and now < result.kept_until and not self._is_put_back(result)

    def _is_put_back(self, result: SharedResult) -> bool:
        return result.at < self.began - self.life - CLOCK_DIFFERENCE
