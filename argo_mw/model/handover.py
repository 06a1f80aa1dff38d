"""Handover: what a layer that keeps answers agrees with one that passes them to other processes.

Both serve callers elsewhere: a cache from what it has stored, distributed coalescing by the results
of loads. An answer that is on its way into the store can be had from the other side meanwhile, so
that its caller need not wait until it is there. Neither layer knows the other.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

HANDOVER = "argo.handover"
"""The extension with the :class:`Handover` of a load, by a layer that passes its result on."""


def _nobody(_: bool) -> None:
    """Tell nobody."""


class Kept(Struct, frozen=True, eq=False):
    """How an answer is kept for other processes.

    Attributes:
        until: Until when it is served, in seconds since the epoch.
        versions: The versions of its tags, from before its load: while they last, it is served.
        key: Where in the store it is to be put by the layer that passes the result on, with that;
            "" if its keeper puts it there.
        data: What to put there.
        ttl: Seconds for which it is to lie there.
        ended: Called once with whether it is there.
        value: The value of the answer.
        part: What stands for that value where it is encoded; see
            :meth:`argo_mw.plugin.Codecs.part`.
    """

    until: float
    versions: tuple[object, ...]
    key: str = ""
    data: bytes = b""
    ttl: float | None = None
    ended: Callable[[bool], None] = _nobody
    value: object = None
    part: object = None


class Handover(Struct, eq=False):
    """The agreement about one load.

    Attributes:
        takes_kept: Whether a layer on the way has looked for a kept answer and would have served
            it, so that one that another process keeps will do in place of this load.
    """

    takes_kept: bool = False
    _kept: Kept | None = None
    _open: bool = False

    def open(self) -> None:
        """Say that the result of this load is about to be passed on, with how it is kept."""
        self._open = True

    def close(self) -> Kept | None:
        """Say that it is passed on now; return how it is kept, or ``None`` if it is not."""
        self._open = False
        return self._kept

    def keep(self, kept: Kept) -> bool:
        """Say that the answer will be stored, and how it is *kept* then.

        Returns:
            Whether processes that do not find it in the store yet are given the result of this
            load in its place. Its caller need not wait for the store then. Only the first layer
            that keeps an answer is told so: a second would wait for what is never put.
        """
        if not self._open or self._kept is not None:
            return False
        self._kept = kept
        return True
