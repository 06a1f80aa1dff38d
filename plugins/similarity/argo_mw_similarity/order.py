"""Arguments keep their order: "is *Japan* bigger than *Chile*?", "from *Boston* to *Bergen*"."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from argo_mw_similarity.links import turned
from argo_mw_similarity.pair import Pair, identifier
from argo_mw_similarity.reading import Item, Reading
from argo_mw_similarity.text import Token

_CONFLICTS = {
    "from": frozenset(["to", "into", "onto", "for", "by", "with", "toward", "towards"]),
    "by": frozenset(["to", "for", "from", "about", "against"]),
    "for": frozenset(["from", "by", "against"]),
    "with": frozenset(["from", "against"]),
    "to": frozenset(["from", "by", "about", "against"]),
    "about": frozenset(["by", "from"]),
    "into": frozenset(["from", "by"]),
}
"""Prepositions that give the same word another part in what happens."""

NEAR = 2
"""Words this close are taken to depend on each other."""


def order(pair: Pair) -> str:
    """Arguments keep their order, or what marks them."""
    if reason := turned(pair.a, pair.b, dict(pair.alignment.pairs)):
        return reason
    a, b, pairs = pair.a.items, pair.b.items, pair.alignment.pairs
    for n, (i, j) in enumerate(pairs):
        if reason := _marker(a[i], b[j]):
            return reason
        for k, m in pairs[n + 1 :]:
            if m > j or not _exchangeable(a[i], a[k]):
                continue
            if _repeated(pair, a[i]) or _repeated(pair, a[k]):
                continue
            if not _excused(pair, (i, k), (j, m)):
                return f"{a[i].token.text} and {a[k].token.text} change places"
    return ""


def _exchangeable(u: Item, v: Item) -> bool:
    """Whether the two could take each other's place: both may be nouns, or both qualify one."""
    return u.part == v.part == "a" or all(_nominal(x) for x in (u, v))


def _nominal(x: Item) -> bool:
    return x.part == "n" or (x.part == "a" and "n" in x.token.parts)


def _marker(x: Item, y: Item) -> str:
    if x.part != "n" or not x.marker or not y.marker or x.marker == y.marker:
        return ""
    if conflicting(x.marker, y.marker):
        return f"{x.marker} and {y.marker} {x.token.text}"
    return ""


def conflicting(one: str, other: str) -> bool:
    """Whether two prepositions give what follows another part in what happens."""
    return other in _CONFLICTS.get(one, ()) or one in _CONFLICTS.get(other, ())


def _excused(pair: Pair, here: tuple[int, int], there: tuple[int, int]) -> bool:
    """Whether the exchange of two words is one that keeps the meaning."""
    a, b = pair.a.items, pair.b.items
    u, v, u2, v2 = a[here[0]], a[here[1]], b[there[0]], b[there[1]]
    if u.group >= 0 and u.group == v.group and u2.group >= 0 and u2.group == v2.group:
        return True
    if _symmetric(pair, pair.a, u, v) and _symmetric(pair, pair.b, v2, u2):
        return True
    if _same_roles(pair, u, v) or _apposed(u, v) or _apposed(u2, v2):
        return True
    if _predicate(pair.a, u, v, pair.b, u2, v2) or _predicate(pair.b, v2, u2, pair.a, v, u):
        return True
    if _compound(pair.a, *here) and _phrase(pair.b, v2, u2):
        return True
    if _compound(pair.b, there[1], there[0]) and _phrase(pair.a, u, v):
        return True
    return not _exchanged(pair, here, there)


def _symmetric(pair: Pair, reading: Reading, u: Item, v: Item) -> bool:
    """Whether *u* and *v* are what a symmetric word relates: "*differ* from", "*compare* with"."""
    if "from" in {u.marker, v.marker}:
        return False
    inside = [x for x in reading.items if u.at < x.at < v.at]
    if any(not _relates(x.token) and not _repeated(pair, x) for x in inside):
        return False
    begins = max((x.at for x in reading.items if x.at < u.at and not _relates(x.token)), default=-1)
    return any(_relates(token) for token in reading.order[begins + 1 : v.at])


