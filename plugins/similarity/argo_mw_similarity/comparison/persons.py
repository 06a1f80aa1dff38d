"""Who is spoken of: pronouns, in their order, and whose things are meant."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw_similarity.language.reading import Item, Reading

_THIRD = ("he", "she", "they")
_SPEAKERS = ("first_person", "second_person", "other_persons")
_IN_ORDER = ("first_person", "second_person", "he", "she")
_OWNERS = {"my": "speaker", "our": "speaker", "your": "speaker",
           "his": "other", "her": "other", "their": "other", "its": "other"}  # fmt: skip
"""Whose a thing is. A prompt's "my" and "your" both mean the person that asks."""


def other_persons(a: Reading, b: Reading, pairs: Iterable[tuple[int, int]], *, strict: bool) -> str:
    """Why *a* and *b* are not about the same persons, or "".

    Args:
        a: One prompt.
        b: The other.
        pairs: Indices of corresponding content words.
        strict: Whether an owner counts that only one of them names.
    """
    for name in _THIRD:
        if a.facts.get(name, 0) != b.facts.get(name, 0):
            return name
    one, other = _sequence(a, _THIRD), _sequence(b, _THIRD)
    if one != other:
        return "change places"
    one, other = _sequence(a, _IN_ORDER), _sequence(b, _IN_ORDER)
    if one != other and sorted(one) == sorted(other):
        return "change places"
    return _speakers(a, b) or _owners(a, b, pairs, strict=strict)


def _sequence(reading: Reading, names: tuple[str, ...]) -> list[str]:
    if reading.facts.keys().isdisjoint(names):
        return []
    return [name for token in reading.order for name in names if name in token.classes]


def _speakers(a: Reading, b: Reading) -> str:
    one, other = ({p for p in _SPEAKERS if side.facts.get(p)} for side in (a, b))
    if not one or not other or one & other:
        return ""
    both = one | other == {"first_person", "second_person"}
    if both and _means_the_asker(a) and _means_the_asker(b):
        return ""
    return " and ".join(sorted(p.replace("_", " ") for p in one | other))


def _means_the_asker(reading: Reading) -> bool:
    """Return whether "I" and "you" both mean the person that asks.

    Such as in "how long *should you* hold a stock?".
    """
    advised = reading.facts.get("advice") or reading.facts.get("ability")
    return bool(advised) and not set(reading.asks) & {"whether", "who", "why"}


def _owners(a: Reading, b: Reading, pairs: Iterable[tuple[int, int]], *, strict: bool) -> str:
    """Whose a thing is: "*our* open interest" is not "the open interest"."""
    for i, j in pairs:
        one, other = _owner(a, a.items[i]), _owner(b, b.items[j])
        counts = strict and (
            a.asks or b.asks or "speaker" in {_OWNERS.get(one), _OWNERS.get(other)}
        )
        if _OWNERS.get(one) != _OWNERS.get(other) and (counts or (one and other)):
            return f"{one or 'no owner'} and {other or 'no owner'} of {a.items[i].token.text}"
    return ""


def _owner(reading: Reading, item: Item) -> str:
    """The possessive pronoun before *item*, with at most qualifiers between them."""
    if item.part != "n":
        return ""
    for token in reversed(reading.order[max(0, item.at - 3) : item.at]):
        if token.text in _OWNERS:
            return token.text
        if not token.parts or token.classes:
            return ""
    return ""
