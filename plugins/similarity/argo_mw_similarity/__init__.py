"""Similarity: an equivalent prompt is answered once."""
