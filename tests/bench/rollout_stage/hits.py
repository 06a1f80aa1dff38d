"""What counting costs an answer at hand: the chain as it is, and with what counts taken out.

What asks a layer for an answer at hand is made again from its source, without the lines that count.
Applications with either ask the same question in turns, so that a machine that slows down slows
all of them down.
"""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from argo_mw import Argo
from argo_mw.chain import find
from argo_mw.plugin import SLOTS, Watch, context_of
from argo_mw.registry import Plugins

COUNTING = (
    "left = cell.left = cell.left - 1",
    "if left < 0:",
    "tally.look(cell, call, found)",
    "note = cell.note",
    "if note is not None:",
    "note(call)",
)
"""The lines that count, where one layer is asked for an answer at hand."""


async def measure(rounds: int, calls: int) -> dict[str, float]:
    """Return the microseconds that a hit takes, and what of it is the counting.

    Args:
        rounds: How often each application has its turn.
        calls: How many calls it makes in one.
    """
    with tempfile.TemporaryDirectory() as state, uncounted():
        bare = _application(state)
        async with bare:
            await bare.call("quote", symbol="AAPL")
            return await _beside(bare, state, rounds, calls)


async def _beside(bare: Argo, state: str, rounds: int, calls: int) -> dict[str, float]:
    with _whole():
        counting, watched = _application(state), _application(state)
        async with counting, watched:
            tallies = context_of(watched).counters.tallies
            for argo in (counting, watched):
                await argo.call("quote", symbol="AAPL")
            tallies.watch({"cache": Watch("cache", time.time() + 3_600.0)})
            taken = await _turns(
                {"bare": bare, "counting": counting, "watched": watched}, rounds, calls
            )
    return {
        "hit_us": round(taken["bare"], 3),
        "judge_hit_us": round(taken["counting"] - taken["bare"], 3),
        "watched_hit_us": round(taken["watched"] - taken["bare"], 3),
    }


async def _turns(argos: Mapping[str, Argo], rounds: int, calls: int) -> dict[str, float]:
    """Return the least microseconds of CPU that a call took in a round."""
    taken: dict[str, list[float]] = {name: [] for name in argos}
    for _ in range(rounds):
        for name, argo in argos.items():
            call = argo.call
            began = time.process_time()
            for _ in range(calls):
                await call("quote", symbol="AAPL")
            taken[name].append((time.process_time() - began) / calls * 1e6)
    return {name: min(times) for name, times in taken.items()}


def _application(state: str) -> Argo:
    beside = [name for name in Plugins.load().names if name not in SLOTS]
    argo = Argo.open(
        {
            "argo": {"shared": "memory://", "state_dir": state, "block": beside},
            "flags": {"cache": "on"},
        }
    )

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> float:
        return 1.5

    return argo


_WHOLE = find._asking


@contextmanager
def uncounted() -> Iterator[None]:
    """Compose chains without what counts answers at hand."""
    lines = inspect.getsource(_WHOLE).splitlines()
    kept = [line for line in lines if line.strip() not in COUNTING]
    if len(lines) - len(kept) != len(COUNTING):
        msg = f"{find.__file__} does not have the lines that this bench takes out: {COUNTING}"
        raise RuntimeError(msg)
    namespace = dict(vars(find))
    exec("\n".join(kept), namespace)
    find._asking = namespace["_asking"]
    try:
        yield
    finally:
        find._asking = _WHOLE


@contextmanager
def _whole() -> Iterator[None]:
    """Compose chains as they are."""
    before, find._asking = find._asking, _WHOLE
    try:
        yield
    finally:
        find._asking = before
