"""Sections of a program whose instructions are counted, each the same work done several times.

A program that runs under :func:`tests.bench._callgrind.count` calls :func:`even` once and then
:func:`section` for each piece of work. Counting ends one account and begins the next whenever the
program asks for the machine's load, for which it has no other use.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Awaitable, Callable

SECTIONS = 5
BETWEEN = "-"
TURNS = 1_600
"""While dice are even, one hit in 64 is sampled: 25 in each section."""


def even() -> None:
    """Let dice fall as they do on average, and collect no garbage.

    When garbage is collected, and how much there is to walk through, depends on all that the program has
    done before. What is counted is what one turn executes.
    """
    random.random = lambda: 0.5
    gc.collect()
    gc.freeze()
    gc.disable()


async def section(name: str, do: Callable[[], Awaitable[object]], turns: int = TURNS) -> None:
    """Do the same *turns* times, in each of several sections that are counted under *name*."""
    for _ in range(turns):  # until Python has specialized its code
        await do()
    for _ in range(SECTIONS):
        _mark(BETWEEN, 0)
        for _ in range(turns):
            await do()
        _mark(name, turns)


def _mark(name: str, turns: int) -> None:
    """End a section, and say what it was."""
    os.getloadavg()
    print(f"{name} {turns}", flush=True)
