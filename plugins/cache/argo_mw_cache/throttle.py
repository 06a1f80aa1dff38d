"""Throttle: a source that has just failed is not asked while there is an old answer to serve."""

from __future__ import annotations

from attrs import frozen

from argo_mw.plugin import Clock

_MAX_FAILURES = 10_000


@frozen
class _Failure:
    until: float
    why: str


class Throttle:
    """Remembers for a while which questions' last load has failed.

    Args:
        seconds: For how long; 0 remembers none.
        clock: The time.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._now = clock.monotonic
        self._failures: dict[str, _Failure] = {}

    def failed(self, key: str, why: str) -> None:
        """Note that a load of *key* has failed just now, and *why*."""
        if self._seconds <= 0:
            return
        self._failures.pop(key, None)
        if len(self._failures) >= _MAX_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = _Failure(self._now() + self._seconds, why)

    def succeeded(self, key: str) -> None:
        """Note that *key* was loaded."""
        if self._failures:
            self._failures.pop(key, None)

    def why(self, key: str) -> str | None:
        """Return why the load of *key* has failed lately; ``None`` if it may be tried."""
        failure = self._failures.get(key)
        if failure is None:
            return None
        if self._now() < failure.until:
            return failure.why
        del self._failures[key]
        return None
