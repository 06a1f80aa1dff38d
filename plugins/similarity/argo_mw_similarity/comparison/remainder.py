"""What alignment leaves over, and whether so small and so placed a remainder may be ignored.

A word that only one prompt has is harmless when it says little ("can *be used* to load"), or
names the kind of the identifier beside it ("the `limit` *parameter*"). Anything else has to be
paid for: the score must be high and the words that agree many. Some remainders no score pays
for: two different words in the same place, and a qualifier of a noun.

That is for prompts that are otherwise alike: a difference that stands alone was meant. Where
the wording differs throughout, a high score says more: it cannot come from shared wording. Such
prompts may keep a remainder, as long as no thing in it stands where another thing did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from itertools import product

from attrs import frozen

from argo_mw_similarity.comparison.pair import Pair, identifier, light
from argo_mw_similarity.language.reading import Item, Reading


@frozen
class Allowance:
    """How much of a remainder is let pass.

    Attributes:
        synonyms: The least score at which synonyms may stand in for each other.
        loose: The same for words that mean nearly the same, of which there may be one for
            every *words* that agree.
        score: The least score at which any unexplained word passes.
        words: How many agreeing words pay for one unexplained word.
        reworded: The least score at which reworded prompts may keep a remainder.
        edits: In how many places the wording of reworded prompts differs, at least.
        shared: How many words they share at least, and at least as many as are left over.
    """

    synonyms: float = 0.8
    loose: float = 0.9
    score: float = 0.92
    words: int = 4
    reworded: float = 0.9
    edits: int = 3
    shared: int = 5


def unexplained(pair: Pair, score: float, allowance: Allowance) -> str:
    """Why the remainder of *pair* forbids to share an answer, or ""."""
    alignment = pair.alignment
    if alignment.synonyms and score < allowance.synonyms:
        return f"synonyms at a score below {allowance.synonyms}"
    if alignment.loose and (
        score < allowance.loose or alignment.loose * allowance.words > alignment.exact
    ):
        return "words that are only nearly the same"
    if _reworded(pair, score, allowance):
        return _renamed(pair)
    left = _rest(pair, pair.a, pair.alignment.left)
    right = _rest(pair, pair.b, pair.alignment.right)
    agreeing = alignment.exact
    strong = score >= allowance.score
    for item, reading in (*((x, pair.a) for x in left), *((y, pair.b) for y in right)):
        if item.part in {"n", "a"} or _matters(item, reading):
            return f"{item.token.text!r} is in one only"
    debt = len(left) + len(right)
    for x, y in _replaced(pair):
        if not (_light(x, pair) and _light(y, pair)):
            return f"{x.token.text!r} stands where {y.token.text!r} does"
        debt += 1
    if debt and not (strong and debt * allowance.words <= agreeing):
        shown = ", ".join(repr(x.token.text) for x in (*left, *right)) or "the wording"
        return f"{shown} differs"
    return ""


def _reworded(pair: Pair, score: float, allowance: Allowance) -> bool:
    """Whether *pair* is worded differently throughout and yet scores high."""
    alignment = pair.alignment
    rest = len(alignment.left) + len(alignment.right)
    if score < allowance.reworded or alignment.exact < max(allowance.shared, rest):
        return False
    one, other = ([t.text for t in r.order if t.kind != "mark"] for r in (pair.a, pair.b))
    changes = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return sum(change[0] != "equal" for change in changes) >= allowance.edits


def _renamed(pair: Pair) -> str:
    """Two things in the same place: what is asked about may not change with the wording."""
    for x, y in _replaced(pair):
        things = {x.part, y.part} <= {"n", "a"}
        if things and not (_light(x, pair) or _light(y, pair)):
            return f"{x.token.text!r} stands where {y.token.text!r} does"
    return ""


def _rest(pair: Pair, reading: Reading, items: tuple[Item, ...]) -> list[Item]:
    return [x for x in items if not _light(x, pair) and not _names_a_kind(x, reading)]


def _light(item: Item, pair: Pair) -> bool:
    """Whether *item* says little; in a question, only a verb that supports another one does."""
    if not light(item.token.lemmas, pair.lexicon):
        return False
    if not (pair.a.asks or pair.b.asks):
        return True
    if item.token.initial and any("light_request" in c for c in _classes(item, pair)):
        return True
    verbs = any(pair.a.items[i].part == "v" for i, _ in pair.alignment.pairs)
    return item.part == "v" and verbs


def _classes(item: Item, pair: Pair) -> Iterator[frozenset[str]]:
    return (pair.lexicon.classes_of(lemma) for lemma in item.token.lemmas)


def _names_a_kind(item: Item, reading: Reading) -> bool:
    """Whether *item* is a noun beside an identifier: "the `limit` parameter"."""
    return item.part == "n" and any(identifier(x) for x in _beside(item, reading))


def _matters(item: Item, reading: Reading) -> bool:
    """Whether *item* adds to a list, or says something of another verb: "*plans* to sell"."""
    if item.group >= 0:
        return True
    following = reading.order[item.at + 1 : item.at + 2]
    governs = any(t.text == "to" or t.text.endswith("ing") for t in following)
    return item.part == "v" and governs


def _beside(item: Item, reading: Reading) -> Iterator[Item]:
    for other in reading.items:
        if abs(other.at - item.at) == 1:
            yield other


def _replaced(pair: Pair) -> Iterator[tuple[Item, Item]]:
    """Words of the remainder that stand in the same place of both prompts."""
    left, right = pair.alignment.left, pair.alignment.right
    again_left, again_right = pair.alignment.repeated
    if not (left or again_left) or not (right or again_right):
        return
    here = _places(pair.a.items, {i: i for i, _ in pair.alignment.pairs})
    there = _places(pair.b.items, {j: i for i, j in pair.alignment.pairs})
    for x, y in (
        *product(left, right),
        *product(left, again_right),
        *product(again_left, right),
        *product(again_left, again_right),
    ):
        a, b = here[x.at], there[y.at]
        different = x.token.lemmas.isdisjoint(y.token.lemmas)
        if different and _kind(x) == _kind(y) and (a[0] == b[0] or a[1] == b[1]):
            yield x, y


def _kind(item: Item) -> str:
    return "n" if item.part in {"n", "a"} else item.part


def _places(items: tuple[Item, ...], paired: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Position of each word → the nearest paired words before and after it."""
    before, after = [], []
    last = -1
    for i in range(len(items)):
        before.append(last)
        last = paired.get(i, last)
    last = -2
    for i in reversed(range(len(items))):
        after.append(last)
        last = paired.get(i, last)
    after.reverse()
    return {item.at: (before[i], after[i]) for i, item in enumerate(items)}
