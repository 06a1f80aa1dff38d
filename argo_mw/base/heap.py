"""The heap of a program that runs for long, and the pauses that collecting its garbage makes."""

from __future__ import annotations

import gc


def freeze_heap() -> None:
    """Let garbage collections pass over the objects that are there by now.

    Modules and classes stay until the end, and to look through them takes 50 to 100 ms of each full
    collection, in which the event loop stands still. For programs that run for long, once they have
    started. A library leaves the heap of the process in which it is used alone.
    """
    gc.collect()
    gc.freeze()
