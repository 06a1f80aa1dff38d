"""Counts of the gateways that serve an application."""

from __future__ import annotations

from collections import Counter


class Serving:
    """The counts of an application's gateways.

    Attributes:
        in_flight: Requests that are being answered.
        answered: Requests that were answered, by status; 0 for clients that left before that.
        connections: Open connections, if the gateway itself listens.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.answered: Counter[int] = Counter()
        self.connections = 0
