"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
        policy: ``guarded``, ``judged``, ``threshold``, or the name of one that a plugin registers.
        threshold: The cosine from which the policy ``threshold`` serves.
        floor: The cosine below which the policies ``guarded`` and ``judged`` serve nothing.
        embedder: ``auto`` takes the first that is installed of ``onnx`` and
            ``sentence-transformers``; ``none`` does without; or one that a plugin registers.
        model: A path to the embedder's model; by default that of its package.
        embed_timeout: Seconds to wait for a vector before the prompt counts as a miss.
        max_candidates: How many of the nearest prompts are judged.
        ttl: Seconds for which an answer may serve other prompts.
        max_entries_per_scope: Answers kept per scope.
        max_entries: Answers mirrored in memory, over all scopes.
        data: A directory with further data files: ``opposites.txt``, ``synonyms.txt`` …
        slots: Operation → parameter (or ``parameter.key``) → tolerance, such as ``"10bp"``.
        max_audited: Served hits kept for review; 0 keeps none.
        judge_model: The model, of any provider, that the policy ``judged`` asks whether two
            prompts ask the same, through the operation ``complete``. By default none: then an
            upstream of another plugin answers the operation ``same_question``.
        judge_timeout: Seconds that the judge has at most; after that its answer is no.
        judge_cost_share: What asking the judge may cost, as a share of what the known answer cost.
        judge_time_share: How long the judge may take, as a share of what the known answer took.
        max_judged: Known answers that the judge is asked about for one prompt.
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
    judge_timeout: float = field(default=5.0, validator=validators.gt(0))
    judge_cost_share: float = field(default=0.05, validator=[validators.ge(0), validators.le(1)])
    judge_time_share: float = field(default=0.5, validator=[validators.gt(0), validators.le(1)])
    max_judged: int = field(default=1, validator=[validators.ge(1), validators.le(10)])
