"""The hint of an error about a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

_MAX_NAME = 100
"""Characters of a name that are compared: a longer text was not meant as a name."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'race'?``, or the known names where none is similar to *name*.

    Args:
        name: The name that does not exist.
        known: The names that do.
    """
    names = sorted(known)
    near = get_close_matches(name[:_MAX_NAME], names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names) or 'none'}"


def suggest_with_absent(name: str, known: Iterable[str], absent: Collection[str]) -> str:
    """Return the hint of :func:`suggest`, and the unused plugins that may bring *name*.

    Args:
        name: The name that does not exist.
        known: The names that do.
        absent: The plugins that are blocked or left out.
    """
    plugin = name.partition(".")[0]
    if plugin in absent:
        return f"plugin {plugin!r} is not in use; see block in [argo], and `argo-mw doctor`"
    hint = suggest(name, known)
    if not absent:
        return hint
    return f"{hint} Plugins that may bring it are blocked or left out: {', '.join(sorted(absent))}"
