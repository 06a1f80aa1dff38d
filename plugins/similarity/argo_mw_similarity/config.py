"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import field, frozen, validators

from argo_mw.plugin import Shown
from argo_mw_similarity.slots import parse_tolerance


def _tolerances(_: object, __: object, value: Mapping[str, Mapping[str, object]]) -> None:
    for operation, slots in value.items():
        for slot, tolerance in slots.items():
            parse_tolerance(tolerance, slot=f"{operation}.{slot}")


@frozen
class SimilarityConfig:
    """The table ``[plugins.similarity]``.

    Attributes:
        policy: ``guarded``, ``judged``, ``verified``, ``threshold``, or the name of one that a
            plugin registers.
        threshold: The cosine from which the policy ``threshold`` serves.
        floor: The cosine below which only ``threshold`` serves by itself.
        embedder: ``auto`` takes ``onnx`` or ``sentence-transformers``, whichever is installed;
            ``none`` uses no embedder; or the name of one that a plugin registers.
        model: A path to the embedder's model; by default that of its package.
        embed_timeout: Seconds to wait for a vector before the prompt counts as a miss.
        max_candidates: How many of the nearest prompts are considered.
        ttl: Seconds for which an answer may serve other prompts.
        max_entries_per_scope: Answers kept per scope.
        max_entries: Answers, verdicts and scopes mirrored in memory, over all scopes.
        data: A directory with further data files: ``opposites.txt``, ``synonyms.txt`` …
        slots: Operation → parameter (or ``parameter.key``) → tolerance, such as ``"10bp"``.
        max_audited: Served hits kept for review; 0 keeps none.
        judge_model: The model, of any provider, that the policy ``judged`` asks whether two
            prompts ask the same, through the operation ``complete``. By default none: then an
            upstream of another plugin answers the operation ``same_question``.
        judge_floor: The cosine from which the policy ``judged`` asks the judge.
        judge_timeout: The longest that the judge may take, in seconds; after that its answer is no.
        judge_cost_share: The most that asking the judge may cost, as a share of what the known
            answer cost.
        judge_time_share: The longest that the judge may take, as a share of what the known answer
            took.
        max_judged: The most known answers about which the judge is asked for one prompt.
        max_error: The largest expected share of wrong answers among those that the policy
            ``verified`` serves.
        compare: How ``verified`` decides whether a known answer was right when its text differs
            from the new one: ``judge`` asks whether the prompts ask the same, and with ``exact``
            the known answer counts as wrong.
        judge_error: The measured share of the judge's verdicts that are wrong; with ``verified``,
            *max_error* must not be below it.
        check_share: The share of served answers that are checked in the background by asking the
            model too, under any policy; the policy ``verified`` checks at least one in a hundred.
    """

    policy: str = "guarded"
    threshold: float = field(default=0.95, validator=[validators.ge(-1.0), validators.le(1.0)])
    floor: float = field(default=0.7, validator=[validators.ge(-1.0), validators.le(1.0)])
    embedder: str = "auto"
    model: Shown = ""
    embed_timeout: float = field(default=0.5, validator=validators.gt(0))
    max_candidates: int = field(default=5, validator=[validators.ge(1), validators.le(100)])
    ttl: float = field(default=3600.0, validator=validators.gt(0))
    max_entries_per_scope: int = field(default=10_000, validator=validators.ge(1))
    max_entries: int = field(default=100_000, validator=validators.ge(1))
    data: Path | None = None
    slots: Mapping[str, Mapping[str, str]] = field(factory=dict, validator=_tolerances)
    max_audited: int = field(default=500, validator=[validators.ge(0), validators.le(100_000)])
    judge_model: Shown = ""
    judge_floor: float = field(default=0.6, validator=[validators.ge(-1.0), validators.le(1.0)])
    judge_timeout: float = field(default=5.0, validator=validators.gt(0))
    judge_cost_share: float = field(default=0.05, validator=[validators.ge(0), validators.le(1)])
    judge_time_share: float = field(default=0.5, validator=[validators.gt(0), validators.le(1)])
    max_judged: int = field(default=1, validator=[validators.ge(1), validators.le(10)])
    max_error: float = field(default=0.02, validator=[validators.gt(0), validators.lt(1)])
    compare: Literal["judge", "exact"] = "judge"
    judge_error: float = field(default=0.01, validator=[validators.ge(0), validators.lt(1)])
    check_share: float = field(default=0.0, validator=[validators.ge(0), validators.le(1)])

    def __attrs_post_init__(self) -> None:
        """Check that the bound of the policy ``verified`` can be kept.

        Raises:
            ValueError: The judge by whom answers are compared is wrong more often than that.
        """
        by_judge = self.policy == "verified" and self.compare == "judge"
        if by_judge and self.max_error < self.judge_error:
            msg = (
                f"max_error is {self.max_error}, less than judge_error, {self.judge_error}: by "
                "verdicts that are wrong so often it cannot be kept; allow for it, or set "
                "compare = 'exact'"
            )
            raise ValueError(msg)
