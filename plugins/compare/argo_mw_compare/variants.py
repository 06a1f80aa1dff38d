"""The variants: the baseline, all layers, none, some layers alone, and each layer left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from argo_mw.plugin import SLOTS

_ALONE: Final = ("cache", "similarity")
"""The layers that change something without a cache in front; the others have scenarios."""
_SLOW: Final = "cache"
_SLOW_SEEDS: Final = 3
"""Without a cache an experiment takes three times as long, and the difference is beyond doubt."""


@frozen
class Variant:
    """One way to run the workload.

    Attributes:
        name: What it is called in the table.
        layers: The layers that are on.
        baseline: Whether the original service's cache and file are used.
    """

    name: str
    layers: tuple[str, ...] = ()
    baseline: bool = False


def variants(installed: Sequence[str], *, quick: bool = False, turn: int = 0) -> list[Variant]:
    """Return the variants for the *installed* layers.

    Args:
        installed: The names of the layers.
        quick: Whether only the baseline and all layers are run.
        turn: Which of the seeds it is for; what is run once only is left out after the first.
    """
    layers = tuple(name for name in SLOTS if name in installed)
    found = [Variant("baseline", baseline=True), Variant("all", layers)]
    if quick:
        return found
    if turn == 0:
        found.append(Variant("none"))
        found += [Variant(f"+{name}", (name,)) for name in layers if name in _ALONE]
    for name in layers:
        if name != _SLOW or turn < _SLOW_SEEDS:
            found.append(Variant(f"-{name}", tuple(other for other in layers if other != name)))
    return found


def explained(name: str) -> str:
    """Return what the variant *name* is, in a sentence."""
    match name:
        case "baseline":
            return (
                "the original service: each symbol asked for alone, one upstream after the other, "
                "a plain cache of 120 s (60 s off hours) in the memory of each instance, a "
                "commit for each row on the event loop"
            )
        case "all":
            return "all layers, each with its default configuration"
        case "none":
            return (
                "the framework with every layer switched off: no cache at all, but symbols of one "
                "round travel in one request where the vendor can"
            )
        case _ if name.startswith("+"):
            return f"`{name[1:]}` alone"
        case _:
            return f"all layers but `{name[1:]}`"
