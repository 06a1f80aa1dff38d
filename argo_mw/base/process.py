"""A token for the running process, which changes in a forked child."""

from __future__ import annotations

import os
from typing import Final


class Process:
    """A token for this process: cheaper than ``os.getpid``, which is a system call.

    Attributes:
        token: An object that is replaced by another one in every forked child.
    """

    __slots__ = ("token",)

    def __init__(self) -> None:
        self.token = object()

    def forked(self) -> None:
        """Note that this is a forked child."""
        self.token = object()


this_process: Final = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=this_process.forked)
