"""The policy ``verified``: serves while the share of wrong ones among what it serves stays small.

After vCache (arXiv 2502.03771): what an answer's own pairs of similarity and correctness say, on
the background of those of all answers, bounds the chance that it is wrong. Where the bound is too
high the model is asked anyway, the less often the lower it is, and each time its answer is
compared with the known one, which is the next pair.
"""

from __future__ import annotations

import random
from collections import OrderedDict

from attrs import define

from argo_mw.plugin import (
    NO_COST,
    Call,
    ConfigError,
    Context,
    Cost,
    Outcome,
    SharedUnavailable,
    Stream,
)
from argo_mw_similarity.answers.alias import Alias
from argo_mw_similarity.answers.answer_store import AnswerStore
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.opinions.agreement import Comparison, agree
from argo_mw_similarity.opinions.curve import shift_of
from argo_mw_similarity.opinions.evidence import Evidence, Pools, pool_of
from argo_mw_similarity.opinions.judge import SAID_SAME
from argo_mw_similarity.opinions.second_opinion import Candidate, Decision, MayServe, learn_alias
from argo_mw_similarity.prompt import Prompt
from argo_mw_similarity.search.finder import Match
from argo_mw_similarity.stats import RIGHT, WRONG, Stats
from argo_mw_similarity.summary import wilson

_DEVIATIONS = 1.0
"""Standard deviations by which the chance that an answer is wrong is taken for greater."""
_SPREAD = 1.5
"""The standard deviation between the log-odds of entries."""
_ENOUGH = 30.0
"""Pairs of about one score up to which each further one is worth a question to the judge."""
_AT_FIRST = 10.0
"""Pairs that were seen by the time that every other served answer is checked: at first all are."""
_MEMORY = 1_000
"""Served answers over which the share of wrong ones is bounded."""
_MAX_POOLS = 1_000
_DAYS = 30


@define
class _Served:
    """What was served of a pool: how many answers, and how many of them are wrong at most."""

    count: float = 0.0
    wrong: float = 0.0

    def takes(self, risk: float, limit: float) -> bool:
        """Return whether one more of that *risk* leaves the share of wrong ones within *limit*."""
        return self.wrong + risk <= limit * (self.count + 1.0)

    def add(self, risk: float) -> None:
        self.count += 1.0
        self.wrong += risk
        if self.count > _MEMORY:
            self.count, self.wrong = self.count / 2, self.wrong / 2


