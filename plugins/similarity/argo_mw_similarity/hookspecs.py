"""The hooks that other plugins may implement for this one, marked ``optionalhook=True``."""

from __future__ import annotations

from collections.abc import Mapping

from argo_mw.plugin import Context, hookspec
from argo_mw_similarity.comparison.policy import Policy
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.search.embedders import Embedder


@hookspec
def similarity_embedders(config: SimilarityConfig, context: Context) -> Mapping[str, Embedder]:  # type: ignore[empty-body]
    """Return further embedders by name; the one that ``embedder`` names is loaded."""


@hookspec
def similarity_policies(config: SimilarityConfig, lexicon: Lexicon) -> Mapping[str, Policy]:  # type: ignore[empty-body]
    """Return further policies by name; the one that ``policy`` names decides."""


@hookspec
def similarity_slots() -> Mapping[str, Mapping[str, object]]:  # type: ignore[empty-body]
    """Return operation → parameter, or ``parameter.key`` → tolerance, for templated operations.

    A slot in the configuration takes precedence.
    """
