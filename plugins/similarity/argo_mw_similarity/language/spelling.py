"""Misspelt words: those that are in no dictionary and one slip away from one that is."""

from __future__ import annotations

from collections.abc import Callable

from spellchecker import SpellChecker

LEAST_LETTERS = 4
"""A shorter word is corrected only where its letters have changed places: "teh", but not "amd"."""
SURE = 4
"""How many times as frequent as the next one the chosen correction is."""
EXCHANGED = 0.02
"""How likely an exchanged letter is, beside one moved, left out or doubled."""
_MAX_WORDS = 50_000


class Speller:
    """Corrects single words in lower case; loading it takes a third of a second."""

    def __init__(self) -> None:
        self._words = SpellChecker(language="en", distance=1)
        self._found: dict[str, str] = {}

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def correction(self, word: str, known: Callable[[str], bool]) -> str:
        """Return what *word* was meant to be, of the words that are *known*, or ""."""
        found = self._found.get(word)
        if found is None:
            if len(self._found) > _MAX_WORDS:
                self._found.clear()
            found = self._found[word] = self._correction(word, known)
        return found

    def _correction(self, word: str, known: Callable[[str], bool]) -> str:
        if word in self:
            return ""
        near = self._words.known(self._words.edit_distance_1(word))
        ranked = sorted(
            (self._words[other] * (1 if _likely(word, other) else EXCHANGED), other)
            for other in near
            if known(other) and (len(word) >= LEAST_LETTERS or sorted(word) == sorted(other))
        )
        if not ranked or (len(ranked) > 1 and ranked[-1][0] < SURE * ranked[-2][0]):
            return ""
        return ranked[-1][1]


def _likely(word: str, other: str) -> bool:
    """Return whether *word* has the letters of *other*, but for one left out or one too many."""
    return len(word) != len(other) or sorted(word) == sorted(other)


def one_slip(a: str, b: str) -> bool:
    """Return whether one letter added, dropped, exchanged or moved by one makes *b* of *a*."""
    if abs(len(a) - len(b)) > 1:
        return False
    differ = (n for n, (c, d) in enumerate(zip(a, b, strict=False)) if c != d)
    at = next(differ, min(len(a), len(b)))
    a, b = a[at:], b[at:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
