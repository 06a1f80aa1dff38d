"""Layers: what a plugin puts into the chain."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol, TypeAlias, runtime_checkable

from attrs import Attribute, field, frozen

from argo_mw.base.name_lists import refuse_one_text
from argo_mw.model.call import Call
from argo_mw.model.operation import AnyOperation
from argo_mw.model.outcome import Outcome

Next: TypeAlias = Callable[[Call], Coroutine[object, object, Outcome]]
"""The rest of the chain, as a layer sees it: awaited with a call, it returns an outcome."""

Found: TypeAlias = Outcome | Coroutine[object, object, Outcome | None] | None
"""What ``find`` returns: an answer, what to wait for to get one, or ``None``."""

SLOTS = ("coalesce", "cache", "adaptive_ttl", "race", "similarity", "persist")
"""The chain's named places, from the caller inwards. Upstreams are selected inside ``race``."""

FAN_OUT = "race"


class Middleware(Protocol):
    """What a layer does to a call.

    It passes :class:`~argo_mw.Refusal`, cancellation and whatever *call_next* raised untouched,
    awaits *call_next* at most once unless its layer declares ``fans_out``, and does not keep it
    after returning. The core counts and bypasses an error of its own, unless its layer declares
    ``fail_closed``.

    A middleware may be any async function. One that is an object may have further methods,
    which the core finds by name:

    ``find(call) -> Found``
        Return what is at hand without asking an upstream: an outcome, a coroutine that returns
        an outcome or ``None`` (a call under way, a look into a store), or ``None``. The core
        tries the immediate answers of all layers first, then awaits the coroutines in the
        caller's own task, outermost first; an ``async def find`` is called only then. A call that
        enters the chain afterwards names in ``call.missed`` the layers whose coroutine found
        nothing.
    ``may_find(call) -> bool``
        Say whether an ``async def find`` may find anything now. Where it may not, no coroutine is
        made.
    ``stand_in(call) -> Outcome | None``
        Return an old answer for a caller whose time is up before a newer one has come, without
        waiting; it is served as it is, so it says in its notes that it is old.
    ``explain(call) -> str``
        Say in one line what it would do with the call now, and why.
    ``async dry_run(call) -> str``
        Say the same after it has looked where that takes waiting, such as into the shared store. It
        changes nothing, takes nothing and asks no upstream.
    ``async shadow(call, outcome)``
        Look at a call and its answer while the flag is ``shadow``; nothing that it does is served.
    ``async open()``
        Prepare. Awaited before the layer sees a call.
    ``take_over(previous)``
        Take what *previous* knows, the middleware that this one replaces because the plugin's
        configuration has changed. Called before ``open``; calls under way still use *previous*.
    ``async close()``
        Flush and release. Awaited once, after the last call; not for one that was taken over,
        whose successor owns what it had.
    """

    async def __call__(self, call: Call, call_next: Next) -> Outcome: ...


@runtime_checkable
class Finds(Protocol):
    """A middleware that may have an answer at hand."""

    def find(self, call: Call) -> Found: ...


@runtime_checkable
class MayFind(Protocol):
    """A middleware that knows, without waiting, whether waiting for its ``find`` is of use."""

    def may_find(self, call: Call) -> bool: ...


@runtime_checkable
class StandsIn(Protocol):
    """A middleware that may have an old answer."""

    def stand_in(self, call: Call) -> Outcome | None: ...


@runtime_checkable
class Explains(Protocol):
    """A middleware that says what it would do."""

    def explain(self, call: Call) -> str: ...


@runtime_checkable
class DryRuns(Protocol):
    """A middleware that looks further to say what it would do."""

    def dry_run(self, call: Call) -> Awaitable[str]: ...


@runtime_checkable
class Shadows(Protocol):
    """A middleware that can look on without serving."""

    def shadow(self, call: Call, outcome: Outcome) -> Awaitable[None]: ...


@runtime_checkable
class Opens(Protocol):
    """A middleware that prepares before the first call."""

    def open(self) -> Awaitable[None]: ...


