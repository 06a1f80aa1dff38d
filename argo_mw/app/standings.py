"""Standings: how guards stand to their upstreams, for monitoring."""

from __future__ import annotations

from collections.abc import Mapping

from argo_mw.app.upstreams import BoundUpstream
from argo_mw.base.log import Log
from argo_mw.model.guard import Guard, Standing, StandingGuard

log = Log("argo_mw")


def standings_of(upstreams: Mapping[str, BoundUpstream]) -> dict[tuple[str, str], Standing]:
    """Return how the guards of *upstreams* that say so stand, by upstream and guard."""
    found: dict[tuple[str, str], Standing] = {}
    for name, bound in upstreams.items():
        for guard in bound.asked_guards:
            standing = _standing(guard)
            if standing is not None:
                found[name, guard.name] = standing
    return found


def _standing(guard: Guard) -> Standing | None:
    if not isinstance(guard, StandingGuard):
        return None
    try:
        return guard.standing()
    except Exception as error:
        # The others are read all the same.
        log.debug("a guard cannot say how it stands", guard=guard.name, error=repr(error))
        return None
