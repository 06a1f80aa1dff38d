"""Foundations that every other package uses: time, tasks, errors, the log."""
