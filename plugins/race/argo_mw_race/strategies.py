"""The strategies: which upstreams are asked when, and whose answer is taken."""

from __future__ import annotations

import math
from typing import Final

from argo_mw.plugin import Call, Context
from argo_mw_race.branch import Branch
from argo_mw_race.fan_out import NAME, FanOut
from argo_mw_race.ranking import Plan, Ranking

_MAX_SHARE: Final = 0.9
"""The share of a caller's time that may be spent on waiting for further answers."""


async def hedge(fan_out: FanOut, plan: Plan) -> Branch:
    """Ask one; the next at once when it fails, or, if the budget pays, when it is late.

    Dean and Barroso, "The Tail at Scale", Communications of the ACM, 2013.
    """
    fan_out.start(plan.order[0], "probe" if plan.probe else "first", plan.hedge_delay)
    while True:
        answer = await fan_out.next_answer(fan_out.late_at)
        if answer is not None:
            return answer
        if fan_out.restart_if_stalled():
            continue
        fan_out.mark_late()
        fan_out.hedge()


async def race(fan_out: FanOut, plan: Plan, ranking: Ranking) -> Branch:
    """Ask all at once, those with a scarce quota when the others have failed; the first wins."""
    _start_together(fan_out, plan, ranking)
    answer = await fan_out.next_answer()
    assert answer is not None, "without a time limit there is an answer or an error"
    return answer


async def best(
    fan_out: FanOut, plan: Plan, ranking: Ranking, call: Call, context: Context
) -> Branch:
    """Ask all at once, wait for a while, and take the answer with the highest score.

    A caller who has less time than that gets the best of what is there before it is over. When
    there is no answer after that while, the first one wins.
    """
    _start_together(fan_out, plan, ranking)
    now, timeout = fan_out.now(), ranking.rules.best_timeout
    if call.deadline is not None:
        timeout = min(timeout, _MAX_SHARE * (call.deadline - now))
    end = now + timeout
    while await fan_out.next_answer(lambda: end) is not None:
        pass
    if fan_out.answered:
        return max(fan_out.answered, key=lambda branch: score(call, branch, context))
    answer = await fan_out.next_answer()
    assert answer is not None, "without a time limit there is an answer or an error"
    return answer


def score(call: Call, branch: Branch, context: Context) -> float:
    """Return the operation's score of the branch's answer; the lowest if it cannot be scored."""
    rate = call.operation.score
    assert rate is not None
    assert branch.outcome is not None
    try:
        rated = float(rate(branch.outcome.value))
    except Exception as error:
        context.warn_once(NAME, f"the score of {call.operation.name} failed: {error!r}")
        return -math.inf
    return -math.inf if math.isnan(rated) else rated


def _start_together(fan_out: FanOut, plan: Plan, ranking: Ranking) -> None:
    for upstream in ranking.not_scarce(plan.order) or plan.order[:1]:
        fan_out.start(upstream, "together")
