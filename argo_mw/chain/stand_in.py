"""Standing in: an old answer for a caller whose time is up before a newer one has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from argo_mw.chain.find import within_reach
from argo_mw.chain.isolation import Report, not_an_outcome
from argo_mw.model.call import Call
from argo_mw.model.layer import Layer, StandsIn
from argo_mw.model.outcome import Outcome

StandIn: TypeAlias = Callable[[Call], Outcome | None]


def compose_stand_in(layers: Iterable[Layer], report: Report) -> StandIn | None:
    """Return one function for all of *layers* that have old answers, or ``None`` without any.

    Args:
        layers: The layers of a chain, outermost first; asked as far in as for answers at hand.
        report: Reports a layer that failed; the others are asked all the same.
    """
    able = [(one, one.middleware) for one in within_reach(layers)]
    asked = [(layer, middleware) for layer, middleware in able if isinstance(middleware, StandsIn)]
    if not asked:
        return None

    def stand_in(call: Call) -> Outcome | None:
        for layer, middleware in asked:
            try:
                found: object = middleware.stand_in(call)
            except Exception as error:
                report(layer, call, error)
                continue
            if type(found) is Outcome:
                return found
            if found is not None:
                report(layer, call, not_an_outcome(layer, found))
        return None

    return stand_in
