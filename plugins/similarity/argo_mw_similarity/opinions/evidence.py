"""Evidence: how often answers served by score, pooled over the entries of a tenant's operation.

Pairs are counted by hundredths of the score, in the shared store, so that instances learn together
and a restart forgets nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Literal, get_args

import numpy as np
from attrs import define, field

from argo_mw.plugin import Context, SharedUnavailable, fingerprint
from argo_mw_similarity.opinions.curve import Curve, Floats, fit
from argo_mw_similarity.shared_counts import SharedCounts

Kind = Literal["clear", "open"]
"""Of which kind a pair is: the policy ``guarded`` serves it, or leaves it undecided."""

_PREFIX: Final = "similarity:learnt:"
_TTL: Final = 90 * 86400.0
_REFRESH: Final = 60.0
"""Seconds after which what other instances have learnt is read again."""
_MAX_POOLS: Final = 1_000
_BINS: Final = 101
_SCORES: Floats = np.arange(_BINS) / 100
_KNOWN: Mapping[Kind, tuple[float, float]] = {"clear": (29.7, 0.3), "open": (0.0, 0.0)}
"""Right and wrong pairs that each kind begins with, at the usual score of what ``guarded`` serves:
so little are its figures on other pairs than a tenant's own trusted."""
_USUAL: Final = 90
_REFIT: Final = 0.02
"""The growth of the evidence after which a curve is fitted anew."""


@define
class Evidence:
    """The pairs of one kind.

    Attributes:
        right: How many pairs were right, by hundredths of the score.
        wrong: How many were wrong.
        began: How many of them it begins with, which nobody has seen.
    """

    right: Floats = field(factory=lambda: np.zeros(_BINS))
    wrong: Floats = field(factory=lambda: np.zeros(_BINS))
    _curve: Curve | None = field(default=None, init=False)
    _fitted: float = field(default=0.0, init=False)

    began: float = 0.0

    @property
    def pairs(self) -> float:
        """How many pairs there are, with those that it begins with."""
        return float(self.right.sum() + self.wrong.sum())

    @property
    def seen(self) -> float:
        """How many pairs were seen."""
        return self.pairs - self.began

    @property
    def curve(self) -> Curve:
        """The curve through the pairs."""
        pairs = self.pairs
        if self._curve is None or abs(pairs - self._fitted) > _REFIT * self._fitted:
            self._curve, self._fitted = fit(_SCORES, self.right, self.wrong), pairs
        return self._curve

    def near(self, score: float) -> float:
        """Return how many pairs have about *score*."""
        at = bin_of(score)
        part = slice(max(0, at - 2), at + 3)
        return float(self.right[part].sum() + self.wrong[part].sum())


class Pools:
    """The evidence of each pool, as far as it was needed.

    Args:
        context: Where the shared store comes from.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts = SharedCounts(context, lambda name: _PREFIX + name, ttl=_TTL)
        self._pools: OrderedDict[str, tuple[float, dict[Kind, Evidence]]] = OrderedDict()
        self.close = self._counts.close

    async def evidence(self, pool: str, kind: Kind) -> Evidence:
        """Return what is known of *kind* in *pool*."""
        now = self._context.clock.monotonic()
        known = self._pools.get(pool)
        if known is None or now - known[0] > _REFRESH:
            known = self._pools[pool] = now, await self._read(pool, known)
            while len(self._pools) > _MAX_POOLS:
                self._pools.popitem(last=False)
        self._pools.move_to_end(pool)
        return known[1][kind]

    def add(self, pool: str, kind: Kind, score: float, *, right: bool) -> None:
        """Add a pair of *score*, which was *right* or not."""
        at = bin_of(score)
        self._counts.count(_name(pool, kind, right=right, at=at))
        if pool in self._pools:
            evidence = self._pools[pool][1][kind]
            (evidence.right if right else evidence.wrong)[at] += 1

    async def _read(
        self, pool: str, known: tuple[float, dict[Kind, Evidence]] | None
    ) -> dict[Kind, Evidence]:
        """Return what the fleet knows; what is known here while the store is away."""
        names = [
            (kind, right, at, _PREFIX + _name(pool, kind, right=right, at=at))
            for kind in get_args(Kind)
            for right in (True, False)
            for at in range(_BINS)
        ]
        try:
            await self._counts.flush()
            values = await self._context.shared.get_many([key for *_, key in names])
        except SharedUnavailable:
            return _beginning() if known is None else known[1]
        found = _beginning()
        for (kind, right, at, _), value in zip(names, values, strict=True):
            if value is not None and value.isdigit():
                evidence = found[kind]
                (evidence.right if right else evidence.wrong)[at] += int(value)
        return found


def pool_of(tenant: str, operation: str, upstream: str | None) -> str:
    """Return the name of the pool that a call belongs to: nothing is learnt across tenants."""
    return fingerprint([tenant, operation, upstream], name="pool")


def bin_of(score: float) -> int:
    """Return the hundredth that *score* belongs to."""
    return max(0, min(_BINS - 1, round(score * 100)))


def _beginning() -> dict[Kind, Evidence]:
    found: dict[Kind, Evidence] = {}
    for kind in get_args(Kind):
        evidence = found[kind] = Evidence()
        evidence.right[_USUAL], evidence.wrong[_USUAL] = _KNOWN[kind]
        evidence.began = sum(_KNOWN[kind])
    return found


def _name(pool: str, kind: Kind, *, right: bool, at: int) -> str:
    return f"{pool}:{kind}:{'right' if right else 'wrong'}:{at}"
