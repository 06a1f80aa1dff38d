"""Whether each word plays the same part in both prompts: "is *Japan* bigger than *Chile*?"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from argo_mw_similarity.comparison.pair import Pair, identifier, strict
from argo_mw_similarity.language.clauses import AGENT, ASKING, IS, PART, PATIENT, Role
from argo_mw_similarity.language.reading import Item, Reading
from argo_mw_similarity.language.text import Token

_OBJECTS = {
    "me": "person", "us": "person", "you": "person", "one": "person", "someone": "person",
    "somebody": "person", "people": "person", "it": "thing", "them": "thing", "him": "he",
    "her": "she", "myself": "self", "yourself": "self", "himself": "self", "herself": "self",
    "itself": "self", "themselves": "self", "ourselves": "self", "oneself": "self",
}  # fmt: skip
"""Pronouns that may be objects → who or what they stand for."""


def changed(pair: Pair) -> str:
    """Return what plays another part for the same word, or ""."""
    careful = strict(pair)
    found = [reason for i, j in pair.alignment.pairs if (reason := _changed(pair, i, j, careful))]
    # Statements are reworded in many ways, and one word is soon misread: an exchange takes two.
    if found and (careful or len(found) > 1):
        return found[0]
    return _asked(pair) or _objects(pair) or _subordinate(pair)


def _changed(pair: Pair, i: int, j: int, careful: bool) -> str:
    one, other = pair.parts.roles(i, j)
    if one is None or other is None or pair.a.items[i].part == "v":
        return ""
    word = pair.a.items[i].token.text
    if not pair.parts.same_governor(one, other):
        return ""
    governor = pair.a.order[one.governor] if one.governor >= 0 else None
    if pair.parts.alike(one, other) or (governor is not None and _relates(pair, governor)):
        return ""
    if careful or _conflicting(one, other):
        return f"{word!r} changes its part: {one.relation or 'none'}, {other.relation or 'none'}"
    return ""


def reattached(pair: Pair) -> str:
    """Return which word of a question belongs to another verb, as far as one can tell, or ""."""
    if not strict(pair):
        return ""
    for i, j in pair.alignment.pairs:
        one, other = pair.parts.roles(i, j)
        if one is None or other is None or pair.a.items[i].part == "v":
            continue
        core = _core(one, pair.a) and _core(other, pair.b)
        if core and not pair.parts.same_governor(one, other):
            return f"{pair.a.items[i].token.text!r} belongs to another verb"
    return ""


def exchanged(pair: Pair) -> str:
    """Return which words stand in each other's place, or ""."""
    inversions, a = pair.inversions, pair.a.items
    if not inversions:
        return ""
    for (i, j), (k, m) in inversions:
        if not _exchangeable(a[i], a[k]) or _keep_parts(pair, (i, j), (k, m)):
            continue
        if _exchanged(pair, (i, k), (j, m)) and not _unfolded(pair, (i, k), (j, m)):
            return f"{a[i].token.text} and {a[k].token.text} change places"
    return ""


def rearranged(pair: Pair) -> str:
    """Return which words of a question change places and may change their parts, or ""."""
    inversions, a = pair.inversions, pair.a.items
    if not inversions or not (pair.a.asks or pair.b.asks):
        return ""
    for u, v in inversions:
        if not _keep_parts(pair, u, v):
            return f"{a[u[0]].token.text} and {a[v[0]].token.text}"
    return ""


def relisted(pair: Pair) -> str:
    """Return which members change places of a list "in this order", or that no "and" joins."""
    ordered = pair.inversions and any(_says_order(reading) for reading in (pair.a, pair.b))
    for u, v in pair.inversions:
        x, y = (pair.a.items[i] for i, _ in (u, v))
        x2, y2 = (pair.b.items[j] for _, j in (u, v))
        if not (0 <= x.group == y.group and 0 <= x2.group == y2.group):
            continue
        related = any(_relates(pair, token) for token in pair.a.order[: x.at])
        if ordered or not (related or _is_joined(pair.a, x.group)):
            return f"{x.token.text} and {y.token.text} in a list"
    return ""


_IN_ORDER = re.compile(
    r"\bin (?:(?:this|that|the|exact|exactly|following|given|same|listed|shown) )*"
    r"(?:order|sequence)\b(?! to\b)|\brespectively\b"
)


