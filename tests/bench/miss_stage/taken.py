"""What new answers take, in CPU time and in waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

Ask = Callable[[str], Awaitable[float]]


@frozen
class Taken:
    """What one answer took.

    Attributes:
        cpu_us: CPU time of the process, in microseconds.
        wall_us: Time that passed, in microseconds.
    """

    cpu_us: float
    wall_us: float


async def one_by_one(ask: Ask, symbols: Sequence[str]) -> Taken:
    """Ask for *symbols* one after the other."""
    cpu, wall = time.process_time(), time.perf_counter()
    for symbol in symbols:
        await ask(symbol)
    waited = time.perf_counter() - wall
    await asyncio.sleep(0)  # what was left to the background is part of the price
    return _each(time.process_time() - cpu, waited, len(symbols))


async def at_once(ask: Ask, symbols: Sequence[str], callers: int) -> Taken:
    """Ask for *symbols* with several *callers*, each one after the other."""
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(_ask_all(ask, symbols[i::callers]) for i in range(callers)))
    waited = time.perf_counter() - wall
    await asyncio.sleep(0)
    return _each(time.process_time() - cpu, waited, len(symbols))


async def _ask_all(ask: Ask, symbols: Sequence[str]) -> None:
    for symbol in symbols:
        await ask(symbol)


def _each(cpu: float, wall: float, answers: int) -> Taken:
    return Taken(cpu / answers * 1e6, wall / answers * 1e6)
