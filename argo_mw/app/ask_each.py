"""One question about each of many subjects, asked in parallel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from argo_mw.base.errors import BadParameter
from argo_mw.model.outcome import Outcome

CONCURRENCY: Final = 1_000
"""Calls of one ``map`` under way at once."""


async def ask_each(
    operation: str, subjects: Iterable[str], ask: Callable[[str], Awaitable[Outcome]]
) -> dict[str, Outcome | Exception]:
    """Return what *ask* answers or raises for each of *subjects*, once for those that are equal.

    Args:
        operation: The name of the operation.
        subjects: What is asked about.
        ask: Asks about one subject.

    Raises:
        BadParameter: *subjects* is a text.
    """
    if isinstance(subjects, str):
        msg = f"the subjects of a map are the text {subjects!r}; give a list of them"
        raise BadParameter(msg)
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(subject: str) -> Outcome | Exception:
        async with slots:
            try:
                return await ask(subject)
            except Exception as error:
                return error

    unique = list(dict.fromkeys(subjects))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(s), name=f"argo-mw:map:{operation}") for s in unique]
    return {subject: task.result() for subject, task in zip(unique, tasks, strict=True)}
