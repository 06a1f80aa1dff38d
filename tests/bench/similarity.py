"""Similarity: what is served to whom, what it saves, and how long it takes.

Reads every CSV of ``--data`` with the columns ``a``, ``b``, ``same`` and perhaps ``capability``.
Each pair is asked in both orders, each time in a scope of its own, through the plugin as it is
shipped but for its time limits. A pair that differs counts as a false hit when either order is
served; hits of pairs that are the same are the mean of both orders. Pairs of equal texts, and those
that are never looked up because they depend on the moment or are too long, are counted apart.

The policies ``judged`` and ``verified`` ask a judge that knows the labels, but for one verdict in a
hundred; ``verified`` also compares answers exactly.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from argo_mw_similarity.search.embedders import Embedder
from tests.bench.similarity_stage.cases import cases_in
from tests.bench.similarity_stage.desk import Memo
from tests.bench.similarity_stage.generated import rephrased, role_pairs
from tests.bench.similarity_stage.opinions import templated
from tests.bench.similarity_stage.pairs import POLICIES, mixed, pair_figures
from tests.bench.similarity_stage.timing import embedding, engines_at_hand, searching, throughput
from tests.bench.similarity_stage.verified import verified


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--data", type=Path, required=True, help="directory of CSVs with pairs")
    parser.add_argument("--prices", type=Path, help="directory of minute bars; beside --data")
    parser.add_argument("--prompts", type=int, default=100_000, help="prompts to search among")
    parser.add_argument("--embedder", default="auto", help="the engine to decide with")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Measure everything."""
    cases = cases_in(args.data)
    engines = engines_at_hand()
    memo = Memo(_chosen(engines, args.embedder), [text for c in cases for text in (c.a, c.b)])
    figures: dict[str, object] = {}
    figures |= await pair_figures(cases, memo)
    figures |= role_pairs()
    figures |= await rephrased(memo, ("guarded", "judged"))
    figures["hit_mixed"] = {policy: await mixed(cases, memo, policy) for policy in POLICIES}
    figures["verified"] = compared = await verified(cases, memo)
    best = compared["judge_5"]["hits_all_files"]
    figures["verified_hits_beside_guarded"] = round(best / max(figures["hits"]["guarded"], 1), 4)
    prices = args.prices or args.data.parent / "prices"
    if prices.is_dir():
        figures["templated"] = await templated(prices, ("price", "rsi"))
        figures["templated_all_indicators"] = await templated(prices)
    figures |= embedding(engines, cases)
    figures |= searching(engines, cases, args.prompts)
    figures["throughput_64_per_s"] = await throughput(args.embedder)
    return figures


def _chosen(engines: Sequence[Embedder], name: str) -> Embedder:
    for engine in engines:
        if name in {"auto", engine.name}:
            return engine
    raise SystemExit(f"there is no engine {name!r}: install 'argo-mw-similarity[onnx]'")
