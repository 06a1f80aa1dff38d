"""Refusing a handle on another event loop, or in another process, than it was opened in."""

from __future__ import annotations

import asyncio
import os
from threading import get_ident
from typing import Final

from argo_mw.base.errors import Closed


class _Process:
    """A token for this process: cheaper than ``os.getpid``, which is a system call."""

    __slots__ = ("token",)

    def __init__(self) -> None:
        self.token = object()

    def forked(self) -> None:
        self.token = object()


_process: Final = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forked)


class LoopAffinity:
    """The event loop and the process in which a handle was opened.

    A connection must not cross a fork, and a future must not leave its loop.
    """

    __slots__ = ("_loop", "_thread", "_token")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._token = _process.token

    def check(self) -> None:
        """Raise unless the handle is used on the loop and in the process that opened it.

        Raises:
            Closed: This is another process, forked since, or another event loop.
        """
        if self._token is not _process.token:
            msg = "the shared store was opened before this process was forked; open it here"
            raise Closed(msg)
        # Asking for the running loop is slower, and no other loop can run in the thread of one
        # that is running.
        if get_ident() == self._thread and self._loop.is_running():
            return
        if asyncio.get_running_loop() is not self._loop:
            msg = "the shared store was opened on another event loop; open it on this one"
            raise Closed(msg)
