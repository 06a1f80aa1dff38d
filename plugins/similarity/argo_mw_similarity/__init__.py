"""Similarity: equivalent prompts share an answer, and different ones never do."""

from argo_mw_similarity.comparison.policy import Guarded, Judgement, Policy, Threshold
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.language.reading import Reading, read
from argo_mw_similarity.plugin import SimilarityPlugin
from argo_mw_similarity.search.embedders import Embedder

__all__ = [
    "Embedder",
    "Guarded",
    "Judgement",
    "Lexicon",
    "Policy",
    "Reading",
    "SimilarityConfig",
    "SimilarityPlugin",
    "Threshold",
    "read",
]
