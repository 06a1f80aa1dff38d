"""Vetoes: differences that make two prompts different whatever their score.

Each takes a :class:`Pair` and returns why it forbids an answer to be shared, or "".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from attrs import frozen

from argo_mw_similarity.align import Alignment, opposed
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.reading import Item, Reading
from argo_mw_similarity.roles import Roles


@frozen
class Pair:
    """Two prompts read and aligned."""

    a: Reading
    b: Reading
    alignment: Alignment
    lexicon: Lexicon


Veto = Callable[[Pair], str]

_QUANTITIES = ("all", "many", "most", "little", "half", "twice", "thrice", "only", "even",
               "too", "enough", "almost", "least", "greatest", "over_number",
               "under_number", "from_number", "to_number")  # fmt: skip
_TIMES = ("before", "after", "first", "last", "former", "next", "now", "still", "again",
          "habit_past", "phase_begin", "phase_end", "past")  # fmt: skip
_PLACES = ("above", "below", "against", "between")
_LOGIC = (
    "either",
    "except",
    "condition",
    "unless",
    "concession",
    "hypothesis",
    "alone",
    "other",
    "same",
)
_MODALITY = ("advice", "necessity", "chance")
_COMPARISON = ("more", "less", "comparative", "superlative")
_SPEAKERS = ("first_person", "second_person", "other_persons")
_PERSONS = ("he", "she", "they")

_CONFLICTS = {
    "from": frozenset(["to", "into", "onto", "for", "by", "with", "toward", "towards"]),
    "by": frozenset(["to", "for", "from", "about", "against"]),
    "for": frozenset(["from", "by", "against"]),
    "with": frozenset(["from", "against"]),
    "to": frozenset(["from", "by"]),
    "about": frozenset(["by", "from"]),
    "into": frozenset(["from", "by"]),
}
"""Prepositions that give the same word another part in what happens."""

NEAR = 2
"""Words this close are taken to depend on each other."""


def vetoed(pair: Pair) -> tuple[str, ...]:
    """The vetoes that forbid *pair* to share an answer, as ``name: reason``."""
    found = []
    for name, veto in VETOES.items():
        if reason := veto(pair):
            found.append(f"{name}: {reason}")
    return tuple(found)


def code(pair: Pair) -> str:
    """Code blocks must be the same to the character."""
    return "" if pair.a.code == pair.b.code else "code blocks differ"


def script(pair: Pair) -> str:
    """One writing system, and a language that this policy can read."""
    if pair.a.script != pair.b.script:
        return f"{pair.a.script} and {pair.b.script}"
    return "" if pair.a.english and pair.b.english else "not readable as English"


def numbers(pair: Pair) -> str:
    """The same numbers in the same units."""
    if reason := _differ(_with_units(pair.a), _with_units(pair.b)):
        return reason
    if _in_order(pair.a) != _in_order(pair.b):
        return "in another order"
    return ""


def _with_units(reading: Reading) -> list[str]:
    return [f"{number} {unit}".strip() for number, unit in reading.numbers]


def _in_order(reading: Reading) -> list[str]:
    return [token.text for token in reading.order if token.kind == "number"]


def symbols(pair: Pair) -> str:
    """The same operators in the same order: "3 + 4" is not "3 * 4"."""
    return "" if pair.a.symbols == pair.b.symbols else " ".join((*pair.a.symbols, *pair.b.symbols))


def dates(pair: Pair) -> str:
    """The same dates, times of day and fiscal periods."""
    return _differ(pair.a.dates, pair.b.dates)


def names(pair: Pair) -> str:
    """Every name, ticker and identifier of one prompt is in the other."""
    exact = {"name", "code"}
    missing = [
        x.token.raw or x.token.text
        for x in (*pair.alignment.left, *pair.alignment.right)
        if x.token.kind in exact
    ]
    return " ".join(missing[:4])


def persons(pair: Pair) -> str:
    """The same third persons, as often and in the same order."""
    if reason := _facts(pair, _PERSONS, counted=True):
        return reason
    if _persons(pair.a) != _persons(pair.b):
        return "change places"
    a, b = ({p for p in _SPEAKERS if side.facts.get(p)} for side in (pair.a, pair.b))
    return " and ".join(sorted(p.replace("_", " ") for p in a | b)) if a and b and not a & b else ""


def _persons(reading: Reading) -> list[str]:
    return [name for token in reading.order for name in _PERSONS if name in token.classes]


def negation(pair: Pair) -> str:
    """As many negations, each of the same word."""
    a, b = pair.a.negated, pair.b.negated
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} negations"
    lemmas = dict(pair.alignment.pairs)
    for scope in a:
        if scope and not any(_same_scope(scope, other, pair, lemmas) for other in b):
            return f"of {min(scope)!r} only"
    return ""


LIGHT = frozenset({"light_verb", "light_noun", "light_adjective", "light_adverb", "light_request"})


def light(lemmas: frozenset[str], lexicon: Lexicon) -> bool:
    """Whether a word says so little that its absence alone changes no answer."""
    return any(lexicon.classes_of(lemma) & LIGHT for lemma in lemmas)


def _same_scope(
    scope: frozenset[str], other: frozenset[str], pair: Pair, pairs: Mapping[int, int]
) -> bool:
    if scope & other or (light(scope, pair.lexicon) and light(other, pair.lexicon)):
        return True
    return any(
        pair.a.items[i].token.lemmas & scope and pair.b.items[j].token.lemmas & other
        for i, j in pairs.items()
    )


def directions(pair: Pair) -> str:
    """No word of one prompt is opposed to a word of the other."""
    for x in pair.alignment.left:
        for y in pair.alignment.right:
            if opposed(x, y, pair.lexicon):
                return f"{x.token.text} and {y.token.text}"
    return ""


def quantities(pair: Pair) -> str:
    """The same quantity words."""
    return _facts(pair, _QUANTITIES)


def times(pair: Pair) -> str:
    """The same tense, phase and order in time."""
    if pair.a.asks and (reason := _facts(pair, ("future",))):
        return reason
    return _facts(pair, _TIMES)


def places(pair: Pair) -> str:
    """The same order in space."""
    return _facts(pair, _PLACES)


def logic(pair: Pair) -> str:
    """The same conditions, exceptions and alternatives."""
    return _facts(pair, _LOGIC)


def modality(pair: Pair) -> str:
    """The same necessity, advice or chance."""
    if pair.a.asks == pair.b.asks == ("how",):
        return ""
    if pair.a.asks:
        return _facts(pair, (*_MODALITY, "ability"))
    modal = ("ability", "advice", "necessity")
    a, b = ({m for m in modal if side.facts.get(m)} for side in (pair.a, pair.b))
    if a and b and not a & b:
        return f"{' '.join(sorted(a))} and {' '.join(sorted(b))}"
    return _facts(pair, ("chance",))


def comparison(pair: Pair) -> str:
    """Comparisons in the same direction."""
    return _facts(pair, _COMPARISON)


def question(pair: Pair) -> str:
    """The same kind of question."""
    a, b = set(pair.a.asks), set(pair.b.asks)
    return "" if a == b else f"{' '.join(sorted(a)) or 'none'} and {' '.join(sorted(b)) or 'none'}"


def roles(pair: Pair) -> str:
    """Who does what to whom stays as it is."""
    for verb, found in pair.a.roles.items():
        for one in found:
            for other in pair.b.roles.get(verb, ()):
                if reason := _crossed(verb, one, other):
                    return reason
    return ""


def _crossed(verb: str, one: Roles, other: Roles) -> str:
    swapped = (one.agents & other.patients) - other.agents - one.patients
    swapped |= (one.patients & other.agents) - other.patients - one.agents
    if swapped:
        return f"{min(swapped)!r} changes its part in {verb!r}"
    return ""


def order(pair: Pair) -> str:
    """Arguments keep their order, or what marks them."""
    a, b, pairs = pair.a.items, pair.b.items, pair.alignment.pairs
    for n, (i, j) in enumerate(pairs):
        if reason := _marker(a[i], b[j]):
            return reason
        for k, m in pairs[n + 1 :]:
            if m > j or not _exchangeable(a[i], a[k]) or _repeated(pair, i) or _repeated(pair, k):
                continue
            if not _excused(pair, (i, k), (j, m)):
                return f"{a[i].token.text} and {a[k].token.text} change places"
    return ""


def _exchangeable(u: Item, v: Item) -> bool:
    """Whether the two could take each other's place: both may be nouns, or both qualify one."""
    return u.part == v.part == "a" or all(_nominal(x) for x in (u, v))


