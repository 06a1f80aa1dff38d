"""Pairs by policy: who is served whose answer, how often that is wrong, and what it costs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from attrs import frozen

from argo_mw import Argo
from argo_mw.plugin import context_of
from argo_mw.testing import FakeClock
from argo_mw_similarity import Guarded, read
from argo_mw_similarity.language import lexicon
from tests.bench.similarity_stage.cases import Case, apart, classes, share, wilson
from tests.bench.similarity_stage.desk import (
    JUDGE_USD,
    MODEL_USD,
    Desk,
    Judges,
    Memo,
    labelled,
    says_yes,
)

POLICIES = ("threshold", "guarded", "judged")
LEAST_PAIRS = 20

T = TypeVar("T")


@frozen
class Asked:
    """One pair, asked in both orders.

    Attributes:
        case: The pair.
        forth: Whether b got a's answer.
        back: Whether a got b's answer.
    """

    case: Case
    forth: bool
    back: bool

    @property
    def hits(self) -> int:
        """In how many of the orders an answer was served."""
        return self.forth + self.back


Served = Sequence[Asked]


async def pair_figures(cases: Sequence[Case], memo: Memo) -> dict[str, object]:
    """What each policy serves of *cases*; of pairs that tell nothing, only how many there are."""
    why = apart()
    telling = [case for case in cases if not why(case)]
    judges = labelled(cases, _never)
    runs: dict[str, Served] = {}
    asked = 0
    for policy in POLICIES:
        runs[policy], asked = await ask_pairs(telling, memo, judges, policy=policy)
    return {
        "pairs": _counts(cases, why),
        "false_hit": {p: by_file(run, false_share) for p, run in runs.items()},
        "false_hit_worst": {p: by_file(run, _worst) for p, run in runs.items()},
        "hit": {p: by_file(run, hit_share) for p, run in runs.items()},
        "hit_all_files": {p: hit_share(run) for p, run in runs.items()},
        "hits": {p: sum(one.hits for one in run if one.case.same) for p, run in runs.items()},
        "wrong_of_served": {p: wrong_of_served(run) for p, run in runs.items()},
        "judge": _judge_figures(asked, sum(one.hits for one in runs["judged"])),
        "vetoed_but_served": await _vetoed_but_served(telling, memo),
    }


async def ask_pairs(
    cases: Sequence[Case],
    memo: Memo,
    judges: Judges,
    answers: Callable[[str], str] = str,
    **config: object,
) -> tuple[Served, int]:
    """Ask each pair in both orders, each time in a scope of its own; and count the judge's."""
    desk = Desk.open(memo, judges, answers, clock=FakeClock(), **config)
    served = []
    async with desk.argo as argo:

        async def one(scope: str, first: str, second: str) -> bool:
            await argo.outcome("ask", prompt=first, system=scope)
            return "similarity" in (await argo.outcome("ask", prompt=second, system=scope)).via

        for number, case in enumerate(cases):
            forth = await one(f"{number}", case.a, case.b)
            served.append(Asked(case, forth, await one(f"{number} back", case.b, case.a)))
        await _ended(argo)
    return served, len(desk.judge.asked)


async def _ended(argo: Argo) -> None:
    """Return when no answer is being checked any more."""
    while "argo-mw:similarity-check" in context_of(argo).tasks.names:
        await asyncio.sleep(0)


