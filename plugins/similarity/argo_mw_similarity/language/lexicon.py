"""Words and how they relate: WordNet, plus plain data files that a user extends.

The data files hold one statement per line, ``#`` begins a comment. A user's directory may hold
files of the same names; their lines are added to the shipped ones.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from attrs import define, field, frozen

from argo_mw_similarity.language.spelling import Speller

FILES = ("classes", "opposites", "synonyms", "phrases", "units", "names", "abbreviations")
SENSES = 8
"""Of a word's senses, how many of the most frequent ones count when synonyms are sought."""

_PREFIXES = ("re", "un", "pre", "non", "multi", "sub", "over", "under", "co", "de")
LEAST_BEHIND_PREFIX = 3
_NOUN_ENDINGS = (("s", ""), ("ies", "y"), ("ses", "s"), ("xes", "x"), ("zes", "z"),
                 ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ves", "f"))  # fmt: skip
_VERB_ENDINGS = (("ies", "y"), ("ied", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""),
                 ("ing", "e"), ("ing", ""), ("s", ""))  # fmt: skip
_ADJECTIVE_ENDINGS = (("ier", "y"), ("iest", "y"), ("er", "e"), ("est", "e"), ("er", ""),
                      ("est", ""))  # fmt: skip
_ENDINGS = {"n": _NOUN_ENDINGS, "v": _VERB_ENDINGS, "a": _ADJECTIVE_ENDINGS, "r": ()}


@frozen
class Word:
    """What WordNet knows of one lemma.

    Attributes:
        senses: Per part of speech (``n``, ``v``, ``a``, ``r``) the synsets, most frequent first.
        antonyms: Its opposites.
        roots: Words of the same root.
        tagged: Per part of speech, how many of the senses occur in WordNet's tagged texts.
    """

    senses: dict[str, tuple[str, ...]]
    tagged: dict[str, int]
    antonyms: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()


Facts = tuple[frozenset[str], frozenset[str], dict[str, str]]
"""Base forms, classes, and the base form in each part of speech."""
MAX_REMEMBERED = 20_000


@define
class Lexicon:
    """Words, their classes and relations.

    Attributes:
        words: WordNet by lemma, packed: text is not work for the garbage collector, and the
            hundreds of thousands of objects that it stands for would be.
        members: Synset → its words.
        near: Synset → the synsets just above it, and those it resembles.
        irregular: ``part:form`` → lemma.
        classes: Class → its words (``article``, ``negation`` …).
        opposites: Word → words that must never stand in for it.
        synonyms: Word → the group of interchangeable words that it belongs to.
        phrases: First word → (phrase, replacement), longest first.
        units: How a unit is written → its canonical name.
        names: How a name is written → its canonical form.
        abbreviations: How a word is abbreviated → the word. One in lower case is also found
            with a capital where a sentence begins.
        speller: What corrects words.
        kinds: A memo of the kinds of words, as they are written and where they stand.
        facts: A memo of what is known of words.
    """

    words: dict[str, str] = field(factory=dict, repr=False)
    near: dict[str, str] = field(factory=dict, repr=False)
    members: dict[str, str] = field(factory=dict, repr=False)
    irregular: dict[str, str] = field(factory=dict, repr=False)
    classes: dict[str, frozenset[str]] = field(factory=dict, repr=False)
    opposites: dict[str, set[str]] = field(factory=dict, repr=False)
    synonyms: dict[str, set[str]] = field(factory=dict, repr=False)
    phrases: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = field(
        factory=dict, repr=False
    )
    units: dict[str, str] = field(factory=dict, repr=False)
    names: dict[str, str] = field(factory=dict, repr=False)
    abbreviations: dict[str, str] = field(factory=dict, repr=False)
    speller: Speller | None = field(default=None, repr=False)
    kinds: dict[tuple[str, bool, bool], str] = field(factory=dict, repr=False)
    facts: dict[tuple[str, str, str], Facts] = field(factory=dict, repr=False)
    _class_of: dict[str, frozenset[str]] = field(factory=dict, repr=False)
    _parsed: dict[str, Word | None] = field(factory=dict, repr=False)
    _lemmas: dict[str, dict[str, str]] = field(factory=dict, repr=False)
    _relations: dict[tuple[str, str, str], str] = field(factory=dict, repr=False)

    def classes_of(self, word: str) -> frozenset[str]:
        """The classes that *word* (in lower case) is a member of."""
        return self._class_of.get(word, frozenset())

    def known(self, word: str) -> bool:
        """Whether *word* or a base form of it is an English word."""
        return bool(self.lemmas(word)) or word in self._class_of

    def lemmas(self, word: str) -> dict[str, str]:
        """Part of speech → base form of *word*, empty for an unknown word."""
        found = self._lemmas.get(word)
        if found is None:
            if len(self._lemmas) > 50_000:
                self._lemmas.clear()
            found = {p: base for p in _ENDINGS if (base := self._lemma(word, p))}
            found = found or self._prefixed(word)
            self._lemmas[word] = found
        return found

    def _prefixed(self, word: str) -> dict[str, str]:
        """The base forms of a word that no dictionary lists, but for its prefix: "resampling"."""
        for prefix in _PREFIXES:
            rest = word.removeprefix(prefix)
            if rest != word and len(rest) > LEAST_BEHIND_PREFIX:
                found = {p: base for p in _ENDINGS if (base := self._lemma(rest, p))}
                if found:
                    return {part: prefix + base for part, base in found.items()}
        return {}

    def misspelt(self, word: str) -> bool:
        """Whether *word* (in lower case) is in no dictionary."""
        return self.speller is not None and not self.known(word) and word not in self.speller

    def correction(self, word: str) -> str:
        """What the misspelt *word* (in lower case) was meant to be, or ""."""
        if self.speller is None or self.known(word):
            return ""
        return self.speller.correction(word, self.known)

    def _word(self, lemma: str) -> Word | None:
        if lemma in self._parsed:
            return self._parsed[lemma]
        if len(self._parsed) > 20_000:
            self._parsed.clear()
        packed = self.words.get(lemma)
        word = self._parsed[lemma] = None if packed is None else _unpack(packed)
        return word

    def _lemma(self, word: str, part: str) -> str:
        exceptional = self.irregular.get(f"{part}:{word}")
        if exceptional and self._tagged(exceptional, part) >= self._tagged(word, part):
            return exceptional
        if (entry := self._word(word)) is not None and part in entry.senses:
            return word
        for ending, base in _ENDINGS[part]:
            if word.endswith(ending) and len(word) > len(ending) + 1:
                stem = word[: -len(ending)]
                doubled = stem[-1:] == stem[-2:-1] and ending in {"ed", "ing", "er", "est"}
                for candidate in (stem + base, stem[:-1] if doubled else ""):
                    entry = self._word(candidate)
                    if entry is not None and part in entry.senses:
                        noun = self._tagged(word, "n") if part == "a" else 0
                        return "" if noun and noun >= entry.tagged[part] else candidate
        return ""

    def _tagged(self, lemma: str, part: str) -> int:
        entry = self._word(lemma)
        return 0 if entry is None else entry.tagged.get(part, 0)

    def names_no_thing(self, word: str) -> bool:
        """Whether *word* has more common senses as a verb, adjective or adverb than as a noun."""
        senses = {part: self._tagged(base, part) for part, base in self.lemmas(word).items()}
        return max(senses.values(), default=0) > senses.get("n", 0)

    def relation(self, a: str, b: str, part: str = "") -> str:
        """How lemma *a* relates to *b*, both being of part of speech *part*.

        One of ``same``, ``opposite``, ``root``, ``synonym``, ``kind`` (one is a kind of the
        other), ``distant kind``, ``common synonym`` (a third word is one of both), "".
        """
        if a == b:
            return "same"
        key = (a, b, part) if a < b else (b, a, part)
        found = self._relations.get(key)
        if found is None:
            if len(self._relations) > 100_000:
                self._relations.clear()
            found = self._relations[key] = self._relation(*key)
        return found

    def _relation(self, a: str, b: str, part: str) -> str:
        if b in self.opposites.get(a, ()):
            return "opposite"
        if b in self.synonyms.get(a, ()):
            return "synonym"
        one, other = self._word(a), self._word(b)
        if one is None or other is None:
            return ""
        if b in one.antonyms or self._opposed(one, b) or self._opposed(other, a):
            return "opposite"
        if b in one.roots:
            return "root"
        return self._by_senses(_top(one, part), _top(other, part), {a, b})

    def _by_senses(self, one: set[str], other: set[str], words: set[str]) -> str:
        if one & other:
            return "synonym"
        above_one, above_other = self._above(one), self._above(other)
        if above_one & other or above_other & one:
            return "kind"
        if self._above(above_one) & other or self._above(above_other) & one:
            return "distant kind"
        return "common synonym" if self._sharing(one) & self._sharing(other) - words else ""

    def _opposed(self, word: Word, other: str) -> bool:
        """Whether *other* is a synonym, in the first sense, of an antonym of *word*."""
        return any(self._first_sense_synonym(antonym, other) for antonym in word.antonyms)

    def _first_sense_synonym(self, a: str, b: str) -> bool:
        one, other = self._word(a), self._word(b)
        if one is None or other is None:
            return False
        first = {ids[0] for ids in one.senses.values()}
        return bool(first & {ids[0] for ids in other.senses.values()})

    def _sharing(self, senses: Iterable[str]) -> set[str]:
        """The words that have one of *senses*."""
        return {word for sense in senses for word in self.members.get(sense, "").split(",") if word}

    def _above(self, senses: Iterable[str]) -> set[str]:
        return {up for sense in senses for up in self.near.get(sense, "").split(",") if up}


def _top(word: Word, part: str) -> set[str]:
    return set(word.senses.get(part, ())[:SENSES])


def load(*directories: Path) -> Lexicon:
    """The shipped lexicon, extended by the data files of *directories*.

    Raises:
        ValueError: A line of a data file does not have the form its file asks for.
    """
    base = _shipped()
    if not directories:
        return base
    lexicon = _wordnet()
    for folder in (files("argo_mw_similarity") / "data", *directories):
        _extend(lexicon, folder)
    return lexicon


def word_class(name: str, *directories: Path) -> frozenset[str]:
    """The members of one class, without loading anything else."""
    lexicon = Lexicon()
    for folder in (files("argo_mw_similarity") / "data", *directories):
        _extend(lexicon, folder, only="classes")
    return lexicon.classes.get(name, frozenset())


@lru_cache(maxsize=1)
def _shipped() -> Lexicon:
    lexicon = _wordnet()
    _extend(lexicon, files("argo_mw_similarity") / "data")
    return lexicon


def _wordnet() -> Lexicon:
    lexicon = Lexicon(speller=Speller())
    packed = (files("argo_mw_similarity") / "data" / "wordnet.tsv.gz").read_bytes()
    for line in gzip.decompress(packed).decode().splitlines():
        kind, key, rest = line.split("\t", 2)
        getattr(lexicon, _TABLES[kind])[key] = rest
    return lexicon


_TABLES = {"w": "words", "s": "near", "m": "members", "x": "irregular"}


def _unpack(packed: str) -> Word:
    senses: dict[str, tuple[str, ...]] = {}
    tagged: dict[str, int] = {}
    marked = {"!": frozenset[str](), "+": frozenset[str]()}
    for column in packed.split("\t"):
        if column[0] in marked:
            marked[column[0]] = frozenset(column[1:].split(","))
        else:
            count, ids = column[1:].split(":")
            tagged[column[0]] = int(count)
            senses[column[0]] = tuple(ids.split(","))
    return Word(senses, tagged, marked["!"], marked["+"])


def _extend(lexicon: Lexicon, folder: Traversable, *, only: str = "") -> None:
    for name in (only,) if only else FILES:
        source = folder / f"{name}.txt"
        if source.is_file():
            for number, line in _statements(source.read_text("utf-8-sig")):
                try:
                    _ADD[name](lexicon, line)
                except ValueError:
                    msg = f"{name}.txt, line {number}: {line!r} is not a {name} statement"
                    raise ValueError(msg) from None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if stripped := line.split("#", 1)[0].strip():
            yield number, stripped


def _add_class(lexicon: Lexicon, line: str) -> None:
    name, members = line.split(":", 1)
    words = frozenset(members.split())
    lexicon.classes[name] = lexicon.classes.get(name, frozenset()) | words
    for word in words:
        lexicon._class_of[word] = lexicon._class_of.get(word, frozenset()) | {name}


def _add_opposites(lexicon: Lexicon, line: str) -> None:
    sides = [side.split() for side in line.split("|")]
    if len(sides) < 2:
        raise ValueError(line)
    for i, side in enumerate(sides):
        others = {word for j, other in enumerate(sides) if j != i for word in other}
        for word in side:
            lexicon.opposites.setdefault(word, set()).update(others)


def _add_synonyms(lexicon: Lexicon, line: str) -> None:
    group = set(line.split())
    for word in group:
        lexicon.synonyms.setdefault(word, set()).update(group)


def _add_phrase(lexicon: Lexicon, line: str) -> None:
    phrase, replacement = (tuple(side.split()) for side in line.split("=>"))
    if not phrase:
        raise ValueError(line)
    rules = lexicon.phrases.setdefault(phrase[0], [])
    rules.append((phrase, replacement))
    rules.sort(key=lambda rule: -len(rule[0]))


def _add_unit(lexicon: Lexicon, line: str) -> None:
    name, spellings = line.split(":", 1)
    for spelling in spellings.split():
        lexicon.units[spelling] = name


def _add_name(lexicon: Lexicon, line: str) -> None:
    name, spellings = line.split(":", 1)
    for spelling in spellings.split():
        lexicon.names[spelling] = name
        if "_" in spelling:
            _add_phrase(lexicon, f"{spelling.replace('_', ' ')} => {name}")


def _add_abbreviation(lexicon: Lexicon, line: str) -> None:
    written, word = (side.strip() for side in line.split("=>"))
    if not (written and word):
        raise ValueError(line)
    for one in written.split():
        lexicon.abbreviations[one] = word


_ADD = {
    "classes": _add_class,
    "opposites": _add_opposites,
    "synonyms": _add_synonyms,
    "phrases": _add_phrase,
    "units": _add_unit,
    "names": _add_name,
    "abbreviations": _add_abbreviation,
}
