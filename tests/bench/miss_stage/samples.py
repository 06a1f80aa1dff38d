"""Where the CPU time of new answers goes: samples of what the event loop's thread executes."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from types import FrameType

Stack = tuple[str, ...]
"""What executes, outermost first: a function's room or plugin and its name, as in ``cache:find``."""

INTERVAL = 0.001
"""Seconds of CPU time between samples."""

_LOOP = "asyncio"


@contextlib.contextmanager
def sampling() -> Iterator[Counter[Stack]]:
    """Sample the main thread; yield the stacks, which are complete at the end."""
    stacks: Counter[Stack] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        stacks[_stack(frame)] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        yield stacks
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def by_layer(stacks: Counter[Stack]) -> dict[str, float]:
    """Return the share of each room and plugin: of the innermost function that is of one.

    What a library does counts for the function of ours that called it, and for the event loop where
    none did.
    """
    shares: Counter[str] = Counter()
    for stack, times in stacks.items():
        shares[stack[-1].partition(":")[0]] += times
    total = shares.total()
    return {place: round(times / total, 3) for place, times in shares.most_common()}


def _stack(frame: FrameType | None) -> Stack:
    """Return the functions of *frame* and its callers that are ours, below the event loop."""
    found: list[str] = []
    while frame is not None:
        code = frame.f_code
        place = _place(PurePath(code.co_filename).parts)
        if place:
            found.append(f"{place}:{code.co_name}")
        frame = frame.f_back
    return (_LOOP, *_without_repeats(found[::-1]))


def _without_repeats(names: Sequence[str]) -> Iterator[str]:
    before = ""
    for name in names:
        if name != before:
            yield name
        before = name


def _place(parts: Sequence[str]) -> str:
    """Return which room of the core or which plugin a file belongs to, or ""."""
    for at, part in enumerate(parts[:-1]):
        if part == "argo_mw":
            return parts[at + 1].removesuffix(".py")
        if part.startswith("argo_mw_"):
            return part.removeprefix("argo_mw_")
    return "upstream" if parts[-1] == "contestants.py" else ""
