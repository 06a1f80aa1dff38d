"""What a prompt says, as far as one can tell without a model: the facts that vetoes compare."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from attrs import evolve, field, frozen

from argo_mw_similarity.language.clauses import Role, roles_of
from argo_mw_similarity.language.grammar import (
    ASKING,
    CLAUSE_END,
    FACTUAL,
    MODALS,
    OPERATORS,
    PHASES,
    is_content,
    parts_of_speech,
)
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.language.normal_form import normal_form
from argo_mw_similarity.language.questions import questions
from argo_mw_similarity.language.tense import is_finite_past, is_perfect
from argo_mw_similarity.language.text import Token, code_blocks, flattened, tokenize


@frozen
class Item:
    """A content word in its place.

    Attributes:
        token: The word.
        part: Its part of speech, as guessed from its neighbours: ``n``, ``v``, ``a``, ``r``.
        lemma: Its base form in that part of speech.
        marker: The preposition that introduces its phrase, or "".
        at: Its index among the tokens.
        group: A number that members of one coordination ("A, B or C") share, or -1.
        owns: Whether it is followed by a genitive "'s".
    """

    token: Token
    part: str
    lemma: str
    marker: str
    at: int
    group: int = -1
    owns: bool = False


@frozen
class Reading:
    """What one prompt says.

    Attributes:
        normal: The text in its normal form; prompts of equal normal form are one prompt.
        code: Its code blocks.
        script: The writing system of most of its letters.
        english: Whether most of its words are English.
        items: The content words in order.
        numbers: Numbers with their units.
        symbols: Operators and the like.
        dates: Dates, times of day and fiscal periods.
        facts: Class → how many of its words occur.
        negated: Per negation, the base forms of the word it applies to.
        asks: The kinds of question asked.
        roles: Index of a word → the part that it plays.
        order: All words, in their order.
        doubtful: Words that are in no dictionary and not written as names.
        embedded: The normal form with these as a dictionary would have them: what is embedded.
    """

    normal: str
    code: tuple[str, ...]
    script: str
    english: bool
    items: tuple[Item, ...]
    numbers: tuple[tuple[str, str], ...]
    symbols: tuple[str, ...]
    dates: tuple[str, ...]
    facts: Mapping[str, int]
    negated: tuple[frozenset[str], ...]
    asks: tuple[str, ...]
    roles: Mapping[int, Role]
    order: tuple[Token, ...] = field(repr=False)
    doubtful: frozenset[str] = frozenset()
    embedded: str = field(default="", repr=False)


def read(text: str, lexicon: Lexicon) -> Reading:
    """Read *text* with *lexicon*, in its normal form."""
    text = normal_form(text, lexicon)
    tokens = tokenize(text, lexicon)
    parts = parts_of_speech(tokens)
    items = _items(tokens, parts)
    facts = _facts(tokens, parts)
    roles = roles_of(tokens, parts)
    if any(is_finite_past(tokens, parts, i) for i in range(len(tokens))):
        facts["past"] = 1
    if any(is_perfect(tokens, i) for i in range(len(tokens))):
        facts["perfect"] = 1
    doubtful = frozenset(t.text for t in tokens if _is_doubtful(t, lexicon))
    corrections = {word: lexicon.correction(word) or word for word in doubtful}
    return Reading(
        normal=flattened(text),
        code=code_blocks(text),
        script=_script(text),
        english=_english(tokens, lexicon),
        items=items,
        numbers=tuple(sorted((t.text, t.unit) for t in tokens if t.kind == "number")),
        symbols=tuple(t.text for t in tokens if t.kind == "symbol" or _operates(t)),
        dates=tuple(sorted(t.text for t in tokens if t.kind == "date")),
        facts=facts,
        negated=_negated(tokens, parts),
        asks=questions(tokens),
        roles=roles,
        order=tokens,
        doubtful=doubtful,
        embedded=replaced(flattened(text), corrections),
    )


LEAST_LETTERS = 5
"""A shorter word that is in no dictionary is a name."""


def _is_doubtful(token: Token, lexicon: Lexicon) -> bool:
    written = token.kind == "name" and token.raw.isalpha() and token.raw.islower()
    return written and len(token.raw) >= LEAST_LETTERS and lexicon.misspelt(token.raw)


def replaced(text: str, words: Mapping[str, str]) -> str:
    """Return *text* with *words* in the place of others."""
    if not words:
        return text
    return _WORD.sub(lambda match: words.get(match.group(), match.group()), text)


_WORD = re.compile(r"[^\W\d_]+")


def _operates(token: Token) -> bool:
    return token.kind == "mark" and token.text in OPERATORS


def _script(text: str) -> str:
    if text.isascii():
        return "LATIN" if _WORD.search(text) else ""
    counts: dict[str, int] = {}
    for char in text:
        if char.isalpha():
            name = "LATIN" if char.isascii() else unicodedata.name(char, "?").split()[0]
            counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: counts[name]) if counts else ""


def _english(tokens: tuple[Token, ...], lexicon: Lexicon) -> bool:
    words = [t for t in tokens if t.kind in {"word", "name"} and t.text.isalpha()]
    known = sum(t.kind == "word" or lexicon.known(t.text) for t in words)
    grammatical = sum(bool(t.classes) for t in words)
    return bool(words) and known >= 0.5 * len(words) and (grammatical > 0 or len(words) < 6)


_MARKERS = frozenset({"preposition", "before", "after", "above", "below", "against", "between"})
_CLAUSES = frozenset({"auxiliary", "relative", "condition"})
_LISTS = frozenset({"and", "or", "nor", ","})
_PASSING = frozenset({"article", "demonstrative", "emphasis", "generic_person"})


def _items(tokens: tuple[Token, ...], parts: list[str]) -> tuple[Item, ...]:
    items: list[Item] = []
    marker = ""
    joined = False
    for i, token in enumerate(tokens):
        if token.text in _LISTS:
            joined = joined or bool(items and items[-1].at >= i - 3)
        elif is_content(token):
            group = _join(items) if joined else -1
            lemma = token.parts.get(parts[i], token.text)
            owns = i + 1 < len(tokens) and tokens[i + 1].text == "'s"
            items.append(Item(token, parts[i], lemma, marker, i, group, owns))
            joined = False
            marker = "" if parts[i] == "v" else marker
        elif token.classes & _MARKERS:
            marker, joined = token.text, False
        elif token.text in CLAUSE_END or token.classes & _CLAUSES:
            marker, joined = "", False
        elif not token.classes & _PASSING:
            joined = False
    return tuple(items)


def _join(items: list[Item]) -> int:
    """The group of the last item, which a further one joins."""
    last = items[-1]
    if last.group < 0:
        items[-1] = evolve(last, group=1 + max(item.group for item in items))
    return items[-1].group


_BOUNDS = {
    "over": "over_number", "above": "over_number", "more": "over_number", "greater": "over_number",
    "exceeding": "over_number", "under": "under_number", "below": "under_number",
    "less": "under_number", "fewer": "under_number", "atleast": "from_number",
    "minimum": "from_number", "atmost": "to_number", "maximum": "to_number",
    "exactly": "exact_number", "precisely": "exact_number",
}  # fmt: skip


def _facts(tokens: tuple[Token, ...], parts: list[str]) -> dict[str, int]:
    facts: dict[str, int] = {}
    for i, token in enumerate(tokens):
        bound = _BOUNDS.get(token.text)
        if not (bound or token.classes or "a" in token.parts or token.text in {"used", "use"}):
            continue
        if bound and any(t.kind == "number" for t in tokens[i + 1 : i + 3]):
            facts[bound] = facts.get(bound, 0) + 1
            continue
        for name in _factual(tokens, i):
            facts[name] = facts.get(name, 0) + 1
        lemma = token.parts.get("a", "")
        if lemma and lemma != token.text and token.kind == "word" and parts[i] != "v":
            if token.text.endswith("er"):
                facts["comparative"] = facts.get("comparative", 0) + 1
            elif token.text.endswith("est"):
                facts["superlative"] = facts.get("superlative", 0) + 1
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if token.text in {"used", "use"} and following is not None and following.text == "to":
            earlier = tokens[i - 1].text if i else ""
            if (
                token.text == "used"
                and earlier not in {"be", "is", "are", "was", "were", "been", "being", "get"}
            ) or any(t.text == "did" for t in tokens[max(0, i - 6) : i]):
                facts["habit_past"] = facts.get("habit_past", 0) + 1
    return facts


def _factual(tokens: tuple[Token, ...], i: int) -> frozenset[str]:
    """The classes of the word at *i* that are facts where it stands."""
    classes = tokens[i].classes & FACTUAL
    if i and tokens[i - 1].text == "how":
        classes -= MODALS
    if tokens[i].classes & PHASES and _has_phase(tokens, i):
        classes |= tokens[i].classes & PHASES
    if "necessity" in classes and i and tokens[i - 1].text == "not":
        classes |= {"no_necessity"}
    return classes


def _has_phase(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the verb at *i* is about the phase of another: "*stopped* falling"."""
    if tokens[i].text.startswith("becom") or tokens[i].text == "became":
        return True
    following = tokens[i + 1] if i + 1 < len(tokens) else None
    if following is None or following.text.endswith("ing"):
        return following is not None
    return following.text == "to" and "phase_end" not in tokens[i].classes


