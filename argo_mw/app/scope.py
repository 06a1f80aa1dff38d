"""Scope: what a public operation is made of must be public too.

An answer that tenants share must not be made of one that belongs to a tenant. The operations alone
decide that, so a call that would mix them is refused before anything is asked.

Upstreams ask on behalf of a call that they name. A function that is wrapped has no call to name, so
what it asks is attributed to the call that it answers, by a context variable that is set around it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TypeAlias

from argo_mw.base.errors import ScopeConflict
from argo_mw.model.call import Call
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


class WrappedCalls:
    """The calls of one application that wrapped functions are answering.

    Functions set it by hand, without a context manager: each of their requests pays for it.

    Attributes:
        current: The call that is being answered here, and the same of the function around it.
        active: All of them. Tasks that outlive a function keep its context, though not its call.
    """

    __slots__ = ("active", "current")

    def __init__(self) -> None:
        self.current: ContextVar[_Answering | None] = ContextVar("argo_mw_answering", default=None)
        self.active: set[Call] = set()

    def here(self) -> Call | None:
        """Return the call that a wrapped function answers here, if any."""
        found = self.current.get()
        while found is not None and found[0] not in self.active:
            found = found[1]
        return None if found is None else found[0]


_Answering: TypeAlias = "tuple[Call, _Answering | None]"
