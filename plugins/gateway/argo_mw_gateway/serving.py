"""What an application knows of the gateways that serve it."""

from __future__ import annotations

from collections import Counter


class Serving:
    """The counts of an application's gateways.

    Attributes:
        in_flight: Requests that are being answered.
        answered: Requests that were answered, by status; 0 for clients that left before.
        connections: Connections that are open, where the gateway itself listens.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.answered: Counter[int] = Counter()
        self.connections = 0
