"""Differences between the arms, block by block, at every length of block that may be needed.

What a block tells is kept as a pair: *x*, the weighted difference of the arms, and *w*, what it
would be were the effect 1. Pairs of neighbouring blocks add up, so the sums for blocks of 2, 4, 8
… times the length cost nothing but their own numbers. The length to judge by is the shortest at
which a block tells nothing of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from argo_mw_rollout.statistics.blocks import Block
from argo_mw_rollout.statistics.metrics import METRICS
from argo_mw_rollout.statistics.sequence import Numbers, Sums
from argo_mw_rollout.statistics.subjects import RELATIVE, Baseline, of, per

LENGTHS: Final = 9
"""Lengths of block that are kept: 1, 2, 4 … 256 of those that come in."""

_ENOUGH: Final = 16
"""Blocks that tell something of the correlation of neighbours."""

_NEEDED: Final = np.array([5.0 if m.per == "calls" else 0.2 for m in METRICS.values()])
"""Usual calls in each arm that make a block; of audits, each one that is there."""

_ALL: Final = np.arange(len(METRICS))


@frozen(eq=False)
class Chosen:
    """The sums at the lengths of block that were chosen.

    Attributes:
        sums: The sums.
        blocks: How many blocks there are, by metric.
        length: How many of those that came in make one of them.
        spread: How many times larger the variance is than the blocks show, because each still tells
            a little of the next.
    """

    sums: Sums
    blocks: NDArray[np.int64]
    length: NDArray[np.int64]
    spread: Numbers


class Differences:
    """Adds up the differences between the arms of one step.

    Attributes:
        weight: The sum of the weights, by metric.
    """

    def __init__(self) -> None:
        size = (LENGTHS, len(METRICS))
        self._sums = np.zeros((5, *size))
        self._neighbours = np.zeros((3, *size))
        self._last = np.zeros((2, *size))
        self._open = np.zeros((2, *size))
        self._blocks = np.zeros(size, dtype=np.int64)
        self._pending = np.zeros((4, len(METRICS)))
        self.weight = np.zeros(len(METRICS))

    def add(self, block: Block, baseline: Baseline) -> None:
        """Add *block*, each subject of which is compared with its own *baseline*.

        A metric whose arms have too little in this block waits for the next ones.
        """
        pending = self._pending
        for place, arm in ((0, block.treatment), (2, block.control)):
            counted, shares = of(arm.sums), per(arm.sums)
            usual = baseline.of(arm.subjects) * shares
            # Errors come to all alike, the rest in proportion to what is usual for a subject.
            pending[place] += np.where(RELATIVE, counted, counted - usual).sum(axis=0)
            pending[place + 1] += np.where(RELATIVE, usual, shares).sum(axis=0)
        sizes = pending[[1, 3]] / np.where(RELATIVE, baseline.mean, 1.0)
        ready = sizes.min(axis=0) >= _NEEDED
        if not ready.any():
            return
        safe = np.where(ready, pending[[1, 3]], 1.0)
        treatment, control = pending[0] / safe[0], pending[2] / safe[1]
        weight = np.where(ready, sizes[0] * sizes[1] / np.maximum(sizes.sum(axis=0), 1e-300), 0.0)
        unit = np.where(baseline.nothing, np.maximum(control, 1.0), control)
        unit = np.where(RELATIVE, unit, 1.0)
        self.weight += weight
        self._carry(weight * (treatment - control), weight * unit, ready)
        pending[:, ready] = 0.0

    def _carry(self, x: Numbers, w: Numbers, done: NDArray[np.bool_]) -> None:
        """Add the pair to the shortest blocks, and wherever that ends one, to the longer ones."""
        terms = np.empty((5, len(METRICS)))
        for length in range(LENGTHS):
            terms[0], terms[1] = x * done, w * done
            np.multiply(terms[0], terms[0], out=terms[2])
            np.multiply(terms[0], terms[1], out=terms[3])
            np.multiply(terms[1], terms[1], out=terms[4])
            self._sums[:, length] += terms
            self._beside(length, terms[0], terms[1], done)
            self._blocks[length] += done
            pair = self._open[:, length]
            pair += terms[:2]
            done = done & (self._blocks[length] % 2 == 0)
            if not done.any():
                return
            x, w = pair.copy()
            pair[:, done] = 0.0

    def _beside(self, length: int, x: Numbers, w: Numbers, done: NDArray[np.bool_]) -> None:
        """Add the products of a block and the one before it, of which their correlation is made."""
        x_before, w_before = last = self._last[:, length]
        products = np.stack([x_before * x, x_before * w + w_before * x, w_before * w])
        self._neighbours[:, length] += products
        last[:, done] = x[done], w[done]

    def chosen(self) -> Chosen:
        """Return the sums at the shortest length at which blocks tell nothing of each other.

        What a block still tells of the next is measured by the correlation of neighbours. While
        that is above what chance makes of it, blocks of twice the length are taken; what is left
        of it widens the interval.
        """
        effect = Sums(*self._sums[:, 0]).effect()
        effect = np.where(np.isfinite(effect), effect, 0.0)
        counts = self._blocks
        _, _, xx, xw, ww = self._sums
        spread = np.maximum(xx - 2 * effect * xw + effect**2 * ww, 0.0)
        both, crossed, weights = self._neighbours
        joint = both - effect * crossed + effect**2 * weights
        told = np.zeros_like(spread)
        np.divide(joint, spread, out=told, where=(spread > 0) & (counts >= _ENOUGH))
        error = 1.0 / np.sqrt(np.maximum(counts, 1))
        at = np.zeros(len(METRICS), dtype=np.int64)
        for length in range(LENGTHS - 1):
            dependent = told[length] > 2.0 * error[length]
            at = np.where((at == length) & dependent, length + 1, at)
        # A little correlation may be chance, until shorter blocks have shown that there is some.
        chance = np.where(at == 0, error[0], 0.0)
        return Chosen(
            Sums(*self._sums[:, at, _ALL]),
            counts[at, _ALL],
            2**at,
            1.0 + 2.0 * np.maximum(told[at, _ALL] - chance, 0.0),
        )

    def as_data(self) -> dict[str, object]:
        """Return it as plain data."""
        return {
            "sums": self._sums.tolist(),
            "neighbours": self._neighbours.tolist(),
            "last": self._last.tolist(),
            "open": self._open.tolist(),
            "blocks": self._blocks.tolist(),
            "pending": self._pending.tolist(),
            "weight": self.weight.tolist(),
        }

    @classmethod
    def of_data(cls, data: Mapping[str, object]) -> Differences:
        """Return the differences that *data* describes."""
        made = cls()
        for name in ("sums", "neighbours", "last", "open", "blocks", "pending"):
            old = getattr(made, f"_{name}")
            setattr(made, f"_{name}", np.array(data[name], dtype=old.dtype).reshape(old.shape))
        made.weight = np.array(data["weight"], dtype=np.float64)
        return made
