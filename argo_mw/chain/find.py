"""Find: answers at hand, before a call enters the chain.

The immediate answers of all layers come first, so that a memory hit never waits for a call under
way and costs no task. What takes waiting is awaited afterwards, outermost first, in the caller's
own task. ``docs/decisions/find.md`` tells why there is one such entry.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import CoroutineType
from typing import TypeAlias

from argo_mw.base.errors import ArgoError
from argo_mw.chain.isolation import Report, not_an_outcome
from argo_mw.model.call import Call
from argo_mw.model.events import CallEnded, Events
from argo_mw.model.layer import Finds, Found, Layer
from argo_mw.model.outcome import Outcome

Look: TypeAlias = Coroutine[object, object, Outcome | None]
Looks: TypeAlias = list[tuple[Layer, Look]]
"""What to wait for, outermost first. Whoever receives it awaits or closes every coroutine."""

Find: TypeAlias = Callable[[Call], Outcome | Looks | None]
Ended: TypeAlias = Callable[[Call, Outcome | None, BaseException | None], CallEnded]
Finder: TypeAlias = tuple[Layer, Callable[[Call], Found]]


def finders(layers: Iterable[Layer]) -> list[Finder]:
    """Return what to ask, outermost first, up to a layer that must see every answer pass."""
    found: list[Finder] = []
    for layer in layers:
        middleware = layer.middleware
        if isinstance(middleware, Finds):
            found.append((layer, middleware.find))
        elif not layer.transparent:
            break
    return found


def compose_find(
    finders: Sequence[Finder],
    report: Report,
    events: Events,
    ended: Ended,
) -> Find | None:
    """Return one function for all *finders*, or ``None`` when there are none.

    Args:
        finders: What to ask, outermost first.
        report: Reports a layer that failed; the others are asked all the same.
        events: Where an immediate answer is announced, to observers of calls.
        ended: Makes the event that announces it.
    """
    if not finders:
        return None

    def find(call: Call) -> Outcome | Looks | None:
        looks: Looks | None = None
        for layer, look in finders:
            try:
                found: object = look(call)
            except ArgoError as error:
                close(looks)
                if events.calls:
                    events.emit(ended(call, None, error))
                raise
            except Exception as error:
                report(layer, call, error)
                continue
            if found is None:
                continue
            if type(found) is Outcome:
                if looks is not None:
                    close(looks)
                if events.calls:
                    events.emit(ended(call, found, None))
                return found
            if type(found) is not CoroutineType:
                report(layer, call, not_an_outcome(layer, found))
            elif looks is None:
                looks = [(layer, found)]
            else:
                looks.append((layer, found))
        return looks

    return find


async def await_looks(call: Call, looks: Looks, report: Report) -> Outcome | tuple[str, ...]:
    """Return what the first of *looks* finds, or the names of the layers that found nothing.

    A look that fails is reported and counts as one that was not made.
    """
    missed: list[str] = []
    try:
        for layer, look in looks:
            try:
                found: object = await look
            except ArgoError:
                raise
            except Exception as error:
                report(layer, call, error)
                continue
            if type(found) is Outcome:
                return found
            if found is None:
                missed.append(layer.name)
            else:
                report(layer, call, not_an_outcome(layer, found))
    finally:
        close(looks)
    return tuple(missed)


def close(looks: Looks | None) -> None:
    """Give up *looks*: those that were not awaited never begin."""
    for _, look in looks or ():
        look.close()