def _nominal(x: Item) -> bool:
    return x.part == "n" or (x.part == "a" and "n" in x.token.parts)


def _repeated(pair: Pair, i: int) -> bool:
    """Whether a word occurs several times in both prompts, so that its place says little."""
    lemmas = pair.a.items[i].token.lemmas
    return all(
        sum(bool(x.token.lemmas & lemmas) for x in side.items) > 1 for side in (pair.a, pair.b)
    )


def _marker(x: Item, y: Item) -> str:
    if x.part != "n" or not x.marker or not y.marker or x.marker == y.marker:
        return ""
    one, other = x.marker, y.marker
    if other in _CONFLICTS.get(one, ()) or one in _CONFLICTS.get(other, ()):
        return f"{one} and {other} {x.token.text}"
    return ""


def _excused(pair: Pair, here: tuple[int, int], there: tuple[int, int]) -> bool:
    """Whether the exchange of two words is one that keeps the meaning."""
    a, b = pair.a.items, pair.b.items
    u, v, u2, v2 = a[here[0]], a[here[1]], b[there[0]], b[there[1]]
    if u.group >= 0 and u.group == v.group and u2.group >= 0 and u2.group == v2.group:
        return True
    if any("symmetric" in t.classes for t in pair.a.order) and "from" not in {u.marker, v.marker}:
        return True
    if _same_roles(pair, u, v) or _apposed(u, v) or _apposed(u2, v2):
        return True
    if _compound(pair.a, *here) and _phrase(pair.b, v2, u2):
        return True
    if _compound(pair.b, there[1], there[0]) and _phrase(pair.a, u, v):
        return True
    return not _exchanged(pair, here, there)


