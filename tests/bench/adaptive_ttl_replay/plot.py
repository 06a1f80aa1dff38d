"""The plot: error against calls, for every policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

_COLOURS = {"fixed": "#888888", "multipliers": "#c05020", "error_budget": "#1f6fb4"}


@frozen
class Point:
    """One policy at one budget.

    Attributes:
        policy: Its name.
        share: Fetches per read.
        error: The root mean squared error of what was served, in bp.
    """

    policy: str
    share: float
    error: float


def draw(points: Sequence[Point], path: Path) -> None:
    """Write *path* with ``.png`` and ``.svg``."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "argo-mw"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2))
    for policy in dict.fromkeys(point.policy for point in points):
        own = sorted((p for p in points if p.policy == policy), key=lambda p: p.share)
        shares, errors = [100 * p.share for p in own], [p.error for p in own]
        axes.plot(shares, errors, "o-", color=_COLOURS.get(policy), label=policy)
    axes.set_xlabel("fetches per 100 reads")
    axes.set_ylabel("rms error of served prices, bp")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=150)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)
