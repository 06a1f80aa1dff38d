"""Find: answers at hand, before a call enters the chain.

The immediate answers of all layers come first, so that a memory hit never waits for a call under
way and costs no task. Coroutines are awaited afterwards, outermost first, in the caller's own task;
a ``find`` that is an ``async def`` is called only then.
``docs/decisions/find.md`` says why layers have one such entry.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import Protocol, TypeAlias, cast

from argo_mw.base.cancellation import is_failure
from argo_mw.base.errors import ArgoError
from argo_mw.chain.isolation import Report, not_an_outcome, refusal
from argo_mw.counters.tally import Tally
from argo_mw.model.call import Call
from argo_mw.model.events import CallEnded, Events
from argo_mw.model.layer import Finds, Found, Layer, MayFind
from argo_mw.model.outcome import Outcome

Look: TypeAlias = Coroutine[object, object, Outcome | None]
Looks: TypeAlias = list[tuple[Layer, Look]]
"""Layers with their coroutines, outermost first; their receiver awaits or closes every one."""

Find: TypeAlias = Callable[[Call], Outcome | Looks | None]
Failed: TypeAlias = Callable[[Layer, Call, BaseException, Looks | None], None]
Ended: TypeAlias = Callable[[Call, Outcome | None, BaseException | None], CallEnded]


class Search(Protocol):
    """Asks layers for what is at hand, the rest of them where *looks* of outer ones are known."""

    def __call__(self, call: Call, looks: Looks | None = None) -> Outcome | Looks | None: ...


Finder: TypeAlias = tuple[Layer, Callable[[Call], Found]]
Deferred: TypeAlias = tuple[Layer, Callable[[Call], Found], Callable[[Call], bool]]
"""A layer whose ``find`` has no immediate answer, and whether it may find anything."""


def finders(layers: Iterable[Layer]) -> list[Finder]:
    """Collect the ``find`` methods of those *layers* that are within reach, outermost first."""
    able = [(layer, layer.middleware) for layer in within_reach(layers)]
    return [(layer, one.find) for layer, one in able if isinstance(one, Finds)]


def within_reach(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield those of *layers*, outermost first, that may answer without the chain.

    Stop at the first layer that has no ``find`` and must see every answer, and behind one that
    fails closed: what it forbids must not be found further in.
    """
    for layer in layers:
        finds = isinstance(layer.middleware, Finds)
        if finds or layer.transparent:
            yield layer
        if not layer.transparent and (layer.fail_closed or not finds):
            break


def compose_find(
    finders: Sequence[Finder],
    report: Report,
    events: Events,
    ended: Ended,
    tally: Tally,
) -> Find | None:
    """Return one function for all *finders*, or ``None`` when there are none.

    Args:
        finders: The methods to call, outermost first.
        report: Reports a layer that failed; the others are asked all the same.
        events: Where the end of a call is announced that is answered or refused at once.
        ended: Makes the event that announces it.
        tally: Counts what is found and what is refused at once.
    """
    if not finders:
        return None
    failed = partial(_failed, report, events, ended, tally)
    search = _deferring(_deferred(finders), report, _order(finders))
    for layer, look in reversed(finders):
        if not iscoroutinefunction(look):
            search = _asking(layer, look, search, events, ended, failed, tally)
    return search


def _asking(
    layer: Layer,
    look: Callable[[Call], Found],
    further: Search,
    events: Events,
    ended: Ended,
    failed: Failed,
    tally: Tally,
) -> Search:
    """Return the search that asks *layer* by its *look*, and then goes *further*."""
    cell = tally.cell(layer.name)

    # A function for each layer, as in the chain: a loop over them was 2 % of a memory hit.
    def search(call: Call, looks: Looks | None = None) -> Outcome | Looks | None:
        try:
            found: object = look(call)
        except BaseException as error:
            failed(layer, call, error, looks)
            found = None
        # The path of every memory hit: one more function call would be seen.
        if type(found) is Outcome:
            left = cell.left = cell.left - 1
            if left < 0:
                tally.look(cell, call, found)
            note = cell.note
            if note is not None:
                note(call)
            if looks is not None or events.calls:
                _end(call, found, None, looks, events, ended)
            return found
        if type(found) is CoroutineType:
            looks = [(layer, found)] if looks is None else [*looks, (layer, found)]
        elif found is not None:
            failed(layer, call, not_an_outcome(layer, found), looks)
        return further(call, looks)

    return search


