"""The judge: a cheap model that is asked whether two prompts ask the same.

It is asked through the chain, in the task of the caller, which ends the question when it leaves,
and on the account of the caller's tenant. Anything but a clear yes is a no: a judge that is away,
takes too long, is refused by a budget, or says something else. It is asked only where that is cheap
and quick compared with the call that it may save, which is expected to cost and take as much as the
known answer did, and while it has cost no more than a tenth of what its verdicts saved.
"""

from __future__ import annotations

import math

from attrs import frozen

from argo_mw.plugin import (
    NO_COST,
    Call,
    Charge,
    Context,
    Cost,
    Outcome,
    Refusal,
    TimeLimitExceeded,
    fail_at,
)
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.opinions.same_question import NAME, verdict_in
from argo_mw_similarity.stats import NANO, Stats

_LAYER = "similarity"
SAID_SAME = "the judge says the same"
_PAUSE = 30.0
"""Seconds for which a judge that is away is not asked."""
_MEMORY = 60.0
"""Seconds after which what is known of the judge is out of date, and is learnt anew by asking
it."""
_SHARE = 0.1
"""The share of what verdicts have saved that further questions may cost."""
_MOST_CREDIT = 100.0
"""Questions that may be asked before one has saved anything, and that are saved up at most."""
_TRICKLE = 0.1
"""The part of a question that is earned by each prompt which may not be asked about."""
_WEIGHT = 0.1
"""How much the latest question weighs in what is expected of the next."""


@frozen
class Verdict:
    """What a judge said, or why it said nothing.

    Attributes:
        same: Whether it said that the prompts ask the same.
        why: What it said, in a few words.
        given: Whether it said anything of the form that it was asked for.
        cost: What asking it cost.
    """

    same: bool
    why: str
    given: bool = False
    cost: Cost = NO_COST


@frozen
class Expected:
    """What the next question to the judge is expected to take.

    Attributes:
        usd: US dollars, or ``None`` where its price is not known.
        seconds: Seconds.
        at: When that was learnt, in monotonic seconds.
        answered: Whether any was answered in time; if not, no price is known either.
    """

    usd: float | None
    seconds: float
    at: float
    answered: bool = True


