"""The budget that hedges are paid from."""

from __future__ import annotations

from typing import Final

from argo_mw.plugin import Upstream

_ROUNDING: Final = 1e-9


class HedgingBudget:
    """A token bucket that counts requests, not time: requests fill it, hedges empty it.

    A budget per second has nothing to give to a program that makes a call every ten seconds;
    this one is the same at every rate. One that counts calls would let a request of twenty be
    hedged by twenty requests.

    Args:
        per_request: The share of a hedge that each request pays in.
        burst: How many hedges may be saved up.

    Attributes:
        balance: How many hedges it can pay for now.
    """

    __slots__ = ("_burst", "_per_request", "balance")

    def __init__(self, per_request: float, burst: float) -> None:
        self._per_request = per_request
        self._burst = burst
        self.balance = min(1.0, burst) if per_request else 0.0

    def deposit(self) -> None:
        """Pay in for one request."""
        self.balance = min(self._burst, self.balance + self._per_request)

    @property
    def pays(self) -> bool:
        """Whether there is enough for a hedge."""
        return self.can_pay(1.0)

    def can_pay(self, hedges: float) -> bool:
        """Return whether there is enough for so many *hedges*."""
        return self.balance >= hedges - _ROUNDING

    def withdraw(self, hedges: float = 1.0) -> bool:
        """Pay for so many *hedges*; return False if there is not enough for all of them."""
        if not self.can_pay(hedges):
            return False
        self.balance -= hedges
        return True

    def give_back(self, hedges: float = 1.0) -> None:
        """Take back what was paid for *hedges* that were never sent."""
        self.balance = min(self._burst, self.balance + hedges)


class PaidHedge:
    """A hedge that was paid for, and is worth it once its request is sent.

    Args:
        budget: What it was paid from.
        upstream: The upstream that is asked.
        price: What was paid: 1, or a share of it where its request is that of several.

    Attributes:
        upstream: The upstream that is asked.
    """

    __slots__ = ("_budget", "_price", "_sent", "upstream")

    def __init__(self, budget: HedgingBudget, upstream: Upstream, price: float = 1.0) -> None:
        self.upstream = upstream
        self._budget = budget
        self._price = price
        self._sent = False

    def on_sent(self) -> None:
        """Note that its request goes out."""
        self._sent = True

    def on_end(self) -> None:
        """Give the payment back if no request went out: it was refused, or its caller left."""
        if not self._sent:
            self._budget.give_back(self._price)