def _apposed(u: Item, v: Item) -> bool:
    """Whether one names the kind of the other: "the `limit` parameter"."""
    return abs(u.at - v.at) == 1 and (identifier(u) or identifier(v))


def identifier(item: Item) -> bool:
    """Whether *item* is a name from a program: "load_dataset()"."""
    odd = any(c in "_()[]=" for c in item.token.text)
    return item.token.kind == "code" or (item.token.kind == "name" and odd)


def _compound(reading: Reading, i: int, j: int) -> bool:
    """Whether words *i* to *j* are one compound, whose head is *j*: "the oil price"."""
    inside = reading.items[i : j + 1]
    return all(y.at - x.at == (2 if x.owns else 1) for x, y in pairwise(inside))


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


def _facts(pair: Pair, names: tuple[str, ...], *, counted: bool = False) -> str:
    a, b = pair.a.facts, pair.b.facts
    for name in names:
        x, y = a.get(name, 0), b.get(name, 0)
        if (x != y) if counted else (bool(x) != bool(y)):
            return name.replace("_", " ")
    return ""


def _differ(a: Iterable[str], b: Iterable[str]) -> str:
    return ", ".join(sorted(set(a) ^ set(b))[:4])


VETOES: Mapping[str, Veto] = {
    "code": code,
    "script": script,
    "numbers": numbers,
    "symbols": symbols,
    "dates": dates,
    "names": names,
    "persons": persons,
    "negation": negation,
    "directions": directions,
    "quantities": quantities,
    "times": times,
    "places": places,
    "logic": logic,
    "modality": modality,
    "comparison": comparison,
    "question": question,
    "roles": roles,
    "order": order,
}
