"""Known answers: which may serve others, and where they are kept."""
