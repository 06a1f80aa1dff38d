"""Clients that leave: their requests are cancelled."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from argo_mw_gateway.asgi import ClientLeft, Receive

_LOOK_AFTER: Final = 0.05
"""Seconds after which a client is watched: most answers come sooner, and a task costs 20 µs."""


class EndsWithClient:
    """Cancels its block when the client leaves. Read the body of the request before.

    Raises:
        ClientLeft: The client has left.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "it runs in a task"
        self._task = task
        self._timer = loop.call_later(_LOOK_AFTER, self._watch)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        # Drop the task: its cancellation refers to this object, and each request would leave a
        # cycle for the garbage collector, which holds up all others.
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await self._ended(watching)
        if not self._left:
            return
        if kind is None:
            # The block had ended before the cancellation reached it.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self._task.uncancel()
        elif kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise ClientLeft from error

    def _watch(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._wait(), name="gateway:client")

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()

    @staticmethod
    async def _ended(watching: asyncio.Task[None]) -> None:
        while not watching.done():
            await asyncio.sleep(0)
