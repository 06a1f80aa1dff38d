"""Similarity: equivalent prompts share an answer, and different ones never do."""

from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embedders import Embedder
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.plugin import SimilarityPlugin
from argo_mw_similarity.policy import Guarded, Judgement, Policy, Threshold
from argo_mw_similarity.reading import Reading, read

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
