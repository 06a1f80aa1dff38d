"""The winner's outcome, with what the other branches did and cost."""

from __future__ import annotations

from collections.abc import Sequence

from argo_mw.plugin import Outcome
from argo_mw_race.branch import Branch
from argo_mw_race.fan_out import NAME


def winning_outcome(
    winner: Branch, branches: Sequence[Branch], strategy: str, now: float
) -> Outcome:
    """Return the answer of *winner*, one of *branches*, with the attempts and costs of all."""
    outcome = winner.outcome
    assert outcome is not None
    if len(branches) == 1:
        return outcome
    others = [branch for branch in branches if branch is not winner]
    cost = outcome.cost
    for branch in others:
        if branch.outcome is not None:
            cost += branch.outcome.cost
    attempts = [branch.attempt(now) for branch in others]
    losers = ", ".join(f"{one.upstream} {one.status}" for one in attempts)
    seconds = now - winner.started
    note = f"{strategy}: {winner.upstream.name} ({winner.reason}) won in {seconds:.3g} s; {losers}"
    return outcome.shaped_by(NAME, note).evolve(cost=cost, attempts=(*attempts, *outcome.attempts))
