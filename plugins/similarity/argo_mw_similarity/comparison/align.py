"""Alignment of two readings: which content words correspond, and what is left over on each side."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.language.reading import Item, Reading

_STAND_IN = {"root": "nvar", "synonym": "nvar"}
_LOOSELY = {"kind": "v", "distant kind": "v", "common synonym": "v"}
"""Relation → the parts of speech in which one word may stand in for the other."""


@frozen
class Alignment:
    """What corresponds and what does not.

    Attributes:
        pairs: Indices of corresponding content words, by the first prompt's order.
        left: Content words of the first prompt that the second does not have.
        right: Content words of the second prompt that the first does not have.
        repeated: What is left over on each side but occurs again in the other prompt.
        exact: How many pairs are the same word.
        synonyms: How many pairs are synonyms.
        loose: How many pairs are words that mean nearly the same.
        size: The larger number of content words.
    """

    pairs: tuple[tuple[int, int], ...]
    left: tuple[Item, ...]
    right: tuple[Item, ...]
    repeated: tuple[tuple[Item, ...], tuple[Item, ...]]
    exact: int
    synonyms: int
    loose: int
    size: int


def align(a: Reading, b: Reading, lexicon: Lexicon) -> Alignment:
    """Find the content words of *a* in *b*: the same word, its root, a synonym, a compound."""
    one, other = a.items, b.items
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    _pair_same(one, other, pairs, taken)
    exact = len(pairs)
    _pair_joined(one, other, pairs, taken)
    synonyms = _pair_related(one, other, pairs, taken, lexicon, _STAND_IN)
    loose = _pair_related(one, other, pairs, taken, lexicon, _LOOSELY)
    again_a = {lemma for i in pairs for lemma in one[i].token.lemmas}
    again_b = {lemma for j in taken for lemma in other[j].token.lemmas}
    left = [x for i, x in enumerate(one) if i not in pairs]
    right = [x for j, x in enumerate(other) if j not in taken]
    repeated = (
        tuple(x for x in left if x.token.lemmas & again_b),
        tuple(x for x in right if x.token.lemmas & again_a),
    )
    ordered = tuple(sorted((i, j) for i, j in pairs.items() if j >= 0))
    return Alignment(
        ordered,
        tuple(x for x in left if x not in repeated[0]),
        tuple(x for x in right if x not in repeated[1]),
        repeated,
        exact,
        synonyms,
        loose,
        max(len(one), len(other)),
    )


def _pair_same(
    one: tuple[Item, ...], other: tuple[Item, ...], pairs: dict[int, int], taken: set[int]
) -> None:
    """Pair equal words; where one occurs several times, those in the most similar places."""
    candidates = [
        (_closeness(one, i, other, j), -abs(i - j), i, j)
        for i, x in enumerate(one)
        for j, y in enumerate(other)
        if not x.token.lemmas.isdisjoint(y.token.lemmas)
    ]
    for _, _, i, j in sorted(candidates, reverse=True):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)


def _closeness(one: tuple[Item, ...], i: int, other: tuple[Item, ...], j: int) -> int:
    x, y = one[i], other[j]
    alike = 2 * (x.token.text == y.token.text) + (x.marker == y.marker)
    for step in (-1, 1):
        if 0 <= i + step < len(one) and 0 <= j + step < len(other):
            alike += one[i + step].lemma == other[j + step].lemma
    return alike


def _pair_joined(
    one: tuple[Item, ...], other: tuple[Item, ...], pairs: dict[int, int], taken: set[int]
) -> None:
    """Pair "data set" with "dataset" and "long-term" with "long term"."""
    if len(pairs) == len(one) or len(taken) == len(other):
        return
    mine, theirs = ([_bare(x.token.text) for x in side] for side in (one, other))
    for here, there, flipped in ((mine, theirs, False), (theirs, mine, True)):
        for i in range(len(here) - 1):
            used = taken if flipped else pairs
            if i in used and i + 1 in used:
                continue
            joined = here[i] + here[i + 1]
            for j, text in enumerate(there):
                if j not in (pairs if flipped else taken) and _same_but_plural(joined, text):
                    if flipped:
                        pairs[j] = i
                        taken |= {i, i + 1}
                    else:
                        pairs[i], pairs[i + 1] = j, -1
                        taken.add(j)
                    break


def _bare(text: str) -> str:
    return text if text.isalnum() else "".join(c for c in text if c.isalnum())


def _same_but_plural(a: str, b: str) -> bool:
    return a == b or a + "s" == b or b + "s" == a


def _pair_related(
    one: tuple[Item, ...], other: tuple[Item, ...], pairs: dict[int, int], taken: set[int],
    lexicon: Lexicon, relations: Mapping[str, str],
) -> int:  # fmt: skip
    """Pair words that may stand in for each other by one of *relations*; how many it paired."""
    before = len(pairs)
    rest = [j for j in range(len(other)) if j not in taken]
    for i, x in enumerate(one):
        if i in pairs:
            continue
        for j in rest:
            if j not in taken and _stands_in(x, other[j], lexicon, relations):
                pairs[i] = j
                taken.add(j)
                break
    return len(pairs) - before


def _stands_in(x: Item, y: Item, lexicon: Lexicon, relations: Mapping[str, str]) -> bool:
    if x.token.kind != "word" or y.token.kind != "word":
        return False
    found = False
    for a in x.token.lemmas:
        for b in y.token.lemmas:
            relation = lexicon.relation(a, b, x.part if x.part == y.part else "")
            if relation == "opposite":
                return False
            if relation == "root" and not _same_sense(x, y):
                continue
            allowed = relations.get(relation, "")
            found = found or (x.part in allowed and (y.part in allowed))
    return found


_OTHER_SENSE = {"n": ("er", "or", "ee", "ant", "ist", "ian"), "a": ("able", "ible")}
"""Endings of who does it, and of what may be done: neither is what is done."""


def _same_sense(x: Item, y: Item) -> bool:
    """Whether words of one root say the same: "invest" and "investment", not "issuer", "issue"."""
    return x.part != y.part and not any(
        item.lemma.endswith(_OTHER_SENSE.get(item.part, ())) for item in (x, y)
    )


def opposed(x: Item, y: Item, lexicon: Lexicon) -> bool:
    """Whether the two words are opposites, or alternatives that exclude each other."""
    return any(lexicon.relation(a, b) == "opposite" for a in x.token.lemmas for b in y.token.lemmas)
