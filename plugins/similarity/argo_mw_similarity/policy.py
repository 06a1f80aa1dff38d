"""Policies: when two prompts may share an answer."""

from __future__ import annotations

from typing import Protocol

from attrs import field, frozen

from argo_mw_similarity.align import align
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.pair import Pair
from argo_mw_similarity.reading import Reading
from argo_mw_similarity.remainder import Allowance, unexplained
from argo_mw_similarity.vetoes import vetoed


@frozen
class Verdict:
    """Whether one prompt's answer serves another.

    Attributes:
        serve: Whether it does.
        score: The cosine of the prompts' vectors.
        reasons: What spoke against it, as ``name: reason``; empty when it is served.
    """

    serve: bool
    score: float
    reasons: tuple[str, ...] = ()


class Policy(Protocol):
    """Decides whether two prompts of one scope may share an answer.

    Attributes:
        name: What configuration calls it.
        floor: The score below which it serves nothing, so that nobody need ask.
    """

    @property
    def name(self) -> str: ...

    @property
    def floor(self) -> float: ...

    def judge(self, asked: Reading, known: Reading, score: float) -> Verdict:
        """Whether the answer to *known* serves *asked*, their vectors having cosine *score*."""


@frozen
class Threshold:
    """Serves whatever scores high enough.

    It confuses "Q3 2024" with "Q3 2023" and "buy" with "sell"; it is here for comparison, and
    for prompts where that does no harm.

    Attributes:
        floor: The cosine from which it serves.
        name: What the configuration calls it.
    """

    floor: float = 0.95
    name: str = "threshold"

    def judge(self, asked: Reading, known: Reading, score: float) -> Verdict:
        """See :meth:`Policy.judge`."""
        if score >= self.floor:
            return Verdict(True, score)
        return Verdict(False, score, (f"score: below {self.floor}",))


@frozen
class Guarded:
    """Vetoes first, then the score, then what the prompts do not have in common.

    Attributes:
        lexicon: Words and how they relate.
        floor: The score below which even prompts that agree in every word are refused.
        allowance: What of an unexplained remainder is let pass.
        name: What the configuration calls it.
    """

    lexicon: Lexicon = field(repr=False)
    floor: float = 0.7
    allowance: Allowance = field(factory=Allowance)
    name: str = "guarded"

    def judge(self, asked: Reading, known: Reading, score: float) -> Verdict:
        """See :meth:`Policy.judge`."""
        if asked.normal == known.normal:
            return Verdict(True, score)
        if score < self.floor:
            return Verdict(False, score, (f"score: below {self.floor}",))
        pair = Pair(asked, known, align(asked, known, self.lexicon), self.lexicon)
        reasons = vetoed(pair)
        if not reasons and (reason := unexplained(pair, score, self.allowance)):
            reasons = (f"remainder: {reason}",)
        return Verdict(not reasons, score, reasons)
