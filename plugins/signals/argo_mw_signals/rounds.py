"""Rounds over the same symbols, one after the other, with a warning when they fall behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from argo_mw.cli import say
from argo_mw.plugin import Argo, Outcome, Spread, context_of
from argo_mw_signals.signal import iso

Answers = Mapping[str, Outcome | Exception]
Asker = Argo | Spread
"""What asks: this process, or others."""


async def repeat(
    argo: Argo,
    symbols: Sequence[str],
    parameters: Mapping[str, object],
    *,
    every: float,
    rounds: int | None,
    asker: Asker | None = None,
) -> AsyncIterator[Answers]:
    """Yield signals for *symbols*, each round *every* seconds after the last one began."""
    asker = asker or argo
    clock = context_of(argo).clock
    done = 0
    while True:
        started = clock.monotonic()
        yield await asker.map("signal", symbols, **parameters)
        done += 1
        if rounds is not None and done >= rounds:
            return
        took = clock.monotonic() - started
        if took > every:
            _fall_behind(argo, len(symbols), took, every)
        await clock.sleep(max(0.0, every - took))


async def in_sessions(
    argo: Argo,
    symbols: Sequence[str],
    parameters: Mapping[str, object],
    *,
    every: float,
    rounds: int | None,
    asker: Spread,
    calendar: str,
) -> AsyncIterator[Answers]:
    """Yield signals for *symbols* whenever a round is due while the exchange trades.

    The first round of a session is due at its opening. One that is due while another is under way
    is left out.

    Raises:
        ConfigError: There is no such calendar, or it has no session soon.
    """
    clock = context_of(argo).clock
    next_round = partial(asker.next_round, every=every, calendar=calendar)
    due = await next_round(clock.time())
    done = 0
    while True:
        wait = due - clock.time()
        if wait > every:
            say(f"argo-mw: {calendar} does not trade; the next round is due at {iso(due)}")
        await clock.sleep(max(0.0, wait))
        began = clock.time()
        yield await asker.map("signal", symbols, **parameters)
        done += 1
        if rounds is not None and done >= rounds:
            return
        ended = clock.time()
        following = await next_round(due)
        if following < ended:
            _fall_behind(argo, len(symbols), ended - began, every)
            following = await next_round(ended)
        due = following


def _fall_behind(argo: Argo, count: int, took: float, every: float) -> None:
    """Say, the first time, that rounds fall behind."""
    context_of(argo).warn_once(
        "rounds of signal",
        f"they fall behind: one over {count} symbols took {took:.3g} s, and they are due every "
        f"{every:g} s; ask less often, or spread them over more processes with --on",
    )
