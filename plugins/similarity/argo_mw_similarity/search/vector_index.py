"""The nearest vectors: an exact search among few, a graph (HNSW, by faiss) for many.

The graph cannot forget: removed vectors stay in it, are skipped in results, and it is rebuilt when
they are as many as the live ones.
"""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

MAX_EXACT = 1000
"""Vectors up to which all are compared one by one: exact, and as fast as the graph."""

_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_EXPANSION_SEARCH = 128

Halves = NDArray[np.float16]
Vectors = NDArray[np.float32]


class VectorIndex:
    """A changing set of unit vectors of one length, searched by cosine."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._rows: dict[int, int] = {}
        self._few: Vectors | None = None
        self._graph: faiss.IndexHNSWSQ | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, number: int, vector: Halves | Vectors) -> None:
        """Add *vector* as *number*, in the place of the one before."""
        self.remove(number)
        row = vector.astype(np.float32)
        if self._graph is None and len(self._numbers) >= MAX_EXACT:
            self._rebuild()
        at = len(self._numbers)
        self._numbers.append(number)
        self._rows[number] = at
        if self._graph is not None:
            self._graph.add(row[None])
            return
        if self._few is None:
            self._few = np.zeros((16, len(row)), np.float32)
        elif at >= len(self._few):
            self._few = np.concatenate([self._few, np.zeros_like(self._few)])
        self._few[at] = row

    def remove(self, number: int) -> None:
        """Remove *number*, if it is here."""
        at = self._rows.pop(number, None)
        if at is not None:
            self._numbers[at] = _GONE
            dead = len(self._numbers) - len(self._rows)
            if dead > max(len(self._rows), 64):
                self._rebuild()

    def search(self, vector: Vectors, count: int) -> list[tuple[int, float]]:
        """Return the *count* nearest numbers with their cosines, best first."""
        if not self._rows:
            return []
        dead = len(self._numbers) - len(self._rows)
        if self._graph is not None:
            scores, rows = self._graph.search(vector[None], count + min(dead, count))
            found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        else:
            assert self._few is not None
            every = self._few[: len(self._numbers)] @ vector
            best = _largest(every, count + dead)
            found = zip(best.tolist(), every[best].tolist(), strict=True)
        live = [(self._numbers[r], s) for r, s in found if r >= 0 and self._numbers[r] != _GONE]
        return live[:count]

    def _rebuild(self) -> None:
        """Leave out what was removed; switch between exact search and graph by size."""
        rows = sorted(self._rows.values())
        vectors = self._vectors(rows)
        self._numbers = [self._numbers[row] for row in rows]
        self._rows = {number: at for at, number in enumerate(self._numbers)}
        self._few = self._graph = None
        if len(rows) < MAX_EXACT:
            self._few = vectors
            return
        graph = faiss.IndexHNSWSQ(
            vectors.shape[1],
            faiss.ScalarQuantizer.QT_fp16,  # type: ignore[arg-type]
            _CONNECTIVITY,
            faiss.METRIC_INNER_PRODUCT,
        )
        graph.hnsw.efConstruction = _EXPANSION_ADD
        graph.hnsw.efSearch = _EXPANSION_SEARCH
        graph.train(vectors)
        graph.add(vectors)
        self._graph = graph

    def _vectors(self, rows: list[int]) -> Vectors:
        if self._few is not None:
            return self._few[rows]
        assert self._graph is not None
        return np.array([self._graph.reconstruct(row) for row in rows], np.float32)


_GONE = -(1 << 62)
"""Stands for the number of a removed vector."""


def _largest(scores: Vectors, count: int) -> NDArray[np.intp]:
    if count < len(scores):
        best = np.argpartition(-scores, count)[:count]
        return best[np.argsort(-scores[best])]
    return np.argsort(-scores)
