"""The answers of one scope in memory: by text, by slots, and by vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from argo_mw_similarity.entry import Entry
from argo_mw_similarity.index import VectorIndex
from argo_mw_similarity.slot_index import SlotIndex
from argo_mw_similarity.slots import Tolerance, mismatch
from argo_mw_similarity.text import normal


class Shelf:
    """The entries of one scope.

    Args:
        most: How many entries to keep; the oldest leave first.
        model: What vectors mean here; entries of another model are found by text only.
    """

    def __init__(self, *, most: int, model: str = "") -> None:
        self._most = most
        self._model = model
        self._entries: dict[int, Entry] = {}
        self._by_text: dict[str, int] = {}
        self._index = VectorIndex()
        self._slots = SlotIndex()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> list[Entry]:
        """Put *entry* on the shelf; what had to leave for it."""
        self.remove(entry.number)
        self._entries[entry.number] = entry
        if entry.slots is None:
            self._by_text[normal(entry.text)] = entry.number
        else:
            self._slots.add(entry.number, entry.slots)
        if entry.vector is not None and entry.model == self._model:
            self._index.add(entry.number, entry.vector)
        gone = []
        while len(self._entries) > self._most:
            oldest = next(iter(self._entries))
            gone.append(self._entries[oldest])
            self.remove(oldest)
        return gone

    def remove(self, number: int) -> None:
        """Take the entry *number* off the shelf, if it is there."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return
        key = normal(entry.text)
        if self._by_text.get(key) == number:
            del self._by_text[key]
        self._index.remove(number)
        self._slots.remove(number)

    def same(self, text: str) -> Entry | None:
        """The newest answer to *text* itself."""
        number = self._by_text.get(normal(text))
        return None if number is None else self._entries.get(number)

    def filled(
        self, slots: Mapping[str, object], tolerances: Mapping[str, Tolerance]
    ) -> tuple[Entry | None, str]:
        """The newest answer whose slots are within *tolerances*, else the newest one's fault."""
        for number in self._slots.search(slots, tolerances):
            entry = self._entries[number]
            if entry.slots is not None and not mismatch(slots, entry.slots, tolerances):
                return entry, ""
        newest = next((e for e in reversed(self._entries.values()) if e.slots is not None), None)
        if newest is None or newest.slots is None:
            return None, ""
        return None, mismatch(slots, newest.slots, tolerances)

    def nearest(self, vector: NDArray[np.float32], count: int) -> list[tuple[Entry, float]]:
        """The *count* entries nearest to *vector* with their cosines, best first."""
        return [(self._entries[n], score) for n, score in self._index.search(vector, count)]
