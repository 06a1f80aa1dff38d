"""The engine: what is asked of whatever runs workers.

Everything else of this plugin knows this protocol only: who is there, and bytes to one of them and
back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import frozen


@frozen
class WorkerNow:
    """A worker of a fleet.

    Attributes:
        name: Its name, by which subjects are placed.
        address: Where it is reached.
        host: The machine that it runs on.
        cpu: The share of one processor that it takes, as a percentage.
        memory: The bytes of memory that it takes.
        seen: When it was last heard of, in seconds since the epoch.
    """

    name: str
    address: str
    host: str = ""
    cpu: float = 0.0
    memory: int = 0
    seen: float = 0.0


class Engine(Protocol):
    """Runs work at named workers."""

    async def workers(self) -> Mapping[str, WorkerNow]:
        """Return the workers that are there now, by name.

        Raises:
            FleetUnavailable: What knows them cannot be reached.
        """

    async def run(self, worker: str, request: bytes) -> bytes:
        """Return what :meth:`Answering.answer` of *worker* makes of *request*.

        Raises:
            WorkerLost: The worker left, or does not answer.
            FleetUnavailable: What knows the workers cannot be reached.
        """
