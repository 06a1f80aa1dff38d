"""How the time of a function grows with its input: by the CPU time of this thread alone."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable
from itertools import pairwise

LENGTHS = (14, 20, 64, 256, 1024, 4096, 16_384, 65_536)
"""Lengths that are tried, the shortest first, so that an exponential function ends early."""
LINEAR = 1.4
"""Exponents above this are no longer those of ``n log n``."""
NOTICEABLE = 0.02
"""Seconds of CPU below which no growth is judged: too little to measure, or to hold a loop."""
HELD = 0.05 if sys.gettrace() is None else 0.15
"""Seconds of CPU for which one input may hold the event loop; what measures coverage adds its own."""
_TRIES = 3


def seconds(action: Callable[[], object]) -> float:
    """Return the CPU time of *action* in this thread, the least of several tries."""
    least = math.inf
    for _ in range(_TRIES):
        begun = time.thread_time()
        action()
        least = min(least, time.thread_time() - begun)
        if least < NOTICEABLE:
            break
    return least


def superlinear(
    action: Callable[[str], object], text_of: Callable[[int], str], longest: int = LENGTHS[-2]
) -> str:
    """Return how *action* grows with the length of its text, or "" while that is linear.

    Args:
        action: Takes a text.
        text_of: Makes a text of about the given number of characters.
        longest: Characters of the longest text that is tried.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        for short, length in pairwise(length for length in LENGTHS if length <= longest):
            text = text_of(length)
            taken = seconds(lambda text=text: action(text))  # type: ignore[misc]
            if taken < NOTICEABLE:
                continue
            text = text_of(short)
            before = seconds(lambda text=text: action(text))  # type: ignore[misc]
            exponent = math.log(taken / max(before, 1e-5), length / short)
            if exponent > LINEAR:
                return f"{length} characters take {taken:.3f} s, exponent {exponent:.1f}"
    finally:
        if collecting:
            gc.enable()
    return ""
