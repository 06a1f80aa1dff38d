"""The summary of what was counted: what was served, how often it was wrong, what the judge cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from attrs import asdict, frozen

from argo_mw_similarity.stats import NANO, RIGHT, WRONG


@frozen
class Summary:
    """What was counted, put together.

    Attributes:
        served: How many answers served, by what made them equivalent.
        missed: Prompts to which nothing was near.
        refused: Prompts to which something was near that may not serve.
        vetoes: How often each veto spoke against the nearest prompt.
        judge: How often the judge was asked, and said yes and no.
        saved_usd: What the served answers cost in US dollars when they were made, as far as that is
            known: so much was saved, before what the judge cost.
        judge_usd: What the judge cost in US dollars, as far as its prices are known.
        unpriced: Questions to the judge whose price is not known.
        checked: By what made them equivalent, how many served answers that were checked were
            right and wrong; "" for all together.
    """

    served: Mapping[str, int]
    missed: int
    refused: int
    vetoes: Mapping[str, int]
    judge: Mapping[str, int]
    saved_usd: float
    judge_usd: float
    unpriced: int
    checked: Mapping[str, ErrorRate]

    @classmethod
    def of(cls, totals: Mapping[str, int]) -> Summary:
        """Return what *totals* come to."""
        judge = _under("judge:", totals)
        return cls(
            served=_under("served:", totals),
            missed=totals.get("missed", 0),
            refused=totals.get("refused", 0),
            vetoes=_under("veto:", totals),
            judge={name: judge.get(name, 0) for name in ("asked", "yes", "no")},
            saved_usd=totals.get("saved:nano_usd", 0) / NANO,
            judge_usd=judge.get("nano_usd", 0) / NANO,
            unpriced=judge.get("unpriced", 0),
            checked=_checked(_under(RIGHT, totals), _under(WRONG, totals)),
        )

    def as_dict(self) -> dict[str, object]:
        """Return the summary as plain data for JSON."""
        return {**asdict(self), "checked": {by: one.as_dict() for by, one in self.checked.items()}}

    def lines(self) -> Iterator[str]:
        """Yield the summary in lines for people."""
        yield f"served   {sum(self.served.values()):,}"
        yield from (f"         {count:,} by {why}" for why, count in _by_count(self.served))
        yield f"saved    USD {self.saved_usd:.4f}"
        yield f"refused  {self.refused:,}: like a known prompt, but not the same question"
        yield from (f"         {count:,} by {veto}" for veto, count in _by_count(self.vetoes))
        yield f"missed   {self.missed:,}: like no known prompt"
        if self.judge["asked"]:
            more = f" + {self.unpriced:,} unknown" if self.unpriced else ""
            said = f"{self.judge['yes']:,} yes, {self.judge['no']:,} no"
            yield f"judge    {self.judge['asked']:,} asked: {said}; USD {self.judge_usd:.4f}{more}"
        if not self.checked:
            yield "error    nothing was checked; `argo-mw similarity audit` lists what was served"
        for by, one in self.checked.items():
            yield f"error    {one}, of what was served by {by}" if by else f"error    {one}"


@frozen
class ErrorRate:
    """The share of wrong ones among served answers that were checked.

    Attributes:
        wrong: How many were wrong.
        checked: How many were checked, at least one.
    """

    wrong: int
    checked: int

    def __str__(self) -> str:
        low, high = self.interval
        share = self.wrong / self.checked
        return (
            f"{share:.2%} ({low:.2%} to {high:.2%} at 95 %): "
            f"{self.wrong:,} wrong of {self.checked:,} checked"
        )

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval for the share, at 95 %."""
        return wilson(self.wrong, self.checked)

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data for JSON."""
        share = self.wrong / self.checked
        return {**asdict(self), "share": share, "interval_95": list(self.interval)}


def _checked(right: Mapping[str, int], wrong: Mapping[str, int]) -> dict[str, ErrorRate]:
    counts = {by: (wrong.get(by, 0), right.get(by, 0)) for by in sorted({*right, *wrong})}
    if not counts:
        return {}
    counts = {"": (sum(wrong.values()), sum(right.values())), **counts}
    return {by: ErrorRate(bad, bad + good) for by, (bad, good) in counts.items()}


def _under(prefix: str, totals: Mapping[str, int]) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count
        for name, count in sorted(totals.items())
        if name.startswith(prefix)
    }


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval for the share of *successes* among *trials*."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.96
    share = successes / trials
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