def _negated(tokens: tuple[Token, ...], parts: list[str]) -> tuple[frozenset[str], ...]:
    found = []
    answers = {
        i
        for i, t in enumerate(tokens)
        if t.text == "no" and t.initial and i + 1 < len(tokens) and tokens[i + 1].text == ","
    }
    for i, token in enumerate(tokens):
        if "negation" in token.classes and i not in answers:
            found.append(_scope(tokens, parts, i))
    if answers and not found:
        found.append(frozenset())
    return tuple(found)


def _scope(tokens: tuple[Token, ...], parts: list[str], i: int) -> frozenset[str]:
    """What the negation at *i* is about: after "why can't", the verb behind the subject."""
    if i + 1 < len(tokens) and "all" in tokens[i + 1].classes:
        return frozenset({"all"})
    following = (j for j in range(i + 1, len(tokens)) if is_content(tokens[j]))
    first = next(following, None)
    if first is None:
        return frozenset()
    inverted = (
        i
        and tokens[i - 1].classes & _INVERTED
        and (tokens[i - 1].initial or i == 1 or bool(tokens[i - 2].classes & ASKING))
    )
    if inverted and parts[first] == "n":
        ends = (j for j in range(i, len(tokens)) if tokens[j].text in CLAUSE_END)
        end = next(ends, len(tokens))
        verb = next((j for j in following if parts[j] == "v" and j < end), first)
        return tokens[verb].lemmas
    return tokens[first].lemmas


_INVERTED = frozenset({"auxiliary", "past", "ability", "advice", "future", "hypothesis"})