def _deferred(finders: Sequence[Finder]) -> list[Deferred]:
    """Return those of *finders* that have no immediate answer."""
    return [(layer, look, _may_find(layer)) for layer, look in finders if iscoroutinefunction(look)]


def _order(finders: Sequence[Finder]) -> Sequence[Layer] | None:
    """Return all layers, outermost first, unless those with immediate answers are the innermost."""
    waits = [iscoroutinefunction(look) for _, look in finders]
    return None if waits == sorted(waits, reverse=True) else [layer for layer, _ in finders]


def _may_find(layer: Layer) -> Callable[[Call], bool]:
    """Return what tells whether waiting for the ``find`` of *layer* is of use."""
    middleware = layer.middleware
    return middleware.may_find if isinstance(middleware, MayFind) else _always


def _always(_: Call) -> bool:
    return True


def _failed(
    report: Report,
    events: Events,
    ended: Ended,
    tally: Tally,
    layer: Layer,
    call: Call,
    error: BaseException,
    looks: Looks | None,
) -> None:
    """End the call and raise why, unless the search may go on although *layer* failed."""
    try:
        pass_over(layer, call, error, report)
    except BaseException as raised:
        tally.failed(call, raised, 0.0)
        _end(call, None, raised, looks, events, ended)
        raise


def pass_over(layer: Layer, call: Call, error: BaseException, report: Report) -> None:
    """Report *error*, unless the search may not go on although the ``find`` of *layer* failed.

    Raises:
        BaseException: *error*, which is not a bug of the layer's.
        LayerUnavailable: The layer fails closed.
    """
    if not is_failure(error) or isinstance(error, ArgoError):
        raise error
    report(layer, call, error)
    if layer.fail_closed:
        raise refusal(layer, call, error) from error


def _end(
    call: Call,
    outcome: Outcome | None,
    error: BaseException | None,
    looks: Looks | None,
    events: Events,
    ended: Ended,
) -> None:
    close(looks)
    if events.calls and events.wants_of(call):
        events.emit(ended(call, outcome, error))


def _deferring(
    deferred: Sequence[Deferred], report: Report, order: Sequence[Layer] | None
) -> Search:
    """Return the end of the search, for the layers of *deferred*, which have no immediate answer.

    Args:
        deferred: The methods to call, outermost first.
        report: Reports a layer that failed.
        order: All layers, outermost first, unless those of *deferred* are the outermost.
    """

    def search(call: Call, looks: Looks | None = None) -> Looks | None:
        made: Looks = []
        for layer, look, may_find in deferred:
            try:
                if may_find(call):
                    made.append((layer, cast("Look", look(call))))
            except Exception as error:  # such as of a signature that takes no call
                try:
                    pass_over(layer, call, error, report)
                except ArgoError:
                    close(made)
                    close(looks)
                    raise
        if not made:
            return looks
        if looks is not None:
            made += looks
        if order is not None:
            made.sort(key=lambda look: order.index(look[0]))
        return made

    return search


def with_missed(missed: tuple[str, ...], layer: Layer, found: object) -> tuple[str, ...]:
    """Return *missed* and the name of *layer*, whose look has found ``None``.

    Raises:
        TypeError: It has found something else.
    """
    if found is not None:
        raise not_an_outcome(layer, found)
    return (*missed, layer.name)


def close(looks: Looks | None) -> None:
    """Close the coroutines of *looks*; one that was not awaited never begins."""
    for _, look in looks or ():
        look.close()