def _relates(token: Token) -> bool:
    return "symmetric" in token.classes


def _repeated(pair: Pair, x: Item) -> bool:
    """Whether both prompts have *x* more than once, so that its place says little."""
    return all(
        sum(bool(y.token.lemmas & x.token.lemmas) for y in side.items) > 1
        for side in (pair.a, pair.b)
    )


def _apposed(u: Item, v: Item) -> bool:
    """Whether one names the kind of the other: "the `limit` parameter"."""
    return abs(u.at - v.at) == 1 and (identifier(u) or identifier(v))


def _compound(reading: Reading, i: int, j: int) -> bool:
    """Whether words *i* to *j* are one compound, whose head is *j*: "the oil price"."""
    for x, y in pairwise(reading.items[i : j + 1]):
        between = reading.order[x.at + (2 if x.owns else 1) : y.at]
        if any(token.kind not in {"number", "date"} for token in between):
            return False
    return True


def _predicate(a: Reading, u: Item, v: Item, b: Reading, u2: Item, v2: Item) -> bool:
    """Whether *u* qualifies *v* in *a* and is said of it in *b*: "best phone", "phone is best"."""
    between = b.order[v2.at + 1 : u2.at]
    copula = any(token.text in {"is", "are"} for token in between)
    return (
        "a" in u.token.parts
        and v.at - u.at == 1
        and copula
        and all(token.classes & {"auxiliary", "article"} for token in between)
    )


def _phrase(reading: Reading, head: Item, owner: Item) -> bool:
    """Whether *owner* qualifies *head* from behind: "the price *of oil*", "prices *rising*"."""
    between = [x for x in reading.items if head.at < x.at < owner.at]
    linked = owner.marker in {"of", "for", "in", "on", "from", "about", "with"}
    return len(between) <= 2 and (linked or any(x.part == "v" for x in between))


def _exchanged(pair: Pair, here: tuple[int, int], there: tuple[int, int]) -> bool:
    """Whether each word stands where the other stood, rather than having moved with its phrase."""
    identity = {j: i for i, j in pair.alignment.pairs}
    mine = {i: i for i in range(len(pair.a.items))}
    skip = frozenset(here)
    u, v = (_context(pair.a.items, i, mine, skip) for i in here)
    u2, v2 = (_context(pair.b.items, j, identity, skip) for j in there)
    swapped = len(u & v2) + len(v & u2)
    moved = len(u & u2) + len(v & v2)
    if swapped == moved:
        alike = pair.a.items[here[0]].token.kind == pair.a.items[here[1]].token.kind
        return alike and here[1] - here[0] <= NEAR and there[0] - there[1] <= NEAR
    return swapped > moved and bool(u & v2) and bool(v & u2)


def _context(
    items: tuple[Item, ...], at: int, identity: Mapping[int, int], skip: frozenset[int]
) -> set[tuple[str, object]]:
    found: set[tuple[str, object]] = {("marker", items[at].marker)} if items[at].marker else set()
    for side, step in (("left", -1), ("right", 1)):
        near = at + step
        if 0 <= near < len(items):
            name = identity.get(near)
            if name is not None and name not in skip:
                found.add((side, name))
        else:
            found.add((side, "edge"))
    return found


def _same_roles(pair: Pair, u: Item, v: Item) -> bool:
    for verb, found in pair.a.roles.items():
        for one in found:
            for other in pair.b.roles.get(verb, ()):
                if one.passive != other.passive and (
                    u.lemma in (one.patients & other.patients)
                    or v.lemma in (one.patients & other.patients)
                    or u.lemma in (one.agents & other.agents)
                    or v.lemma in (one.agents & other.agents)
                ):
                    return True
    return False
