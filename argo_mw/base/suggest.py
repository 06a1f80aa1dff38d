"""The hint of an error about a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'race'?``, or the known names where none is similar to *name*.

    Args:
        name: The name that does not exist.
        known: The names that do.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names) or 'none'}"
