"""Leave-one-out: what each layer brings to the whole, by what is different without it.

A difference counts only if it exceeds the noise of the seeds, which are compared in pairs: the same
minutes, and latencies drawn alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from attrs import asdict, frozen

from argo_mw_compare.figures import Figures
from argo_mw_compare.interval import ratio_interval

JUDGED: Final = (
    ("p99_ms", "99th percentile"),
    ("requests", "requests"),
    ("usd", "USD"),
    ("error_bp", "price error"),
)
"""Name and title of the figures by which a layer is judged; of each, less is better."""

SHOWN_BY: Final[Mapping[str, str]] = {
    "coalesce": "parallel_fetching",
    "cache": "shared_cache",
    "adaptive_ttl": "adaptive_life",
    "race": "parallel_fetching",
    "similarity": "agentic_scripts",
    "persist": "database",
}
"""The scenario that each layer was made for."""

WORTH_IT: Final[Mapping[str, str]] = {
    "coalesce": "several callers or instances ask for the same at once",
    "cache": "questions come again before their answers are old, also after a restart",
    "adaptive_ttl": "prices are read around the clock, or move more at some hours than at others",
    "race": "callers wait for vendors or models of which one may be slow, silent or down",
    "similarity": "prompts come again in other words or with slightly other figures",
    "persist": "callers wait until their answers are recorded, or ask for recorded ones",
}
"""Where each layer is worth switching on."""

_MIN_SEEDS: Final = 3
_NOTHING: Final = 0.01
"""A share below which there is no difference, however alike the seeds are."""

Verdict = Literal["better", "worse", "noise"]


@frozen
class Effect:
    """What a layer changes in one figure.

    Attributes:
        figure: The name of the figure.
        title: The figure, for people.
        ratio: The figure with all layers over the one without this layer.
        low: The least that the ratio may be.
        high: The most that the ratio may be.
        verdict: Whether the layer makes it better, worse, or neither beyond the noise.
    """

    figure: str
    title: str
    ratio: float
    low: float
    high: float
    verdict: Verdict

    @property
    def in_words(self) -> str:
        """The change, and what it may be, in percent."""
        low, high = (_percent(one) for one in (self.low, self.high))
        return f"{self.title} {_percent(self.ratio)} % ({low} to {high})"


@frozen
class LeftOut:
    """What all layers together have with one of them, and lack without it.

    Attributes:
        layer: The layer.
        seeds: How many seeds were compared.
        effects: What it changes in each figure.
    """

    layer: str
    seeds: int
    effects: Sequence[Effect]

    @property
    def pays(self) -> bool:
        """Whether it makes a figure better, beyond the noise."""
        return any(one.verdict == "better" for one in self.effects)

    @property
    def better_left_out(self) -> bool:
        """Whether it makes a figure worse, beyond the noise, and none better."""
        return not self.pays and any(one.verdict == "worse" for one in self.effects)

    @property
    def in_words(self) -> str:
        """What it brings, what it costs, and what is inside the noise."""
        return "; ".join(self._phrases()) + "."

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        judged = {"pays": self.pays, "better_left_out": self.better_left_out}
        return {**asdict(self), **judged, "met": not self.better_left_out, "words": self.in_words}

    def _phrases(self) -> Iterator[str]:
        by_verdict: dict[Verdict, list[Effect]] = {"better": [], "worse": [], "noise": []}
        for one in self.effects:
            by_verdict[one.verdict].append(one)
        if by_verdict["better"]:
            yield f"brings {', '.join(one.in_words for one in by_verdict['better'])}"
        if by_verdict["worse"]:
            yield f"costs {', '.join(one.in_words for one in by_verdict['worse'])}"
        inside = [one.title for one in by_verdict["noise"]]
        if len(inside) == len(self.effects):
            yield "no difference beyond the noise"
        elif inside:
            yield f"{', '.join(inside)}: inside the noise"
        if not self.pays and self.layer in SHOWN_BY:
            yield f"what it is for is shown by `{SHOWN_BY[self.layer]}`"


def left_out(seeds: Mapping[str, Mapping[int, Figures]]) -> Sequence[LeftOut]:
    """Return what came of leaving out each layer that was left out for three seeds or more.

    Args:
        seeds: The figures of each variant, by seed.
    """
    whole = seeds.get("all", {})
    found = []
    for variant, by_seed in seeds.items():
        if not variant.startswith("-"):
            continue
        common = sorted(whole.keys() & by_seed.keys())
        if len(common) >= _MIN_SEEDS:
            pairs = [(whole[seed], by_seed[seed]) for seed in common]
            found.append(LeftOut(variant[1:], len(common), tuple(_effects(pairs))))
    return found


def _effects(pairs: Sequence[tuple[Figures, Figures]]) -> Iterator[Effect]:
    for figure, title in JUDGED:
        values = [(getattr(one, figure), getattr(other, figure)) for one, other in pairs]
        if any(None in both for both in values):
            continue
        ratio = ratio_interval([one for one, _ in values], [other for _, other in values])
        if ratio is not None:
            verdict = _verdict(ratio.mean, ratio.low, ratio.high)
            yield Effect(figure, title, ratio.mean, ratio.low, ratio.high, verdict)


def _verdict(ratio: float, low: float, high: float) -> Verdict:
    if low <= 1 <= high or abs(ratio - 1) < _NOTHING:
        return "noise"
    return "better" if ratio < 1 else "worse"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f}".replace("-", "−")
