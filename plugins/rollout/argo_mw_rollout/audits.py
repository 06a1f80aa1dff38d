"""Audits: a random share of served answers is asked afresh and compared.

Waiting for the next natural fetch would be biased, since the arm changes when it happens. So an
audit asks an upstream, past all layers, right after an answer was served: that which it came from,
since vendors differ. At most one call in a hundred is one more call, and audits stand back behind
quotas: what guards refuse is not asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from argo_mw.plugin import (
    ArgoError,
    Call,
    Closed,
    Context,
    NotFound,
    NotShareable,
    Outcome,
    Stream,
    own_value,
)
from argo_mw_rollout.compare import Difference, compare
from argo_mw_rollout.config import RolloutConfig

SHOWN: Final = 16
"""Of so many served answers, one is shown on average."""

_MOST_AT_ONCE: Final = 8
_MOST_CREDIT: Final = 4.0
_LONGEST: Final = 1.0


class Audits:
    """Checks some of the answers that this instance serves, while a flag is watched.

    Args:
        context: Asks and counts.
        config: Says how many are checked; read at each answer.
    """

    def __init__(self, context: Context, config: Callable[[], RolloutConfig]) -> None:
        self._context = context
        self._config = config
        self._credit = 0.0
        self._running = 0
        self._turn = False
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Look at what is served from now on."""
        self._end = self._context.counters.listen(self._served)

    def stop(self) -> None:
        """Look at nothing any more. Idempotent."""
        if self._end is not None:
            self._end()
            self._end = None

    def _served(self, call: Call, outcome: Outcome, layer: str) -> None:
        watched = self._context.counters.watched
        share = self._config().audits
        if not watched or not share or not _comparable(call, outcome):
            return
        self._credit = min(self._credit + share * (SHOWN - 1), _MOST_CREDIT)
        arms = {self._context.flag(flag, call).arm for flag in watched}
        if self._credit < 1.0 or self._running >= _MOST_AT_ONCE:
            return
        if "treatment" not in arms:
            # Most checks go to where the harm would be, a third of what is left to control.
            self._turn = not self._turn
            if "control" not in arms and self._turn:
                return
        # The caller may change its answer before it is compared.
        with suppress(Closed, NotShareable):
            auditing = self._audit(call, own_value(outcome))
            self._context.tasks.spawn("rollout:audit", auditing)
            self._credit -= 1.0
            self._running += 1

    async def _audit(self, call: Call, outcome: Outcome) -> None:
        try:
            fresh = await self._context.ask_afresh(call, outcome.upstream)
            found = compare(outcome.value, fresh.value)
        except NotFound:
            found = Difference(unequal="there is none")
        except ArgoError:
            return  # a refusal, or an upstream that is away: nothing is known of the answer
        finally:
            self._running -= 1
        wrong = found.wrong(self._config().wrong_above)
        distance = found.distance if math.isfinite(found.distance) else _LONGEST
        self._context.counters.audited(call, wrong=wrong, distance=min(distance, _LONGEST))
        if wrong:
            where = found.unequal or f"off by {found.distance:.2%}"
            self._context.announce("rollout", "found wrong", call, where)


def _comparable(call: Call, outcome: Outcome) -> bool:
    """Return whether an answer to *call* is the same whoever asks: no opinion, no stream."""
    return call.operation.kind == "fetch" and not isinstance(outcome.value, Stream)
