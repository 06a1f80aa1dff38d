"""Similarity: what is served to whom, what it saves, and how long it takes.

Reads every CSV of ``--data`` with the columns ``a``, ``b``, ``same`` and perhaps ``capability``.
Each pair is asked in both orders, each time in a scope of its own, through the plugin as it is
shipped but for its time limits. A pair that differs counts as a false hit when either order is
served; hits of pairs that are the same are the mean of both orders.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import math
import random
import resource
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from argo_mw import Argo, Outcome
from argo_mw.plugin import operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_llm import LlmPlugin, Opinion
from argo_mw_llm.views import indicators_of
from argo_mw_sandbox import Sandbox, SandboxConfig
from argo_mw_similarity import Guarded, SimilarityConfig, SimilarityPlugin, lexicon, read
from argo_mw_similarity.embedders import Embedder, OnnxEmbedder, SentenceTransformersEmbedder
from argo_mw_similarity.vector_index import VectorIndex

POLICIES = ("threshold", "guarded")
LEAST_PAIRS = 20
CANDIDATES = SimilarityConfig().max_candidates
REPEATS = 3

Vectors = NDArray[np.float32]


@operation(name="ask", kind="llm")
def ask(prompt: str, *, system: str = "") -> object:
    """Ask a language model."""


@frozen
class Case:
    """One pair of prompts."""

    file: str
    a: str
    b: str
    same: bool
    capability: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--data", type=Path, required=True, help="directory of CSVs with pairs")
    parser.add_argument("--prices", type=Path, help="directory of minute bars; beside --data")
    parser.add_argument("--prompts", type=int, default=100_000, help="prompts to search among")
    parser.add_argument("--embedder", default="auto", help="the engine to decide with")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Measure everything."""
    cases = _cases(args.data)
    figures: dict[str, object] = {}
    figures |= await _pairs(cases, args.embedder)
    figures["hit_mixed"] = {p: await _mixed(cases, p, args.embedder) for p in POLICIES}
    prices = args.prices or args.data.parent / "prices"
    if prices.is_dir():
        figures["templated"] = await _templated(prices, ("price", "rsi"))
        figures["templated_all_indicators"] = await _templated(prices)
    engines = _engines()
    figures |= _embedding(engines, cases)
    figures |= _searching(engines, cases, args.prompts)
    figures["throughput_64_per_s"] = await _throughput(args.embedder)
    return figures


def _cases(directory: Path) -> list[Case]:
    cases = []
    for path in sorted(directory.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"a", "b", "same"} <= set(rows.fieldnames or ()):
                continue
            cases += [
                Case(path.stem, r["a"], r["b"], r["same"].strip() == "1", r.get("capability") or "")
                for r in rows
            ]
    return cases


# -- pairs -------------------------------------------------------------------------------


def _application(policy: str, embedder: str, upstream: Scripted) -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "flags": {"similarity": "on"},
            "plugins": {
                "similarity": {
                    "policy": policy,
                    "embedder": embedder,
                    "embed_timeout": 600.0,
                    "max_audited": 0,
                }
            },
        },
        plugins={
            "similarity": SimilarityPlugin,
            "asked": FakePlugin(operations=[ask], upstreams=[upstream]),
        },
        installed=False,
    )


def _echo() -> Scripted:
    """A model whose answer is the prompt that it answers."""
    return Scripted("model", {"ask"}, lambda call: call.parameters["prompt"])


async def _pairs(cases: Sequence[Case], embedder: str) -> dict[str, object]:
    false_hit: dict[str, dict[str, float]] = {}
    worst: dict[str, dict[str, float]] = {}
    hit: dict[str, dict[str, float]] = {}
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for policy in POLICIES:
        served = await _served(cases, policy, embedder)
        false_hit[policy], worst[policy], hit[policy] = {}, {}, {}
        for file in sorted({case.file for case in cases}):
            rows = [(c, s) for c, s in zip(cases, served, strict=True) if c.file == file]
            differ = [(c, float(max(s))) for c, s in rows if not c.same]
            equal = [sum(s) / 2 for c, s in rows if c.same]
            counts[file] = {"differ": len(differ), "same": len(equal)}
            if differ:
                false_hit[policy][file] = _share([s for _, s in differ])
                worst[policy][file] = _worst(differ)
            if equal:
                hit[policy][file] = _share(equal)
    return {
        "pairs": counts,
        "false_hit": false_hit,
        "false_hit_worst": worst,
        "hit": hit,
    }


async def _served(cases: Sequence[Case], policy: str, embedder: str) -> list[tuple[bool, bool]]:
    """Per case: whether b got a's answer, and a got b's."""
    limit = asyncio.Semaphore(32)

    async with _application(policy, embedder, _echo()) as argo:

        async def one(number: int, first: str, second: str) -> bool:
            async with limit:
                scope = f"{number}"
                await argo.outcome("ask", prompt=first, system=scope)
                outcome = await argo.outcome("ask", prompt=second, system=scope)
                return "similarity" in outcome.via

        async def both(number: int, case: Case) -> tuple[bool, bool]:
            forth = await one(2 * number, case.a, case.b)
            back = await one(2 * number + 1, case.b, case.a)
            return forth, back

        return list(await asyncio.gather(*(both(n, case) for n, case in enumerate(cases))))


def _worst(rows: Iterable[tuple[Case, float]]) -> float:
    groups: dict[str, list[float]] = defaultdict(list)
    for case, served in rows:
        groups[case.capability].append(served)
    return max((_share(g) for g in groups.values() if len(g) >= LEAST_PAIRS), default=0.0)


def _share(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 5)


# -- one stream --------------------------------------------------------------------------


