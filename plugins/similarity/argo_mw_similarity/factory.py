"""Factory: the policy, the embedder and the slots that the configuration names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from argo_mw.plugin import ConfigError, Context, suggest
from argo_mw_similarity.comparison.policy import Guarded, Policy, Threshold
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.search.embedders import Embedder, OnnxEmbedder, SentenceTransformersEmbedder
from argo_mw_similarity.slots import Tolerance, parse_tolerance

T = TypeVar("T")

JUDGED = "judged"
"""The policy that asks a judge about what ``guarded`` leaves undecided."""
VERIFIED = "verified"
"""The policy that asks the model anyway until it knows how often known answers are right."""


def policy_of(config: SimilarityConfig, lexicon: Lexicon, others: Mapping[str, Policy]) -> Policy:
    """Return the policy that *config* names, of the plugin's own and *others*.

    Raises:
        ConfigError: There is no policy of that name.
    """
    own: dict[str, Policy] = {
        "guarded": Guarded(lexicon, floor=config.floor),
        JUDGED: Guarded(
            lexicon,
            floor=min(config.judge_floor, config.floor),
            serves_from=config.floor,
            name=JUDGED,
        ),
        VERIFIED: Guarded(lexicon, floor=config.floor, name=VERIFIED),
        "threshold": Threshold(config.threshold),
    }
    return _named("policy", config.policy, {**others, **own})


def embedder_of(config: SimilarityConfig, others: Mapping[str, Embedder]) -> Embedder | None:
    """Return the embedder that *config* names, not loaded yet; ``None`` for none.

    Raises:
        ConfigError: There is no embedder of that name, or its packages are not installed.
    """
    if config.embedder == "none":
        return None
    onnx = OnnxEmbedder(Path(config.model) if config.model else None)
    sentences = SentenceTransformersEmbedder(config.model)
    if config.embedder == "auto":
        if config.model:
            return onnx if config.model.endswith(".onnx") else sentences
        if onnx.available():
            return onnx
        return sentences if sentences.available() else None
    chosen = _named(
        "embedder", config.embedder, {**others, onnx.name: onnx, sentences.name: sentences}
    )
    available = getattr(chosen, "available", None)
    if available is not None and not available():
        msg = (
            f"plugins.similarity.embedder is {config.embedder!r}, whose packages are not "
            f"installed: pip install 'argo-mw-similarity[{config.embedder}]'"
        )
        raise ConfigError(msg)
    return chosen


def from_plugins(context: Context, hook: str, /, **arguments: object) -> dict[str, Any]:
    """Return what other plugins register by *hook*, by name.

    Raises:
        ConfigError: Two register something of one name.
    """
    found: dict[str, Any] = {}
    for plugin, answer in context.collect(hook, **arguments).items():
        for name, one in answer.items() if isinstance(answer, Mapping) else ():
            if name in found:
                msg = f"plugin {plugin!r} registers {name!r}, which is taken; rename it"
                raise ConfigError(msg)
            found[name] = one
    return found


def slots_of(
    config: SimilarityConfig, others: Iterable[Mapping[str, Mapping[str, object]]]
) -> dict[str, dict[str, Tolerance]]:
    """Return operation → slot → tolerance; the configuration takes precedence over *others*."""
    merged: dict[str, dict[str, Tolerance]] = {}
    for source in (*others, config.slots):
        for operation, slots in source.items():
            parsed = {s: parse_tolerance(t, slot=f"{operation}.{s}") for s, t in slots.items()}
            merged.setdefault(operation, {}).update(parsed)
    return merged


def _named(what: str, name: str, known: Mapping[str, T]) -> T:
    if name in known:
        return known[name]
    msg = f"plugins.similarity.{what} is {name!r}, which does not exist: {suggest(name, known)}"
    raise ConfigError(msg)
