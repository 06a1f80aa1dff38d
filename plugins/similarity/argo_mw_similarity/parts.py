"""Puts the parts together that the configuration names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from argo_mw.plugin import ConfigError, Context
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embed import Embedder, OnnxEmbedder, SentenceTransformersEmbedder
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.policy import Guarded, Policy, Threshold
from argo_mw_similarity.slots import Tolerance, parse_tolerance

T = TypeVar("T")


def policy_of(config: SimilarityConfig, lexicon: Lexicon, others: Mapping[str, Policy]) -> Policy:
    """The policy that *config* names.

    Raises:
        ConfigError: There is none of that name.
    """
    own: dict[str, Policy] = {
        "guarded": Guarded(lexicon, floor=config.floor),
        "threshold": Threshold(config.threshold),
    }
    return _named("policy", config.policy, {**others, **own})


def embedder_of(config: SimilarityConfig, others: Mapping[str, Embedder]) -> Embedder | None:
    """The embedder that *config* names, ``None`` for none; not loaded yet.

    Raises:
        ConfigError: There is none of that name, or its packages are not installed.
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


def brought(context: Context, hook: str, /, **arguments: object) -> dict[str, Any]:
    """What other plugins bring by *hook*, by its own names."""
    answers = context.collect(hook, **arguments).values()
    return {k: v for one in answers if isinstance(one, Mapping) for k, v in one.items()}


def slots_of(
    config: SimilarityConfig, others: Iterable[Mapping[str, Mapping[str, object]]]
) -> dict[str, dict[str, Tolerance]]:
    """Operation → slot → tolerance; the configuration's go before those of plugins."""
    merged: dict[str, dict[str, Tolerance]] = {}
    for source in (*others, config.slots):
        for operation, slots in source.items():
            parsed = {s: parse_tolerance(t, slot=f"{operation}.{s}") for s, t in slots.items()}
            merged.setdefault(operation, {}).update(parsed)
    return merged


def _named(what: str, name: str, known: Mapping[str, T]) -> T:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    msg = f"plugins.similarity.{what} is {name!r}{hint} There are: {', '.join(sorted(known))}"
    raise ConfigError(msg)
