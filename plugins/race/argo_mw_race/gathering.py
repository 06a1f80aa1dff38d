"""A gathering: branches whose calls travel in one request.

One slow request of twenty calls makes twenty branches late. Counted by branches, it would look like
an upstream that hangs, fill the window of latencies by itself, and be hedged twenty times, each
time by a request of its own where the other upstream takes one call at a time.
"""

from __future__ import annotations

from attrs import define

from argo_mw.plugin import Upstream
from argo_mw_race.budget import HedgingBudget, PaidHedge


@define(eq=False)
class Gathering:
    """The branches of one request, which is counted once, and hedged as a whole or not at all.

    A branch is alone until its request goes out.

    Attributes:
        waiting: Branches that have neither ended nor been hedged.
        open: Branches that have neither ended nor been abandoned.
        running: Branches whose tasks have not ended.
        answered: Whether the duration of the request was counted.
        late_epoch: The epoch of the stats in which it was counted as late, or ``None``.
        granted: Hedges that are paid for and not started yet.
        price: What each of these has cost.
    """

    waiting: int = 1
    open: int = 1
    running: int = 1
    answered: bool = False
    late_epoch: int | None = None
    granted: int = 0
    price: float = 1.0

    def add(self) -> None:
        """Count a further branch in."""
        self.waiting += 1
        self.open += 1
        self.running += 1

    def pay_for_hedge(self, budget: HedgingBudget, target: Upstream) -> PaidHedge | None:
        """Return a hedge of one branch onto *target*, if *budget* can pay for all that wait.

        Where the target takes several calls in a request, they are one request there too.
        """
        if not self.granted:
            price = 1.0 if target.batching is None else 1.0 / self.waiting
            if not budget.withdraw(price * self.waiting):
                return None
            self.granted, self.price = self.waiting, price
        self.granted -= 1
        self.waiting -= 1
        return PaidHedge(budget, target, self.price)

    def leave(self, budget: HedgingBudget, *, hedged: bool) -> bool:
        """Count out a branch that has ended or is abandoned; return whether it was the last.

        A hedge that was paid for, and that the branch did not need, is given back.
        """
        self.open -= 1
        self.waiting -= not hedged
        if self.granted > self.waiting:
            self.granted -= 1
            budget.give_back(self.price)
        return self.open == 0
