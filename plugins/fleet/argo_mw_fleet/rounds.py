"""Rounds: one question about the same subjects, again and again, never twice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from argo_mw.plugin import AnyOperation, Context, Outcome
from argo_mw_fleet.schedule import Schedule


class Mapper(Protocol):
    """What asks about many subjects: a fleet, or an application."""

    async def map(
        self, operation: str | AnyOperation, subjects: Sequence[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """Return the outcome or the error of *operation* for each of *subjects*."""


@frozen
class Round:
    """One round.

    Attributes:
        due: When it was due, in seconds since the epoch.
        began: When it began.
        ended: When its last answer came.
        missed: How many rounds were due while the one before was under way, and were left out.
        answers: The outcome or the error of each subject.
    """

    due: float
    began: float
    ended: float
    missed: int
    answers: Mapping[str, Outcome | Exception]

    @property
    def behind(self) -> bool:
        """Whether the rounds have fallen behind: one took longer than the time between two."""
        return self.missed > 0


async def rounds(
    asker: Mapper,
    context: Context,
    operation: str | AnyOperation,
    subjects: Sequence[str],
    schedule: Schedule,
    parameters: Mapping[str, object],
) -> AsyncGenerator[Round, None]:
    """Yield a round whenever one is due, until the loop over them is left.

    A round that is due while another is under way, or while the loop's body runs, is left out, and
    counted as missed by the next; the first time that is reported.
    """
    clock = context.clock
    # A calendar is read from disk, and worked out for weeks.
    due = await asyncio.to_thread(schedule.next_after, clock.time())
    missed = 0
    while True:
        await clock.sleep(due - clock.time())
        began = clock.time()
        answers = await asker.map(operation, subjects, **parameters)
        yield Round(due, began, clock.time(), missed, answers)
        now = clock.time()
        missed = await asyncio.to_thread(schedule.missed, due, now)
        if missed:
            name = operation if isinstance(operation, str) else operation.name
            context.warn_once(
                f"rounds of {name}",
                f"they fall behind: one over {len(subjects)} subjects took {now - began:.3g} s, "
                f"and they are due every {schedule.every:g} s, so {missed} were left out; add "
                "workers, or ask less often",
            )
        due = await asyncio.to_thread(schedule.next_after, max(due, now))
