"""The budget that hedges are paid from."""

from __future__ import annotations


class Budget:
    """Counts calls, not time: each pays in a share of a hedge, each hedge takes out a whole.

    A budget per second has nothing to give to a program that makes a call every ten seconds;
    this one is the same at every rate.

    Args:
        share: Hedges per call.
        most: Hedges that may be saved up.
    """

    __slots__ = ("_most", "_share", "balance")

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = most
        self.balance = min(1.0, most) if share else 0.0

    def deposit(self) -> None:
        """A call was made."""
        self.balance = min(self._most, self.balance + self._share)

    @property
    def pays(self) -> bool:
        """Whether there is enough for a hedge."""
        return self.balance >= 1

    def withdraw(self) -> bool:
        """Pay for a hedge, if there is enough; whether there was."""
        if not self.pays:
            return False
        self.balance -= 1
        return True