async def mixed(cases: Sequence[Case], memo: Memo, policy: str) -> dict[str, object]:
    """All prompts of all files, shuffled, in one scope: who is served whose answer.

    Pairs that no file labels are counted apart: some are equivalent, some are not. The judge calls
    those the same that are so by way of other prompts.
    """
    groups = classes(cases)
    differ = {case.pair for case in cases if not case.same}
    prompts = [text for case in cases for text in (case.a, case.b)]
    random.Random(0).shuffle(prompts)
    judges = labelled(cases, lambda a, b: groups.get(a) == groups.get(b))
    served = right = wrong = 0
    desk = Desk.open(memo, judges, clock=FakeClock(), policy=policy)
    async with desk.argo as argo:
        for prompt in prompts:
            outcome = await argo.outcome("ask", prompt=prompt)
            answered = str(outcome.value)
            if "similarity" not in outcome.via or answered == prompt:
                continue
            served += 1
            wrong += frozenset((answered, prompt)) in differ
            right += groups[answered] == groups[prompt]
    unlabelled = served - right - wrong
    return {
        "asked": len(prompts),
        "served": served,
        "false": wrong,
        "false_share": round(wrong / served, 5) if served else 0.0,
        "interval_95": wilson(wrong, served),
        "unlabelled": unlabelled,
        "interval_95_were_all_unlabelled_false": wilson(wrong + unlabelled, served),
        "judge": _judge_figures(len(desk.judge.asked), served),
    }


def false_share(served: Served) -> float | None:
    """The share of pairs that differ and were served in either order; ``None`` without any."""
    differ = [float(one.hits > 0) for one in served if not one.case.same]
    return share(differ) if differ else None


def hit_share(served: Served) -> float | None:
    """The share of pairs that are the same and were served, the mean of both orders."""
    same = [one.hits / 2 for one in served if one.case.same]
    return share(same) if same else None


def wrong_of_served(served: Served) -> float | None:
    """The share of wrong ones among all that was served from files that hold both labels."""
    labels: dict[str, set[bool]] = defaultdict(set)
    for one in served:
        labels[one.case.file].add(one.case.same)
    both = [one for one in served if len(labels[one.case.file]) == 2]
    hits = sum(one.hits for one in both)
    wrong = sum(one.hits for one in both if not one.case.same)
    return round(wrong / hits, 5) if hits else None


def by_file(served: Served, figure: Callable[[Served], T | None]) -> dict[str, T]:
    """The *figure* of each file that has one."""
    files: dict[str, list[Asked]] = defaultdict(list)
    for one in served:
        files[one.case.file].append(one)
    found = {file: figure(ones) for file, ones in files.items()}
    return {file: value for file, value in found.items() if value is not None}


def _worst(served: Served) -> float | str | None:
    """The greatest share of false hits of a capability with enough pairs; n/a without such."""
    groups: dict[str, list[float]] = defaultdict(list)
    for one in served:
        if not one.case.same:
            groups[one.case.capability].append(float(one.hits > 0))
    if not groups:
        return None
    shares = [share(group) for group in groups.values() if len(group) >= LEAST_PAIRS]
    return max(shares) if shares else "n/a"


def _judge_figures(asked: int, hits: int) -> dict[str, float]:
    spent, saved = asked * JUDGE_USD, hits * MODEL_USD
    return {
        "asked": asked,
        "usd": round(spent, 4),
        "saved_usd": round(saved, 4),
        "share_of_saved": round(spent / saved, 5) if saved else 0.0,
    }


def _counts(cases: Iterable[Case], why: Callable[[Case], str]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        counts[case.file][why(case) or ("same" if case.same else "differ")] += 1
    names = ("differ", "same", "identical", "not_looked_up")
    return {file: {name: found[name] for name in names} for file, found in counts.items()}


async def _vetoed_but_served(cases: Sequence[Case], memo: Memo) -> int:
    """How many vetoed pairs are served where the judge always says yes."""
    words = lexicon.load()
    guarded = Guarded(words, floor=-1.0)  # how near they are vetoes nothing
    served, _ = await ask_pairs(cases, memo, says_yes, policy="judged")

    def vetoed(case: Case) -> bool:
        score = float(memo.row(case.a) @ memo.row(case.b))
        judgement = guarded.judge(read(case.b, words), read(case.a, words), score)
        return not judgement.serve and not judgement.undecided

    return sum(one.hits > 0 and vetoed(one.case) for one in served)


def _never(a: str, b: str) -> bool:
    return False
