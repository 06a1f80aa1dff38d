"""Policies: when two prompts may share an answer."""

from __future__ import annotations

from typing import Protocol

from attrs import evolve, field, frozen

from argo_mw_similarity.comparison.align import align
from argo_mw_similarity.comparison.pair import Pair
from argo_mw_similarity.comparison.remainder import Allowance, unexplained
from argo_mw_similarity.comparison.vetoes import vetoed
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.language.reading import Reading, read, replaced
from argo_mw_similarity.language.spelling import one_slip


@frozen
class Judgement:
    """Whether one prompt's answer serves another.

    Attributes:
        serve: Whether it does.
        score: The cosine of the prompts' vectors.
        reasons: What speaks against it, as ``name: reason``; empty if it serves.
        undecided: Whether it does not serve, and yet nothing certain speaks against it: all that
            differs are :data:`SOFT` reasons, so that a judge may be asked. By default nothing is.
    """

    serve: bool
    score: float
    reasons: tuple[str, ...] = ()
    undecided: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The names of the reasons."""
        return frozenset(reason.partition(":")[0] for reason in self.reasons)


class Policy(Protocol):
    """What decides whether two prompts of one scope may share an answer.

    Attributes:
        name: Its name in the configuration.
        floor: The score below which it serves nothing, so that it need not be asked.
    """

    @property
    def name(self) -> str: ...

    @property
    def floor(self) -> float: ...

    def judge(self, asked: Reading, known: Reading, score: float) -> Judgement:
        """Judge whether the answer to *known* serves *asked*; *score* is their vectors' cosine."""


@frozen
class Threshold:
    """A policy that serves whatever scores high enough.

    It confuses "Q3 2024" with "Q3 2023" and "buy" with "sell"; it is here for comparison, and
    for prompts where that does no harm.

    Attributes:
        floor: The cosine from which it serves.
        name: Its name in the configuration.
    """

    floor: float = 0.95
    name: str = "threshold"

    def judge(self, asked: Reading, known: Reading, score: float) -> Judgement:
        """Judge by *score* whether the answer to *known* serves *asked*."""
        if score >= self.floor:
            return Judgement(True, score)
        return Judgement(False, score, (f"score: below {self.floor}",))


SOFT = frozenset({"remainder", "nearness", "modality", "arrangement", "attachment", "reversal"})
"""The reasons that a judge may overrule. Every other is a hard veto, which nothing overrules; a new
veto is one until it is named here."""


def _by_text(reading: Reading) -> str:
    """The order in which two prompts are compared, whichever came first."""
    return reading.normal


def _respelt(reading: Reading, other: Reading, lexicon: Lexicon) -> Reading:
    """Return *reading* with its misspelt words as *other* spells them, if both are English.

    In another language a word that no dictionary has is no slip: "balsa" is not "bolsa".
    """
    if not (_surely_english(reading) and _surely_english(other)):
        return reading
    meant = {
        word: token.text
        for word in reading.doubtful
        for token in other.order
        if token.text != word and token.raw.isalpha() and one_slip(word, token.text)
        if lexicon.known(token.text) or len(word) >= LEAST_OF_UNKNOWN
    }
    return read(replaced(reading.normal, meant), lexicon) if meant else reading


def _surely_english(reading: Reading) -> bool:
    return reading.english and any(token.classes for token in reading.order)


LEAST_OF_UNKNOWN = 8
"""Letters of two words in no dictionary of which one may be the other, misspelt."""
MAX_ITEMS = 128
"""Content words of a prompt that is compared: each of one is held against each of the other."""


@frozen
class Guarded:
    """A policy of vetoes first, then the score, then the words that only one prompt has.

    Attributes:
        lexicon: Words and how they relate.
        floor: The score below which even prompts that agree in every word are refused.
        serves_from: The score from which it serves, and down to *floor* leaves undecided; by
            default *floor*.
        allowance: How much of an unexplained remainder passes.
        name: Its name in the configuration.
    """

    lexicon: Lexicon = field(repr=False)
    floor: float = 0.7
    serves_from: float | None = None
    allowance: Allowance = field(factory=Allowance)
    name: str = "guarded"

    def judge(self, asked: Reading, known: Reading, score: float) -> Judgement:
        """Judge whether the answer to *known* serves *asked*, whose cosine is *score*."""
        if asked.normal == known.normal:
            return Judgement(True, score)
        if score < self.floor:
            return Judgement(False, score, (f"score: below {self.floor}",))
        if max(len(asked.items), len(known.items)) > MAX_ITEMS:
            return Judgement(False, score, (f"length: more than {MAX_ITEMS} content words",))
        one, other = sorted((asked, known), key=_by_text)
        one, other = _respelt(one, other, self.lexicon), _respelt(other, one, self.lexicon)
        if one.normal == other.normal:
            return Judgement(True, score)
        pair = Pair(one, other, align(one, other, self.lexicon), self.lexicon)
        reasons = vetoed(pair)
        if not reasons and (reason := unexplained(pair, score, self.allowance)):
            reasons = (f"remainder: {reason}",)
        if not reasons and self.serves_from is not None and score < self.serves_from:
            reasons = (f"nearness: below {self.serves_from}",)
        judgement = Judgement(not reasons, score, reasons)
        return evolve(judgement, undecided=bool(reasons) and judgement.names <= SOFT)
