"""What the cache bench measures, one module a question."""
