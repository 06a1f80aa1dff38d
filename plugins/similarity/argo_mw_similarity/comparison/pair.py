"""Two prompts side by side, and what their words weigh."""

from __future__ import annotations

from collections.abc import Set
from functools import cached_property
from itertools import pairwise

from attrs import frozen

from argo_mw_similarity.comparison.align import Alignment
from argo_mw_similarity.comparison.parts import Parts
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.language.reading import Item, Reading


@frozen
class Pair:
    """Two prompts read and aligned."""

    a: Reading
    b: Reading
    alignment: Alignment
    lexicon: Lexicon

    @cached_property
    def parts(self) -> Parts:
        """The parts that corresponding words play."""
        return Parts(self.a, self.b, self.alignment.pairs, strict=strict(self))

    @cached_property
    def one_sided(self) -> Set[str]:
        """The facts that only one of the prompts has."""
        return self.a.facts.keys() ^ self.b.facts.keys()

    @cached_property
    def inversions(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """The pairs of corresponding words whose order is another in each prompt."""
        pairs = self.alignment.pairs
        if all(u[1] < v[1] for u, v in pairwise(pairs)):
            return []
        return [(u, v) for n, u in enumerate(pairs) for v in pairs[n + 1 :] if v[1] < u[1]]


LIGHT = frozenset({"light_verb", "light_noun", "light_adjective", "light_adverb", "light_request"})


def light(lemmas: frozenset[str], lexicon: Lexicon) -> bool:
    """Whether a word says so little that its absence alone changes no answer."""
    return any(lexicon.classes_of(lemma) & LIGHT for lemma in lemmas)


def identifier(item: Item) -> bool:
    """Whether *item* is a name from a program: "load_dataset()"."""
    odd = any(c in "_()[]=" for c in item.token.text)
    return item.token.kind == "code" or (item.token.kind == "name" and odd)


def strict(pair: Pair) -> bool:
    """Whether every small word counts: in questions, and where all other words are the same."""
    alignment = pair.alignment
    return bool(pair.a.asks or pair.b.asks) or alignment.exact == alignment.size