def _says_order(reading: Reading) -> bool:
    return _IN_ORDER.search(reading.normal.lower()) is not None


def _is_joined(reading: Reading, group: int) -> bool:
    """Return whether "and" or "or" stands in the list *group*."""
    places = [item.at for item in reading.items if item.group == group]
    between = reading.order[min(places) : max(places)]
    return any(token.text in {"and", "or", "nor"} for token in between)


_CORE = frozenset({AGENT, PATIENT, "to", "from", "by", "for", "against", "than"})


def _core(role: Role, reading: Reading) -> bool:
    """Whether a content word gives *role*, and it is one that no other word may take."""
    return role.relation in _CORE and any(
        item.at == role.governor and item.part == "v" for item in reading.items
    )


_CONFLICTS = {
    AGENT: frozenset({PATIENT, "to"}),
    "from": frozenset({"to", "into", "onto", "for", "toward", "towards"}),
    "against": frozenset({"to", "for", "from", "with", "by"}),
    "than": frozenset({AGENT, PATIENT}),
}
"""Relations that no rewording makes of one another."""


def _conflicting(one: Role, other: Role) -> bool:
    x, y = one.relation, other.relation
    return y in _CONFLICTS.get(x, ()) or x in _CONFLICTS.get(y, ())


def _keep_parts(pair: Pair, u: tuple[int, int], v: tuple[int, int]) -> bool:
    """Return whether the words *u* and *v* have changed places and nothing else."""
    (x, x2), (y, y2) = ((pair.a.items[i], pair.b.items[j]) for i, j in (u, v))
    if _relates(pair, x.token) or _relates(pair, y.token):
        return True
    if x.group >= 0 and x.group == y.group and x2.group >= 0 and x2.group == y2.group:
        return True
    one, other = pair.parts.kept(*u), pair.parts.kept(*v)
    if one is not None and other is not None:
        if (one.relation, one.governor) != (other.relation, other.governor):
            return True
        if x.part == y.part == "a" and "n" not in x.token.parts and "n" not in y.token.parts:
            return one.relation == PART
    if (one is not None and one.governor == y.at) or (other is not None and other.governor == x.at):
        return True
    if _apposed(x, y) or _apposed(x2, y2) or _predicate(pair, x, y, x2, y2):
        return True
    return _symmetric(pair, pair.a, x, y) and _symmetric(pair, pair.b, y2, x2)


def _unfolded(pair: Pair, here: tuple[int, int], there: tuple[int, int]) -> bool:
    """Return whether a compound here is a phrase there: "an audio file", "a file with audio"."""
    for reading, (i, k), other, (j, m) in (
        (pair.a, here, pair.b, there),
        (pair.b, there[::-1], pair.a, here[::-1]),
    ):
        role = reading.roles.get(reading.items[i].at)
        between = other.items[m + 1 : j]
        linked = other.items[j].marker or any(x.part == "v" for x in between)
        if role == Role(PART, reading.items[k].at) and len(between) <= NEAR and linked:
            return True
    return False


def _exchangeable(u: Item, v: Item) -> bool:
    """Return whether both are nouns, or may be, or both qualify one, or both are verbs."""
    return u.part == v.part in {"a", "v"} or all(
        x.part == "n" or (x.part == "a" and "n" in x.token.parts) for x in (u, v)
    )


def _exchanged(pair: Pair, here: tuple[int, int], there: tuple[int, int]) -> bool:
    """Return whether each word stands where the other stood, and has not moved with its phrase."""
    identity = {j: i for i, j in pair.alignment.pairs}
    mine = {i: i for i in range(len(pair.a.items))}
    skip = frozenset(here)
    u, v = (_context(pair.a.items, i, mine, skip) for i in here)
    u2, v2 = (_context(pair.b.items, j, identity, skip) for j in there)
    swapped, kept = len(u & v2) + len(v & u2), len(u & u2) + len(v & v2)
    if swapped == kept:
        alike = pair.a.items[here[0]].token.kind == pair.a.items[here[1]].token.kind
        return alike and here[1] - here[0] <= NEAR and there[0] - there[1] <= NEAR
    return swapped > kept and bool(u & v2) and bool(v & u2)


NEAR = 2
"""Words this close are taken to depend on each other."""


