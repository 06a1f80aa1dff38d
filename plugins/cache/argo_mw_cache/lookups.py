"""Lookups in the store: those that are asked in one turn of the event loop travel together.

One task and one deadline for all of them, instead of one each, saves a third of a hit's time with
200 callers; a caller who is alone goes straight to the store, which saves them two turns of the
loop (measured in ``tests/bench/cache.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from argo_mw.plugin import Context, SharedUnavailable, TimeLimitExceeded, fail_at

_MOST_KEYS = 500

Asked = tuple[str, asyncio.Future[bytes | None]]


class Lookups:
    """Reads from Shared, never longer than *patience* seconds."""

    def __init__(self, context: Context, patience: float) -> None:
        self._shared = context.shared
        self._clock = context.clock
        self._tasks = context.tasks
        self._patience = patience
        self._asked: list[Asked] = []
        self._loop: asyncio.AbstractEventLoop
        self._under_way = 0
        self._crowded = False

    def get(self, key: str) -> Awaitable[bytes | None]:
        """What the store holds under *key*.

        Raises:
            SharedUnavailable: The store is away, or did not answer in time.
        """
        if not self._crowded and not self._under_way:
            return self._get_alone(key)
        if not self._asked:
            # Asking which loop runs takes a system call: once for all who ask in this turn.
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._send)
        place: asyncio.Future[bytes | None] = self._loop.create_future()
        self._asked.append((key, place))
        return place

    async def _get_alone(self, key: str) -> bytes | None:
        self._under_way += 1
        try:
            return await fail_at(self._shared.get(key), self._until(), self._clock)
        except TimeLimitExceeded:
            raise self._too_slow() from None
        finally:
            self._under_way -= 1

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        self._crowded = len(asked) > 1
        for start in range(0, len(asked), _MOST_KEYS):
            some = asked[start : start + _MOST_KEYS]
            try:
                self._tasks.spawn("cache:lookups", self._get_together(some))
            except Exception as error:  # closed: nothing is looked up any more
                _refuse(some, SharedUnavailable(str(error)))

    async def _get_together(self, asked: Sequence[Asked]) -> None:
        keys = list(dict.fromkeys([key for key, _ in asked]))
        self._under_way += 1
        try:
            values = await fail_at(self._shared.get_many(keys), self._until(), self._clock)
        except SharedUnavailable as error:
            _refuse(asked, error)
        except TimeLimitExceeded:
            _refuse(asked, self._too_slow())
        except BaseException as error:
            _refuse(asked, SharedUnavailable(f"the lookup was stopped: {error!r}"))
            raise
        else:
            found = dict(zip(keys, values, strict=True))
            for key, place in asked:
                if not place.done():
                    place.set_result(found[key])
        finally:
            self._under_way -= 1

    def _until(self) -> float:
        return self._clock.monotonic() + self._patience

    def _too_slow(self) -> SharedUnavailable:
        msg = f"the shared store did not answer within {self._patience:g} s"
        return SharedUnavailable(msg)


def _refuse(asked: Sequence[Asked], error: SharedUnavailable) -> None:
    for _, place in asked:
        if not place.done():
            place.set_exception(SharedUnavailable(str(error)))
