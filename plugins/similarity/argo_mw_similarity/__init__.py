"""Similarity: an equivalent prompt is answered once, and a different one never gets its answer."""

from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embed import Embedder
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.plugin import SimilarityPlugin
from argo_mw_similarity.policy import Guarded, Policy, Threshold, Verdict
from argo_mw_similarity.reading import Reading, read

__all__ = [
    "Embedder",
    "Guarded",
    "Lexicon",
    "Policy",
    "Reading",
    "SimilarityConfig",
    "SimilarityPlugin",
    "Threshold",
    "Verdict",
    "read",
]
