"""Vetoes: differences that make two prompts different whatever their score.

Each takes a :class:`Pair` and returns why it forbids an answer to be shared, or "".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from argo_mw_similarity.comparison.align import opposed
from argo_mw_similarity.comparison.contrasts import (
    branched,
    named,
    pluralized,
    recalled,
    relinked,
    resequenced,
    turned,
)
from argo_mw_similarity.comparison.pair import Pair, light, strict
from argo_mw_similarity.comparison.persons import other_persons
from argo_mw_similarity.comparison.structure import (
    changed,
    exchanged,
    rearranged,
    reattached,
    relisted,
)
from argo_mw_similarity.language.reading import Item, Reading

Veto = Callable[[Pair], str]

_QUANTITIES = ("all", "many", "most", "little", "half", "twice", "thrice", "only", "even",
               "too", "enough", "almost", "least", "greatest", "over_number",
               "under_number", "from_number", "to_number", "exact_number")  # fmt: skip
_TIMES = ("before", "after", "first", "last", "former", "next", "now", "still", "again",
          "habit_past", "phase_begin", "phase_end", "past", "perfect",
          "future")  # fmt: skip
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
_MODALITY = ("advice", "necessity", "no_necessity", "chance")
_COMPARISON = ("more", "less", "comparative", "superlative")


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
    for (number, one), (_, other) in zip(_marked(pair.a), _marked(pair.b), strict=True):
        if one != other and {one, other} <= _BOUNDS:
            return f"{one} and {other} {number}"
    return ""


_BOUNDS = frozenset({"to", "by", "from", "for", "after", "before", "above", "below", "until"})


def _with_units(reading: Reading) -> list[str]:
    return [f"{number} {unit}".strip() for number, unit in reading.numbers]


def _in_order(reading: Reading) -> list[str]:
    return [token.text for token in reading.order if token.kind == "number"]


def _marked(reading: Reading) -> list[tuple[str, str]]:
    """Every number with the word before it: a fall *to* 3 % is not one *by* 3 %."""
    order = reading.order
    return [(t.text, order[i - 1].text if i else "") for i, t in enumerate(order)
            if t.kind == "number"]  # fmt: skip


def symbols(pair: Pair) -> str:
    """The same operators in the same order: "3 + 4" is not "3 * 4"."""
    return "" if pair.a.symbols == pair.b.symbols else " ".join((*pair.a.symbols, *pair.b.symbols))


def dates(pair: Pair) -> str:
    """The same dates, times of day and fiscal periods."""
    return _differ(pair.a.dates, pair.b.dates)


def names(pair: Pair) -> str:
    """Every name, ticker and identifier of one prompt is in the other, and is a name there."""
    if reason := named(pair):
        return reason
    exact = {"name", "code"}
    missing = [
        x.token.raw or x.token.text
        for x in (*pair.alignment.left, *pair.alignment.right)
        if x.token.kind in exact
    ]
    return " ".join(missing[:4])


def persons(pair: Pair) -> str:
    """The same persons, as often and in the same order."""
    return other_persons(pair.a, pair.b, pair.alignment.pairs, strict=strict(pair))


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
    if reversal(pair):
        return ""
    return next((f"{x.token.text} and {y.token.text}" for x, y in _opposites(pair)), "")


def _opposites(pair: Pair) -> Iterator[tuple[Item, Item]]:
    for x in pair.alignment.left:
        for y in pair.alignment.right:
            if opposed(x, y, pair.lexicon):
                yield x, y


def reversal(pair: Pair) -> str:
    """No quality is turned round twice: "less defensive" may be "more offensive", and may not."""
    degrees = [
        {name for name in ("more", "less") if side.facts.get(name)} for side in (pair.a, pair.b)
    ]
    if degrees not in ([{"more"}, {"less"}], [{"less"}, {"more"}]):
        return ""
    found = list(_opposites(pair))
    if len(found) != 1 or any(x.part == "v" for x in found[0]):
        return ""
    (one,), (other,) = degrees
    x, y = found[0]
    return f"{one} {x.token.text} and {other} {y.token.text}"


def quantities(pair: Pair) -> str:
    """The same quantity words, each of the same thing."""
    if not strict(pair):
        return _facts(pair, _QUANTITIES)
    if reason := _facts(pair, (*_QUANTITIES, "several")):
        return reason
    there = list(_counted(pair.b))
    pairs = dict(pair.alignment.pairs)
    for quantity, i in _counted(pair.a):
        counted = [j for other, j in there if other == quantity]
        if i in pairs and counted and pairs[i] not in counted:
            return f"{quantity} of {pair.a.items[i].token.text!r} in one only"
    return ""


_COUNTING = frozenset({"all", "several", "many", "most", "little", "half", "only", "even"})


def _counted(reading: Reading) -> Iterator[tuple[str, int]]:
    """Quantities with the index of the content word that each is of."""
    following = iter(enumerate(reading.items))
    n, item = next(following, (-1, None))
    for at, token in enumerate(reading.order):
        while item is not None and item.at <= at:
            n, item = next(following, (-1, None))
        if item is None:
            return
        for name in token.classes & _COUNTING or ({token.text} if token.kind == "number" else ()):
            yield name, n


def times(pair: Pair) -> str:
    """The same tense, phase and order in time."""
    return _facts(pair, _TIMES)


def places(pair: Pair) -> str:
    """The same order in space."""
    return _facts(pair, _PLACES)


def logic(pair: Pair) -> str:
    """The same conditions, exceptions and alternatives."""
    return _facts(pair, _LOGIC)


def modality(pair: Pair) -> str:
    """The same necessity, advice or chance."""
    if pair.a.asks:
        return _facts(pair, (*_MODALITY, "ability"))
    modal = ("ability", "advice", "necessity")
    a, b = ({m for m in modal if side.facts.get(m)} for side in (pair.a, pair.b))
    if a and b and not a & b:
        return f"{' '.join(sorted(a))} and {' '.join(sorted(b))}"
    rest = pair.alignment.left or pair.alignment.right or pair.alignment.synonyms
    # Between reworded statements "must" is often just another word of many; alone it was meant.
    if rest and "ability" in a ^ b:
        return _facts(pair, ("no_necessity",))
    return _facts(pair, ("chance", "no_necessity") if rest else _MODALITY)


def comparison(pair: Pair) -> str:
    """Comparisons in the same direction."""
    return "" if reversal(pair) else _facts(pair, _COMPARISON)


def question(pair: Pair) -> str:
    """The same kind of question."""
    a, b = set(pair.a.asks), set(pair.b.asks)
    if "who is" in a ^ b:
        # "Who is the chair?" asks what "what is the name of the chair?" does.
        a, b = (kinds - {"who", "who is", "what"} for kinds in (a, b))
    return "" if a == b else f"{' '.join(sorted(a)) or 'none'} and {' '.join(sorted(b)) or 'none'}"


def roles(pair: Pair) -> str:
    """Who does what to whom stays as it is."""
    return changed(pair) or turned(pair) or relinked(pair) or pluralized(pair)


def attachment(pair: Pair) -> str:
    """Each word of a question belongs to the same verb."""
    return reattached(pair)


def order(pair: Pair) -> str:
    """No word stands where another does, and no step or argument before another."""
    return (
        exchanged(pair) or resequenced(pair) or branched(pair) or relisted(pair) or recalled(pair)
    )


def arrangement(pair: Pair) -> str:
    """Words of a question change places only where they are known to keep their parts."""
    return rearranged(pair)


def _facts(pair: Pair, names: tuple[str, ...]) -> str:
    if not pair.one_sided:
        return ""
    return next((name.replace("_", " ") for name in names if name in pair.one_sided), "")


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
    "reversal": reversal,
    "quantities": quantities,
    "times": times,
    "places": places,
    "logic": logic,
    "modality": modality,
    "comparison": comparison,
    "question": question,
    "roles": roles,
    "attachment": attachment,
    "order": order,
    "arrangement": arrangement,
}