class Verifier:
    """The second opinion of the policy ``verified``.

    Args:
        config: The plugin's configuration.
        context: What the framework gives.
        stats: Where the judge's own errors are counted.
        store: Keeps the pairs of each answer.
        comparison: Says whether a known answer would have done.
        may_serve: Whether an answer is fresh, and young enough for a call.
        chance: Draws from 0 to 1.
    """

    def __init__(
        self,
        config: SimilarityConfig,
        context: Context,
        stats: Stats,
        store: AnswerStore,
        comparison: Comparison,
        may_serve: MayServe,
        chance: random.Random,
    ) -> None:
        self._limit = config.max_error
        self._context = context
        self._stats = stats
        self._store = store
        self._comparison = comparison
        self._may_serve = may_serve
        self._chance = chance
        self._pools = Pools(context)
        self._served: OrderedDict[str, _Served] = OrderedDict()
        self._shadowed: OrderedDict[str, _Served] = OrderedDict()

    async def open(self) -> None:
        """Check that the bound can be kept.

        Raises:
            ConfigError: The judge, by whom answers are compared, was wrong more often.
        """
        if self._comparison.exact:
            return
        try:
            names = [f"{begin}{SAID_SAME}" for begin in (WRONG, RIGHT)]
            totals = await self._stats.sums(names, _DAYS)
        except SharedUnavailable:
            return
        wrong, right = (totals.get(name, 0) for name in names)
        least = wilson(wrong, wrong + right)[0]
        if least > self._limit:
            msg = (
                f"plugins.similarity.max_error is {self._limit}, but of {wrong + right} verdicts "
                f"of the judge that were checked {wrong} were wrong, at least {least:.1%}: allow "
                "for that, take another judge, or set compare = 'exact'"
            )
            raise ConfigError(msg)

    async def close(self) -> None:
        """Write down what was learnt. Idempotent."""
        await self._pools.close()

    async def decide(self, match: Match, prompt: Prompt, call: Call) -> Decision:
        """Return *match* as it may be served, or what a new answer is to be compared with."""
        return await self._decide(match, prompt, call, self._served)

    async def _decide(
        self, match: Match, prompt: Prompt, call: Call, account: OrderedDict[str, _Served]
    ) -> Decision:
        candidate = _candidate(match, call)
        if candidate is None or not await self._may_serve(candidate.answer, call):
            return Decision(match)
        evidence = await self._pools.evidence(candidate.pool, candidate.kind)
        risk = await self._risk(evidence, candidate, prompt)
        served = _served_of(candidate.pool, account)
        asked_anyway = self._chance.random() < 1.0 - self._limit / risk
        if not asked_anyway and served.takes(risk, self._limit):
            served.add(risk)
            answer, score = candidate.answer, candidate.score
            found = Match(answer, score, "policy verified", match.vector)
            check = _AT_FIRST / (_AT_FIRST + evidence.seen)
            return Decision(found, candidate=candidate, check=check)
        reason = f"risk: up to {risk:.1%}"
        why = f"nearest at {candidate.score:.3f} asked anyway, {reason}"
        found = Match(None, candidate.score, why, match.vector, (reason,))
        return Decision(found, candidate=candidate)

    async def learn(
        self, candidate: Candidate, prompt: Prompt, call: Call, outcome: Outcome
    ) -> Cost:
        """Compare *candidate* with *outcome*, which came instead; return what that cost."""
        if isinstance(outcome.value, Stream):
            return NO_COST
        near = (await self._pools.evidence(candidate.pool, candidate.kind)).near(candidate.score)
        worth = self._chance.random() < _ENOUGH / (1.0 + near)
        right, cost = await self._comparison.of(
            candidate.answer, call, prompt.text, outcome.value, worth_asking=worth
        )
        if right is not None:
            await self.note(candidate, prompt, call, right=right)
        return cost

    async def note(self, candidate: Candidate, prompt: Prompt, call: Call, *, right: bool) -> None:
        """Take up that *candidate* would have done for *prompt*, or would not have."""
        self.learn_pair(candidate, right=right)
        answer = candidate.answer
        alias = Alias(0, prompt.text, answer.number, same=right, score=candidate.score)
        await learn_alias(self._context, self._store, prompt, call, answer, alias)

    def learn_pair(self, candidate: Candidate, *, right: bool) -> None:
        """Count *candidate* among the pairs of its pool."""
        self._pools.add(candidate.pool, candidate.kind, candidate.score, right=right)

    async def shadow(self, match: Match, prompt: Prompt, call: Call, outcome: Outcome) -> Match:
        """Return what *match* would have come to, and learn from what the answers tell.

        What was not served leaves no room for what will be.
        """
        decision = await self._decide(match, prompt, call, self._shadowed)
        if decision.candidate is not None:
            right = agree(decision.candidate.answer.value.copy(), outcome.value)
            if right is not None:
                await self.note(decision.candidate, prompt, call, right=right)
        return decision.match

    async def _risk(self, evidence: Evidence, candidate: Candidate, prompt: Prompt) -> float:
        """Return the chance, at most, that *candidate* is wrong; its own pairs count most."""
        own = (await self._store.scope(prompt.scope)).pairs(candidate.answer.number)
        shift = shift_of(evidence.curve, own, _SPREAD)
        return max(1.0 - evidence.curve.least(candidate.score, _DEVIATIONS, shift), 1e-9)


def _candidate(match: Match, call: Call) -> Candidate | None:
    """Return what in *match* is a judgement of a policy; equal texts and slots are none."""
    pool = pool_of(call.tenant, call.operation.name, call.upstream)
    if match.answer is not None:
        clear = match.vector is not None and not match.alias
        return Candidate(match.answer, match.score, "clear", pool) if clear else None
    for answer, score in match.undecided:
        return Candidate(answer, score, "open", pool)
    return None


def _served_of(pool: str, account: OrderedDict[str, _Served]) -> _Served:
    served = account.setdefault(pool, _Served())
    account.move_to_end(pool)
    if len(account) > _MAX_POOLS:
        account.popitem(last=False)
    return served
