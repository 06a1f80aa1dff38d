"""The finder: looks for the known answer to a prompt, as far as that takes no judge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.comparison.policy import Policy
from argo_mw_similarity.language.reading import Reading
from argo_mw_similarity.prompt import Prompt
from argo_mw_similarity.search.embedders import MAX_TOKENS, Vectors
from argo_mw_similarity.search.scope_index import ScopeIndex

MAX_CHARACTERS = 3 * MAX_TOKENS
"""A longer text is sure to have more tokens than the model reads: never embedded, never judged."""


def not_compared(text: str) -> str:
    """Return why only *text* itself may be served an answer to it, or ""."""
    if len(text) <= MAX_CHARACTERS:
        return ""
    return f"longer than {MAX_CHARACTERS} characters"


@frozen
class Match:
    """What was found for a prompt.

    Attributes:
        answer: The answer to serve, or ``None``.
        score: The cosine of the prompts, or of the nearest where none serves; 1 for slots and
            equal texts.
        why: How they are equivalent, or what speaks against the nearest prompt.
        vector: The prompt's vector, if it was needed.
        reasons: What speaks against the nearest prompt, as ``name: reason``.
        undecided: The answers that a judge may be asked about, with their scores, best first.
        alias: The number of the kept verdict by which the answer serves, or 0.
        judged: Whether a judge was asked whether it serves.
    """

    answer: KnownAnswer | None = None
    score: float = 0.0
    why: str = ""
    vector: Vectors | None = None
    reasons: tuple[str, ...] = ()
    undecided: tuple[tuple[KnownAnswer, float], ...] = ()
    alias: int = 0
    judged: bool = False

    @property
    def by_judge(self) -> bool:
        """Whether the answer serves by a judge's word."""
        return self.alias != 0 or self.judged

    @property
    def vetoes(self) -> Sequence[str]:
        """The names of the reasons, each once."""
        return sorted({reason.partition(":")[0] for reason in self.reasons})


@frozen(eq=False)
class Finder:
    """Finds the known answer to a prompt among those of its scope.

    Attributes:
        embed: Returns the vector of a text; ``None`` without an embedder, or if it takes too long.
        is_dead: Whether an answer can never be served again, and hides others that can.
        max_candidates: How many of the nearest prompts are considered.
        policy: Decides; ``None`` where only equal texts and slots are found.
        reading_of: Reads a text.
    """

    embed: Callable[[str], Awaitable[Vectors | None]]
    is_dead: Callable[[KnownAnswer], bool]
    max_candidates: int
    policy: Policy | None = None
    reading_of: Callable[[str], Reading] | None = None

    async def find(self, prompt: Prompt, index: ScopeIndex) -> Match:
        """Return what serves *prompt* of the answers in *index*, or why none does."""
        if prompt.slots is not None:
            return _by_slots(prompt, index)
        answer, alias = index.by_text(prompt.text)
        if answer is not None:
            why = "the same text" if alias is None else "an earlier verdict"
            return Match(answer, 1.0, why, alias=0 if alias is None else alias.number)
        if prompt.only_exact:
            return Match()
        if why := not_compared(prompt.text):
            return Match(why=f"not compared: {why}")
        if self.policy is None or self.reading_of is None:
            return Match()
        vector = await self.embed(self.reading_of(prompt.text).embedded)
        if vector is None:
            return Match()
        return await self._nearest(prompt, index, vector, self.policy, self.reading_of)

    async def _nearest(
        self,
        prompt: Prompt,
        index: ScopeIndex,
        vector: Vectors,
        policy: Policy,
        reading_of: Callable[[str], Reading],
    ) -> Match:
        """Return the nearest answer that *policy* lets serve *prompt*."""
        why, score_of_nearest, reasons = "", 0.0, tuple[str, ...]()
        undecided: list[tuple[KnownAnswer, float]] = []
        reading = reading_of(prompt.text)
        for answer, score in index.nearest(vector, self.max_candidates):
            if score < policy.floor:
                break
            if self.is_dead(answer):
                index.remove(answer.number)
                continue
            verdict = index.verdict(prompt.text, answer.number)
            if verdict is not None and not verdict.same:
                continue
            judgement = policy.judge(reading, reading_of(answer.text), score)
            # To read and to judge a prompt takes milliseconds: others have their turn between two.
            await asyncio.sleep(0)
            if judgement.serve:
                return Match(answer, score, f"policy {policy.name}", vector)
            if judgement.undecided:
                undecided.append((answer, score))
            if not why:
                why = f"nearest at {score:.3f} refused by {', '.join(judgement.reasons)}"
                score_of_nearest, reasons = score, judgement.reasons
        return Match(None, score_of_nearest, why, vector, reasons, tuple(undecided))


def _by_slots(prompt: Prompt, index: ScopeIndex) -> Match:
    assert prompt.slots is not None
    answer, mismatch = index.by_slots(prompt.slots, prompt.tolerances)
    if answer is not None:
        return Match(answer, 1.0, "slots within tolerance")
    why = mismatch and f"slot: {mismatch}"
    return Match(None, 1.0, why, reasons=(why,) if why else ())