async def _mixed(cases: Sequence[Case], policy: str, embedder: str) -> dict[str, object]:
    """All prompts of all files, shuffled, in one scope: who is served whose answer.

    Pairs that no file labels are counted apart: some are equivalent, some are not.
    """
    classes = _classes(cases)
    differ = {frozenset((c.a, c.b)) for c in cases if not c.same}
    prompts = [text for case in cases for text in (case.a, case.b)]
    random.Random(0).shuffle(prompts)
    served = right = wrong = 0
    async with _application(policy, embedder, _echo()) as argo:
        for prompt in prompts:
            outcome = await argo.outcome("ask", prompt=prompt)
            if "similarity" not in outcome.via or outcome.value == prompt:
                continue
            served += 1
            wrong += frozenset((str(outcome.value), prompt)) in differ
            right += classes[str(outcome.value)] == classes[prompt]
    unlabelled = served - right - wrong
    return {
        "asked": len(prompts),
        "served": served,
        "false": wrong,
        "false_share": round(wrong / served, 5) if served else 0.0,
        "interval_95": _wilson(wrong, served),
        "unlabelled": unlabelled,
        "interval_95_were_all_unlabelled_false": _wilson(wrong + unlabelled, served),
    }


def _classes(cases: Sequence[Case]) -> dict[str, str]:
    """Prompt → a name of all that are labelled the same, directly or by way of others."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for case in cases:
        a, b = root(case.a), root(case.b)
        if case.same:
            parent[a] = b
    return {text: root(text) for text in list(parent)}


def _wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval for a share."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return round(max(0.0, (middle - spread) / scale), 5), round((middle + spread) / scale, 5)


# -- templated opinions ------------------------------------------------------------------

SEEN = 90
"""Minutes of prices behind each opinion."""


async def _templated(directory: Path, names: Sequence[str] = ()) -> dict[str, object]:
    """One trading day, the operation ``opinion`` once a minute for each symbol.

    Opinions are of the indicators *names*, or of all that a voice of signals is formed from.

    The sandbox's analyst answers from the numbers in the prompt, so what a fresh opinion would
    have been is known for each that was served.
    """
    asked = calls = served = otherwise = 0
    off: list[float] = []
    async with Sandbox(SandboxConfig(speed=0.0)) as sandbox:
        clock = FakeClock()
        async with _opinions(sandbox, clock, "on") as argo, _opinions(sandbox, clock, "off") as new:
            for path in sorted(directory.glob("*.csv.gz")):
                symbol, closes = path.name.split("_")[0], _trading_day(path)
                for now in range(30, len(closes)):
                    indicators = indicators_of({"close": closes[max(0, now - SEEN) : now + 1]})
                    if names:
                        indicators = {name: indicators[name] for name in names}
                    told = {"symbol": symbol, "indicators": indicators, "epoch": str(now)}
                    before = sandbox.counts_of("glm").requests
                    outcome: Outcome = await argo.outcome("opinion", **told)
                    calls += sandbox.counts_of("glm").requests - before
                    asked += 1
                    if "similarity" in outcome.via:
                        served += 1
                        view, fresh = outcome.value, await new.call("opinion", **told)
                        assert isinstance(view, Opinion)
                        assert isinstance(fresh, Opinion)
                        otherwise += view.action != fresh.action
                        off.append(abs(view.confidence - fresh.confidence))
                    await clock.advance(60.0)
    return {
        "asked": asked,
        "model_calls": calls,
        "saved": round(1 - calls / asked, 4) if asked else 0.0,
        "served_that_differ": round(otherwise / served, 4) if served else 0.0,
        "interval_95": _wilson(otherwise, served),
        "confidence_off_mean": round(sum(off) / len(off), 4) if off else 0.0,
    }


def _opinions(sandbox: Sandbox, clock: FakeClock, flag: str) -> Argo:
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "flags": {"similarity": flag},
        "plugins": {
            "llm": {"glm": {"url": sandbox.url("glm"), "key": "any"}},
            "similarity": {"embedder": "none", "max_audited": 0},
        },
        "operations": {"opinion": {"upstreams": ["glm"]}},
        "upstreams": {"glm": {"per_minute": 1_000_000}},
    }
    plugins = {"similarity": SimilarityPlugin, "llm": LlmPlugin}
    return Argo.open(config, plugins=plugins, installed=False, clock=clock)


def _trading_day(path: Path) -> list[float]:
    """The closes of the last day in *path* with a full session of bars."""
    days: dict[str, list[float]] = defaultdict(list)
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            days[row["time"][:10]].append(float(row["close"]))
    full = [day for day, closes in days.items() if len(closes) >= 300]
    return days[max(full)] if full else []


# -- time --------------------------------------------------------------------------------


def _engines() -> list[Embedder]:
    engines: list[Embedder] = []
    if OnnxEmbedder.available():
        engines.append(OnnxEmbedder())
    if SentenceTransformersEmbedder.available():
        engines.append(SentenceTransformersEmbedder())
    for engine in engines:
        engine.load()
    return engines


def _embedding(engines: Sequence[Embedder], cases: Sequence[Case]) -> dict[str, object]:
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


def _searching(
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


async def _throughput(embedder: str, callers: int = 64, each: int = 30) -> float:
    """Prompts per second of *callers* that each ask one after the other, none the same."""
    async with _application("guarded", embedder, _echo()) as argo:

        async def caller(number: int) -> None:
            for turn in range(each):
                await argo.outcome("ask", prompt=f"Explain bond {number} of series {turn}.")

        begun = time.perf_counter()
        await asyncio.gather(*map(caller, range(callers)))
        return round(callers * each / (time.perf_counter() - begun), 1)
