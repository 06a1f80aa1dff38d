"""The replay clock: any past instant as "now", at any speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """A pending callback."""

    def cancel(self) -> None:
        """Forget the callback, if it has not been called yet."""


class ReplayClock:
    """Wall time that was set to a past instant and runs on from there.

    Ages, sleeps and timers keep real time: only the date is replayed. The clock has the shape of
    ``argo_mw``'s ``Clock``, so an application that talks to the sandbox can live by it.

    Args:
        now: The instant at which the replay starts; naive datetimes are UTC.
        speed: Replayed seconds per real second; 0 holds the clock still.
        monotonic: Where real time comes from, in seconds.
    """

    def __init__(
        self,
        now: datetime,
        *,
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._speed = _checked_speed(speed)
        self._origin = _epoch(now)
        self._since = monotonic()

    @property
    def speed(self) -> float:
        """Replayed seconds per real second."""
        return self._speed

    def monotonic(self) -> float:
        """Real seconds that never go back."""
        return self._monotonic()

    def time(self) -> float:
        """Return the replayed now, in seconds since the epoch, UTC."""
        return self._origin + (self._monotonic() - self._since) * self._speed

    def now(self) -> datetime:
        """Return the replayed now, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def set(self, now: datetime | None = None, *, speed: float | None = None) -> None:
        """Move the replay to *now*, or change its *speed*, or both."""
        checked = self._speed if speed is None else _checked_speed(speed)
        self._origin = self.time() if now is None else _epoch(now)
        self._since = self._monotonic()
        self._speed = checked

    def advance(self, seconds: float) -> None:
        """Move the replay forward by *seconds* of replayed time."""
        self._origin += seconds

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of real time."""
        await asyncio.sleep(seconds)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* on the running loop at real monotonic time *when*, in seconds."""
        loop = asyncio.get_running_loop()
        return loop.call_at(loop.time() + (when - self._monotonic()), callback)


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 date or datetime; without a zone it is UTC.

    Raises:
        ValueError: It is neither.
    """
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f"cannot read {text!r} as a date: write 2013-03-01 or 2013-03-01T20:00:00Z"
        raise ValueError(msg) from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _epoch(now: datetime) -> float:
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp()


def _checked_speed(speed: float) -> float:
    if not 0 <= speed < float("inf"):
        msg = f"a replay cannot run at speed {speed!r}: use 0 to hold it, or a positive number"
        raise ValueError(msg)
    return float(speed)
