"""The answers of one scope in memory: by text, by slots, by vector, and by what judges said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from argo_mw_similarity.answers.alias import Alias
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.language.text import flattened
from argo_mw_similarity.search.slot_index import SlotIndex
from argo_mw_similarity.search.vector_index import VectorIndex
from argo_mw_similarity.slots import Tolerance, mismatch


class ScopeIndex:
    """The known answers of one scope.

    Args:
        max_entries: How many answers to keep; the oldest leave first.
        model: The model that vectors are of; an answer of another is found by its text only.
    """

    def __init__(self, *, max_entries: int, model: str = "") -> None:
        self._max_entries = max_entries
        self._model = model
        self._answers: dict[int, KnownAnswer] = {}
        self._aliases: dict[int, Alias] = {}
        self._verdicts: dict[tuple[str, int], int] = {}
        self._pairs: dict[int, set[int]] = {}
        self._by_text: dict[str, int] = {}
        self._index = VectorIndex()
        self._slots = SlotIndex()

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def size(self) -> int:
        """How much it holds: answers, verdicts, and itself, which may hold none for ever."""
        return 1 + len(self._answers) + len(self._aliases)

    def __iter__(self) -> Iterator[KnownAnswer]:
        return iter(self._answers.values())

    def add(self, answer: KnownAnswer) -> list[KnownAnswer]:
        """Add *answer*, and return the answers that had to leave for it."""
        self.remove(answer.number)
        self._answers[answer.number] = answer
        if answer.slots is None:
            self._by_text[flattened(answer.text)] = answer.number
        else:
            self._slots.add(answer.number, answer.slots)
        if answer.vector is not None and answer.model == self._model:
            self._index.add(answer.number, answer.vector)
        gone = []
        while len(self._answers) > self._max_entries:
            oldest = next(iter(self._answers))
            gone.append(self._answers[oldest])
            self.remove(oldest)
        return gone

    def add_alias(self, alias: Alias) -> list[int]:
        """Add *alias*, and return the numbers of the aliases that had to leave for it.

        It takes the place of what was said before of the same prompt and answer.
        """
        self.remove(alias.number)
        text = flattened(alias.text)
        gone = []
        if (before := self._verdicts.get((text, alias.answer))) is not None:
            self.remove(before)
            gone.append(before)
        self._aliases[alias.number] = alias
        self._verdicts[text, alias.answer] = alias.number
        self._pairs.setdefault(alias.answer, set()).add(alias.number)
        if alias.same:
            self._by_text[text] = alias.number
        while len(self._aliases) > self._max_entries:
            gone.append(next(iter(self._aliases)))
            self.remove(gone[-1])
        return gone

    def remove(self, number: int) -> None:
        """Remove the answer or the alias *number*, if it is here."""
        if (alias := self._aliases.pop(number, None)) is not None:
            text = flattened(alias.text)
            if self._verdicts.get((text, alias.answer)) == number:
                del self._verdicts[text, alias.answer]
            pairs = self._pairs[alias.answer]
            pairs.discard(number)
            if not pairs:
                del self._pairs[alias.answer]
            if self._by_text.get(text) == number:
                del self._by_text[text]
            return
        answer = self._answers.pop(number, None)
        if answer is None:
            return
        key = flattened(answer.text)
        if self._by_text.get(key) == number:
            del self._by_text[key]
        self._index.remove(number)
        self._slots.remove(number)

    def by_text(self, text: str) -> tuple[KnownAnswer | None, Alias | None]:
        """Return the newest answer to *text*, and the alias by which it is one, if it is by one."""
        number = self._by_text.get(flattened(text))
        if number is None:
            return None, None
        alias = self._aliases.get(number)
        if alias is None:
            return self._answers.get(number), None
        answer = self._answers.get(alias.answer)
        if answer is None:
            self.remove(number)
            return None, None
        return answer, alias

    def verdict(self, text: str, number: int) -> Alias | None:
        """Return what was said of *text* and the answer *number*, if anything was."""
        known = self._verdicts.get((flattened(text), number))
        return None if known is None else self._aliases[known]

    def pairs(self, number: int) -> list[tuple[float, bool]]:
        """Return the scores of prompts that answer *number* was judged for, and the verdicts."""
        aliases = (self._aliases[one] for one in self._pairs.get(number, ()))
        return [(alias.score, alias.same) for alias in aliases]

    def by_slots(
        self, slots: Mapping[str, object], tolerances: Mapping[str, Tolerance]
    ) -> tuple[KnownAnswer | None, str]:
        """Return the newest answer within *tolerances*, else ``None`` and the newest mismatch."""
        for number in self._slots.search(slots, tolerances):
            answer = self._answers[number]
            if answer.slots is not None and not mismatch(slots, answer.slots, tolerances):
                return answer, ""
        newest = next((e for e in reversed(self._answers.values()) if e.slots is not None), None)
        if newest is None or newest.slots is None:
            return None, ""
        return None, mismatch(slots, newest.slots, tolerances)

    def nearest(self, vector: NDArray[np.float32], count: int) -> list[tuple[KnownAnswer, float]]:
        """Return the *count* answers nearest to *vector* with their cosines, best first."""
        return [(self._answers[n], score) for n, score in self._index.search(vector, count)]
