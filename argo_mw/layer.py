"""Layers: what a plugin puts into the chain."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

from attrs import frozen

from argo_mw.call import Call
from argo_mw.operation import Operation
from argo_mw.outcome import Outcome

Next = Callable[[Call], Coroutine[object, object, Outcome]]
"""The rest of the chain, as a layer sees it: awaited with a call, it answers with an outcome."""

SLOTS = ("coalesce", "cache", "adaptive_ttl", "race", "similarity", "persist")
"""The chain's named places, from the caller inwards. Upstreams are chosen just inside ``race``."""

FAN_OUT = "race"


class Middleware(Protocol):
    """What a layer does to a call.

    It passes :class:`~argo_mw.errors.Refusal`, cancellation and whatever *call_next* raised
    untouched, awaits *call_next* at most once unless its layer declares ``fans_out``, and does
    not keep it after returning. An error of its own is counted and bypassed.
    """

    async def __call__(self, call: Call, call_next: Next) -> Outcome: ...


Peek = Callable[[Call], Outcome | None]
Lookup = Callable[[Call], Coroutine[object, object, Outcome | None] | None]
Explain = Callable[[Call], str]
Shadow = Callable[[Call, Outcome], Awaitable[None]]
Serves = Callable[[Operation], bool]


def serves_everything(operation: Operation) -> bool:
    """A layer that serves every operation."""
    return True


@frozen(eq=False)
class Layer:
    """A middleware and its place in the chain.

    Attributes:
        name: The plugin's name; also its flag and its metric label.
        middleware: What it does.
        slot: The named place it takes, one of :data:`SLOTS`; "" for a place of its own, given
            by *before* and *after*.
        before: Layers or slots that it stands outside of, nearer to the caller.
        after: Layers or slots that it stands inside of, nearer to the upstream.
        requires: Layers that must be in the chain too.
        serves: Which operations it is for.
        fans_out: Whether it may await ``call_next`` several times.
        peek: An answer that needs no waiting, or ``None``.
        lookup: What to wait for to get an answer without asking an upstream: a look into a
            store, a call under way; ``None`` when there is nothing to wait for. It is tried
            after all peeks, in the caller's own task, before the chain is entered; whoever
            finds nothing leaves the call to the middleware.
        lookup_timeout: Seconds after which its lookups give up by themselves. Callers who have
            longer need no timer of their own for them.
        peek_through: Whether a peek or a lookup may pass this layer by, because it does nothing
            to an answer that is known already.
        explain: What it would do with a call now and why, in one line.
        shadow: Awaited, in a task of its own, with a call that came to the layer's place and
            the answer that it got, while the flag is in the state ``shadow``. It serves nothing;
            a layer without it cannot be in that state.
    """

    name: str
    middleware: Middleware
    slot: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    serves: Serves = serves_everything
    fans_out: bool = False
    peek: Peek | None = None
    lookup: Lookup | None = None
    lookup_timeout: float = math.inf
    peek_through: bool = False
    explain: Explain | None = None
    shadow: Shadow | None = None
