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


OpenSpread: TypeAlias = Callable[[str, Settings], AbstractAsyncContextManager[Spread]]
"""Opens the spread at a URL, for an application with these settings."""
