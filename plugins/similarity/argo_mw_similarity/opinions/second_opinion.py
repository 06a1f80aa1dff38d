"""Second opinions: what becomes of a match after the policy, and of what comes instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import evolve, frozen

from argo_mw.plugin import NO_COST, Call, Context, Cost, Outcome
from argo_mw_similarity.answers.alias import Alias
from argo_mw_similarity.answers.answer_store import AnswerStore
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.opinions.evidence import Kind
from argo_mw_similarity.opinions.judge import Judge
from argo_mw_similarity.prompt import Prompt
from argo_mw_similarity.search.finder import Match

MayServe = Callable[[KnownAnswer, Call], Awaitable[bool]]
_LEAST_TTL = 1.0


@frozen
class Candidate:
    """A known answer that may serve, or that a new answer is compared with.

    Attributes:
        answer: The answer.
        score: The cosine of the prompts.
        kind: Whether the policy would serve it, or leaves it undecided.
        pool: Where pairs like this one are counted.
    """

    answer: KnownAnswer
    score: float
    kind: Kind
    pool: str


@frozen
class Decision:
    """What was decided about a prompt.

    Attributes:
        match: What was found.
        spent: What it cost to decide.
        candidate: What a new answer is compared with, or ``None``.
        check: The least chance with which what is served is checked.
    """

    match: Match
    spent: Cost = NO_COST
    candidate: Candidate | None = None
    check: float = 0.0


class SecondOpinion(Protocol):
    """What decides about a match after the policy has."""

    async def open(self) -> None:
        """Prepare.

        Raises:
            ConfigError: What is configured cannot be kept.
        """

    async def close(self) -> None:
        """Write down what was learnt. Idempotent."""

    async def decide(self, match: Match, prompt: Prompt, call: Call) -> Decision:
        """Return what *match* comes to."""

    async def learn(
        self, candidate: Candidate, prompt: Prompt, call: Call, outcome: Outcome
    ) -> Cost:
        """Compare *candidate* with *outcome*, which came instead; return what that cost."""

    async def note(self, candidate: Candidate, prompt: Prompt, call: Call, *, right: bool) -> None:
        """Take up that *candidate* would have done for *prompt*, or would not have."""

    async def shadow(self, match: Match, prompt: Prompt, call: Call, outcome: Outcome) -> Match:
        """Return what *match* would have come to, by what costs nothing, and learn from it."""


class Judging:
    """The second opinion of the policy ``judged``: a judge's, on what is undecided.

    Args:
        context: What the framework gives.
        judge: The judge.
        store: Keeps its verdicts.
        may_serve: Whether an answer is fresh, and young enough for a call.
        most: Known answers that it is asked about for one prompt.
    """

    def __init__(
        self,
        context: Context,
        judge: Judge,
        store: AnswerStore,
        may_serve: MayServe,
        *,
        most: int,
    ) -> None:
        self._context = context
        self._judge = judge
        self._store = store
        self._may_serve = may_serve
        self._most = most

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def decide(self, match: Match, prompt: Prompt, call: Call) -> Decision:
        """Return what *match* is by the judge's word, and what asking it cost."""
        if match.alias and match.answer is not None:
            self._judge.saved(match.answer)
        why, spent = "", NO_COST
        for answer, score in match.undecided[: self._most]:
            if not await self._may_serve(answer, call):
                continue
            why = self._judge.objection(call, answer)
            if why:
                self._context.announce("similarity", "not judged", call, why)
                break
            verdict = await self._judge.ask(call, answer, prompt.text)
            why, spent = verdict.why, spent + verdict.cost
            self._context.announce("similarity", "judged", call, why)
            if verdict.same:
                alias = Alias(0, prompt.text, answer.number, same=True, score=score)
                number = await learn_alias(self._context, self._store, prompt, call, answer, alias)
                found = Match(answer, score, why, match.vector, alias=number, judged=True)
                return Decision(found, spent)
        return Decision(evolve(match, why=f"{match.why}; {why}") if why else match, spent)

    async def learn(
        self, candidate: Candidate, prompt: Prompt, call: Call, outcome: Outcome
    ) -> Cost:
        """Learn nothing: the judge has been asked."""
        return NO_COST

    async def note(self, candidate: Candidate, prompt: Prompt, call: Call, *, right: bool) -> None:
        """Take up nothing: verdicts are kept, and taken back, one by one."""

    async def shadow(self, match: Match, prompt: Prompt, call: Call, outcome: Outcome) -> Match:
        """Return *match*: a judge costs money, so it is not asked in shadow."""
        return match


async def learn_alias(
    context: Context,
    store: AnswerStore,
    prompt: Prompt,
    call: Call,
    answer: KnownAnswer,
    alias: Alias,
) -> int:
    """Keep *alias* as long as its *answer* is served, if *call* allows storing; return its number.

    0 where nothing is kept.
    """
    if not call.store:
        return 0
    left = max(answer.expires_at - context.clock.time(), _LEAST_TTL)
    return (await store.learn(prompt.scope, alias, ttl=left)).number
