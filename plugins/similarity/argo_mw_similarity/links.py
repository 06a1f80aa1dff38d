"""Words that join two things in one direction: "rose *after* prices fell", "the fund*'s* bond".

What stands on the one side of such a word in one prompt must not stand on the other side in the
other, though all words be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from argo_mw_similarity.grammar import is_content
from argo_mw_similarity.reading import Reading
from argo_mw_similarity.text import Token

_SUBORDINATING = ("before", "after", "condition", "unless", "cause", "concession", "when")
_DIRECTED = frozenset({"preposition", "than", "before", "after", "above", "below", "against"})
_UNDIRECTED = frozenset({"with", "over"})
_SKIPPED = frozenset({"article", "demonstrative", "generic_person"})
_STOPS = frozenset(".?!;:,")

CLAUSE = 3
"""How many content words after a subordinator tell which clause it governs."""


def turned(a: Reading, b: Reading, pairs: Mapping[int, int]) -> str:
    """What joins the same things in opposite directions, or "".

    Args:
        a: One prompt.
        b: The other.
        pairs: Indices of content words of *a* → the corresponding ones of *b*.
    """
    return _clauses(a, b, pairs) or _sides(a, b) or _stranded(a, b) or _stranded(b, a)


def _clauses(a: Reading, b: Reading, pairs: Mapping[int, int]) -> str:
    """A clause that is subordinate in one prompt only: "if rates *rise*, do stocks *fall*?"."""
    here, there = _governed(a), _governed(b)
    for name in here.keys() & there.keys():
        moved = {pairs[i] for i in here[name] if i in pairs}
        theirs = there[name] & set(pairs.values())
        if moved and theirs and not moved & theirs:
            return f"what follows {name!r} is another clause"
    return ""


def _governed(reading: Reading) -> dict[str, set[int]]:
    """Subordinator → the first content words that follow it, where it occurs once."""
    found: dict[str, set[int]] = {}
    for at, token in enumerate(reading.order):
        for name in _SUBORDINATING:
            if name in token.classes:
                found[name] = set() if name in found else set(_following(reading, at))
    return found


def _following(reading: Reading, at: int) -> Iterator[int]:
    end = at + 1
    while end < len(reading.order) and reading.order[end].text not in _STOPS:
        if reading.order[end].kind in {"number", "date"}:
            return
        end += 1
    inside = [n for n, item in enumerate(reading.items) if at < item.at < end]
    yield from inside[:CLAUSE]


def _sides(a: Reading, b: Reading) -> str:
    """Neighbours of one directed word that have changed sides: "swap *fixed* for *floating*"."""
    here, there = list(_joined(a)), list(_joined(b))
    for link, left, right in here:
        turns = _has(there, link, right, left) and not _has(there, link, left, right)
        if turns and not _has(here, link, right, left):
            return f"{left.text} and {right.text} change places around {link!r}"
    return ""


def _joined(reading: Reading) -> Iterator[tuple[str, Token, Token]]:
    """Directed words with the content words directly before and after them."""
    tokens: list[Token] = []
    for token in reading.order:
        infinitive = token.text == "to" and tokens and "than" in tokens[-1].classes
        if not (infinitive or token.classes & _SKIPPED):
            tokens.append(token)
    for left, link, right in zip(tokens, tokens[1:], tokens[2:], strict=False):
        directed = link.classes & _DIRECTED or link.text == "'s"
        if directed and link.text not in _UNDIRECTED and is_content(left) and is_content(right):
            yield link.text, left, right


def _has(found: list[tuple[str, Token, Token]], link: str, left: Token, right: Token) -> bool:
    return any(
        link == other and left.lemmas & before.lemmas and right.lemmas & after.lemmas
        for other, before, after in found
    )


def _stranded(a: Reading, b: Reading) -> str:
    """A preposition whose object is asked for in one prompt: "who does A depend *on*?"."""
    for at, token in enumerate(a.order):
        following = a.order[at + 1] if at + 1 < len(a.order) else None
        ends = following is None or following.text in _STOPS
        if ends and "preposition" in token.classes and _has_object(b, token.text):
            return f"{token.text!r} has an object in one only"
    return ""


def _has_object(reading: Reading, preposition: str) -> bool:
    """Whether the only occurrences of *preposition* have an object that is no question word."""
    found = False
    for token, following in zip(reading.order, [*reading.order[1:], None], strict=True):
        if token.text == preposition or (preposition == "of" and token.text == "'s"):
            if following is None or following.text in _STOPS or following.classes & {"who", "what"}:
                return False
            found = True
    return found
