"""The budget that hedges are paid from."""

from __future__ import annotations


class HedgingBudget:
    """A token bucket that counts calls, not time: calls fill it, hedges empty it.

    A budget per second has nothing to give to a program that makes a call every ten seconds;
    this one is the same at every rate.

    Args:
        per_call: The share of a hedge that each call pays in.
        burst: How many hedges may be saved up.

    Attributes:
        balance: How many hedges it can pay for now.
    """

    __slots__ = ("_burst", "_per_call", "balance")

    def __init__(self, per_call: float, burst: float) -> None:
        self._per_call = per_call
        self._burst = burst
        self.balance = min(1.0, burst) if per_call else 0.0

    def deposit(self) -> None:
        """Pay in for one call."""
        self.balance = min(self._burst, self.balance + self._per_call)

    @property
    def pays(self) -> bool:
        """Whether there is enough for a hedge."""
        return self.balance >= 1

    def withdraw(self) -> bool:
        """Pay for a hedge; return False if there is not enough."""
        if not self.pays:
            return False
        self.balance -= 1
        return True

    def give_back(self) -> None:
        """Take back what a hedge was paid that was never sent."""
        self.balance = min(self._burst, self.balance + 1)


class PaidHedge:
    """A hedge that was paid for, and is worth it once its request is sent.

    Args:
        budget: What it was paid from.
    """

    __slots__ = ("_budget", "_sent")

    def __init__(self, budget: HedgingBudget) -> None:
        self._budget = budget
        self._sent = False

    def on_sent(self) -> None:
        """Note that its request goes out."""
        self._sent = True

    def on_end(self) -> None:
        """Give the payment back if no request went out: it was refused, or its caller left."""
        if not self._sent:
            self._budget.give_back()