class Judge:
    """Asks the operation ``same_question``, where that is worth it.

    Args:
        config: The plugin's configuration.
        context: What the framework gives.
        stats: Where its questions are counted.
    """

    def __init__(self, config: SimilarityConfig, context: Context, stats: Stats) -> None:
        self._config = config
        self._context = context
        self._stats = stats
        self._expected: Expected | None = None
        self._first_is_out = False
        self._away_until = -math.inf
        self._credit = _MOST_CREDIT

    def objection(self, call: Call, answer: KnownAnswer) -> str:
        """Return why the judge is not asked whether *answer* serves *call*, or "".

        Being asked this earns a judge that has cost too much a part of its next question.
        """
        now = self._context.clock.monotonic()
        if now < self._away_until:
            return "the judge was away a moment ago"
        if answer.usd is None or answer.took <= 0.0:
            return "what the call costs and takes is not known"
        limit = self._limit(call, answer)
        if limit <= 0.0:
            return "its caller has no time for a judge"
        expected = self._expected
        if expected is not None and expected.seconds >= limit and now - expected.at <= _MEMORY:
            return "the judge takes too long beside the call"
        if expected is None or not expected.answered:
            return "the judge's price is being found out" if self._first_is_out else ""
        if expected.usd is None:
            return "the judge's price is not known"
        if expected.usd and self._credit < 1.0:
            self._credit = min(self._credit + _TRICKLE, _MOST_CREDIT)
            return "the judge has cost too much beside what it saved"
        # Free beside free is small enough.
        if expected.usd > self._config.judge_cost_share * answer.usd:
            return "the judge costs too much beside the call"
        return ""

    async def ask(self, call: Call, answer: KnownAnswer, asked: str) -> Verdict:
        """Return whether *answer* serves *asked*, the prompt of *call*, by the judge's word."""
        self._first_is_out = True
        self._credit -= 1.0
        try:
            verdict = await self._ask(call, answer, asked)
        finally:
            self._first_is_out = False
        if verdict.same:
            self.saved(answer)
        return self._counted(verdict)

    def saved(self, answer: KnownAnswer) -> None:
        """Allow for more questions, since *answer* has served by a verdict."""
        expected = self._expected
        if expected is not None and expected.usd and answer.usd:
            earned = _SHARE * answer.usd / expected.usd
            self._credit = min(self._credit + earned, _MOST_CREDIT)

    async def _ask(self, call: Call, answer: KnownAnswer, asked: str) -> Verdict:
        started = self._context.clock.monotonic()
        limit = self._limit(call, answer)
        asking = self._context.call(call, NAME, known=answer.text, asked=asked)
        try:
            outcome = await fail_at(asking, started + limit, self._context.clock)
        except TimeLimitExceeded:
            self._learn(None, limit)
            return Verdict(False, f"the judge took longer than {limit:.3g} s")
        except Refusal as error:
            return Verdict(False, f"the judge was refused: {error}")
        except Exception as error:
            self._away_until = self._context.clock.monotonic() + _PAUSE
            self._context.warn_once("similarity judge", f"the judge is away: {error}")
            return Verdict(False, "the judge is away")
        self._learn(outcome, self._context.clock.monotonic() - started)
        self._book(call, answer, outcome.cost)
        return _verdict(outcome)

    def _limit(self, call: Call, answer: KnownAnswer) -> float:
        """Return the seconds that the judge has: so that the call itself can still be made."""
        limit = min(self._config.judge_timeout, self._config.judge_time_share * answer.took)
        if call.deadline is not None:
            left = call.deadline - self._context.clock.monotonic() - answer.took
            limit = min(limit, left)
        return limit

    def _learn(self, outcome: Outcome | None, seconds: float) -> None:
        """Take up what a question took; an answer that a layer had at hand says nothing of it.

        One that took too long, for which *outcome* is ``None``, says nothing of the price.
        """
        if outcome is not None and not outcome.attempts:
            return
        now = self._context.clock.monotonic()
        known = self._expected
        if known is None or not known.answered:
            usd = None if outcome is None else outcome.cost.usd
            self._expected = Expected(usd, seconds, now, answered=outcome is not None)
            return
        usd = known.usd if outcome is None else outcome.cost.usd
        if now - known.at > _MEMORY:
            self._expected = Expected(usd, seconds, now)
            return
        mean = known.usd
        if usd is not None and mean is not None:
            mean += _WEIGHT * (usd - mean)
        seconds = known.seconds + _WEIGHT * (seconds - known.seconds)
        self._expected = Expected(usd if mean is None else mean, seconds, now)

    def _book(self, call: Call, answer: KnownAnswer, cost: Cost) -> None:
        """Take the judge's price off what the layer saves: without the layer nobody would pay it.

        The request itself is booked by the core, as every other.
        """
        if cost.usd is None:
            self._stats.count("judge:unpriced")
            return
        if not cost.usd:
            return
        self._stats.count("judge:nano_usd", round(cost.usd * NANO))
        self._context.record_charge(
            Charge(
                self._context.clock.time(),
                call.tenant,
                call.operation.name,
                call.subject,
                answer.outcome.upstream or "",
                "saved",
                Cost(usd=-cost.usd, estimated=cost.estimated),
                layer=_LAYER,
            )
        )

    def _counted(self, verdict: Verdict) -> Verdict:
        self._stats.count("judge:asked")
        self._stats.count("judge:yes" if verdict.same else "judge:no")
        return verdict


def _verdict(outcome: Outcome) -> Verdict:
    same = verdict_in(outcome.value)
    if same is None:
        return Verdict(False, "the judge gave no verdict", cost=outcome.cost)
    why = SAID_SAME if same else "the judge says another"
    return Verdict(same, why, given=True, cost=outcome.cost)
