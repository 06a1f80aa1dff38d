"""The nearest vectors: exact while they are few, a graph (HNSW, by usearch) when they are many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

DIMENSIONS = 384
FEW = 1000
"""Vectors up to which every one is compared: exact, and as fast as the graph."""

_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_EXPANSION_SEARCH = 160

Halves = NDArray[np.float16]
Vectors = NDArray[np.float32]


class VectorIndex:
    """Finds the nearest of a changing set of unit vectors, by cosine."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._numbers = np.zeros(16, np.int64)
        self._few: Vectors | None = None
        self._graph: Index | None = None

    def __len__(self) -> int:
        return len(self._rows) if self._graph is None else len(self._graph)

    def add(self, number: int, vector: Halves | Vectors) -> None:
        """Add *vector* under *number*, which must not be taken."""
        row = vector.astype(np.float32)
        if self._graph is None and len(self._rows) >= FEW:
            self._grow_graph()
        if self._graph is not None:
            self._graph.add(_key(number), row)
            return
        at = len(self._rows)
        if self._few is None:
            self._few = np.zeros((16, len(row)), np.float32)
        elif at >= len(self._few):
            self._few = np.concatenate([self._few, np.zeros_like(self._few)])
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)])
        self._few[at] = row
        self._numbers[at] = number
        self._rows[number] = at

    def remove(self, number: int) -> None:
        """Forget *number*, if it is there."""
        if self._graph is not None:
            if _key(number) in self._graph:
                self._graph.remove(_key(number))
            return
        at = self._rows.pop(number, None)
        if at is None or self._few is None:
            return
        last = len(self._rows)
        if at != last:
            self._few[at] = self._few[last]
            moved = int(self._numbers[last])
            self._numbers[at] = moved
            self._rows[moved] = at

    def search(self, vector: Vectors, count: int) -> list[tuple[int, float]]:
        """The *count* nearest numbers with their cosines, best first."""
        if self._graph is not None:
            found = self._graph.search(vector, count)
            return [
                (_number(int(k)), 1.0 - float(d))
                for k, d in zip(found.keys, found.distances, strict=True)
            ]
        if self._few is None or not self._rows:
            return []
        scores = self._few[: len(self._rows)] @ vector
        if count < len(scores):
            best = np.argpartition(-scores, count)[:count]
            best = best[np.argsort(-scores[best])]
        else:
            best = np.argsort(-scores)
        return [(int(self._numbers[i]), float(scores[i])) for i in best]

    def _grow_graph(self) -> None:
        assert self._few is not None
        count = len(self._rows)
        self._graph = Index(
            ndim=self._few.shape[1],
            metric="cos",
            dtype="f16",
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSION_SEARCH,
        )
        keys = np.array([_key(int(n)) for n in self._numbers[:count]], np.uint64)
        self._graph.add(keys, self._few[:count], threads=1)
        self._few = None
        self._rows.clear()


def _key(number: int) -> int:
    """Numbers below zero are those that only this process knows; keys have no sign."""
    return number if number >= 0 else (1 << 62) - number


def _number(key: int) -> int:
    return key if key < (1 << 62) else (1 << 62) - key
