"""Scope: what a public operation is made of must be public too.

An answer that tenants share must not be made of one that belongs to a tenant. The operations alone
decide that, so a call that would mix them is refused before anything is asked.

Upstreams ask on behalf of a call that they name. A function that is wrapped has no call to name, so
what it asks is attributed to the call that it answers, by a context variable that is set around it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from attrs import define

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


@define(eq=False)
class _Answering:
    """A wrapped function at work.

    Attributes:
        application: Whose call it answers: one function may ask another application.
        call: The call, or ``None`` once it is answered: tasks that outlive the function keep its
            context.
        outer: The function that was at work around it.
    """

    application: object
    call: Call | None
    outer: _Answering | None


_answering: ContextVar[_Answering | None] = ContextVar("argo_mw_answering", default=None)


@contextmanager
def answering(application: object, call: Call) -> Generator[None]:
    """Attribute what is asked of *application* within to *call*."""
    own = _Answering(application, call, _answering.get())
    token = _answering.set(own)
    try:
        yield
    finally:
        own.call = None
        _answering.reset(token)


def call_being_answered(application: object) -> Call | None:
    """Return the call of *application* that a wrapped function answers here, if any."""
    found = _answering.get()
    while found is not None and (found.application is not application or found.call is None):
        found = found.outer
    return None if found is None else found.call
