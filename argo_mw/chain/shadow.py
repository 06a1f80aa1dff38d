"""Shadow: a layer sees calls and their answers, and serves nothing."""

from __future__ import annotations

import contextlib
from collections import Counter
from contextvars import copy_context

from argo_mw.base.cancellation import is_failure
from argo_mw.base.clock import Clock
from argo_mw.base.deadline import fail_at
from argo_mw.base.errors import Closed, NotShareable
from argo_mw.base.tasks import Tasks
from argo_mw.chain.isolation import Report
from argo_mw.model.call import ASKED_AT, Call
from argo_mw.model.copies import own_value
from argo_mw.model.layer import Layer, Next, Shadows
from argo_mw.model.outcome import Outcome

MAX_CONCURRENT = 64
"""Answers that one layer looks at at once; it does not see those that arrive while it is busy."""

TIMEOUT = 30.0
"""Seconds that a layer may look at an answer."""


class ShadowRunner:
    """Shows answers to layers in the background: no caller waits for it."""

    def __init__(self, clock: Clock, tasks: Tasks, report: Report) -> None:
        self._clock = clock
        self._tasks = tasks
        self._report = report
        self._looking: Counter[str] = Counter()

    def around(self, layer: Layer, inner: Next) -> Next:
        """Return *inner*, whose answers *layer* sees."""
        shadow = layer.middleware
        if not isinstance(shadow, Shadows):
            # Of several layers that share a flag, some may have nothing to look at.
            return inner

        async def handle(call: Call) -> Outcome:
            asked_at = self._clock.monotonic()
            outcome = await inner(call)
            asked = call.evolve(extensions={**call.extensions, ASKED_AT: asked_at})
            self._show(layer, shadow, asked, outcome)
            return outcome

        return handle

    def _show(self, layer: Layer, shadow: Shadows, call: Call, outcome: Outcome) -> None:
        name = layer.name
        if self._looking[name] >= MAX_CONCURRENT:
            return
        # The caller may change the answer before the layer looks at it. One that cannot be copied
        # is the caller's alone.
        with contextlib.suppress(Closed, NotShareable):
            looking = self._look(layer, shadow, call, own_value(outcome))
            task = self._tasks.spawn(f"shadow:{name}", looking, context=copy_context())
            self._looking[name] += 1
            task.add_done_callback(lambda _: self._looking.subtract([name]))

    async def _look(self, layer: Layer, shadow: Shadows, call: Call, outcome: Outcome) -> None:
        try:
            looking = _coroutine(shadow, call, outcome)
            await fail_at(looking, self._clock.monotonic() + TIMEOUT, self._clock)
        except BaseException as error:
            if not is_failure(error):
                raise
            self._report(layer, call, error)


async def _coroutine(shadow: Shadows, call: Call, outcome: Outcome) -> None:
    await shadow.shadow(call, outcome)
