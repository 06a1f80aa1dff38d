"""Contrasts that no word of its own shows, only an ending, a capital or a place."""

from __future__ import annotations

import re

from argo_mw_similarity.comparison.pair import Pair, strict
from argo_mw_similarity.language.reading import Item, Reading

_CALL = re.compile(r"\w\(([^()]*)\)")


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
    """Return which word is a name in one prompt and none in the other: "Shell", "a shell"."""
    a, b = pair.a, pair.b
    for i, j in pair.alignment.pairs:
        x, y = a.items[i], b.items[j]
        if x.token.kind == y.token.kind == "word":
            continue
        if x.token.raw == y.token.raw:
            found = _only_one_is_known(pair, x, y)
        else:
            found = _is_named(pair, x, a, y, b) or _is_named(pair, y, b, x, a)
        if found:
            return f"{x.token.raw} and {y.token.raw}"
    return ""


def _is_named(pair: Pair, name: Item, here: Reading, thing: Item, there: Reading) -> bool:
    """Return whether *name* is one *here* and *thing* is none *there*."""
    raw, word = name.token.raw, thing.token.kind == "word"
    if name.token.kind != "name" or not thing.token.raw.islower():
        return False
    if raw.isupper() and len(raw) > 1:
        return word
    if not raw.istitle() or _has_article(name, here):
        return False
    if _has_article(thing, there):
        return word or name.owns
    # A noun is written with a capital for its weight, too; "Go" is not.
    return word and pair.lexicon.names_no_thing(thing.token.text) and _is_head(name, here)


def _only_one_is_known(pair: Pair, x: Item, y: Item) -> bool:
    """Return whether one name, an English word, has an article: "the Amazon"."""
    token, places = x.token, ((x, pair.a), (y, pair.b))
    if not (token.raw.istitle() and token.parts):
        return False
    articles = [_has_article(*place) for place in places]
    known = token.text in pair.lexicon.names.values()
    return any(articles) and not (known or all(articles)) and all(_is_head(*p) for p in places)


def _has_article(item: Item, reading: Reading) -> bool:
    return item.at > 0 and "article" in reading.order[item.at - 1].classes


def relinked(pair: Pair) -> str:
    """Return which noun has "to" or "on" behind it in one prompt, "of" in the other."""
    if not strict(pair) and (pair.alignment.left or pair.alignment.right):
        return ""
    pairs = dict(pair.alignment.pairs)
    for i, j in pairs.items():
        if pairs.get(i + 1, -1) != j + 1:
            continue
        x, y = pair.a.items[i], pair.b.items[j]
        links = {_behind(x, pair.a), _behind(y, pair.b)}
        if x.part == y.part == "n" and links in _LINKS:
            return f"{x.token.text} {' and '.join(sorted(links))}"
    return ""


_LINKS = ({"to", "of"}, {"on", "of"})


def _is_head(item: Item, reading: Reading) -> bool:
    """Return whether no noun or object of its own follows *item*."""
    for token in reading.order[item.at + 1 : item.at + 2]:
        return not (
            token.kind == "name"
            or "article" in token.classes
            or ("n" in token.parts and not token.classes)
        )
    return True


def _behind(item: Item, reading: Reading) -> str:
    following = reading.order[item.at + 1 : item.at + 2]
    return following[0].text if following else ""


def pluralized(pair: Pair) -> str:
    """Return which word has another sense in the plural: "the future", "the futures"."""
    for i, j in pair.alignment.pairs:
        x, y = pair.a.items[i], pair.b.items[j]
        if x.token.text != y.token.text and (_own_plural(x, y) or _own_plural(y, x)):
            return f"{x.token.text} and {y.token.text}"
    return ""


def _own_plural(many: Item, one: Item) -> bool:
    text = many.token.text
    own = "own_plural" in many.token.classes and many.part == "n"
    return own and one.token.text in {text[:-1], f"{text[:-3]}y"}


def branched(pair: Pair) -> str:
    """Return what is to be done "otherwise" in one prompt only."""
    here, there = (_otherwise(reading) for reading in (pair.a, pair.b))
    if here and there:
        for i, j in pair.alignment.pairs:
            x, y = pair.a.items[i], pair.b.items[j]
            if (x.at in here) != (y.at in there):
                return f"{x.token.text!r} otherwise"
    return ""


def _otherwise(reading: Reading) -> range:
    """The places of the clause that says what to do "otherwise"."""
    words = [token.text for token in reading.order]
    at = next((words.index(word) for word in ("otherwise", "else") if word in words), -1)
    if at < 0:
        return range(0)
    ends = [i for i, word in enumerate(words) if word in _CLAUSES]
    first = max((i for i in ends if i < at), default=-1)
    last = min((i for i in ends if i > at), default=len(words))
    return range(first, last) if last <= at + 1 else range(at, last)


_CLAUSES = frozenset({",", ";", ".", "?", "!", "and", "but", "or"})


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
    found = (call for call in _CALL.findall(text) if "," in call)
    calls = ([part.strip() for part in call.split(",")] for call in found)
    return [positional for call in calls if (positional := [p for p in call if "=" not in p])]
