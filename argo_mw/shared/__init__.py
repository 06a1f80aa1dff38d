"""Stores that instances share: the contract, the drivers that need no server, and their checks."""

from argo_mw.shared.limits import check_count, check_key, check_keys, check_ttl, check_value
from argo_mw.shared.place import Place
from argo_mw.shared.protocol import Count, Lease, Shared, Subscription
from argo_mw.shared.urls import OpenShared, open_shared

__all__ = [
    "Count",
    "Lease",
    "OpenShared",
    "Place",
    "Shared",
    "Subscription",
    "check_count",
    "check_key",
    "check_keys",
    "check_ttl",
    "check_value",
    "open_shared",
]
