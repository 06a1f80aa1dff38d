"""Upstreams that answer by a test's script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from argo_mw.model.call import Call
from argo_mw.model.outcome import Outcome
from argo_mw.model.upstream import UNLIMITED, Batching, Limits, Upstream

Answer = Callable[[Call], object]


class Scripted:
    """An upstream that follows a script.

    Every call takes the next line of the script, and the last line again when there are no
    more: an exception is raised, a function is called with the call, an
    :class:`~argo_mw.Outcome` is returned, anything else is the value of one.

    Attributes:
        asked: The calls it received, in order.
        requests: How many requests it received: fewer than calls where they were batched.
        cancelled: How many requests were cancelled before it answered.
        gate: Holds answers back while it is not set.
        arrived: Set once a request has arrived.
    """

    def __init__(
        self,
        name: str,
        operations: Iterable[str],
        *script: object,
        max_batch: int = 0,
        limits: Limits = UNLIMITED,
        metered: bool = False,
        timeout: float = 30.0,
        retries: int = 1,
    ) -> None:
        self.asked: list[Call] = []
        self.requests = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self._script = list(script) or [lambda call: call.subject]
        batching = Batching(self._fetch_many, max_size=max_batch) if max_batch else None
        self.upstream = Upstream(
            name,
            operations,
            self._fetch,
            batching=batching,
            limits=limits,
            metered=metered,
            timeout=timeout,
            retries=retries,
        )

    async def _fetch(self, call: Call) -> Outcome:
        answer = (await self._serve([call]))[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        return await self._serve(calls)

    async def _serve(self, calls: Sequence[Call]) -> list[Outcome | Exception]:
        self.requests += 1
        self.asked.extend(calls)
        lines = [self._next_line() for _ in calls]
        self.arrived.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [_play(line, call) for line, call in zip(lines, calls, strict=True)]

    def _next_line(self) -> object:
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


def _play(line: object, call: Call) -> Outcome | Exception:
    if isinstance(line, type) and issubclass(line, Exception):
        line = line()
    elif callable(line):
        line = line(call)
    if isinstance(line, (Outcome, Exception)):
        return line
    return Outcome(line)
