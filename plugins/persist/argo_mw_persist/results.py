"""Results of reads: pages, and sums over many rows."""

from __future__ import annotations

from typing import cast

from attrs import frozen

from argo_mw_persist.records import Answer
from argo_mw_persist.tables import Cells


@frozen
class AnswerPage:
    """A page of recorded answers.

    Attributes:
        answers: Newest first; their ``decode(context.codecs)`` returns the values.
        next: The value of ``after`` for the next page; ``None`` on the last.
    """

    answers: tuple[Answer, ...]
    next: str | None


@frozen
class Spending:
    """The cost of the calls of one operation to one upstream.

    Attributes:
        upstream: The upstream that was asked.
        operation: The operation.
        calls: How many calls were sent.
        failed: How many of them failed.
        requests: Requests charged to quotas; calls may share one.
        tokens_in: Tokens sent.
        tokens_out: Tokens received.
        usd: United States dollars, of the calls whose price is known.
        unpriced: How many calls have no known price.
        latency: Seconds that a call took on average.
    """

    upstream: str
    operation: str
    calls: int
    failed: int
    requests: float
    tokens_in: int
    tokens_out: int
    usd: float
    unpriced: int
    latency: float


def spending(row: Cells) -> Spending:
    """Return the `Spending` in a row of the query."""
    upstream, operation, calls, failed, requests, tokens_in, tokens_out, usd, unpriced, latency = (
        cast("tuple[str, str, int, int, float, int, int, float, int, float]", row)
    )
    return Spending(
        upstream,
        operation,
        calls,
        failed,
        float(requests),
        tokens_in,
        tokens_out,
        float(usd),
        unpriced,
        float(latency),
    )
