"""Counts of the vendors, against which clients check their own."""

from __future__ import annotations

from collections import Counter

from attrs import Factory, define


@define
class VendorCounts:
    """One vendor's requests.

    Attributes:
        requests: Requests received in full.
        answered: Answers sent in full, errors included.
        failed: Those of them that carried an error.
        disconnects: Requests whose client left before its answer was complete.
        broken: Requests that a fault left without a complete answer.
        in_flight: Requests that are being answered now.
        faults: Requests struck by each kind of fault.
        statuses: Answers by HTTP status.
        symbols: Requests that named each symbol (or model).
        input_tokens: Prompt tokens of completed answers, all kinds.
        output_tokens: Completion tokens of completed answers.
        cache_write_tokens: Prompt tokens written to the provider's cache.
        cache_read_tokens: Prompt tokens read from it.
    """

    requests: int = 0
    answered: int = 0
    failed: int = 0
    disconnects: int = 0
    broken: int = 0
    in_flight: int = 0
    faults: Counter[str] = Factory(Counter)
    statuses: Counter[int] = Factory(Counter)
    symbols: Counter[str] = Factory(Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0

    @property
    def unanswered(self) -> int:
        """Requests without a complete answer, those in flight included."""
        return self.requests - self.answered

    def as_dict(self) -> dict[str, object]:
        """Return the counts as plain data for JSON."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "failed": self.failed,
            "unanswered": self.unanswered,
            "disconnects": self.disconnects,
            "broken": self.broken,
            "in_flight": self.in_flight,
            "faults": dict(self.faults),
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "symbols": dict(self.symbols),
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cache_write": self.cache_write_tokens,
                "cache_read": self.cache_read_tokens,
            },
        }
