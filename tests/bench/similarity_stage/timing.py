"""Times: of embedding, of searching and deciding among many, and of many callers at once."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from argo_mw_similarity import Guarded, SimilarityConfig, read
from argo_mw_similarity.language import lexicon
from argo_mw_similarity.search.embedders import Embedder, OnnxEmbedder, SentenceTransformersEmbedder
from argo_mw_similarity.search.vector_index import VectorIndex
from tests.bench.similarity_stage.cases import Case
from tests.bench.similarity_stage.desk import Desk

CANDIDATES = SimilarityConfig().max_candidates
REPEATS = 3

Vectors = NDArray[np.float32]


def engines_at_hand() -> list[Embedder]:
    engines: list[Embedder] = []
    if OnnxEmbedder.available():
        engines.append(OnnxEmbedder())
    if SentenceTransformersEmbedder.available():
        engines.append(SentenceTransformersEmbedder())
    for engine in engines:
        engine.load()
    return engines


def embedding(engines: Sequence[Embedder], cases: Sequence[Case]) -> dict[str, object]:
    texts = sorted({case.a for case in cases})
    texts = random.Random(1).sample(texts, min(300, len(texts)))
    p50: dict[str, float] = {}
    vectors: dict[str, Vectors] = {}
    for engine in engines:
        times, rows = [], []
        for text in texts:
            begun = time.perf_counter()
            rows.append(engine.embed([text])[0])
            times.append(time.perf_counter() - begun)
        p50[engine.name] = _milliseconds(times, 0.5)
        vectors[engine.name] = np.array(rows)
    figures: dict[str, object] = {"embed_p50_ms": p50}
    if len(vectors) == 2:
        one, other = vectors.values()
        cosines = (one * other).sum(axis=1)
        figures["engines_agree"] = {
            "least": round(float(cosines.min()), 5),
            "mean": round(float(cosines.mean()), 5),
        }
    return figures


def searching(
    engines: Sequence[Embedder], cases: Sequence[Case], prompts: int
) -> dict[str, object]:
    """Search among *prompts* vectors, and decide, with one engine's vectors.

    The texts of the files are embedded; the others are mixtures of them, each near two. Times
    are the least of a few repeats of each query, so that other work on the machine does not
    count; nothing is remembered between them.
    """
    if not engines:
        return {}
    words = lexicon.load()
    texts = sorted({t for case in cases for t in (case.a, case.b)})
    real = np.concatenate([engines[0].embed(texts[i : i + 32]) for i in range(0, len(texts), 32)])
    vectors = _mixtures(real, prompts)
    before = _memory()
    index = VectorIndex()
    for number, vector in enumerate(vectors):
        index.add(number, vector.astype(np.float16))
    added = _memory() - before
    asked = random.Random(2).sample(range(len(real)), min(500, len(real)))
    queries = _disturbed(real[asked])
    search_times, decision_times, found = [], [], 0
    policy = Guarded(words)
    for row, query in zip(asked, queries, strict=True):
        searches, decisions = [], []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            nearest = index.search(query, CANDIDATES)
            searched = time.perf_counter()
            asking = read(texts[row], words)
            for number, score in nearest:
                if score < policy.floor:
                    break
                if policy.judge(asking, read(texts[number % len(texts)], words), score).serve:
                    break
            decisions.append(time.perf_counter() - begun)
            searches.append(searched - begun)
        search_times.append(min(searches))
        decision_times.append(min(decisions))
        exact = np.argpartition(-(vectors @ query), CANDIDATES)[:CANDIDATES]
        found += len({n for n, _ in nearest} & set(exact.tolist()))
    return {
        "search_p99_ms": _milliseconds(search_times, 0.99),
        "decision_p99_ms": _milliseconds(decision_times, 0.99),
        "decision_p50_ms": _milliseconds(decision_times, 0.5),
        "recall": round(found / (CANDIDATES * len(queries)), 4),
        "index_mb_per_100k": round(added * 100_000 / prompts, 1),
    }


def _mixtures(real: Vectors, count: int) -> Vectors:
    rng = np.random.default_rng(3)
    more = max(0, count - len(real))
    one, other = rng.integers(0, len(real), (2, more))
    share = rng.uniform(0.5, 1.0, (more, 1)).astype(np.float32)
    mixed = share * real[one] + (1 - share) * real[other]
    return np.concatenate([real[:count], _disturbed(mixed)])


def _disturbed(vectors: Vectors) -> Vectors:
    rng = np.random.default_rng(4)
    noisy = vectors + rng.normal(0, 0.01, vectors.shape).astype(np.float32)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def _memory() -> float:
    """Resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _milliseconds(seconds: Sequence[float], quantile: float) -> float:
    return round(float(np.quantile(seconds, quantile)) * 1e3, 3)


async def throughput(embedder: str, callers: int = 64, each: int = 30) -> float:
    """Prompts per second of *callers* that each ask one after the other, none the same."""
    async with Desk.open(embedder, policy="guarded").argo as argo:

        async def caller(number: int) -> None:
            for turn in range(each):
                await argo.outcome("ask", prompt=f"Explain bond {number} of series {turn}.")

        begun = time.perf_counter()
        await asyncio.gather(*map(caller, range(callers)))
        return round(callers * each / (time.perf_counter() - begun), 1)
