"""What part each word plays in two prompts, and which of these parts are the same."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw_similarity.language.clauses import AGENT, IS, OWNER, PART, PATIENT, Role
from argo_mw_similarity.language.reading import Reading

_PLACE = frozenset({"in", "at", "on", "within", "inside", "during", "over", "while"})
_MEANS = frozenset({"with", "by", "using", "through", "via"})
_GOAL = frozenset({"to", "into", "onto", "toward", "towards"})
_TOPIC = frozenset({"about", "on", "regarding", "concerning"})
_OF_A_VERB = (_PLACE, _MEANS, _GOAL, _TOPIC, frozenset({PATIENT, OWNER, "in", "on", "about"}))
_OF_A_NOUN = (
    _PLACE | {OWNER, PART, "for", "from", "", PATIENT},
    _TOPIC | {OWNER, PART, "for", ""},
    frozenset({AGENT, PATIENT, OWNER, PART, IS, ""}),
    frozenset({"by", "from", OWNER, PART, AGENT}),
    frozenset({"with", "for", PART, OWNER}),
    _MEANS,
    _GOAL | {"for"},
)
"""Relations that may stand for each other, in each row."""

_BE = frozenset({"be", "is", "are", "was", "were", "am", "been", "being"})
_HAVE = frozenset({"have", "has", "had", "having"})


class Parts:
    """The parts that corresponding words of two prompts play.

    Args:
        a: One prompt.
        b: The other.
        pairs: Indices of corresponding content words.
        strict: Whether every small word counts.
    """

    def __init__(
        self, a: Reading, b: Reading, pairs: Iterable[tuple[int, int]], *, strict: bool
    ) -> None:
        self._a, self._b, self._strict = a, b, strict
        pairs = tuple(pairs)
        self._tokens = {a.items[i].at: b.items[j].at for i, j in pairs}
        self._first, self._second = (frozenset(x.at for x in side.items) for side in (a, b))
        self._joined = {
            a.items[i].at: {b.items[m].at for _, m in pairs if b.items[m].group == b.items[j].group}
            for i, j in pairs
            if a.items[i].group >= 0 and b.items[j].group >= 0
        }

    def roles(self, i: int, j: int) -> tuple[Role | None, Role | None]:
        """Return the parts of corresponding content words."""
        a, b = self._a, self._b
        return a.roles.get(a.items[i].at), b.roles.get(b.items[j].at)

    def same_governor(self, one: Role, other: Role) -> bool:
        """Return whether corresponding words give the two parts."""
        here, there = one.governor, other.governor
        if here in self._first or there in self._second:
            return there in (self._tokens.get(here, -2), *self._joined.get(here, ()))
        if here < 0 or there < 0:
            return here == there
        a, b = self._a.order[here].text, self._b.order[there].text
        return a == b or {a, b} <= _BE or {a, b} <= _HAVE

    def alike(self, one: Role, other: Role) -> bool:
        """Return whether one of the parts may stand for the other."""
        x, y = one.relation, other.relation
        verbal = [_verbal(one, self._a), _verbal(other, self._b)]
        if verbal[0] != verbal[1] and self._same_word(one, other):
            # A word that is read as a verb in one prompt only says nothing of who does it.
            return False
        rows = _OF_A_VERB if all(verbal) else _OF_A_NOUN
        return x == y or any(x in row and y in row for row in rows)

    def _same_word(self, one: Role, other: Role) -> bool:
        here, there = self._a.order[one.governor], self._b.order[other.governor]
        return self._strict and not here.lemmas.isdisjoint(there.lemmas)

    def kept(self, i: int, j: int) -> Role | None:
        """Return the part of word *i*, if its counterpart *j* plays it too."""
        one, other = self.roles(i, j)
        if one is None or other is None or not self.same_governor(one, other):
            return None
        return one if self.alike(one, other) else None


def _verbal(role: Role, reading: Reading) -> bool:
    """Whether a verb gives *role*."""
    at = role.governor
    return at >= 0 and not any(x.at == at and x.part != "v" for x in reading.items)
