"""Events: one typed stream of what happens, for logs, metrics and rollout.

Emitters ask ``if events:`` before they build an event, so that unobserved events cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar, get_args

from msgspec import Struct

from argo_mw.base.errors import ConfigError
from argo_mw.base.log import Log
from argo_mw.model.call import Call
from argo_mw.model.charge import Charge
from argo_mw.model.operation import Kind
from argo_mw.model.outcome import NO_COST, Attempt, Cost, Outcome

log = Log("argo_mw")


class CallEnded(Struct, frozen=True):
    """A call ended in an answer or an error.

    Attributes:
        call: The question.
        latency: Seconds that the caller waited.
        outcome: The answer, or ``None``.
        error: The error, or ``None``.
        at_hand: Whether a layer served the answer, or refused the call, without waiting.
        arms: The flag arms that this call was in, by flag: ``treatment`` or ``control``.
    """

    call: Call
    latency: float
    outcome: Outcome | None = None
    error: BaseException | None = None
    at_hand: bool = False
    arms: tuple[tuple[str, str], ...] = ()


class AttemptEnded(Struct, frozen=True):
    """One try at one upstream ended.

    Attributes:
        call: The question, bound to its upstream.
        attempt: How it went.
    """

    call: Call
    attempt: Attempt


class RequestSent(Struct, frozen=True):
    """A request went out to an upstream.

    Attributes:
        upstream: Its name.
        operation: The operation's name.
        calls: How many calls it answers; 0 for a further page of an answer.
    """

    upstream: str
    operation: str
    calls: int


class RequestSettled(Struct, frozen=True):
    """The cost of a request is known; emitted once for each request that was sent.

    It is emitted after the request's guards have settled; for a streamed answer, at the end of the
    stream.

    Attributes:
        upstream: The upstream's name.
        priced: Whether its requests cost money or a scarce quota.
        charges: What each of its calls cost, in their order.
    """

    upstream: str
    priced: bool
    charges: tuple[Charge, ...]


class LayerActed(Struct, frozen=True):
    """A layer did something worth counting.

    Attributes:
        layer: Its name.
        action: What it did: ``hit``, ``miss``, ``stale``, ``store``, ``joined`` …
        call: The question, if there is one.
        detail: More about it.
    """

    layer: str
    action: str
    call: Call | None = None
    detail: str = ""


class LayerBypassed(Struct, frozen=True):
    """A layer failed and was bypassed.

    Attributes:
        layer: Its name.
        call: The question.
        error: What it raised.
    """

    layer: str
    call: Call
    error: BaseException


class Shadowed(Struct, frozen=True):
    """A layer in shadow saw a call and its answer, and reports what it would have done.

    Attributes:
        layer: Its name.
        call: The question.
        would_hit: Whether it would have answered, so that no request would have been sent for it.
        distance: How far the answer that it would have given is from the one that came, as the
            operation measures it: 0 where they are equal; ``None`` where they were not compared.
        saved: What it would have saved.
        why: Why, in a few words, or "".
    """

    layer: str
    call: Call
    would_hit: bool
    distance: float | None = None
    saved: Cost = NO_COST
    why: str = ""


class AnswerSeen(Struct, frozen=True):
    """A fresh answer arrived: loaded from an upstream, or found in the shared store.

    Emitted once per stored answer, however often it is read.

    Attributes:
        call: The question.
        outcome: The answer.
        source: Where it came from.
    """

    call: Call
    outcome: Outcome
    source: Literal["upstream", "shared"]


class Reconfigured(Struct, frozen=True):
    """The chain was rebuilt.

    Attributes:
        reason: Why.
        flags: The state of each flag.
    """

    reason: str
    flags: tuple[tuple[str, str], ...]


class Trouble(Struct, frozen=True):
    """A problem that operators should know of, emitted once per *what* until it is over.

    Attributes:
        where: The part of the application.
        what: What happened and what to do.
    """

    where: str
    what: str


Event = (
    CallEnded
    | AttemptEnded
    | RequestSent
    | RequestSettled
    | LayerActed
    | LayerBypassed
    | Shadowed
    | AnswerSeen
    | Reconfigured
    | Trouble
)
"""Any event."""
Observer = Callable[[Event], None]
"""A function that receives events, on the event loop; it must not block."""


W = TypeVar("W", bound=Callable[..., None])


def observes(*kinds: type) -> Callable[[W], W]:
    """Mark an observer that wants events of these *kinds* only.

    It receives no others, and events that no observer wants are not built: an answer from memory
    emits nothing unless an observer wants ``CallEnded`` or ``LayerActed``.
    """

    def mark(observer: W) -> W:
        observer.kinds = kinds  # type: ignore[attr-defined]
        return observer

    return mark


def _operation_kinds(observer: Observer) -> Sequence[str]:
    """Return the kinds of operations of whose calls *observer* wants events.

    Raises:
        ConfigError: There are no such kinds, so that it would receive nothing.
    """
    known: tuple[str, ...] = get_args(Kind)
    wanted = getattr(observer, "operation_kinds", known)
    if isinstance(wanted, str) or not wanted or not set(wanted) <= set(known):
        msg = (
            f"operation_kinds of {observer!r} is {wanted!r}; give a list of some of "
            f"{', '.join(known)}, or leave it out for all"
        )
        raise ConfigError(msg)
    return tuple(wanted)


class Events:
    """Delivers events to observers; false while there are none.

    Attributes:
        active: Whether there is an observer: the same as ``if events:``, without its frame.
        calls: Whether an observer wants events of every call, those answered from memory included,
            or of every call that :meth:`wants_of` names.
        wanted: The kinds of events that some observer wants.
        unpriced: Whether an observer wants :class:`RequestSettled` of requests that cost nothing,
            too: all do but one whose attribute ``priced_only`` is true.

    An observer with the attribute ``operation_kinds``, such as ``("llm",)``, needs no events of
    calls of other operations: these are not built unless another observer wants them, and then it
    may receive them too.

    An observer runs on the event loop and must not block. One that raises is removed and logged:
    observing must not change what is observed.
    """

    __slots__ = ("_by_kind", "_observers", "_of", "active", "calls", "unpriced", "wanted")

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._listen(observers)

    def __bool__(self) -> bool:
        return self.active

    def add(self, observer: Observer) -> None:
        """Send events to *observer* from now on: those that it :func:`observes`, or all."""
        self._listen([*self._listening, observer])

    def remove(self, observer: Observer) -> None:
        """Send no more events to *observer*."""
        self._listen([o for o in self._listening if o is not observer])

    def wants_of(self, call: Call) -> bool:
        """Return whether an observer wants the events of *call*, if any wants those of calls."""
        return call.operation.kind in self._of

    def emit(self, event: Event) -> None:
        """Deliver *event* to every observer that wants it."""
        kind = type(event)
        for observer in self._by_kind.get(kind) or self._wanting(kind):
            try:
                observer(event)
            except Exception:
                self.remove(observer)
                log.exception("an observer failed and was removed", observer=repr(observer))

    @property
    def _listening(self) -> list[Observer]:
        return [observer for observer, _ in self._observers]

    def _listen(self, observers: Iterable[Observer]) -> None:
        listening = list(observers)
        operation_kinds = {id(one): _operation_kinds(one) for one in listening}
        # A new tuple each time: an observer may add or remove others while an event is delivered.
        self._observers = tuple((o, getattr(o, "kinds", (object,))) for o in listening)
        self.active = bool(self._observers)
        self.wanted: frozenset[type] = frozenset(
            event
            for event in get_args(Event)
            if any(issubclass(event, kinds) for _, kinds in self._observers)
        )
        self._by_kind = {kind: self._wanting(kind) for kind in self.wanted}
        of_calls = self._wanting(CallEnded) + self._wanting(LayerActed)
        self.calls = bool(of_calls)
        self._of = frozenset(kind for one in of_calls for kind in operation_kinds[id(one)])
        of_costs = self._wanting(RequestSettled)
        self.unpriced = not all(getattr(one, "priced_only", False) for one in of_costs)

    def _wanting(self, kind: type) -> tuple[Observer, ...]:
        return tuple(o for o, kinds in self._observers if issubclass(kind, kinds))
