"""Reads as operations of the chain, so that they coalesce and cache like everything else.

A read names the tags of the rows it asks for. A commit replaces the versions of exactly the tags
that it touched, before anything is acknowledged. So in this process a read that begins after an
acknowledgement is never stale, and joins no read that began before it. In other processes it may be
stale for as long as the message takes that announces the new versions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import cast

from argo_mw.plugin import BadParameter, Call, Outcome, Upstream, operation, timestamp_of
from argo_mw_persist.database import NAME, unavailable
from argo_mw_persist.errors import PersistError
from argo_mw_persist.queries import AnswerFilter, ChargeFilter
from argo_mw_persist.results import AnswerPage, Spending
from argo_mw_persist.store import MAX_ROWS, StoreInUse


def _checked(bound: dict[str, object]) -> dict[str, object]:
    limit = bound["limit"]
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_ROWS:
        msg = f"limit is {limit!r}; give a number of rows from 1 to {MAX_ROWS}"
        raise BadParameter(msg)
    return bound


@operation(scope="tenant", normalize=_checked, tags=lambda _: ["answers"], subject="subject")
def answers(
    of: str,
    subject: str = "",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    after: str | None = None,
) -> AnswerPage:
    """Recorded answers to the operation *of*, newest first, a page at a time."""
    raise AssertionError


@operation(scope="tenant", tags=lambda _: ["charges"])
def spending(
    *,
    upstream: str = "",
    of: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[Spending, ...]:
    """What requests cost, by upstream and operation, the most expensive first."""
    raise AssertionError


OPERATIONS = (answers, spending)


class AnswerReads:
    """The answers to the reading operations, from the store in use."""

    def __init__(self, store: StoreInUse) -> None:
        self._store = store
        self._by_name: dict[str, Callable[[Call], Awaitable[object]]] = {
            answers.name: self._answers,
            spending.name: self._spending,
        }

    def upstream(self) -> Upstream:
        """Return the store as an upstream."""
        return Upstream(NAME, frozenset(self._by_name), self.fetch)

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to one reading call."""
        try:
            return Outcome(await self._by_name[call.operation.name](call))
        except PersistError as error:
            raise unavailable(error) from error

    async def _answers(self, call: Call) -> AnswerPage:
        asked = call.parameters
        wanted = AnswerFilter(
            cast(str, asked["of"]),
            call.tenant,
            call.subject or None,
            timestamp_of(asked["since"]),
            timestamp_of(asked["until"]),
        )
        limit, after = cast(int, asked["limit"]), cast("str | None", asked["after"])
        return await self._store().answers(wanted, limit=limit, after=after)

    async def _spending(self, call: Call) -> tuple[Spending, ...]:
        asked = call.parameters
        wanted = ChargeFilter(
            call.tenant,
            cast(str, asked["upstream"]) or None,
            cast(str, asked["of"]) or None,
            timestamp_of(asked["since"]),
            timestamp_of(asked["until"]),
        )
        return await self._store().spending(wanted)