def _context(
    items: tuple[Item, ...], at: int, identity: Mapping[int, int], skip: frozenset[int]
) -> set[tuple[str, object]]:
    found: set[tuple[str, object]] = {("marker", items[at].marker)} if items[at].marker else set()
    for side, near in (("left", at - 1), ("right", at + 1)):
        if not 0 <= near < len(items):
            found.add((side, "edge"))
        elif (name := identity.get(near)) is not None and name not in skip:
            found.add((side, name))
    return found


def _predicate(pair: Pair, x: Item, y: Item, x2: Item, y2: Item) -> bool:
    """Return whether one qualifies the other here and is said of it there: "the phone is best"."""
    here = (pair.a.roles.get(x.at), pair.a.roles.get(y.at))
    there = (pair.b.roles.get(x2.at), pair.b.roles.get(y2.at))
    for (p, q), (at_p, at_q) in ((here, (x.at, y.at)), (there, (x2.at, y2.at))):
        said = there if (p, q) == here else here
        qualifies = (
            p is not None
            and q is not None
            and (
                (p.relation == PART and p.governor == at_q)
                or (q.relation == PART and q.governor == at_p)
            )
        )
        both_said = all(r is not None and r.relation == IS for r in said)
        if qualifies and both_said:
            return True
    return False


def _apposed(u: Item, v: Item) -> bool:
    """Return whether one names the kind of the other: "the `limit` parameter"."""
    return abs(u.at - v.at) == 1 and (identifier(u) or identifier(v))


def _symmetric(pair: Pair, reading: Reading, u: Item, v: Item) -> bool:
    """Return whether a symmetric word relates *u* and *v*: "*differ* from", "*married* to"."""
    if "from" in {u.marker, v.marker}:
        return False
    inside = [x for x in reading.items if u.at < x.at < v.at]
    if any(not _relates(pair, x.token) for x in inside):
        return False
    begins = max(
        (x.at for x in reading.items if x.at < u.at and not _relates(pair, x.token)), default=-1
    )
    return any(_relates(pair, token) for token in reading.order[begins + 1 : v.at])


def _relates(pair: Pair, token: Token) -> bool:
    return any("symmetric" in pair.lexicon.classes_of(lemma) for lemma in token.lemmas)


def _asked(pair: Pair) -> str:
    """What a question word asks for: "what *causes* inflation?", "what does inflation *cause*?"."""
    for x, y in _verbs(pair):
        here, there = (
            {role.relation for token, role in _others(reading, verb) if token.text in ASKING}
            for reading, verb in ((pair.a, x), (pair.b, y))
        )
        if here and there and here != there and not _relates(pair, x.token):
            return f"{x.token.text!r} is asked for its {min(here)} and its {min(there)}"
    return ""


def _objects(pair: Pair) -> str:
    """Pronouns that are objects in one prompt only: "when should I sell *it*?"."""
    if not strict(pair):
        return ""
    for x, y in _verbs(pair):
        here, there = (
            {_OBJECTS[token.text] for token, role in _others(reading, verb)
             if token.text in _OBJECTS and role.relation != AGENT}
            for reading, verb in ((pair.a, x), (pair.b, y))
        )  # fmt: skip
        if here != there:
            return f"{', '.join(sorted(here ^ there))} as an object of {x.token.text!r} in one only"
    return ""


def _subordinate(pair: Pair) -> str:
    """A clause that is subordinate in one prompt only: "if rates *rise*, do stocks *fall*?"."""
    here, there = (
        {role.relation for at, role in reading.roles.items() if role.relation in _ORDERED}
        for reading in (pair.a, pair.b)
    )
    for x, y in _verbs(pair):
        one, other = pair.a.roles.get(x.at), pair.b.roles.get(y.at)
        if one is None or other is None or one.relation == other.relation:
            continue
        if {one.relation, other.relation} & here & there:
            return f"{x.token.text!r} is in another clause"
    return ""


_ORDERED = frozenset({"condition", "unless", "cause", "concession", "before", "after"})


def _verbs(pair: Pair) -> Iterator[tuple[Item, Item]]:
    for i, j in pair.alignment.pairs:
        x, y = pair.a.items[i], pair.b.items[j]
        if x.part == y.part == "v":
            yield x, y


def _others(reading: Reading, verb: Item) -> Iterator[tuple[Token, Role]]:
    """The parts that *verb* gives, with the words that play them."""
    for at, role in reading.roles.items():
        if role.governor == verb.at:
            yield reading.order[at], role
