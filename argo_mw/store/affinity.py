"""The loop and the process that a handle was made in, and may be used in."""

from __future__ import annotations

import asyncio
import os
from threading import get_ident
from typing import Final

from argo_mw.base.errors import Closed


class _Process:
    """Which process this is. ``os.getpid`` would say so too, with a system call each time."""

    __slots__ = ("token",)

    def __init__(self) -> None:
        self.token = object()

    def forked(self) -> None:
        self.token = object()


_process: Final = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forked)


class LoopAffinity:
    """Where a handle was made: a connection must not cross a fork, a future not its loop."""

    __slots__ = ("_loop", "_thread", "_token")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._token = _process.token

    def check(self) -> None:
        """Do nothing where the handle was made.

        Raises:
            Closed: This is another process, forked since, or another event loop.
        """
        if self._token is not _process.token:
            msg = "the shared store was opened before this process was forked; open it here"
            raise Closed(msg)
        # Which loop runs is a system call away. In the thread of one that does, no other can.
        if get_ident() == self._thread and self._loop.is_running():
            return
        if asyncio.get_running_loop() is not self._loop:
            msg = "the shared store was opened on another event loop; open it on this one"
            raise Closed(msg)
