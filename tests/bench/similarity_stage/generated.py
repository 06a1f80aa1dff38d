"""Prompts that are made by program: minimal pairs that differ, and rephrasings that do not."""

from __future__ import annotations

from collections.abc import Sequence

from argo_mw_similarity import Guarded, read
from argo_mw_similarity.language import lexicon
from tests.bench.similar_pairs.minimal import minimal_pairs
from tests.bench.similar_pairs.rephrased import rephrasings
from tests.bench.similarity_stage.cases import Case
from tests.bench.similarity_stage.desk import Memo, labelled
from tests.bench.similarity_stage.pairs import ask_pairs, by_file, hit_share

HIGH = 0.96
"""The cosine of minimal pairs: they hold the same words, and no score tells them apart."""


def role_pairs() -> dict[str, object]:
    """How many minimal pairs that differ ``guarded`` would serve, in either order.

    Half of their verbs were kept out of sight while rules were written.
    """
    words = lexicon.load()
    guarded = Guarded(words)
    pairs = [pair for out in (False, True) for pair in minimal_pairs(kept_out=out)]
    readings = {text: read(text, words) for pair in pairs for text in (pair.a, pair.b)}
    differ = [pair for pair in pairs if not pair.same]
    found = [guarded.judge(readings[pair.b], readings[pair.a], HIGH) for pair in differ]
    back = [guarded.judge(readings[pair.a], readings[pair.b], HIGH) for pair in differ]
    return {
        "role_pairs": len(differ),
        "role_pairs_false": sum(a.serve or b.serve for a, b in zip(found, back, strict=True)),
        "role_pairs_undecided": sum(one.undecided for one in found),
    }


async def rephrased(memo: Memo, policies: Sequence[str]) -> dict[str, object]:
    """The share of rephrasings that each policy serves, by kind."""
    cases = [Case(one.kind, one.a, one.b, True, "") for one in rephrasings()]
    judges = labelled(cases, lambda a, b: False)
    figures: dict[str, object] = {}
    for policy in policies:
        served, _ = await ask_pairs(cases, memo, judges, policy=policy)
        figures[policy] = by_file(served, hit_share)
    return {"rephrased": figures}
