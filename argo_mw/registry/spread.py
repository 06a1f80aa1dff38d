"""Spreads: what asks an operation about many subjects, in many processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from argo_mw.config import Settings
from argo_mw.model.operation import AnyOperation
from argo_mw.model.outcome import Outcome


class Spread(Protocol):
    """Asks operations about many subjects, in many processes."""

    async def map(
        self, operation: str | AnyOperation, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """Return the outcome or the error of *operation* for each of *subjects*.

        Args:
            operation: What is asked.
            subjects: What it is asked about.
            parameters: Its other parameters.
        """

    def each(
        self, operation: str | AnyOperation, subjects: Iterable[str], /, **parameters: object
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, Outcome | Exception]]]:
        """Ask *operation* about *subjects*, for a block that takes the answers as they come.

        What is under way when the block is left is ended.

        Args:
            operation: What is asked.
            subjects: What it is asked about.
            parameters: Its other parameters.
        """

    async def next_round(self, moment: float, /, *, every: float, calendar: str = "") -> float:
        """Return when the first round behind *moment* is due, both in seconds since the epoch.

        Args:
            moment: The moment, in seconds since the epoch.
            every: Seconds between two rounds.
            calendar: The exchange whose sessions rounds are in, as ``XNYS``; "" for rounds around
                the clock.

        Raises:
            ConfigError: There is no such calendar, or it has no session soon.
            BadParameter: So many rounds cannot be asked.
        """


OpenSpread: TypeAlias = Callable[[str, Settings], AbstractAsyncContextManager[Spread]]
"""Opens the spread at a URL, for an application with these settings."""
