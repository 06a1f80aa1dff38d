"""The checker: asks the model again for a share of what was served, and compares the answers."""

from __future__ import annotations

import random
from contextlib import suppress
from contextvars import copy_context

from argo_mw.plugin import ArgoError, Call, Closed, Context
from argo_mw_similarity.answers.alias import Alias
from argo_mw_similarity.answers.answer_store import AnswerStore
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.opinions.agreement import Comparison
from argo_mw_similarity.opinions.second_opinion import Decision, SecondOpinion, learn_alias
from argo_mw_similarity.prompt import Prompt
from argo_mw_similarity.stats import RIGHT, WRONG, Stats

_LAYER = "similarity"
_MOST_AT_ONCE = 8


class Checker:
    """Checks served answers in the background, in tasks that the application owns.

    Each check is a request to the upstream that the answer is of, past all layers: guards and
    budgets are asked, and it counts as an audit. An answer that was wrong no longer serves its
    prompt.

    Args:
        context: Asks, and owns the tasks.
        stats: Where the result is counted.
        store: Where what was wrong is taken back.
        comparison: Says whether the served answer would have done.
        second: Learns from the result, if the policy has one.
        share: The share of served answers that are checked.
        chance: Draws from 0 to 1.
    """

    def __init__(
        self,
        context: Context,
        stats: Stats,
        store: AnswerStore,
        comparison: Comparison,
        second: SecondOpinion | None,
        *,
        share: float,
        chance: random.Random,
    ) -> None:
        self._context = context
        self._stats = stats
        self._store = store
        self._comparison = comparison
        self._second = second
        self._share = share
        self._chance = chance
        self._running = 0

    def served(self, answer: KnownAnswer, decision: Decision, prompt: Prompt, call: Call) -> None:
        """Perhaps check that *answer*, which served *prompt* of *call* by *decision*, was right."""
        share = max(self._share, decision.check)
        if not share or self._running >= _MOST_AT_ONCE or self._chance.random() >= share:
            return
        checking = self._check(answer, decision, prompt, call)
        with suppress(Closed):
            self._context.tasks.spawn("similarity-check", checking, context=copy_context())
            self._running += 1

    async def _check(
        self, answer: KnownAnswer, decision: Decision, prompt: Prompt, call: Call
    ) -> None:
        try:
            fresh = await self._context.ask_afresh(call, call.upstream)
            right, _ = await self._comparison.of(
                answer,
                call.until(None),
                prompt.text,
                fresh.value,
                worth_asking=not decision.match.by_judge,  # which would only repeat its verdict
            )
        except ArgoError:
            return  # nothing is known of the answer
        finally:
            self._running -= 1
        if right is None:
            return
        why = decision.match.why
        self._stats.count(f"{RIGHT if right else WRONG}{why}")
        self._context.announce(_LAYER, "found right" if right else "found wrong", call, why)
        if self._second is not None and decision.candidate is not None:
            await self._second.note(decision.candidate, prompt, call, right=right)
        elif not right:
            await self._take_back(answer, decision, prompt, call)

    async def _take_back(
        self, answer: KnownAnswer, decision: Decision, prompt: Prompt, call: Call
    ) -> None:
        """Let *answer* serve *prompt* no more, where that is another prompt than its own."""
        match = decision.match
        if match.alias:
            left = answer.expires_at - self._context.clock.time()
            await self._store.unlearn(prompt.scope, match.alias, ttl=max(left, 1.0))
        elif match.vector is not None:
            alias = Alias(0, prompt.text, answer.number, same=False, score=match.score)
            await learn_alias(self._context, self._store, prompt, call, answer, alias)
