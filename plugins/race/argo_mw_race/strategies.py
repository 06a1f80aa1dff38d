"""The strategies: who is asked when, and whose answer is taken."""

from __future__ import annotations

import math

from argo_mw.plugin import Call, Context
from argo_mw_race.contest import NAME, Branch, Contest
from argo_mw_race.standings import Plan, Standings

_MOST_OF_IT = 0.9
"""The share of a caller's time that may be spent on waiting for further answers."""


async def hedge(contest: Contest, plan: Plan, standings: Standings) -> Branch:
    """Ask one; the next at once when it fails, or, if the budget pays, when it is late.

    Dean and Barroso, "The Tail at Scale", Communications of the ACM, 2013.
    """
    contest.ask(plan.order[0], "probe" if plan.probe else "first", plan.patience)
    while True:
        answer = await contest.next_answer(contest.late_at)
        if answer is not None:
            return answer
        if contest.held_up():
            continue
        contest.note_lateness()
        upstream = standings.hedge_onto(contest.waiting)
        if upstream is not None:
            contest.ask(upstream, "hedge", standings.patience(upstream))


async def race(contest: Contest, plan: Plan, standings: Standings) -> Branch:
    """Ask all at once, those with a scarce quota when the others have failed; the first wins."""
    _ask_together(contest, plan, standings)
    answer = await contest.next_answer()
    assert answer is not None, "without a time limit there is an answer or an error"
    return answer


async def best(
    contest: Contest, plan: Plan, standings: Standings, call: Call, context: Context
) -> Branch:
    """Ask all at once, wait for a while, and take the answer with the highest score.

    A caller who has less time than that gets the best of what is there before it is over. When
    there is no answer after that while, the first one wins.
    """
    _ask_together(contest, plan, standings)
    now, wait = contest.now(), standings.rules.wait
    if call.deadline is not None:
        wait = min(wait, _MOST_OF_IT * (call.deadline - now))
    end = now + wait
    while await contest.next_answer(lambda: end) is not None:
        pass
    if contest.answered:
        return max(contest.answered, key=lambda branch: score(call, branch, context))
    answer = await contest.next_answer()
    assert answer is not None, "without a time limit there is an answer or an error"
    return answer


def score(call: Call, branch: Branch, context: Context) -> float:
    """How good the branch's answer is, by its operation; the worst where that cannot be said."""
    rate = call.operation.score
    assert rate is not None
    assert branch.outcome is not None
    try:
        rated = float(rate(branch.outcome.value))
    except Exception as error:
        context.warn_once(NAME, f"the score of {call.operation.name} failed: {error!r}")
        return -math.inf
    return -math.inf if math.isnan(rated) else rated


def _ask_together(contest: Contest, plan: Plan, standings: Standings) -> None:
    for upstream in standings.plentiful(plan.order) or plan.order[:1]:
        contest.ask(upstream, "together")
