"""The vector index finds what an exact search finds, after any additions and removals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from argo_mw_similarity.search import vector_index as module
from argo_mw_similarity.search.vector_index import VectorIndex


def _unit(count: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("max_exact", [1000, 50], ids=["exact", "graph"])
def test_the_nearest_of_the_remaining_vectors_are_found(
    max_exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_EXACT", max_exact)
    vectors = _unit(400, 0)
    index = VectorIndex()
    for number, vector in enumerate(vectors):
        index.add(number, vector)
    for number in range(0, 400, 2):
        index.remove(number)
    for number in range(0, 100, 2):
        index.add(number, vectors[number])
    left = sorted({*range(1, 400, 2), *range(0, 100, 2)})
    assert len(left) == len(index)
    for number in left[::7]:
        (best, score), *_ = index.search(vectors[number], 4)
        assert number == best
        assert score == pytest.approx(1.0, abs=2e-3)


def test_the_graph_becomes_an_exact_search_when_most_vectors_are_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_EXACT", 50)
    vectors = _unit(300, 1)
    index = VectorIndex()
    for number, vector in enumerate(vectors):
        index.add(number, vector)
    for number in range(295):
        index.remove(number)
    assert index._graph is None
    assert index.search(vectors[297], 1)[0][0] == 297


def test_an_empty_index_finds_nothing() -> None:
    assert VectorIndex().search(_unit(1, 0)[0], 3) == []
