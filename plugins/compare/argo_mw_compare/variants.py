"""The variants: the baseline, all layers, none, and each layer added and removed."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from argo_mw.plugin import SLOTS


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


def variants(installed: Sequence[str], *, quick: bool = False) -> list[Variant]:
    """Return the variants for the *installed* layers; *quick* leaves out the single layers."""
    layers = tuple(name for name in SLOTS if name in installed)
    found = [Variant("baseline", baseline=True), Variant("all", layers)]
    if quick:
        return found
    found.append(Variant("none"))
    found += [Variant(f"+{name}", (name,)) for name in layers]
    found += [Variant(f"-{name}", tuple(n for n in layers if n != name)) for name in layers]
    return found
