"""Refusing a handle on another event loop, or in another process, than it was opened in."""

from __future__ import annotations

import asyncio
from threading import get_ident

from argo_mw.base.errors import Closed
from argo_mw.base.process import this_process


class LoopAffinity:
    """The event loop and the process in which a handle was opened.

    A connection must not cross a fork, and a future must not leave its loop.
    """

    __slots__ = ("_loop", "_thread", "_token")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._token = this_process.token

    def check(self) -> None:
        """Raise unless the handle is used on the loop and in the process that opened it.

        Raises:
            Closed: This is another process, forked since, or another event loop.
        """
        if self._token is not this_process.token:
            msg = "the shared store was opened before this process was forked; open it here"
            raise Closed(msg)
        # Asking for the running loop is slower, and no other loop can run in the thread of one
        # that is running.
        if get_ident() == self._thread and self._loop.is_running():
            return
        if asyncio.get_running_loop() is not self._loop:
            msg = "the shared store was opened on another event loop; open it on this one"
            raise Closed(msg)