@runtime_checkable
class TakesOver(Protocol):
    """A middleware that goes on with what the one before it knows."""

    def take_over(self, previous: Middleware) -> None: ...


@runtime_checkable
class Closes(Protocol):
    """A middleware that has something to flush or release."""

    def close(self) -> Awaitable[None]: ...


Serves: TypeAlias = Callable[[AnyOperation], bool]


def serves_everything(operation: AnyOperation) -> bool:
    """Serve every operation."""
    return True


_ASYNC = ("dry_run", "shadow", "open", "close")
_PLAIN = ("may_find", "stand_in", "explain", "take_over")
_EITHER = ("find",)


def _are_names(layer: Layer, names: Attribute[tuple[str, ...]], given: object) -> None:
    refuse_one_text(f"{names.name} of layer {layer.name!r}", given)


@frozen(eq=False)
class Layer:
    """A middleware and its place in the chain.

    Attributes:
        name: The plugin's name; a plugin with several layers names the others ``PLUGIN.PART``.
            All layers of a plugin share its flag.
        middleware: What it does; its further methods say what else it can do.
        slot: The named place that it takes, one of :data:`SLOTS`; "" for a place of its own,
            given by *before* and *after*.
        before: Layers or slots that it stands outside of, nearer to the caller.
        after: Layers or slots that it stands inside of, nearer to the upstream.
        requires: Layers that must be in the chain too.
        serves: Which operations it is for.
        fans_out: Whether it may await ``call_next`` several times.
        transparent: Whether an answer that an inner layer has at hand may pass this layer by.
            A layer that has no ``find`` and is not transparent sees every answer, so it ends
            the search for answers at hand.
        fail_closed: Whether a call that it serves is refused with
            :class:`~argo_mw.LayerUnavailable` when the layer itself fails, returns no outcome, or
            is left out because its plugin failed, at its ``open`` for one: for a layer that
            forbids, such as an embargo. Other layers are then bypassed. Where its flag is off or
            in shadow, it refuses nothing. It ends the search for answers at hand even if it has a
            ``find``, unless it is transparent.
        find_timeout: Seconds within which a coroutine of its ``find`` ends by its own means. A
            call that has more time left sets no timer for it, which saves 3 µs.
    """

    name: str
    middleware: Middleware = field()
    slot: str = ""
    before: tuple[str, ...] = field(default=(), validator=_are_names)
    after: tuple[str, ...] = field(default=(), validator=_are_names)
    requires: tuple[str, ...] = field(default=(), validator=_are_names)
    serves: Serves = serves_everything
    fans_out: bool = False
    transparent: bool = False
    fail_closed: bool = False
    find_timeout: float = math.inf

    @middleware.validator
    def _is_a_middleware(self, _: object, middleware: object) -> None:
        kind = type(middleware).__name__
        wrong = ""
        if isinstance(middleware, type):
            wrong = f"its middleware is the class {middleware.__name__}; make an instance of it"
        elif not callable(middleware):
            wrong = f"its middleware, a {kind}, cannot be called; write `async def __call__`"
        for name in (*_ASYNC, *_PLAIN, *_EITHER):
            method = getattr(middleware, name, None)
            if method is not None and not wrong and (fault := _fault(name, method)):
                wrong = f"{kind}.{name} {fault}"
        if wrong:
            msg = f"layer {self.name!r}: {wrong}"
            raise TypeError(msg)

    @property
    def flag(self) -> str:
        """The flag that switches it: its plugin's name."""
        return self.name.partition(".")[0]


def _fault(name: str, method: object) -> str:
    """Return what is wrong with *method* as the method called *name*, or ""."""
    if not callable(method):
        return "is not a method"
    if name in _ASYNC and not inspect.iscoroutinefunction(method):
        return "must be an async method: write `async def`"
    if name in _PLAIN and inspect.iscoroutinefunction(method):
        return "must be a plain method: write `def`"
    return ""
