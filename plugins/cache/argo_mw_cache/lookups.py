"""Lookups in the store: those made in one turn of the event loop are sent together.

One task and one deadline for all of them, instead of one each, saves a third of a hit's time with
200 callers. A single lookup goes straight to the store, which saves two turns of the loop (measured
in ``tests/bench/cache.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import TypeAlias

from argo_mw.plugin import Call, Context, SharedUnavailable, TimeLimitExceeded, fail_at

_MAX_KEYS = 500

Waiting: TypeAlias = tuple[str, asyncio.Future[bytes | None]]


class Lookups:
    """Reads from the store.

    Args:
        context: Where the store is.
        timeout: Seconds for each read at most.
        answered: Called whenever the store has answered, once for all that were sent together.
    """

    def __init__(
        self, context: Context, timeout: float, *, answered: Callable[[], None] = lambda: None
    ) -> None:
        self._shared = context.shared
        self._claims = context.claims
        self._clock = context.clock
        self._tasks = context.tasks
        self._timeout = timeout
        self._answered = answered
        self._waiting: list[Waiting] = []
        self._loop: asyncio.AbstractEventLoop
        self._under_way = 0
        self._crowded = False

    def get(self, key: str, loads: Call | None = None) -> Awaitable[bytes | None]:
        """Return what the store holds under *key*, to be awaited.

        Args:
            key: Where to look.
            loads: The call to load if nothing is found. A single lookup asks for the lease of that
                load in the same round trip.

        Raises:
            SharedUnavailable: The store is away, or did not answer in time.
        """
        if not self._crowded and not self._under_way:
            return self._get_alone(key, loads)
        if not self._waiting:
            # Asking for the running loop takes a system call, so it is done once in each turn.
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._send)
        future: asyncio.Future[bytes | None] = asyncio.Future(loop=self._loop)
        self._waiting.append((key, future))
        return future

    async def _get_alone(self, key: str, loads: Call | None) -> bytes | None:
        looking = self._shared.get(key) if loads is None else self._claims.look(key, loads)
        self._under_way += 1
        try:
            found = await fail_at(looking, self._deadline(), self._clock)
        except TimeLimitExceeded:
            raise self._too_slow() from None
        finally:
            self._under_way -= 1
        self._answered()
        return found

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._crowded = len(waiting) > 1
        for start in range(0, len(waiting), _MAX_KEYS):
            batch = waiting[start : start + _MAX_KEYS]
            try:
                looking = self._get_together(batch)
                self._tasks.spawn("cache:lookups", looking, context=copy_context())
            except Exception as error:  # closed: nothing is looked up any more
                _refuse(batch, SharedUnavailable(str(error)))

    async def _get_together(self, waiting: Sequence[Waiting]) -> None:
        keys = list(dict.fromkeys([key for key, _ in waiting]))
        self._under_way += 1
        try:
            values = await fail_at(self._shared.get_many(keys), self._deadline(), self._clock)
        except SharedUnavailable as error:
            _refuse(waiting, error)
        except TimeLimitExceeded:
            _refuse(waiting, self._too_slow())
        except BaseException as error:
            _refuse(waiting, SharedUnavailable(f"the lookup was stopped: {error!r}"))
            raise
        else:
            self._answered()
            found = dict(zip(keys, values, strict=True))
            for key, future in waiting:
                if not future.done():
                    future.set_result(found[key])
        finally:
            self._under_way -= 1

    def _deadline(self) -> float:
        return self._clock.monotonic() + self._timeout

    def _too_slow(self) -> SharedUnavailable:
        msg = f"the shared store did not answer within {self._timeout:g} s"
        return SharedUnavailable(msg)


def _refuse(waiting: Sequence[Waiting], error: SharedUnavailable) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(SharedUnavailable(str(error)))
