"""Names of the extensions that the core itself gives a meaning to.

``Call.extensions`` is the only channel between layers. A plugin's own names begin with the
plugin's name and a dot.
"""

from __future__ import annotations

REFRESH = "argo.refresh"
"""True: the caller has an answer already and wants a newer one; caches skip their lookup."""

MAX_AGE = "argo.max_age"
"""Seconds, float: the caller takes no answer older than this, and none is kept longer for it."""

LINEAGE = "argo.lineage"
"""A :class:`~argo_mw.chain.lineage.Lineage` that collects the outcomes of nested calls."""

EXCLUSIVE = "argo.exclusive"
"""A :class:`~argo_mw.Middleware` that the core puts around each branch, just inside the point where
upstreams are chosen: how ``coalesce``, which stands outside of the caches, makes a *load* the only
one in the fleet without making every look-up wait for a lease."""
