"""Scope: what a public operation is made of must be public too.

An answer that tenants share must not be made of one that belongs to a tenant. The operations alone
decide that, so a call that would mix them is refused before anything is asked.
"""

from __future__ import annotations

from argo_mw.base.errors import ScopeConflict
from argo_mw.model.operation import AnyOperation


def check_scope(asking: AnyOperation, asked: AnyOperation) -> None:
    """Check that *asking* may be made of answers to *asked*.

    Raises:
        ScopeConflict: *asking* is public, and the answers to *asked* belong to a tenant.
    """
    if asking.scope == "public" and asked.scope != "public":
        msg = (
            f"{asking.name} is public, so tenants share its answers, and it asks {asked.name}, "
            "whose answers belong to the tenant that asks; nothing was asked. Declare "
            f"{asking.name} with scope='tenant'"
        )
        raise ScopeConflict(msg)
