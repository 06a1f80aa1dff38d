"""Contrasts that no word of its own shows, only an ending, a capital or a place."""

from __future__ import annotations

import re

from argo_mw_similarity.pair import Pair
from argo_mw_similarity.reading import Item, Reading

_CALL = re.compile(r"\w\(([^()]*,[^()]*)\)")


def turned(pair: Pair) -> str:
    """Return which qualifier acts in one prompt only: "the *acquiring* company", "the acquired"."""
    pairs = dict(pair.alignment.pairs)
    for i, j in pairs.items():
        if pairs.get(i + 1, -1) != j + 1:
            continue
        x, y = pair.a.items[i], pair.b.items[j]
        if {_participle(x, pair.a, i), _participle(y, pair.b, j)} == {"active", "passive"}:
            return f"{x.token.text} and {y.token.text}"
    return ""


def _participle(item: Item, reading: Reading, at: int) -> str:
    """Return whether *item*, just before a noun, is what that does or what is done to it, or ""."""
    text, verb = item.token.text, item.token.parts.get("v", "")
    noun = reading.items[at + 1]
    if not verb or text == verb or noun.at != item.at + 1 or noun.part != "n":
        return ""
    if text.endswith("ing"):
        return "active"
    return "" if text.endswith("s") else "passive"


def named(pair: Pair) -> str:
    """Return which word is a name in one prompt and a thing in the other: "Shell", "a shell"."""
    for i, j in pair.alignment.pairs:
        x, y = pair.a.items[i], pair.b.items[j]
        if _is_name(x, pair.a) and _is_thing(y, pair.b):
            return f"{x.token.raw} and {y.token.raw}"
        if _is_name(y, pair.b) and _is_thing(x, pair.a):
            return f"{y.token.raw} and {x.token.raw}"
    return ""


def _is_name(item: Item, reading: Reading) -> bool:
    return (
        item.token.kind == "name" and item.token.raw.istitle() and not _has_article(item, reading)
    )


def _is_thing(item: Item, reading: Reading) -> bool:
    return item.token.kind == "word" and item.token.raw.islower() and _has_article(item, reading)


def _has_article(item: Item, reading: Reading) -> bool:
    return item.at > 0 and "article" in reading.order[item.at - 1].classes


def resequenced(pair: Pair) -> str:
    """Return what "then" puts after another thing in one prompt and before it in the other."""
    thens = [[at for at, t in enumerate(r.order) if t.text == "then"] for r in (pair.a, pair.b)]
    if not thens[0] or len(thens[0]) != len(thens[1]):
        return ""
    for i, j in pair.alignment.pairs:
        x, y = pair.a.items[i], pair.b.items[j]
        here, there = (
            sum(at < item.at for at in found) for found, item in zip(thens, (x, y), strict=True)
        )
        if here != there and _occurs_once(x, pair.a) and _occurs_once(y, pair.b):
            return f"{x.token.text!r} on another side of 'then'"
    return ""


def _occurs_once(item: Item, reading: Reading) -> bool:
    return sum(not item.token.lemmas.isdisjoint(x.token.lemmas) for x in reading.items) == 1


def recalled(pair: Pair) -> str:
    """Return a call's arguments that are in another order: "f(a, b)" is not "f(b, a)"."""
    here, there = (_arguments(reading.normal) for reading in (pair.a, pair.b))
    if here == there or sorted(map(sorted, here)) != sorted(map(sorted, there)):
        return ""
    moved = next(one for one, other in zip(here, there, strict=True) if one != other)
    return f"arguments {', '.join(moved)}"


def _arguments(text: str) -> list[list[str]]:
    """The arguments of each call in *text*, but for those given by name."""
    calls = ([part.strip() for part in call.split(",")] for call in _CALL.findall(text))
    return [positional for call in calls if (positional := [p for p in call if "=" not in p])]
