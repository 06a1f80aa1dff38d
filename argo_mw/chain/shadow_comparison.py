"""What a layer in shadow would have done, compared with the answer that came."""

from __future__ import annotations

from attrs import evolve

from argo_mw.base.log import Log
from argo_mw.model.call import Call
from argo_mw.model.events import Shadowed
from argo_mw.model.operation import AnyOperation
from argo_mw.model.outcome import Cost, Outcome
from argo_mw.model.stream import Stream

log = Log("argo_mw")


def would_have(
    layer: str, call: Call, outcome: Outcome, kept: Outcome | None, why: str
) -> Shadowed:
    """Return what *layer* would have done with *call*, which *outcome* came for.

    Args:
        layer: The name of the layer in shadow.
        call: The question.
        outcome: The answer that came.
        kept: The answer that the layer would have given, or ``None``.
        why: Why, in a few words.
    """
    if kept is None:
        return Shadowed(layer, call, would_hit=False, why=why)
    far = _distance(call.operation, kept.value, outcome.value)
    return Shadowed(layer, call, True, far, _cost(outcome), why)


def _cost(outcome: Outcome) -> Cost:
    """Return what *outcome* has cost: at least a request, where one was sent for it."""
    if outcome.attempts and not outcome.cost.requests:
        return evolve(outcome.cost, requests=1.0)
    return outcome.cost


def _distance(operation: AnyOperation, kept: object, fresh: object) -> float | None:
    """Return how far *kept* is from *fresh*; ``None`` where the operation cannot say."""
    try:
        if isinstance(kept, Stream) or isinstance(fresh, Stream):
            return _distance_of_streams(kept, fresh)
        return operation.distance(kept, fresh)
    except Exception:
        log.debug("two answers cannot be compared", operation=operation.name)
        return None


def _distance_of_streams(kept: object, fresh: object) -> float | None:
    if not (isinstance(kept, Stream) and isinstance(fresh, Stream)):
        return None
    if not (kept.complete and fresh.complete):
        return None
    return 0.0 if list(kept.chunks) == list(fresh.chunks) else 1.0
