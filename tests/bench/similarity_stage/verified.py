"""The policy ``verified``: its error on each file beside its limit, and what it serves.

Each file is a stream of its own, shuffled, from which the policy learns as it goes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from tests.bench.similarity_stage.cases import Case, apart, classes
from tests.bench.similarity_stage.desk import Memo, labelled
from tests.bench.similarity_stage.pairs import Served, ask_pairs

LIMITS: Mapping[str, Mapping[str, object]] = {
    "judge_2": {"max_error": 0.02},
    "judge_5": {"max_error": 0.05},
    "exact_1": {"max_error": 0.01, "compare": "exact"},
}
"""The limits, in per cent, by how answers are compared."""


async def verified(cases: Sequence[Case], memo: Memo) -> dict[str, object]:
    """What is served at each limit, beside what ``guarded`` serves of the same pairs."""
    why = apart()
    telling = [case for case in cases if not why(case)]
    judges = labelled(cases, lambda a, b: False)
    groups = classes(cases)
    figures: dict[str, object] = {}
    for name, limit in LIMITS.items():
        error: dict[str, float] = {}
        hits: dict[str, int] = {}
        for file in sorted({case.file for case in telling}):
            stream = [case for case in telling if case.file == file]
            random.Random(0).shuffle(stream)
            answers = groups.__getitem__ if "compare" in limit else str
            served, _ = await ask_pairs(stream, memo, judges, answers, policy="verified", **limit)
            error[file] = _error(served)
            hits[file] = sum(one.hits for one in served if one.case.same)
        figures[name] = {
            "error": error,
            "error_over_limit": max(error.values(), default=0.0) - float(str(limit["max_error"])),
            "hits": hits,
            "hits_all_files": sum(hits.values()),
        }
    return figures


def _error(served: Served) -> float:
    hits = sum(one.hits for one in served)
    wrong = sum(one.hits for one in served if not one.case.same)
    return round(wrong / hits, 5) if hits else 0.0
