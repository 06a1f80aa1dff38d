"""What reads find: pages, and sums over many rows."""

from __future__ import annotations

from typing import cast

from attrs import frozen

from argo_mw_persist.records import Answer, Signal
from argo_mw_persist.tables import Row


@frozen
class Page:
    """A part of the history.

    Attributes:
        signals: Newest first.
        next: Give it as ``after`` for the page that follows, or ``None`` after the last.
    """

    signals: tuple[Signal, ...]
    next: str | None


@frozen
class AnswerPage:
    """A part of the recorded answers.

    Attributes:
        answers: Newest first; ``context.codecs.decode`` makes their values of their bytes.
        next: Give it as ``after`` for the page that follows, or ``None`` after the last.
    """

    answers: tuple[Answer, ...]
    next: str | None


@frozen
class Spending:
    """What the calls of one operation to one upstream cost.

    Attributes:
        upstream: Who was asked.
        operation: For what.
        calls: How many calls were sent.
        failed: How many of them came back without an answer.
        requests: Requests charged to quotas; calls may share one.
        tokens_in: Tokens sent.
        tokens_out: Tokens received.
        usd: United States dollars, of the calls whose price is known.
        unpriced: How many calls have none.
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


@frozen
class Performance:
    """How the closed signals of a voice went.

    Attributes:
        voice: Its name; "" is the consensus of all.
        closed: How many signals it had a say in that are closed.
        wins: How many of them earned something, had one followed the voice.
        profit: The sum of what they earned, as fractions of the price.
    """

    voice: str
    closed: int
    wins: int
    profit: float

    @property
    def win_rate(self) -> float:
        """The share of wins; 0 when nothing is closed."""
        return self.wins / self.closed if self.closed else 0.0

    @property
    def mean_profit(self) -> float:
        """What one signal earned on average; 0 when nothing is closed."""
        return self.profit / self.closed if self.closed else 0.0


def spending(row: Row) -> Spending:
    """What the query of the ledger found."""
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


def performance(row: Row) -> Performance:
    """What the query of the performance found."""
    voice, closed, wins, profit = cast("tuple[str, int, int, float]", row)
    return Performance(voice, closed, wins, float(profit))
