"""Audits: a random share of served answers is asked afresh and compared.

Waiting for the next natural fetch would be biased, since the arm changes when it happens. So an
audit asks an upstream, past all layers, right after an answer was served: the one it came from,
since vendors differ. Audits add one call in a hundred at most, and yield to quotas: what guards
refuse is not asked. While a flag has arms, four audits in five are of treatment, where the harm
would be, and one of control; else of any call, to learn what is usual.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from attrs import fields

from argo_mw.plugin import (
    ArgoError,
    Call,
    Closed,
    Context,
    NotFound,
    NotShareable,
    Operation,
    Outcome,
    Stream,
    own_value,
)
from argo_mw_rollout.compare import Difference, compare
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.tables import is_table

IN_TREATMENT: Final = 0.8
"""The part of audits that is treatment's, while a flag has arms."""

_MOST_AT_ONCE: Final = 8
_MOST_CREDIT: Final = 4.0
_WITHOUT_ARMS: Final = 5_000
_KEPT_BACK: Final = 0.05  # what is served is estimated from what is shown
_LONGEST: Final = 1.0
_EQUAL_OR_NOT: Final = fields(Operation).distance.default
"""Says how far apart two answers are where their operation does not."""


class Audits:
    """Checks some of the answers that this instance serves, while a flag is watched.

    Args:
        context: Asks and counts.
        config: Says how many are checked; read at each answer.
    """

    def __init__(self, context: Context, config: Callable[[], RolloutConfig]) -> None:
        self._context = context
        self._config = config
        self._credit = {"treatment": 0.0, "control": 0.0, "": 0.0}
        self._since_arms = _WITHOUT_ARMS
        self._running = 0
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Start looking at what is served."""
        self._end = self._context.counters.listen(self._served)

    def stop(self) -> None:
        """Stop looking at what is served. Idempotent."""
        if self._end is not None:
            self._end()
            self._end = None

    def _served(self, call: Call, outcome: Outcome, layer: str, weight: int) -> None:
        watched = self._context.counters.watched
        share = self._config().audits
        if not watched or not share or not _comparable(call, outcome):
            return
        arm = self._arm(watched, call)
        self._since_arms = 0 if arm else self._since_arms + weight
        self._earn(share * weight * (1.0 - _KEPT_BACK))
        if self._credit[arm] < 1.0 or self._running >= _MOST_AT_ONCE:
            return
        # The caller may change its answer before it is compared.
        with suppress(Closed, NotShareable):
            auditing = self._audit(call, own_value(outcome))
            self._context.tasks.spawn("rollout:audit", auditing)
            self._credit[arm] -= 1.0
            self._running += 1

    def _arm(self, watched: Iterable[str], call: Call) -> str:
        """Return the arm that an audit of *call* is for, or "" where no flag has it in one."""
        flags = self._context.flags.all  # another instance may know more of them
        arms = {self._context.flag(one, call).arm for one in watched if one in flags}
        return next((arm for arm in ("treatment", "control") if arm in arms), "")

    def _earn(self, calls: float) -> None:
        """Earn the audits of *calls* more calls, for the arms where they tell most."""
        ramped = self._since_arms < _WITHOUT_ARMS
        parts = {"treatment": IN_TREATMENT, "control": 1.0 - IN_TREATMENT} if ramped else {"": 1.0}
        for arm, part in parts.items():
            self._credit[arm] = min(self._credit[arm] + calls * part, _MOST_CREDIT)

    async def _audit(self, call: Call, outcome: Outcome) -> None:
        try:
            fresh = await self._context.ask_afresh(call, outcome.upstream)
            found = self._difference(call, outcome.value, fresh.value)
        except NotFound:
            found = Difference(unequal="there is none")
        except ArgoError:
            return  # a refusal, or an upstream that is away: nothing is known of the answer
        finally:
            self._running -= 1
        if found is None:
            return
        wrong = found.wrong(self._config().wrong_above)
        distance = found.distance if math.isfinite(found.distance) else _LONGEST
        self._context.counters.audited(call, wrong=wrong, distance=min(distance, _LONGEST))
        if wrong:
            where = found.unequal or f"off by {found.distance:.2%}"
            self._context.announce("rollout", "found wrong", call, where)

    def _difference(self, call: Call, served: object, fresh: object) -> Difference | None:
        """Return what distinguishes two answers to *call*; ``None`` where that cannot be said."""
        operation = call.operation
        try:
            if operation.distance is _EQUAL_OR_NOT or is_table(served):
                return compare(served, fresh)
            distance = operation.distance(served, fresh)
            return None if distance is None else Difference(distance)
        except Exception as error:  # of values of any kind, and of functions of others
            why = f"answers to {operation.name!r} cannot be compared: {error!r}"
            self._context.warn_once("rollout", why)
            return None


def _comparable(call: Call, outcome: Outcome) -> bool:
    """Return whether answers to *call* can be compared, unlike opinions and streams."""
    return call.operation.kind == "fetch" and not isinstance(outcome.value, Stream)
