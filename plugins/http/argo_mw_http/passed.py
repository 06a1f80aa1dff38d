"""Requests that belong to no route: counted, and otherwise left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from threading import Lock
from typing import Final

_MAX_HOSTS: Final = 100
OTHERS: Final = "others"
"""The hosts beyond the first hundred."""


class Passed:
    """How many requests went straight through, by host; any thread may count."""

    def __init__(self) -> None:
        self._hosts: Counter[str] = Counter()
        self._lock = Lock()

    def count(self, host: str) -> None:
        """Count a request to *host*."""
        with self._lock:
            known = host in self._hosts or len(self._hosts) < _MAX_HOSTS
            self._hosts[host if known else OTHERS] += 1

    @property
    def total(self) -> int:
        """How many requests there were."""
        with self._lock:
            return self._hosts.total()

    @property
    def by_host(self) -> Mapping[str, int]:
        """How many requests each host got, those with most first."""
        with self._lock:
            return dict(self._hosts.most_common())
