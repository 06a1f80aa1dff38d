"""Which results of other processes are recent enough for a call."""

from __future__ import annotations

from attrs import define

from argo_mw_coalesce.shared_result import SharedResult

CLOCK_DIFFERENCE = 60.0
"""Seconds by which clocks of two machines may differ, and the one takes results of the other."""


@define(eq=False)
class Recency:
    """Decides whether a shared result is recent enough for a call.

    Attributes:
        began: When the call began, in seconds since the epoch.
        life: Seconds for which a result is kept in the store.
        takes_kept: Whether a kept answer from before the call will do too.
        fence: The fence of the result that was in the store at the first look, 0 for none. Clocks
            of two machines differ, so a later fence makes a result recent, if its time is not
            beyond what such clocks explain: somebody may have put an old one back.
    """

    began: float
    life: float
    takes_kept: bool = False
    fence: int | None = None

    def accepts(self, result: SharedResult) -> bool:
        """Return whether *result* is from no earlier than the call."""
        if self.fence is None:
            self.fence = result.fence
        if self._is_put_back(result):
            return False
        return result.fence > self.fence or result.at >= self.began

    def accepts_kept(self, result: SharedResult, now: float) -> bool:
        """Return whether the call would be given *result* by a cache that has it.

        The answer may be on its way into the store: this call's look came before it, and its lease
        after. A refresh, or a call that limits the age of its answer, takes none.
        """
        return self.takes_kept and now < result.kept_until and not self._is_put_back(result)

    def _is_put_back(self, result: SharedResult) -> bool:
        return result.at < self.began - self.life - CLOCK_DIFFERENCE
